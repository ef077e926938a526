//! What `stat` shows, and changing it.

use futures::executor::block_on;
use offshoot_engine::SetTime;
use offshoot_vfs::AttributeChange;

use super::{Answer, Asked, Outcome, Requests};
use crate::fuse::map;
use crate::fuse::wire::request::SetAttributes;

impl Requests {
    pub(super) fn attributes(&self, asked: &Asked<'_>) -> Outcome {
        Ok(Answer::Attributes(block_on(self.vfs.attributes(asked.ino()))?))
    }

    /// The kernel asks this way when a program wants the birth time and it has not asked before.
    pub(super) fn extended_attributes(&self, asked: &Asked<'_>) -> Outcome {
        Ok(Answer::ExtendedAttributes(block_on(self.vfs.attributes(asked.ino()))?))
    }

    pub(super) fn set_attributes(&self, asked: &Asked<'_>, set: SetAttributes) -> Outcome {
        let handle = set.handle.and_then(|handle| self.handles.get(handle));
        let SetAttributes { mode, uid, gid, size, .. } = set;
        let (atime, mut mtime) = (set.atime.map(map::set_time), set.mtime.map(map::set_time));
        if size == Some(0) || (size.is_some() && handle.is_some()) {
            // `ftruncate` and opening with `O_TRUNC` count as a change also where the size stays.
            mtime = mtime.or(Some(SetTime::Now));
        }
        let change = AttributeChange { mode, uid, gid, size, atime, mtime };
        let (caller, ino) = (asked.caller(), asked.ino());
        let after = block_on(self.vfs.set_attributes(&caller, ino, handle.as_deref(), change))?;
        Ok(Answer::Attributes(after))
    }
}
