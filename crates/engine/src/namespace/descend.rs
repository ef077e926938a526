//! From the root to an inode, for reading and for changing.

use std::sync::Arc;

use super::{Interrupt, State, Trail};
use crate::kinds::{AliasTree, DirectoryTree, EntryKey, SideTree};
use crate::record::{AliasKey, Entry, Identity, Inode, Realm, Totals};
use crate::tree::{self, Node, Nodes, Root, with_stack};
use crate::{Attributes, ErrorKind, Ino};

/// Where an inode was met.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The realm of the directory that it lies in.
    pub(crate) outer: Realm,
    /// The realm that it belongs to; for a directory also the one of its content.
    pub(crate) realm: Realm,
    /// It lies in, or is, a read-only clone.
    pub(crate) read_only: bool,
}

impl Place {
    /// The place of the pool's root, or of the directory of orphans.
    pub(crate) fn base(orphans: bool) -> Place {
        let realm = if orphans { Realm::ORPHANS } else { Realm::ROOT };
        Place { outer: realm, realm, read_only: false }
    }

    /// The place of an entry of the directory at this place.
    pub(crate) fn below(
        self,
        inode: &Inode,
        aliases: &Root<AliasTree>,
        nodes: &dyn Nodes,
    ) -> Result<Place, Interrupt> {
        let realm = match &inode.identity {
            None => self.realm,
            Some(identity) => resolve(identity, self.realm, aliases, nodes)?,
        };
        Ok(Place { outer: self.realm, realm, read_only: self.read_only || is_read_only(inode) })
    }
}

fn is_read_only(inode: &Inode) -> bool {
    inode.read_only || inode.directory().and_then(|d| d.realm.as_ref()).is_some_and(|realm| realm.read_only)
}

fn resolve(
    identity: &Identity,
    outer: Realm,
    aliases: &Root<AliasTree>,
    nodes: &dyn Nodes,
) -> Result<Realm, Interrupt> {
    if identity.home == outer.uid {
        return Ok(identity.realm);
    }
    let key = AliasKey { outer: outer.uid, foreign: identity.foreign() };
    match tree::find(aliases, &key, nodes)? {
        Some((node, index)) => Ok(*node.value(index)),
        None => Err(Interrupt::Alias(key)),
    }
}

/// The number that users see.
pub(crate) fn visible_ino(inode: &Inode, place: Place) -> Ino {
    Ino::new(place.realm.id, inode.number)
}

/// Attributes as users see them.
pub(crate) fn attributes(inode: &Inode, place: Place) -> Attributes {
    let directory = inode.directory();
    Attributes {
        ino: visible_ino(inode, place),
        kind: inode.kind,
        mode: u32::from(inode.mode),
        uid: inode.uid,
        gid: inode.gid,
        nlink: match directory {
            Some(directory) if inode.nlink > 0 => directory.subdirectories.saturating_add(2),
            _ => inode.nlink,
        },
        size: directory.map_or(inode.size, |directory| directory.count),
        allocated: inode.allocated,
        rdev: inode.rdev,
        atime: inode.atime,
        mtime: inode.mtime,
        ctime: inode.ctime,
        btime: inode.btime,
        read_only: place.read_only,
        clone_root: directory.is_some_and(|d| d.realm.is_some()),
        has_xattrs: !matches!(inode.xattrs, crate::record::Xattrs::None),
    }
}

/// An inode in a leaf, or the base of the state.
pub(crate) enum Holder<'a> {
    Base(&'a Inode),
    Entry(Arc<Node<DirectoryTree>>, usize),
    Side(Arc<Node<SideTree>>, usize),
}

impl std::ops::Deref for Holder<'_> {
    type Target = Inode;

    fn deref(&self) -> &Inode {
        match self {
            Self::Base(inode) => inode,
            Self::Entry(node, index) => match node.value(*index) {
                Entry::Inode(inode) => inode,
                Entry::Linked(_) => unreachable!("holders are made for inodes only"),
            },
            Self::Side(node, index) => node.value(*index),
        }
    }
}

/// Reads a state.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) state: &'a State,
    pub(crate) nodes: &'a dyn Nodes,
    /// Keeps the items of the state from being deleted; not needed by who holds the lock.
    pub(crate) pin: Option<&'a Arc<()>>,
}

/// What a name leads to, for reading.
pub(crate) enum Found<'a> {
    Inode(Holder<'a>),
    Linked(crate::record::SideKey),
}

impl<'a> View<'a> {
    /// To be held while items that were seen are read without the lock.
    pub(crate) fn pin(self) -> Option<Arc<()>> {
        self.pin.cloned()
    }

    /// The inode at the end of a trail.
    pub(crate) fn inode(self, trail: &Trail) -> Result<(Holder<'a>, Place), Interrupt> {
        let mut place = Place::base(trail.orphan);
        let mut holder = Holder::Base(if trail.orphan { &self.state.orphans } else { &self.state.root });
        for key in &trail.keys {
            match self.entry(&holder, key)? {
                Found::Inode(inode) => {
                    place = place.below(&inode, &self.state.aliases, self.nodes)?;
                    holder = inode;
                }
                Found::Linked(_) => return Err(ErrorKind::NotDirectory.into()),
            }
        }
        match trail.side {
            None => Ok((holder, place)),
            Some(key) => self.side(&holder, place, key),
        }
    }

    /// An entry of a directory.
    pub(crate) fn entry(self, directory: &Inode, key: &EntryKey) -> Result<Found<'a>, Interrupt> {
        let directory = directory.directory().ok_or(ErrorKind::NotDirectory)?;
        let (node, index) = tree::find(&directory.entries, key, self.nodes)?.ok_or(ErrorKind::NotFound)?;
        let linked = match node.value(index) {
            Entry::Inode(_) => None,
            Entry::Linked(key) => Some(**key),
        };
        Ok(match linked {
            None => Found::Inode(Holder::Entry(node, index)),
            Some(key) => Found::Linked(key),
        })
    }

    /// An inode of several names, in the side tree of a realm's root that was met at `place`.
    pub(crate) fn side(
        self,
        realm_root: &Inode,
        place: Place,
        key: crate::record::SideKey,
    ) -> Result<(Holder<'a>, Place), Interrupt> {
        let side = realm_root.directory().and_then(|d| d.realm.as_ref()).map(|realm| &realm.side);
        let Some(side) = side else { return Err(ErrorKind::Stale.into()) };
        let (node, index) = tree::find(side, &key, self.nodes)?.ok_or(ErrorKind::Stale)?;
        let holder = Holder::Side(node, index);
        let place = place.below(&holder, &self.state.aliases, self.nodes)?;
        Ok((holder, place))
    }
}

/// What a change of one inode is given.
pub(crate) type ChangeInode<'f> = dyn FnMut(&mut Inode, Place) -> Result<Totals, Interrupt> + 'f;

/// Goes down to the end of a trail, making everything on the way its own, and lets `change` change the inode there.
/// `change` returns what it added to the totals of the inode's ancestors; it must not have changed anything when it fails.
/// Returns the same sums.
pub(crate) fn change_at(
    base: &mut Inode,
    trail: &Trail,
    aliases: &Root<AliasTree>,
    nodes: &dyn Nodes,
    change: &mut ChangeInode<'_>,
) -> Result<(), Interrupt> {
    go(base, &trail.keys, trail.side, Place::base(trail.orphan), aliases, nodes, change).map(|_| ())
}

fn go(
    inode: &mut Inode,
    keys: &[EntryKey],
    side: Option<crate::record::SideKey>,
    place: Place,
    aliases: &Root<AliasTree>,
    nodes: &dyn Nodes,
    change: &mut ChangeInode<'_>,
) -> Result<Totals, Interrupt> {
    let Some((key, rest)) = keys.split_first() else {
        let Some(key) = side else { return change(inode, place) };
        let realm = inode.directory_mut().and_then(|d| d.realm.as_mut()).ok_or(ErrorKind::Stale)?;
        let changed = tree::update(&mut realm.side, &key, nodes, |inode| {
            let place = place.below(inode, aliases, nodes)?;
            change(Arc::make_mut(inode), place)
        })?;
        // What inodes with several names hold is part of no directory's totals.
        return changed.map(|_| Totals::default()).ok_or_else(|| ErrorKind::Stale.into());
    };
    let directory = inode.directory_mut().ok_or(ErrorKind::NotDirectory)?;
    let delta = tree::update(&mut directory.entries, key, nodes, |entry| match entry {
        Entry::Inode(inode) => {
            let place = place.below(inode, aliases, nodes)?;
            with_stack(|| go(Arc::make_mut(inode), rest, side, place, aliases, nodes, change))
        }
        Entry::Linked(_) => Err(ErrorKind::NotDirectory.into()),
    })?
    .ok_or(ErrorKind::Stale)?;
    directory.totals = directory.totals.plus(delta);
    Ok(delta)
}
