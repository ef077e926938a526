//! Files: opening and closing them, with a name and without, and their content.

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::{Attributes, Kind, SeekTarget};
use offshoot_vfs::{Code, Create, Error, Handle};

use super::{Answer, Asked, OPENED, Outcome, Refusal, Requests};
use crate::fuse::map;
use crate::fuse::wire::init::DATA_BYTES_MAX;
use crate::fuse::wire::request::CopyRange;

/// Most that a copy answers with in 32 bits. The kernel asks again for the rest, which then starts at a whole block.
const NARROW_COPY_BYTES_MAX: u64 = (u32::MAX - (map::BLOCK_BYTES - 1)) as u64;

impl Requests {
    pub(super) fn open(&self, asked: &Asked<'_>, flags: u32) -> Outcome {
        let handle = block_on(self.vfs.open(&asked.caller(), asked.ino(), map::access(flags)))?;
        Ok(Answer::Opened { handle: self.handles.insert(handle), flags: OPENED })
    }

    pub(super) fn create(
        &self,
        asked: &Asked<'_>,
        name: &[u8],
        flags: u32,
        mode: u32,
        umask: u32,
    ) -> Outcome {
        let (attributes, handle) = self.create_or_open(asked, name, flags, mode, umask)?;
        Ok(Answer::Created { attributes, handle: self.handles.insert(handle) })
    }

    fn create_or_open(
        &self,
        asked: &Asked<'_>,
        name: &[u8],
        flags: u32,
        mode: u32,
        umask: u32,
    ) -> Result<(Attributes, Handle), Error> {
        let (caller, parent, access) = (asked.caller(), asked.ino(), map::access(flags));
        let create = Create::new(Kind::File, mode, umask);
        match block_on(self.vfs.create_open(&caller, parent, name, create, access)) {
            // Somebody else made it after the kernel had looked.
            Err(error) if error.code() == Code::Exists && !map::is_exclusive(flags) => {
                let attributes = block_on(self.vfs.lookup(&caller, parent, name))?;
                match block_on(self.vfs.open(&caller, attributes.ino, access)) {
                    Ok(handle) => Ok((attributes, handle)),
                    Err(error) => {
                        self.vfs.forget(attributes.ino, 1);
                        Err(error)
                    }
                }
            }
            created => created,
        }
    }

    pub(super) fn create_unnamed(&self, asked: &Asked<'_>, flags: u32, mode: u32, umask: u32) -> Outcome {
        let (caller, access) = (asked.caller(), map::access(flags));
        let create = Create::new(Kind::File, mode, umask);
        let created = block_on(self.vfs.create_unnamed(&caller, asked.ino(), create, access));
        let (attributes, handle) = created?;
        Ok(Answer::Created { attributes, handle: self.handles.insert(handle) })
    }

    pub(super) fn read(&self, handle: u64, offset: u64, size: u32) -> Outcome {
        let handle = self.handle(handle)?;
        let length = (size as usize).min(DATA_BYTES_MAX);
        Ok(Answer::Pieces(block_on(self.vfs.read(&handle, offset, length))?))
    }

    pub(super) fn write(
        &self,
        asked: &Asked<'_>,
        handle: u64,
        offset: u64,
        data: &[u8],
        flags: u32,
        clear_set_id: bool,
    ) -> Outcome {
        let handle = self.handle(handle)?;
        // The pool keeps what is written until it has been stored, so it gets bytes of its own.
        let bytes = Bytes::copy_from_slice(data);
        block_on(self.vfs.write_at(&handle, offset, bytes, clear_set_id))?;
        let size = data.len() as u32;
        match map::is_durable(flags) {
            false => {}
            true if self.vfs.pool().is_log_remote() => {
                let (vfs, ticket) = (self.vfs.clone(), asked.ticket());
                self.runtime.spawn(async move { ticket.answer_size(vfs.sync().await, size) });
                return Ok(Answer::Later);
            }
            true => block_on(self.vfs.sync())?,
        }
        Ok(Answer::Size(size))
    }

    pub(super) fn release(&self, handle: u64) -> Outcome {
        if let Some(handle) = self.handles.remove(handle) {
            block_on(self.vfs.close(&handle))?;
        }
        Ok(Answer::Done)
    }

    /// There is one log, so a sync of anything is a sync of all. Where it takes a round trip to a bucket, many that wait share it, and none
    /// keeps a thread from serving others.
    pub(super) fn sync(&self, asked: &Asked<'_>) -> Outcome {
        if !self.vfs.pool().is_log_remote() {
            block_on(self.vfs.sync())?;
            return Ok(Answer::Done);
        }
        let (vfs, ticket) = (self.vfs.clone(), asked.ticket());
        self.runtime.spawn(async move { ticket.answer(vfs.sync().await) });
        Ok(Answer::Later)
    }

    pub(super) fn allocate(
        &self,
        asked: &Asked<'_>,
        handle: u64,
        offset: u64,
        length: u64,
        mode: u32,
    ) -> Outcome {
        let mode = map::allocate_mode(mode).ok_or(Refusal::Errno(libc::EOPNOTSUPP))?;
        let handle = self.handle(handle)?;
        block_on(self.vfs.allocate(&handle, offset, length, mode, asked.clears_set_id()))?;
        Ok(Answer::Done)
    }

    pub(super) fn seek(&self, handle: u64, offset: u64, whence: u32) -> Outcome {
        let target = match whence.cast_signed() {
            libc::SEEK_DATA => SeekTarget::Data,
            libc::SEEK_HOLE => SeekTarget::Hole,
            _ => return Err(Refusal::Errno(libc::EINVAL)),
        };
        // What was negative is past every end.
        if offset > i64::MAX as u64 {
            return Err(Refusal::Errno(libc::ENXIO));
        }
        let handle = self.handle(handle)?;
        Ok(Answer::Offset(block_on(self.vfs.seek(&handle, offset, target))?))
    }

    pub(super) fn copy_range(&self, asked: &Asked<'_>, range: CopyRange) -> Outcome {
        if range.flags != 0 {
            return Err(Refusal::Errno(libc::EINVAL));
        }
        let length = if range.wide { range.length } else { range.length.min(NARROW_COPY_BYTES_MAX) };
        let (source, destination) = (self.handle(range.source)?, self.handle(range.destination)?);
        let copied = block_on(self.vfs.copy_range(
            &source,
            range.source_offset,
            &destination,
            range.destination_offset,
            length,
            asked.clears_set_id(),
        ))?;
        Ok(if range.wide { Answer::Offset(copied) } else { Answer::Size(copied as u32) })
    }
}
