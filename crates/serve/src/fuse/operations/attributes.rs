//! Extended attributes, and the clone that one of them asks for.

use futures::executor::block_on;
use offshoot_engine::XattrMode;
use offshoot_vfs::{CLONE_ATTRIBUTE, Caller};

use super::{Answer, Asked, Outcome, Refusal, Requests};
use crate::fuse::map;
use crate::fuse::wire::reply::Reply;

impl Requests {
    pub(super) fn set_xattr(
        &self,
        asked: &Asked<'_>,
        name: &[u8],
        value: &[u8],
        flags: u32,
        kill_set_gid: bool,
    ) -> Outcome {
        let how = map::xattr_mode(flags).ok_or(Refusal::Errno(libc::EINVAL))?;
        if name == CLONE_ATTRIBUTE {
            return Ok(self.clone_aside(asked, value, how));
        }
        let ino = asked.ino();
        let mut caller = asked.caller();
        if name.starts_with(b"system.") {
            // Of the caller's groups only one matters, the one of the inode.
            if !self.dialect.long_setxattr {
                caller.groups = groups_of(asked.header().pid);
            } else if !kill_set_gid {
                caller.groups.push(block_on(self.vfs.attributes(ino))?.gid);
            }
        }
        block_on(self.vfs.set_xattr(&caller, ino, name, value, how))?;
        Ok(Answer::Done)
    }

    /// A clone first brings in what mappings of this mount hold, so this thread has to go on serving. The kernel has checked
    /// nothing about the destination.
    fn clone_aside(&self, asked: &Asked<'_>, value: &[u8], how: XattrMode) -> Answer {
        let header = asked.header();
        let caller = Caller { privileged: header.uid == 0, groups: groups_of(header.pid), ..asked.caller() };
        let (vfs, value, ino, ticket) = (self.vfs.clone(), value.to_vec(), asked.ino(), asked.ticket());
        self.runtime.spawn_blocking(move || {
            ticket.answer(block_on(vfs.set_xattr(&caller, ino, CLONE_ATTRIBUTE, &value, how)));
        });
        Answer::Later
    }

    pub(super) fn xattr(&self, asked: &Asked<'_>, name: &[u8], size: u32, reply: &mut Reply) -> Outcome {
        let value = block_on(self.vfs.xattr(&asked.caller(), asked.ino(), name))?;
        reply.content().extend_from_slice(&value);
        sized(reply, size)
    }

    pub(super) fn xattrs(&self, asked: &Asked<'_>, size: u32, reply: &mut Reply) -> Outcome {
        for name in block_on(self.vfs.xattrs(&asked.caller(), asked.ino()))? {
            reply.content().extend_from_slice(&name);
            reply.content().push(0);
        }
        sized(reply, size)
    }

    pub(super) fn remove_xattr(&self, asked: &Asked<'_>, name: &[u8]) -> Outcome {
        block_on(self.vfs.remove_xattr(&asked.caller(), asked.ino(), name))?;
        Ok(Answer::Done)
    }
}

/// Answers with what is in the reply, or with how long it is where the caller has no room and wants to know that.
fn sized(reply: &mut Reply, size: u32) -> Outcome {
    let length = reply.content_bytes();
    if size == 0 {
        reply.clear();
        Ok(Answer::Size(length as u32))
    } else if length > size as usize {
        Err(Refusal::Errno(libc::ERANGE))
    } else {
        Ok(Answer::Content)
    }
}

/// Further groups of a process. The kernel sends them with no request but those that create, so this is for the rare one
/// that depends on them all the same.
fn groups_of(process: u32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    groups.split_whitespace().filter_map(|group| group.parse().ok()).collect()
}
