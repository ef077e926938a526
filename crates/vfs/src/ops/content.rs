//! Content of open files: read, write, allocate, seek, copy, sync.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use offshoot_engine::{AllocateMode, Attributes, SeekTarget, SetAttributes, Unchanged};

use crate::error::{Code, Error, Result};
use crate::handle::{Access, Handle};
use crate::permission;
use crate::vfs::Vfs;
use crate::watch::Change;

/// Largest size of a file, in bytes: offsets are signed for POSIX programs.
const SIZE_MAX: u64 = i64::MAX as u64;

impl Vfs {
    /// Up to `length` bytes from `offset`, in pieces that follow one another; fewer bytes only at the end of the file. See
    /// [`offshoot_engine::Pool::read_pieces`] for how many pieces there can be.
    ///
    /// # Errors
    /// `BadHandle`, `IsDirectory`, `Io`.
    pub async fn read(&self, handle: &Handle, offset: u64, length: usize) -> Result<Vec<Bytes>> {
        handle.require(Access::READ)?;
        let pieces = self.pool().read_pieces(handle.ino(), offset, length).await?;
        if !handle.access_noted.load(Ordering::Relaxed) {
            handle.access_noted.store(true, Ordering::Relaxed);
            if !handle.access().contains(Access::KEEP_ACCESS_TIME) {
                self.note_access(handle.ino()).await;
            }
        }
        Ok(pieces)
    }

    /// Writes all of `data` at `offset`, or at the end through a handle for appending. With `clear_set_id` set-id bits go, as
    /// after a write by somebody who is not the superuser.
    ///
    /// # Errors
    /// `BadHandle`, `ReadOnly`, `TooLarge`, `NoSpace`, `Io`.
    pub async fn write(&self, handle: &Handle, offset: u64, data: Bytes, clear_set_id: bool) -> Result<()> {
        if handle.access().contains(Access::APPEND) {
            return self.append(handle, data, clear_set_id).await.map(|_| ());
        }
        self.write_at(handle, offset, data, clear_set_id).await
    }

    /// Writes all of `data` at `offset`, also through a handle for appending: for a client that has found the end itself and keeps
    /// others from moving it.
    ///
    /// # Errors
    /// As [`Vfs::write`].
    pub async fn write_at(
        &self,
        handle: &Handle,
        offset: u64,
        data: Bytes,
        clear_set_id: bool,
    ) -> Result<()> {
        handle.require(Access::WRITE)?;
        let length = data.len() as u64;
        check_range(offset, length)?;
        let ino = handle.ino();
        let after = self.pool().write(ino, offset, data, clear_set_id).await?;
        self.written(handle, &after, offset, length).await
    }

    /// Writes all of `data` at the end of the file; returns where that was.
    ///
    /// # Errors
    /// As [`Vfs::write`].
    pub async fn append(&self, handle: &Handle, data: Bytes, clear_set_id: bool) -> Result<u64> {
        handle.require(Access::WRITE)?;
        let length = data.len() as u64;
        let offset = self.pool().append(handle.ino(), data, clear_set_id).await?;
        let after = self.pool().attributes(handle.ino()).await?;
        self.written(handle, &after, offset, length).await?;
        Ok(offset)
    }

    /// Allocates, punches or zeroes a range of an open file.
    ///
    /// # Errors
    /// As [`Vfs::write`]; `Invalid` for an empty range.
    pub async fn allocate(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
        mode: AllocateMode,
        clear_set_id: bool,
    ) -> Result<()> {
        handle.require(Access::WRITE)?;
        if length == 0 {
            return Err(Error::new(Code::Invalid, "the range is empty"));
        }
        check_range(offset, length)?;
        let after = self.pool().allocate(handle.ino(), offset, length, mode).await?;
        if clear_set_id {
            self.clear_set_id(&after).await?;
        }
        self.written(handle, &after, offset, length).await
    }

    /// The first offset at or after `offset` with data or a hole.
    ///
    /// # Errors
    /// `NoData` if there is none before the end.
    pub async fn seek(&self, handle: &Handle, offset: u64, target: SeekTarget) -> Result<u64> {
        let found = self.pool().seek(handle.ino(), offset, target).await?;
        found.ok_or_else(|| Error::new(Code::NoData, "nothing to find before the end of the file"))
    }

    /// Shares a range of one open file with another, or with another place in the same; no data moves. Returns the
    /// length, cut at the end of the source.
    ///
    /// # Errors
    /// `BadHandle` (also for a destination that appends), `Invalid` for ranges that overlap in one file, else as [`Vfs::write`].
    pub async fn copy_range(
        &self,
        source: &Handle,
        source_offset: u64,
        destination: &Handle,
        destination_offset: u64,
        length: u64,
        clear_set_id: bool,
    ) -> Result<u64> {
        source.require(Access::READ)?;
        destination.require(Access::WRITE)?;
        if destination.access().contains(Access::APPEND) {
            return Err(Error::new(Code::BadHandle, "a range cannot be copied to a handle for appending"));
        }
        let length = length.min(SIZE_MAX.saturating_sub(source_offset));
        check_range(destination_offset, 0)?;
        let length = length.min(SIZE_MAX - destination_offset);
        let ino = destination.ino();
        let copied =
            self.pool().clone_range(source.ino(), source_offset, ino, destination_offset, length).await?;
        if copied == 0 {
            return Ok(0);
        }
        let after = self.pool().attributes(ino).await?;
        if clear_set_id {
            self.clear_set_id(&after).await?;
        }
        self.written(destination, &after, destination_offset, copied).await?;
        Ok(copied)
    }

    /// Returns when everything that was answered before survives a power cut (`fsync`, `fdatasync`, `syncfs`).
    ///
    /// # Errors
    /// `Io`, `NoSpace`.
    pub async fn sync(&self) -> Result<()> {
        Ok(self.pool().sync().await?)
    }

    /// What follows every change of content.
    async fn written(&self, handle: &Handle, after: &Attributes, offset: u64, length: u64) -> Result<()> {
        handle.access_noted.store(false, Ordering::Relaxed);
        self.drop_capabilities(after).await?;
        self.changed(Change::Content { ino: after.ino, offset, length });
        if handle.access().contains(Access::SYNC) {
            self.sync().await?;
        }
        Ok(())
    }

    async fn clear_set_id(&self, attributes: &Attributes) -> Result<()> {
        let ino = attributes.ino;
        let mut known = attributes.clone();
        while let Some(mode) = permission::without_set_id(&known) {
            let set = SetAttributes { mode: Some(mode), ..SetAttributes::default() };
            let unchanged = Unchanged { mode: Some(known.mode), ..Unchanged::default() };
            if self.pool().set_attributes_if(ino, set, unchanged).await?.is_some() {
                break;
            }
            known = self.pool().attributes(ino).await?;
        }
        Ok(())
    }
}

fn check_range(offset: u64, length: u64) -> Result<()> {
    match offset.checked_add(length) {
        Some(end) if end <= SIZE_MAX => Ok(()),
        _ => Err(Error::new(Code::TooLarge, "the file would be larger than 8 EiB")),
    }
}
