//! Names: finding, making, moving and removing them, and when the kernel forgets what they led to.

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::Kind;
use offshoot_vfs::{Code, Create};

use super::{Answer, Asked, Outcome, Refusal, Requests};
use crate::fuse::map;
use crate::fuse::node;
use crate::fuse::wire::reply::Reply;

impl Requests {
    pub(super) fn lookup(&self, asked: &Asked<'_>, name: &[u8]) -> Outcome {
        match block_on(self.vfs.lookup(&asked.caller(), asked.ino(), name)) {
            Err(error) if error.code() == Code::NoEntry => Ok(Answer::NoEntry),
            found => Ok(Answer::Entry(found?)),
        }
    }

    pub(super) fn forget(&self, forgets: impl Iterator<Item = (u64, u64)>) -> Outcome {
        for (node, count) in forgets {
            let ino = node::ino(node);
            let count = self.known.forget(ino, count);
            if count > 0 {
                self.vfs.forget(ino, count);
            }
        }
        Ok(Answer::Unanswered)
    }

    pub(super) fn read_link(&self, asked: &Asked<'_>, reply: &mut Reply) -> Outcome {
        let target = block_on(self.vfs.read_link(asked.ino()))?;
        reply.content().extend_from_slice(&target);
        Ok(Answer::Content)
    }

    pub(super) fn symlink(&self, asked: &Asked<'_>, name: &[u8], target: &[u8]) -> Outcome {
        self.make(asked, name, Create::symlink(Bytes::copy_from_slice(target)))
    }

    pub(super) fn make_node(
        &self,
        asked: &Asked<'_>,
        name: &[u8],
        mode: u32,
        umask: u32,
        rdev: u32,
    ) -> Outcome {
        let kind = map::kind(mode).ok_or(Refusal::Errno(libc::EINVAL))?;
        self.make(asked, name, Create { rdev, ..Create::new(kind, mode, umask) })
    }

    pub(super) fn make_directory(&self, asked: &Asked<'_>, name: &[u8], mode: u32, umask: u32) -> Outcome {
        self.make(asked, name, Create::new(Kind::Directory, mode, umask))
    }

    fn make(&self, asked: &Asked<'_>, name: &[u8], create: Create) -> Outcome {
        Ok(Answer::Entry(block_on(self.vfs.create(&asked.caller(), asked.ino(), name, create))?))
    }

    pub(super) fn link(&self, asked: &Asked<'_>, node: u64, name: &[u8]) -> Outcome {
        let linked = block_on(self.vfs.link(&asked.caller(), node::ino(node), asked.ino(), name))?;
        Ok(Answer::Entry(linked))
    }

    pub(super) fn unlink(&self, asked: &Asked<'_>, name: &[u8]) -> Outcome {
        block_on(self.vfs.unlink(&asked.caller(), asked.ino(), name))?;
        Ok(Answer::Done)
    }

    pub(super) fn remove_directory(&self, asked: &Asked<'_>, name: &[u8]) -> Outcome {
        block_on(self.vfs.rmdir(&asked.caller(), asked.ino(), name))?;
        Ok(Answer::Done)
    }

    pub(super) fn rename(
        &self,
        asked: &Asked<'_>,
        name: &[u8],
        new_parent: u64,
        new_name: &[u8],
        flags: u32,
    ) -> Outcome {
        let mode = map::rename_mode(flags).ok_or(Refusal::Errno(libc::EINVAL))?;
        let (caller, parent) = (asked.caller(), asked.ino());
        block_on(self.vfs.rename(&caller, parent, name, node::ino(new_parent), new_name, mode))?;
        Ok(Answer::Done)
    }
}
