//! The model of names: a few names in two directories, for files and directories that each hold at most one file.
//!
//! An inode is known by the operation that made it, and gets its number when somebody is first told it. Operations on an inode
//! are given a descriptor and so name the inode's number; a path of several parts would be walked part by part, and be no
//! single operation. The number of names (`st_nlink`) is not asked for: `stat` first finds the
//! name and then looks at the inode, and `fstat` may be told by the server of a link that the kernel does not show yet.
//!
//! There are no clones here. The kernel answers for names that it remembers, and learns of what the server has done for one of its
//! threads only with the answer. So a clone may already have what a reader of the mount cannot see yet, until the call that makes it
//! returns. `cut` and `append` say what holds for clones. Where several errors are true at once any of them will do.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::search::Model;

/// Names there are, half of them in each directory.
pub(super) const SLOTS: usize = 4;

pub(super) struct Names;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Replace,
    NoReplace,
    Exchange,
}

/// Numbers of slots say at which name, numbers of inodes on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// `O_CREAT | O_EXCL`.
    Create(usize),
    MakeDirectory(usize),
    Open(usize),
    Stat(usize),
    Unlink(usize),
    RemoveDirectory(usize),
    Rename(usize, usize, How),
    Link(u64, usize),
    /// The one file in a directory.
    CreateIn(u64),
    UnlinkIn(u64),
    StatIn(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Inode { ino: u64, directory: bool },
    Error(Errno),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    /// 0 until somebody was told.
    ino: u64,
    directory: bool,
    /// Names of a file; of a directory 1, and 0 when it is removed.
    links: u32,
    child: Option<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    slots: [Option<u8>; SLOTS],
    /// Also those without a name, which may be open.
    nodes: BTreeMap<u8, Node>,
}

impl State {
    fn at(&self, slot: usize) -> Option<&Node> {
        self.slots[slot].map(|identity| &self.nodes[&identity])
    }

    fn identity(&self, ino: u64) -> Option<u8> {
        // A local file system gives the number of an inode that is gone to another.
        let same = self.nodes.iter().filter(|(_, node)| node.ino == ino);
        same.max_by_key(|(_, node)| node.links).map(|(identity, _)| *identity)
    }

    fn make(&mut self, identity: u8, ino: u64, directory: bool) {
        self.nodes.insert(identity, Node { ino, directory, links: 1, child: None });
    }

    fn drop_link(&mut self, identity: u8) {
        if let Some(node) = self.nodes.get_mut(&identity) {
            node.links -= 1;
        }
    }

    /// Somebody was told about this inode.
    fn told(&mut self, identity: u8, ino: u64, directory: bool) -> bool {
        let Some(node) = self.nodes.get_mut(&identity) else { return false };
        if node.ino == 0 {
            node.ino = ino;
        }
        node.ino == ino && node.directory == directory
    }

    /// Errors that are true of an operation now; none where it succeeds.
    fn errors(&self, operation: &Operation) -> Vec<Errno> {
        let node = |ino: u64| self.identity(ino).map(|identity| &self.nodes[&identity]);
        let when = |condition: bool, errno: Errno| condition.then_some(errno);
        let errors = match *operation {
            Operation::Create(slot) | Operation::MakeDirectory(slot) => {
                [when(self.at(slot).is_some(), Errno::EXIST), None]
            }
            Operation::Open(slot) | Operation::Stat(slot) => {
                [when(self.at(slot).is_none(), Errno::NOENT), None]
            }
            Operation::Unlink(slot) => match self.at(slot) {
                None => [Some(Errno::NOENT), None],
                Some(node) => [when(node.directory, Errno::ISDIR), None],
            },
            Operation::RemoveDirectory(slot) => match self.at(slot) {
                None => [Some(Errno::NOENT), None],
                Some(node) => {
                    [when(!node.directory, Errno::NOTDIR), when(node.child.is_some(), Errno::NOTEMPTY)]
                }
            },
            Operation::Rename(from, to, how) => match (self.at(from), self.at(to), how) {
                (None, to, How::NoReplace) => [Some(Errno::NOENT), when(to.is_some(), Errno::EXIST)],
                (None, _, _) | (Some(_), None, How::Exchange) => [Some(Errno::NOENT), None],
                (Some(_), to, How::NoReplace) => [when(to.is_some(), Errno::EXIST), None],
                (Some(_), None, How::Replace) | (Some(_), Some(_), How::Exchange) => [None, None],
                (Some(_), Some(_), How::Replace) if self.slots[from] == self.slots[to] => [None, None],
                (Some(old), Some(new), How::Replace) => [
                    when(old.directory && !new.directory, Errno::NOTDIR)
                        .or(when(!old.directory && new.directory, Errno::ISDIR)),
                    when(new.child.is_some(), Errno::NOTEMPTY),
                ],
            },
            Operation::Link(ino, slot) => [
                when(self.at(slot).is_some(), Errno::EXIST),
                when(node(ino).is_some_and(|node| node.links == 0), Errno::NOENT),
            ],
            Operation::CreateIn(ino) => [
                when(node(ino).is_some_and(|node| node.links == 0), Errno::NOENT),
                when(node(ino).is_some_and(|node| node.child.is_some()), Errno::EXIST),
            ],
            Operation::UnlinkIn(ino) | Operation::StatIn(ino) => {
                [when(node(ino).is_some_and(|node| node.child.is_none()), Errno::NOENT), None]
            }
        };
        errors.into_iter().flatten().collect()
    }

    /// The change of an operation that succeeds, and whether it can answer that.
    fn apply(&mut self, identity: u8, operation: &Operation, answer: &Answer) -> bool {
        match (*operation, *answer) {
            (Operation::Create(slot), Answer::Inode { ino, directory: false }) => {
                self.make(identity, ino, false);
                self.slots[slot] = Some(identity);
                true
            }
            (Operation::MakeDirectory(slot), Answer::Done) => {
                self.make(identity, 0, true);
                self.slots[slot] = Some(identity);
                true
            }
            (Operation::Open(slot) | Operation::Stat(slot), Answer::Inode { ino, directory }) => {
                self.slots[slot].is_some_and(|found| self.told(found, ino, directory))
            }
            (Operation::Unlink(slot) | Operation::RemoveDirectory(slot), Answer::Done) => {
                self.slots[slot].take().is_some_and(|found| {
                    self.drop_link(found);
                    true
                })
            }
            (Operation::Rename(from, to, how), Answer::Done) => {
                // Two names of one file stay as they are.
                if self.slots[from] != self.slots[to] {
                    if how == How::Exchange {
                        self.slots.swap(from, to);
                    } else {
                        let moved = self.slots[from].take();
                        if let Some(replaced) = std::mem::replace(&mut self.slots[to], moved) {
                            self.drop_link(replaced);
                        }
                    }
                }
                true
            }
            (Operation::Link(ino, slot), Answer::Done) => self.identity(ino).is_some_and(|found| {
                self.slots[slot] = Some(found);
                self.nodes.get_mut(&found).map(|node| node.links += 1).is_some()
            }),
            (Operation::CreateIn(dir), Answer::Inode { ino, directory: false }) => {
                self.make(identity, ino, false);
                self.child(dir).map(|child| *child = Some(identity)).is_some()
            }
            (Operation::UnlinkIn(dir), Answer::Done) => {
                let taken = self.child(dir).and_then(Option::take);
                taken.is_some_and(|taken| {
                    self.drop_link(taken);
                    true
                })
            }
            (Operation::StatIn(dir), Answer::Inode { ino, directory }) => {
                let found = self.child(dir).and_then(|child| *child);
                found.is_some_and(|found| self.told(found, ino, directory))
            }
            _ => false,
        }
    }

    fn child(&mut self, dir: u64) -> Option<&mut Option<u8>> {
        let identity = self.identity(dir)?;
        self.nodes.get_mut(&identity).map(|node| &mut node.child)
    }
}

impl Model for Names {
    type State = State;
    type Operation = Operation;
    type Answer = Answer;

    fn initial() -> State {
        State::default()
    }

    fn step(state: &State, identity: u8, operation: &Operation, answer: &Answer) -> Option<State> {
        let errors = state.errors(operation);
        if let Answer::Error(errno) = answer {
            // Linux itself refuses a link where its own count of names is 0, and that count may be late on a FUSE mount.
            if matches!(operation, Operation::Link(..)) && *errno == Errno::NOENT {
                return Some(state.clone());
            }
            return errors.contains(errno).then(|| state.clone());
        }
        let mut next = state.clone();
        (errors.is_empty() && next.apply(identity, operation, answer)).then_some(next)
    }

    fn can_be_left_out(operation: &Operation, answer: &Answer) -> bool {
        // Not `Open`: operations on the inode need that somebody was told its number.
        matches!(answer, Answer::Error(_)) || matches!(operation, Operation::Stat(_) | Operation::StatIn(_))
    }
}
