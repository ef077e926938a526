//! Listing directories, with and without what their names lead to.

use futures::executor::block_on;
use offshoot_engine::{DirectoryItem, Ino, Kind};
use offshoot_vfs::Error;

use super::{Answer, Asked, CACHE_TIME, Outcome, Requests};
use crate::fuse::map;
use crate::fuse::wire::reply::{self, Entry, Reply};

/// Entries that are fetched at a time to fill an answer.
const BATCH: usize = 32;
/// Handles of open directories: all that has to be known of one when it is closed.
const CACHES_NOT: u64 = 0;
const CACHES: u64 = 1;

impl Requests {
    /// One opener of a directory at a time has its listing cached by the kernel; see [`CachedListings`].
    pub(super) fn open_directory(&self, ino: Ino) -> Outcome {
        let (handle, cached) = match self.listings.begin(ino) {
            true => (CACHES, reply::OPEN_CACHE_DIRECTORY),
            false => (CACHES_NOT, 0),
        };
        Ok(Answer::Opened { handle, flags: reply::OPEN_KEEP_CACHE | cached })
    }

    pub(super) fn release_directory(&self, ino: Ino, handle: u64) -> Outcome {
        if handle == CACHES {
            self.listings.end(ino);
        }
        Ok(Answer::Done)
    }

    /// Every entry from `offset` on for which `size` bytes have room. The first two are the directory itself and its parent.
    pub(super) fn read_directory(
        &self,
        asked: &Asked<'_>,
        offset: u64,
        size: u32,
        plus: bool,
        reply: &mut Reply,
    ) -> Outcome {
        let (directory, limit) = (asked.ino(), size as usize);
        if offset == 0 && !add_dots(reply, limit, plus, directory, b".", 1) {
            return Ok(Answer::Content);
        }
        if offset <= 1 && !add_dots(reply, limit, plus, self.vfs.parent(directory)?, b"..", 2) {
            return Ok(Answer::Content);
        }
        self.add_items(asked, offset, limit, plus, reply)?;
        Ok(Answer::Content)
    }

    fn add_items(
        &self,
        asked: &Asked<'_>,
        offset: u64,
        limit: usize,
        plus: bool,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let caller = asked.caller();
        // Cookies of the pool start at 3.
        let mut cookie = if offset <= 2 { 0 } else { offset };
        loop {
            let items = block_on(self.vfs.read_dir(&caller, asked.ino(), cookie, BATCH, plus))?;
            for (index, item) in items.iter().enumerate() {
                if !add_item(reply, limit, plus, item) {
                    if plus {
                        items[index..].iter().for_each(|item| self.vfs.forget(item.attributes.ino, 1));
                    }
                    return Ok(());
                }
                if plus {
                    self.known.remember(item.attributes.ino, item.attributes.kind == Kind::Directory);
                }
            }
            match items.last() {
                Some(last) if items.len() >= BATCH => cookie = last.cookie,
                _ => return Ok(()),
            }
        }
    }
}

/// Adds `.` or `..`. Of these two the kernel takes number and type, and counts no reference.
fn add_dots(reply: &mut Reply, limit: usize, plus: bool, ino: Ino, name: &[u8], next: u64) -> bool {
    let entry = Entry { ino: ino.0, next, kind: map::entry_kind(Kind::Directory), name };
    let absent = map::absent();
    reply.directory_entry(limit, &entry, plus.then_some((&absent, CACHE_TIME)))
}

fn add_item(reply: &mut Reply, limit: usize, plus: bool, item: &DirectoryItem) -> bool {
    let DirectoryItem { attributes, name, cookie, .. } = item;
    let kind = map::entry_kind(attributes.kind);
    let entry = Entry { ino: attributes.ino.0, next: *cookie, kind, name };
    let inode = map::inode(attributes);
    reply.directory_entry(limit, &entry, plus.then_some((&inode, CACHE_TIME)))
}
