//! Reading: names, attributes and content of the current state.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::inner::Inner;
use super::pieces::Pieces;
use crate::address::{Address, ItemKind};
use crate::content;
use crate::kinds::{EntryKey, Extent, FrameLink};
use crate::namespace::{
    Found, Holder, Interrupt, Locations, ORPHANS, Place, Trail, View, Where, attributes, check_name,
    decode_xattr_frame, stale, visible_ino,
};
use crate::pool::{DirectoryItem, SeekTarget};
use crate::record::{Content, Entry, Inode, Name, SideKey, XattrList, Xattrs};
use crate::report::Info;
use crate::segment::{Fetched, Pinned};
use crate::tree::{self, Link, Node, Tree};
use crate::{Attributes, Error, ErrorKind, Ino, Kind, Result};

/// Frames that a read has been brought.
type Brought = FxHashMap<Address, Bytes>;

/// Frames that one read is brought at a time: 8 MiB at most.
const FRAMES_AT_ONCE: usize = 64;
/// Extents that one look at a file takes along. What has no more is read in one state.
const EXTENTS_AT_ONCE: usize = 1 << 16;

impl Inner {
    /// Runs a read on the current state, again and again until everything it needs is in memory.
    pub(crate) async fn view<R>(
        &self,
        mut read: impl FnMut(View<'_>, &mut Locations) -> Result<R, Interrupt>,
    ) -> Result<R> {
        let nodes = Pinned::new(&self.items);
        let mut pin = None;
        loop {
            let interrupt = {
                let core = self.core.read();
                let current = Self::pin_of(&core);
                let view = View { state: &core.state, nodes: &nodes, pin: Some(&current) };
                let mut locations = self.locations.lock();
                match read(view, &mut locations) {
                    Ok(result) => return Ok(result),
                    Err(Interrupt::Error(error)) => return Err(error),
                    Err(interrupt) => {
                        pin.get_or_insert(current);
                        interrupt
                    }
                }
            };
            match interrupt {
                Interrupt::Missing(missing) => nodes.fetch(missing).await?,
                Interrupt::Alias(key) => self.alias(key).await?,
                Interrupt::Error(_) | Interrupt::Changed | Interrupt::NoRealm | Interrupt::Paused => {
                    unreachable!("reads fail only, and that was returned")
                }
            }
        }
    }

    /// The node that a link leads to.
    pub(crate) async fn node<K: Tree>(&self, link: &Link<K>) -> Result<Arc<Node<K>>> {
        let address = match link {
            Link::Memory(node) => return Ok(node.clone()),
            Link::Stored(address) => *address,
        };
        let node = self.items.node(tree::Missing { address, kind: K::KIND }).await?;
        Ok(K::unwrap(node).expect("a node has the kind it was fetched as"))
    }

    /// Shows an inode that exists.
    pub(crate) async fn with_inode<R>(
        &self,
        ino: Ino,
        mut show: impl FnMut(&Inode, Place, View<'_>) -> Result<R, Interrupt>,
    ) -> Result<R> {
        self.view(|view, locations| {
            let trail = locations.trail(ino)?;
            let (inode, place) = view.inode(&trail)?;
            show(&inode, place, view)
        })
        .await
    }

    pub(crate) async fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Attributes> {
        if name.len() > 255 {
            return Err(ErrorKind::NameTooLong.into());
        }
        if check_name(name).is_err() {
            return Err(ErrorKind::NotFound.into());
        }
        let key = self.hasher.key(name);
        self.view(|view, locations| {
            if parent == ORPHANS {
                return Err(ErrorKind::Stale.into());
            }
            let trail = locations.directory_trail(parent)?;
            let (directory, place) = view.inode(&trail)?;
            match view.entry(&directory, &key)? {
                Found::Inode(inode) => {
                    let below = place.below(&inode, &view.state.aliases, view.nodes)?;
                    let found = attributes(&inode, below);
                    locations.remember(found.ino, parent, Where::Name(key.clone()), inode.is_realm_root());
                    Ok(found)
                }
                Found::Linked(side) => {
                    let (found, root) = linked(view, locations, parent, side)?;
                    locations.remember(found.ino, root, Where::Side(side), false);
                    Ok(found)
                }
            }
        })
        .await
    }

    pub(crate) async fn attributes(&self, ino: Ino) -> Result<Attributes> {
        if let Some(gone) = self.gone(ino) {
            return Ok(gone);
        }
        self.with_inode(ino, |inode, place, _| Ok(attributes(inode, place))).await
    }

    pub(crate) async fn info(&self, ino: Ino) -> Result<Info> {
        self.with_inode(ino, |inode, place, _| {
            let totals = inode.totals();
            Ok(Info {
                attributes: attributes(inode, place),
                origin: inode.origin.as_deref().cloned(),
                files: totals.files,
                directories: totals.directories,
                logical_bytes: totals.bytes,
            })
        })
        .await
    }

    pub(crate) async fn path(&self, ino: Ino) -> Result<Vec<u8>> {
        let locations = self.locations.lock();
        let mut at = ino;
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut deleted = false;
        while at != Ino::ROOT && at != ORPHANS {
            let location = locations.get(at).ok_or_else(|| stale(ino))?;
            deleted |= location.gone.is_some() || location.parent == ORPHANS;
            match &location.place {
                Where::Name(key) => names.push(key.name.to_vec()),
                Where::Side(key) => names.push(format!("(inode {})", key.number).into_bytes()),
            }
            at = location.parent;
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        if deleted {
            path.extend_from_slice(b" (deleted)");
        }
        Ok(path)
    }

    pub(crate) async fn read_dir(
        &self,
        directory: Ino,
        cookie: u64,
        limit: usize,
        remember: bool,
    ) -> Result<Vec<DirectoryItem>> {
        if let Some(gone) = self.gone(directory) {
            return if gone.kind == Kind::Directory {
                Ok(Vec::new())
            } else {
                Err(ErrorKind::NotDirectory.into())
            };
        }
        let is_remote = self.items.is_remote();
        let mut children = Vec::new();
        // No entry lies behind the highest cookie that there could be.
        let from = EntryKey { hash: cookie.saturating_add(1), name: Name::new() };
        let shown = self.view(|view, locations| {
            let trail = match locations.directory_trail(directory) {
                // It went with a tree around it, and whoever has it open sees it empty.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                trail => trail?,
            };
            let (inode, place) = view.inode(&trail)?;
            let entries = &inode.directory().ok_or(ErrorKind::NotDirectory)?.entries;
            let mut found: Vec<(EntryKey, Attributes, Way)> = Vec::with_capacity(limit.min(1024));
            children.clear();
            let stopped = tree::scan(entries, &from, view.nodes, &mut |key, entry| {
                // Entries of one hash stay together: a cookie cannot lead between them.
                if found.len() >= limit && found.last().is_some_and(|(last, ..)| last.hash != key.hash) {
                    return ControlFlow::Break(Ok(()));
                }
                if is_remote
                    && let Entry::Inode(inode) = entry
                    && let Some(Link::Stored(address)) = inode.directory().and_then(|d| d.entries.as_ref())
                {
                    children.push(tree::Missing { address: *address, kind: ItemKind::Directory });
                }
                let shown = match entry {
                    Entry::Inode(inode) => place
                        .below(inode, &view.state.aliases, view.nodes)
                        .map(|below| (attributes(inode, below), Way::Inode(inode.is_realm_root()))),
                    Entry::Linked(side) => linked(view, locations, directory, **side)
                        .map(|(attributes, root)| (attributes, Way::Linked(root, **side))),
                };
                match shown {
                    Ok((attributes, how)) => {
                        found.push((key.clone(), attributes, how));
                        ControlFlow::Continue(())
                    }
                    Err(interrupt) => ControlFlow::Break(Err(interrupt)),
                }
            })?;
            stopped.unwrap_or(Ok(()))?;
            if remember {
                for (key, attributes, how) in &found {
                    match how {
                        Way::Inode(realm_root) => {
                            locations.remember(
                                attributes.ino,
                                directory,
                                Where::Name(key.clone()),
                                *realm_root,
                            );
                        }
                        Way::Linked(root, side) => {
                            locations.remember(attributes.ino, *root, Where::Side(*side), false);
                        }
                    }
                }
            }
            let mut items = Vec::with_capacity(found.len());
            let mut found = found.into_iter().peekable();
            while let Some((key, attributes, _)) = found.next() {
                let shares_hash = found.peek().is_some_and(|(next, ..)| next.hash == key.hash);
                // Going on in the middle of a group of one hash shows the group again rather than losing some of it.
                let cookie = if shares_hash { key.hash - 1 } else { key.hash };
                items.push(DirectoryItem { name: key.name.into_vec(), cookie, attributes });
            }
            Ok(items)
        });
        let shown = shown.await;
        self.note_children(children);
        shown
    }

    pub(crate) async fn read_link(&self, ino: Ino) -> Result<Bytes> {
        self.with_inode(ino, |inode, _, _| match (&inode.content, inode.kind) {
            (Content::Inline(target), Kind::Symlink) => Ok(Bytes::copy_from_slice(target)),
            _ => Err(Error::new(ErrorKind::Invalid, "not a symbolic link").into()),
        })
        .await
    }

    pub(crate) async fn read(&self, ino: Ino, offset: u64, length: usize) -> Result<Vec<Bytes>> {
        self.note_read(ino, offset, offset.saturating_add(length as u64));
        let mut pieces = Pieces::default();
        let mut at = offset;
        let mut left = length as u64;
        while left > 0 {
            let (Look { piece, end, is_last }, pin) =
                self.with_inode(ino, |inode, _, view| Ok((look(inode, at, left, view)?, view.pin()))).await?;
            let start = at;
            match piece {
                Piece::Bytes(bytes) => {
                    at += bytes.len() as u64;
                    pieces.share(bytes);
                }
                Piece::Extents(extents) => {
                    self.note_fragments(ino, start, end, extents.len());
                    let mut brought = Brought::default();
                    for (index, (extent_start, extent)) in extents.iter().enumerate() {
                        if index % FRAMES_AT_ONCE == 0 {
                            brought = self.bring_frames(&extents[index..]).await;
                        }
                        let extent_start = *extent_start;
                        let first = extent_start.max(at);
                        let last = (extent_start + u64::from(extent.length)).min(end);
                        pieces.zeros((first - at) as usize);
                        let from = extent.start as usize + (first - extent_start) as usize;
                        let length = (last - first) as usize;
                        self.read_frame(&extent.frame, from, length, &brought, &mut pieces).await?;
                        at = last;
                    }
                }
            }
            drop(pin);
            pieces.zeros((end - at) as usize);
            at = end;
            left -= (end - start).min(left);
            // The file may have grown meanwhile, and what it has got is not of the state that was read.
            if is_last {
                break;
            }
        }
        self.metrics.read_bytes.add(at - offset);
        Ok(pieces.finish())
    }

    /// Notes a range that was read for defragmentation if it has many extents.
    fn note_fragments(&self, ino: Ino, from: u64, to: u64, extents: usize) {
        let windows = (to - from).div_ceil(content::WINDOW_BYTES).max(1);
        if !self.settings.defragment
            || extents as u64 <= windows * content::PIECES_MAX as u64
            || self.fragments.lock().has(ino, from, to)
        {
            return;
        }
        let locations = self.locations.lock();
        self.fragments.lock().note(ino, from, to, || locations.trail(ino));
    }

    /// Makes everything on a trail known, with one reference each, from the root down; `None` if it leads nowhere.
    pub(crate) async fn remember_trail(&self, trail: &Trail) -> Result<Option<Vec<Ino>>> {
        let found = self
            .view(|view, locations| {
                let way = match follow(view, trail) {
                    // A realm is not given an alias for this.
                    Err(Interrupt::Alias(_)) => return Ok(None),
                    other => other?,
                };
                for (ino, parent, place, realm_root) in &way {
                    locations.remember(*ino, *parent, place.clone(), *realm_root);
                }
                Ok(Some(way.into_iter().map(|(ino, ..)| ino).collect()))
            })
            .await;
        match found {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::NotDirectory | ErrorKind::Stale
                ) =>
            {
                Ok(None)
            }
            other => other,
        }
    }

    /// The next frames of these, if they are at a distance: in few calls, several at a time.
    async fn bring_frames(&self, extents: &[(u64, Extent)]) -> Brought {
        if !self.items.is_remote() {
            return Brought::default();
        }
        let wanted = content::stored_frames(&extents[..extents.len().min(FRAMES_AT_ONCE)]);
        let found = self.items.bring(&wanted).await.into_iter();
        found
            .filter_map(|(address, item)| match item {
                Fetched::Frame(bytes) => Some((address, bytes)),
                Fetched::Node(_) => None,
            })
            .collect()
    }

    async fn read_frame(
        &self,
        link: &FrameLink,
        from: usize,
        length: usize,
        brought: &Brought,
        into: &mut Pieces,
    ) -> Result<()> {
        let address = match link {
            FrameLink::Memory(frame) => {
                // It may be written to as long as nothing else refers to it, so it is copied.
                if frame.with(|bytes| into.copy(&bytes[from..from + length])).is_some() {
                    return Ok(());
                }
                frame.address().expect("a frame without bytes is stored")
            }
            FrameLink::Stored(address) => *address,
        };
        let bytes = match brought.get(&address) {
            Some(bytes) => bytes.clone(),
            None => self.items.frame(address).await?,
        };
        if bytes.len() < from + length {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("frame {address:?} is shorter than the file says"),
            ));
        }
        into.share(bytes.slice(from..from + length));
        Ok(())
    }

    pub(crate) async fn seek(&self, ino: Ino, offset: u64, target: SeekTarget) -> Result<Option<u64>> {
        self.with_inode(ino, |inode, _, view| {
            if inode.kind != Kind::File {
                return Err(ErrorKind::Invalid.into());
            }
            if offset >= inode.size {
                return Ok(None);
            }
            Ok(match target {
                SeekTarget::Data => content::next_data(&inode.content, offset, inode.size, view.nodes)?,
                SeekTarget::Hole => Some(content::next_hole(&inode.content, offset, inode.size, view.nodes)?),
            })
        })
        .await
    }

    async fn xattr_list(&self, ino: Ino) -> Result<Arc<XattrList>> {
        if self.gone(ino).is_some() {
            return Ok(Arc::default());
        }
        let (xattrs, _pin) =
            self.with_inode(ino, |inode, _, view| Ok((inode.xattrs.clone(), view.pin()))).await?;
        Ok(match xattrs {
            Xattrs::None => Arc::default(),
            Xattrs::Inline(list) => list,
            Xattrs::Frame(held) => {
                let mut pieces = Pieces::default();
                let length = held.length as usize;
                self.read_frame(&held.frame, 0, length, &Brought::default(), &mut pieces).await?;
                Arc::new(decode_xattr_frame(&pieces.finish().concat())?)
            }
        })
    }

    pub(crate) async fn xattr(&self, ino: Ino, name: &[u8]) -> Result<Bytes> {
        let list = self.xattr_list(ino).await?;
        let index = list
            .binary_search_by(|(present, _)| present.as_slice().cmp(name))
            .map_err(|_| Error::from(ErrorKind::NoAttribute))?;
        Ok(Bytes::copy_from_slice(&list[index].1))
    }

    pub(crate) async fn xattrs(&self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        Ok(self.xattr_list(ino).await?.iter().map(|(name, _)| name.clone()).collect())
    }
}

/// The inodes on a trail from the root: number, parent, place, whether it is the root of a realm.
fn follow(view: View<'_>, trail: &Trail) -> Result<Vec<(Ino, Ino, Where, bool)>, Interrupt> {
    let (mut holder, mut place) = (Holder::Base(&view.state.root), Place::base(false));
    let mut parent = Ino::ROOT;
    let mut way = Vec::with_capacity(trail.keys.len() + 1);
    for key in &trail.keys {
        let Found::Inode(inode) = view.entry(&holder, key)? else { return Err(ErrorKind::NotFound.into()) };
        place = place.below(&inode, &view.state.aliases, view.nodes)?;
        let ino = visible_ino(&inode, place);
        way.push((ino, parent, Where::Name(key.clone()), inode.is_realm_root()));
        (holder, parent) = (inode, ino);
    }
    if let Some(key) = trail.side {
        let (inode, below) = view.side(&holder, place, key)?;
        way.push((visible_ino(&inode, below), parent, Where::Side(key), false));
    }
    Ok(way)
}

/// How a directory's entry leads to its inode.
enum Way {
    /// By value; whether it is the root of a realm.
    Inode(bool),
    /// Through the side tree of a realm's root.
    Linked(Ino, SideKey),
}

/// An inode of several names that a known directory has an entry for, and the root of its realm.
fn linked(
    view: View<'_>,
    locations: &Locations,
    directory: Ino,
    side: SideKey,
) -> Result<(Attributes, Ino), Interrupt> {
    let root = locations.realm_root(directory)?;
    let trail = if root == Ino::ROOT { Trail::default() } else { locations.trail(root)? };
    let (holder, place): (Holder<'_>, Place) = view.inode(&trail)?;
    let (inode, below) = view.side(&holder, place, side)?;
    debug_assert_eq!(visible_ino(&inode, below).number(), inode.number);
    Ok((attributes(&inode, below), root))
}

/// What a file has in one state of the pool, from some offset on.
struct Look {
    piece: Piece,
    /// The offset up to which it tells everything; what it does not mention there is zeros.
    end: u64,
    /// There is no more of what was asked for, in this state.
    is_last: bool,
}

enum Piece {
    Bytes(Bytes),
    /// Uncut.
    Extents(Vec<(u64, Extent)>),
}

fn look(inode: &Inode, at: u64, left: u64, view: View<'_>) -> Result<Look, Interrupt> {
    match inode.kind {
        Kind::File => {}
        Kind::Directory => return Err(ErrorKind::IsDirectory.into()),
        _ => return Err(Error::new(ErrorKind::Invalid, "only regular files have content").into()),
    }
    let end = inode.size.min(at.saturating_add(left)).max(at);
    if let Content::Inline(bytes) = &inode.content {
        let length = bytes.len() as u64;
        let bytes = Bytes::copy_from_slice(&bytes[at.min(length) as usize..end.min(length) as usize]);
        return Ok(Look { piece: Piece::Bytes(bytes), end, is_last: true });
    }
    let extents = content::extents(&inode.content, at, end, EXTENTS_AT_ONCE, view.nodes)?;
    Ok(match extents.last() {
        Some((start, extent)) if extents.len() == EXTENTS_AT_ONCE => {
            let cut = end.min(start + u64::from(extent.length));
            Look { piece: Piece::Extents(extents), end: cut, is_last: cut == end }
        }
        _ => Look { piece: Piece::Extents(extents), end, is_last: true },
    })
}
