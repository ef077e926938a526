//! Executing one operation.

use std::sync::Arc;

use super::apart::has_identities;
use super::descend::{View, change_at, visible_ino};
use super::{
    Ending, Interrupt, Locations, NameHasher, ORPHANS, Operation, Place, State, Trail, Where, attributes,
    check_name,
};
use crate::frame::DirtyGauge;
use crate::kinds::EntryKey;
use crate::record::{Content, Entry, Inode, Realm, Totals, Xattrs};
use crate::simulation::mutant::{self, Mutant};
use crate::tree::{self, Nodes};
use crate::{Attributes, Error, ErrorKind, Ino, Kind, Timestamp};

/// What an operation answers.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    /// Attributes after it; a reference to the inode was counted where the operation gave it a name.
    Attributes(Box<Attributes>),
    /// An offset or a length in bytes.
    Amount(u64),
}

/// Everything that executing an operation needs.
pub(crate) struct Change<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) locations: &'a mut Locations,
    pub(crate) nodes: &'a dyn Nodes,
    pub(crate) hasher: NameHasher,
    pub(crate) gauge: &'a Arc<DirtyGauge>,
    /// The checkpoint interval that new frames belong to.
    pub(crate) interval: u64,
    pub(crate) time: Timestamp,
    /// In a replay everything removed counts as held open: what follows in the log may still name it.
    pub(crate) replay: bool,
    /// What the operation leaves to the background.
    pub(crate) ending: &'a mut Ending,
    /// Realm ids that there are.
    pub(crate) realm_ids: u32,
    /// Set by an operation that leaves a file in many pieces, or frames with dead parts: the file, and between which offsets.
    pub(crate) fragmented: Option<(Ino, u64, u64)>,
}

impl Change<'_> {
    /// Executes an operation, or changes nothing.
    pub(crate) fn apply(&mut self, operation: &Operation) -> Result<Outcome, Interrupt> {
        let outcome = match operation {
            Operation::Create { parent, name, new } => {
                check_name(name)?;
                self.create(*parent, name, new)?
            }
            Operation::CreateUnnamed { parent, new } => self.create_unnamed(*parent, new)?,
            Operation::Link { ino, parent, name } => {
                check_name(name)?;
                self.link(*ino, *parent, name)?
            }
            Operation::Unlink { parent, name } => self.unlink(*parent, name)?,
            Operation::RemoveDirectory { parent, name } => self.remove_directory(*parent, name)?,
            Operation::RemoveTree { parent, name, links } => self.remove_tree(*parent, name, links)?,
            Operation::Rename { parent, name, new_parent, new_name, mode } => {
                check_name(new_name)?;
                self.rename(*parent, name, *new_parent, new_name, *mode)?
            }
            Operation::Clone { .. } => self.clone_inode(operation)?,
            Operation::SetAttributes { ino, set } => self.set_attributes(*ino, set)?,
            Operation::Write { ino, offset, data, clear_set_id } => {
                self.write(*ino, *offset, data, *clear_set_id)?
            }
            Operation::Allocate { ino, offset, length, mode } => {
                self.allocate(*ino, *offset, *length, *mode)?
            }
            Operation::CloneRange { source, source_offset, destination, destination_offset, length } => {
                self.clone_range(*source, *source_offset, *destination, *destination_offset, *length)?
            }
            Operation::Defragment { ino, frame, runs } => self.defragment(*ino, frame, runs)?,
            Operation::SetXattr { ino, name, value, how, mode } => {
                self.set_xattr(*ino, name, value, *how, *mode)?
            }
            Operation::RemoveXattr { ino, name } => self.remove_xattr(*ino, name)?,
            Operation::Alias(key) => self.alias(*key)?,
            Operation::DropOrphan { ino } => self.drop_orphan(*ino)?,
            Operation::TakeApart { ino, entries } => self.take_apart(*ino, *entries)?,
            Operation::FreeRealm { realm, aliases } => self.free_realm(*realm, *aliases)?,
        };
        self.state.sequence += 1;
        Ok(outcome)
    }

    pub(super) fn view(&self) -> View<'_> {
        View { state: self.state, nodes: self.nodes, pin: None }
    }

    /// Changes the inode at the end of a trail; see [`change_at`].
    pub(super) fn change_at(
        &mut self,
        trail: &Trail,
        change: &mut dyn FnMut(&mut Inode, Place) -> Result<Totals, Interrupt>,
    ) -> Result<(), Interrupt> {
        let State { root, orphans, aliases, .. } = &mut *self.state;
        change_at(if trail.orphan { orphans } else { root }, trail, aliases, self.nodes, change)
    }

    /// Brings a directory and the leaf that covers `key` into memory, so that a change there misses nothing: putting an
    /// entry, taking one, or putting one after taking another away. Checks that the directory exists and may be changed.
    pub(super) fn pull_entry(&mut self, trail: &Trail, key: &EntryKey) -> Result<Place, Interrupt> {
        let nodes = self.nodes;
        let mut found = None;
        self.change_at(trail, &mut |inode, place| {
            let directory = inode.directory_mut().ok_or(ErrorKind::NotDirectory)?;
            if place.read_only {
                return Err(ErrorKind::ReadOnly.into());
            }
            tree::pull_beside(&mut directory.entries, key, nodes)?;
            found = Some(place);
            Ok(Totals::default())
        })?;
        found.ok_or_else(|| ErrorKind::Stale.into())
    }

    /// Puts an entry under a free name.
    pub(super) fn insert_entry(
        &mut self,
        trail: &Trail,
        key: &EntryKey,
        entry: Entry,
    ) -> Result<(), Interrupt> {
        let (nodes, time) = (self.nodes, self.time);
        let mut entry = Some(entry);
        self.change_at(trail, &mut |inode, place| {
            let entry = entry.take().expect("one change of one inode");
            insert_into(inode, place, key, entry, nodes, time)
        })
    }

    /// Puts an entry in place of another one.
    pub(super) fn replace_entry(
        &mut self,
        trail: &Trail,
        key: &EntryKey,
        entry: Entry,
    ) -> Result<(), Interrupt> {
        let (nodes, time) = (self.nodes, self.time);
        let mut entry = Some(entry);
        self.change_at(trail, &mut |inode, _| {
            let directory = inode.directory_mut().ok_or(ErrorKind::NotDirectory)?;
            let entry = entry.take().expect("one change of one inode");
            let added = entry.sums();
            let old = tree::insert(&mut directory.entries, key.clone(), entry, nodes)?
                .ok_or(ErrorKind::NotFound)?;
            let delta = added.plus(old.sums().negated());
            directory.add(delta);
            inode.mtime = time;
            inode.ctime = time;
            Ok(delta.totals)
        })
    }

    /// Takes an entry out; it must be there.
    pub(super) fn take_entry(&mut self, trail: &Trail, key: &EntryKey) -> Result<Entry, Interrupt> {
        let (nodes, time) = (self.nodes, self.time);
        let mut taken = None;
        self.change_at(trail, &mut |inode, place| {
            if place.read_only {
                return Err(ErrorKind::ReadOnly.into());
            }
            let directory = inode.directory_mut().ok_or(ErrorKind::NotDirectory)?;
            let entry = tree::remove(&mut directory.entries, key, nodes)?.ok_or(ErrorKind::NotFound)?;
            let delta = entry.sums().negated();
            directory.add(delta);
            inode.mtime = time;
            inode.ctime = time;
            taken = Some(entry);
            Ok(if mutant::is_on(Mutant::ForgetTotals) { Totals::default() } else { delta.totals })
        })?;
        taken.ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// What a name leads to: the inode by value and where it was met. `None` if there is no such name.
    pub(super) fn look(&self, trail: &Trail, key: &EntryKey) -> Result<Option<Looked>, Interrupt> {
        let view = self.view();
        let (directory, place) = view.inode(trail)?;
        let found = match view.entry(&directory, key) {
            Ok(found) => found,
            Err(Interrupt::Error(error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(other) => return Err(other),
        };
        Ok(Some(match found {
            super::Found::Inode(inode) => {
                let below = place.below(&inode, &self.state.aliases, self.nodes)?;
                Looked { inode: (*inode).clone(), place: below, linked: None }
            }
            super::Found::Linked(key) => {
                let root = self.realm_root_trail(trail)?;
                let (holder, at) = view.inode(&root)?;
                let (inode, below) = view.side(&holder, at, key)?;
                Looked { inode: (*inode).clone(), place: below, linked: Some((root, key)) }
            }
        }))
    }

    /// The inode at the end of a trail and where it was met. What leads there is let go of: a node that anything else refers to
    /// when it is changed is copied, with all that lies between it and the change.
    pub(super) fn found(&self, trail: &Trail) -> Result<(Inode, Place), Interrupt> {
        let (inode, place) = self.view().inode(trail)?;
        Ok(((*inode).clone(), place))
    }

    /// The trail to the root of the realm that a directory's content belongs to.
    pub(super) fn realm_root_trail(&self, trail: &Trail) -> Result<Trail, Interrupt> {
        let view = self.view();
        for length in (1..=trail.keys.len()).rev() {
            let candidate = Trail { orphan: trail.orphan, keys: trail.keys[..length].into(), side: None };
            if view.inode(&candidate)?.0.is_realm_root() {
                return Ok(candidate);
            }
        }
        Ok(Trail { orphan: trail.orphan, keys: Default::default(), side: None })
    }

    pub(super) fn trail(&self, ino: Ino) -> Result<Trail, Interrupt> {
        Ok(self.locations.trail(ino)?)
    }

    /// See [`Locations::directory_trail`].
    pub(super) fn directory_trail(&self, directory: Ino) -> Result<Trail, Interrupt> {
        Ok(self.locations.directory_trail(directory)?)
    }

    pub(super) fn new_number(&mut self) -> Result<u64, Interrupt> {
        let number = self.state.next_number;
        if number >= 1 << 40 {
            return Err(
                Error::new(ErrorKind::NoSpace, "all 2^40 inode numbers of this pool have been used").into()
            );
        }
        Ok(number)
    }

    pub(super) fn make_inode(&self, number: u64, new: &New) -> Inode {
        let time = self.time;
        let mut xattrs = new.xattrs.to_vec();
        xattrs.sort();
        Inode {
            number,
            kind: new.kind,
            mode: (new.mode & 0o7777) as u16,
            read_only: false,
            uid: new.uid,
            gid: new.gid,
            nlink: 1,
            rdev: new.rdev,
            size: if new.kind == Kind::Symlink { new.target.len() as u64 } else { 0 },
            allocated: 0,
            atime: time,
            mtime: time,
            ctime: time,
            btime: time,
            content: match new.kind {
                Kind::Directory => Content::Directory(Box::default()),
                Kind::File => Content::Inline(Box::default()),
                Kind::Symlink => Content::Inline(new.target.as_ref().into()),
                _ => Content::None,
            },
            xattrs: if xattrs.is_empty() { Xattrs::None } else { Xattrs::Inline(Arc::new(xattrs)) },
            identity: None,
            origin: None,
        }
    }

    fn create(&mut self, parent: Ino, name: &[u8], new: &New) -> Result<Outcome, Interrupt> {
        let trail = self.directory_trail(parent)?;
        if trail.orphan {
            return Err(ErrorKind::NotFound.into());
        }
        let key = self.hasher.key(name);
        let number = self.new_number()?;
        let mut inode = Some(self.make_inode(number, new));
        let nodes = self.nodes;
        let time = self.time;
        let mut made = None;
        self.change_at(&trail, &mut |directory, place| {
            let below = Place { outer: place.realm, ..place };
            let inode = inode.take().expect("one change of one inode");
            let attributes = attributes(&inode, below);
            let delta = insert_into(directory, place, &key, inode.into(), nodes, time)?;
            made = Some(attributes);
            Ok(delta)
        })?;
        let attributes = made.expect("the change was made");
        self.state.next_number += 1;
        self.locations.remember(attributes.ino, parent, Where::Name(key), false);
        Ok(Outcome::Attributes(Box::new(attributes)))
    }

    fn create_unnamed(&mut self, parent: Ino, new: &New) -> Result<Outcome, Interrupt> {
        let trail = self.directory_trail(parent)?;
        let number = self.new_number()?;
        let (directory, place) = self.view().inode(&trail)?;
        if directory.directory().is_none() {
            return Err(ErrorKind::NotDirectory.into());
        }
        if place.read_only {
            return Err(ErrorKind::ReadOnly.into());
        }
        drop(directory);
        let mut inode = self.make_inode(number, new);
        inode.nlink = 0;
        let below = Place { outer: place.realm, ..place };
        let attributes = self.adopt_orphan(inode, below)?;
        self.state.next_number += 1;
        let key = orphan_key(attributes.ino);
        self.locations.remember(attributes.ino, ORPHANS, Where::Name(key), false);
        self.locations.hold(attributes.ino, 1)?;
        Ok(Outcome::Attributes(Box::new(attributes)))
    }

    /// Puts a removed inode, met at `place`, with the orphans.
    pub(super) fn adopt_orphan(&mut self, mut inode: Inode, place: Place) -> Result<Attributes, Interrupt> {
        let ino = visible_ino(&inode, place);
        inode.identity =
            Some(Box::new(crate::record::Identity { realm: place.realm, home: Realm::ORPHANS.uid }));
        let key = orphan_key(ino);
        let attributes = attributes(&inode, Place { outer: Realm::ORPHANS, ..place });
        let trail = Trail { orphan: true, ..Trail::default() };
        self.pull_entry(&trail, &key)?;
        self.insert_entry(&trail, &key, inode.into())?;
        Ok(attributes)
    }

    fn drop_orphan(&mut self, ino: Ino) -> Result<Outcome, Interrupt> {
        let trail = Trail { orphan: true, ..Trail::default() };
        let key = orphan_key(ino);
        let looked = self.look(&trail, &key)?.ok_or(ErrorKind::Stale)?;
        let attributes = attributes(&looked.inode, looked.place);
        if has_identities(&looked.inode, self.nodes)? {
            self.ending.apart.push(ino);
        } else {
            self.take_entry(&trail, &key)?;
        }
        self.ending.copies.retain(|copy| *copy != ino);
        self.locations.removed(ino, attributes);
        // Nothing leads there any more.
        self.locations.moved(ino, Ino::ROOT, Where::Name(key));
        Ok(Outcome::Done)
    }

    /// Whether a removed inode has to be kept for those who hold it open, or know it and may be about to open it.
    pub(super) fn is_held(&self, ino: Ino) -> bool {
        self.replay || self.locations.get(ino).is_some_and(super::Location::is_reachable)
    }
}

/// What a new inode starts with.
pub(super) type New = crate::pool::NewInode;

/// What a name leads to.
pub(super) struct Looked {
    pub(super) inode: Inode,
    pub(super) place: Place,
    /// For one of several names: the trail to the realm's root, and the key in its side tree.
    pub(super) linked: Option<(Trail, crate::record::SideKey)>,
}

/// The key of an orphan.
pub(crate) fn orphan_key(ino: Ino) -> EntryKey {
    EntryKey { hash: (ino.0 >> 1).max(3), name: format!("{:016x}", ino.0).as_bytes().into() }
}

/// Puts an entry into a directory that may be changed and has no such name yet.
pub(super) fn insert_into(
    inode: &mut Inode,
    place: Place,
    key: &EntryKey,
    entry: Entry,
    nodes: &dyn Nodes,
    time: Timestamp,
) -> Result<Totals, Interrupt> {
    if place.read_only {
        return Err(ErrorKind::ReadOnly.into());
    }
    let directory = inode.directory_mut().ok_or(ErrorKind::NotDirectory)?;
    if tree::find(&directory.entries, key, nodes)?.is_some() {
        return Err(ErrorKind::Exists.into());
    }
    let delta = entry.sums();
    tree::insert(&mut directory.entries, key.clone(), entry, nodes)?;
    directory.add(delta);
    inode.mtime = time;
    inode.ctime = time;
    Ok(delta.totals)
}
