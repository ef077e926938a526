//! The operations of [`super::names`] on real directories.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Result;
use fastrand::Rng;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat, fstat, linkat, mkdirat, openat, renameat_with,
    statat, unlinkat,
};
use rustix::io::Errno;

use super::names::{Answer, How, Names, Operation, SLOTS};
use super::search::{Event, History};
use super::together;

/// The file in a directory.
const CHILD: &str = "child";

/// Two directories with names for half of the slots each.
struct Place {
    dirs: [OwnedFd; 2],
}

/// What a thread holds open.
struct Held {
    descriptor: OwnedFd,
    ino: u64,
    directory: bool,
}

/// The history of one round in `dir`.
pub(super) fn round(
    dir: &Path,
    threads: usize,
    operations: usize,
    random: &mut Rng,
) -> Result<History<Names>> {
    std::fs::create_dir(dir.join("second"))?;
    let open = |dir: &Path| openat(CWD, dir, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty());
    let place = Place { dirs: [open(dir)?, open(&dir.join("second"))?] };
    // What was held stays open to the end of the round, so that its number is nobody else's.
    let kept = Mutex::new(Vec::new());
    together(threads, random, |thread, began, random| {
        let mut held: Vec<Held> = Vec::new();
        let mut events = Vec::new();
        for _ in 0..operations {
            let (operation, on) = choose(&held, random);
            let mut opened = None;
            let mut event = Event::record(thread, began, operation, |operation| {
                place.execute(operation, on.map(|number| &held[number].descriptor), &mut opened)
            });
            // The number of an inode never changes, so it can be asked for afterwards.
            if let Some(descriptor) = opened {
                event.answer = match fstat(&descriptor) {
                    Ok(stat) => {
                        let (ino, directory) = (stat.st_ino, is_directory(&stat));
                        held.push(Held { descriptor, ino, directory });
                        Answer::Inode { ino, directory }
                    }
                    Err(errno) => Answer::Error(errno),
                };
            }
            events.push(event);
        }
        if let Ok(mut kept) = kept.lock() {
            kept.append(&mut held);
        }
        events
    })
}

/// An operation, and which of those held it is about.
fn choose(held: &[Held], random: &mut Rng) -> (Operation, Option<usize>) {
    let slot = random.usize(..SLOTS);
    let on = (!held.is_empty()).then(|| random.usize(..held.len()));
    let how = [How::Replace, How::NoReplace, How::Exchange][random.usize(..3)];
    let operation = match (random.u8(..16), on.map(|number| &held[number])) {
        (0..=1, _) => Operation::Create(slot),
        (2, _) => Operation::MakeDirectory(slot),
        (3..=4, _) => Operation::Stat(slot),
        (5, _) => Operation::Unlink(slot),
        (6, _) => Operation::RemoveDirectory(slot),
        (7..=9, _) => Operation::Rename(slot, random.usize(..SLOTS), how),
        (10..=13, Some(one)) if !one.directory => Operation::Link(one.ino, slot),
        (10..=11, Some(one)) if one.directory => Operation::CreateIn(one.ino),
        (12, Some(one)) if one.directory => Operation::UnlinkIn(one.ino),
        (13, Some(one)) if one.directory => Operation::StatIn(one.ino),
        _ => Operation::Open(slot),
    };
    (operation, on)
}

impl Place {
    fn execute(&self, operation: &Operation, on: Option<&OwnedFd>, opened: &mut Option<OwnedFd>) -> Answer {
        match self.attempt(operation, on, opened) {
            Ok(answer) => answer,
            Err(errno) => Answer::Error(errno),
        }
    }

    fn attempt(
        &self,
        operation: &Operation,
        on: Option<&OwnedFd>,
        opened: &mut Option<OwnedFd>,
    ) -> Result<Answer, Errno> {
        let at = |slot: usize| (&self.dirs[slot % 2], format!("name-{slot}"));
        // Operations on an inode are only chosen with one that is held.
        let on = || on.ok_or(Errno::BADF);
        let create = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        match *operation {
            Operation::Create(slot) => {
                let (dir, name) = at(slot);
                *opened = Some(openat(dir, name, create, Mode::RUSR | Mode::WUSR)?);
            }
            Operation::MakeDirectory(slot) => {
                let (dir, name) = at(slot);
                mkdirat(dir, name, Mode::RWXU)?;
            }
            Operation::Open(slot) => {
                let (dir, name) = at(slot);
                *opened = Some(openat(dir, name, OFlags::RDONLY, Mode::empty())?);
            }
            Operation::Stat(slot) => {
                let (dir, name) = at(slot);
                return Ok(inode(&statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?));
            }
            Operation::Unlink(slot) => {
                let (dir, name) = at(slot);
                unlinkat(dir, name, AtFlags::empty())?;
            }
            Operation::RemoveDirectory(slot) => {
                let (dir, name) = at(slot);
                unlinkat(dir, name, AtFlags::REMOVEDIR)?;
            }
            Operation::Rename(from, to, how) => {
                let flags = match how {
                    How::Replace => RenameFlags::empty(),
                    How::NoReplace => RenameFlags::NOREPLACE,
                    How::Exchange => RenameFlags::EXCHANGE,
                };
                let ((from_dir, from_name), (to_dir, to_name)) = (at(from), at(to));
                renameat_with(from_dir, from_name, to_dir, to_name, flags)?;
            }
            Operation::Link(_, slot) => {
                let (dir, name) = at(slot);
                linkat(on()?, "", dir, name, AtFlags::EMPTY_PATH)?;
            }
            Operation::CreateIn(_) => *opened = Some(openat(on()?, CHILD, create, Mode::RUSR | Mode::WUSR)?),
            Operation::UnlinkIn(_) => unlinkat(on()?, CHILD, AtFlags::empty())?,
            Operation::StatIn(_) => return Ok(inode(&statat(on()?, CHILD, AtFlags::empty())?)),
        }
        Ok(Answer::Done)
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn inode(stat: &Stat) -> Answer {
    Answer::Inode { ino: stat.st_ino, directory: is_directory(stat) }
}
