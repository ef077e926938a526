//! Differences of two trees, at the cost of what differs.
//!
//! Two cursors go over the trees side by side; where both stand before the same page, they skip it.

use std::sync::Arc;

use crate::kinds::{DirectoryTree, EntryKey, FrameLink};
use crate::namespace::{Interrupt, Place, View, attributes};
use crate::pool::Inner;
use crate::record::{Content, Entry, Inode, Xattrs};
use crate::report::{Change, Difference};
use crate::segment::Pinned;
use crate::tree::{self, Body, Link, Node, Root};
use crate::{Attributes, ErrorKind, Ino, Kind, Result};

/// Receives differences; false ends the comparison.
type Each<'a> = &'a mut (dyn FnMut(Difference) -> bool + Send);

/// An inode with what is needed to look below it.
#[derive(Clone)]
struct Side {
    inode: Arc<Inode>,
    place: Place,
    /// The side tree of its realm.
    linked: Root<crate::kinds::SideTree>,
}

/// Compares two known inodes.
pub(crate) async fn diff(inner: &Inner, first: Ino, second: Ino, each: Each<'_>) -> Result<()> {
    let _pin = inner.pin();
    let first = side(inner, first).await?;
    let second = side(inner, second).await?;
    compare(inner, Some(first), Some(second), Vec::new(), each).await.map(|_| ())
}

async fn side(inner: &Inner, ino: Ino) -> Result<Side> {
    inner
        .view(|view, locations| {
            let trail = locations.trail(ino)?;
            let (inode, place) = view.inode(&trail)?;
            let realm = locations.realm_root(ino)?;
            let root = locations.trail(realm)?;
            let linked =
                view.inode(&root)?.0.directory().and_then(|d| d.realm.as_ref()).and_then(|r| r.side.clone());
            Ok(Side { inode: Arc::new((*inode).clone()), place, linked })
        })
        .await
}

impl Side {
    /// An entry of this directory.
    async fn below(&self, inner: &Inner, entry: &Entry) -> Result<Side> {
        let nodes = Pinned::new(&inner.items);
        loop {
            let interrupt = {
                let core = inner.core.read();
                let view = View { state: &core.state, nodes: &nodes, pin: None };
                match self.try_below(entry, view) {
                    Ok(side) => return Ok(side),
                    Err(interrupt) => interrupt,
                }
            };
            match interrupt {
                Interrupt::Missing(missing) => nodes.fetch(missing).await?,
                Interrupt::Alias(key) => inner.alias(key).await?,
                Interrupt::Error(error) => return Err(error),
                Interrupt::Changed | Interrupt::NoRealm | Interrupt::Paused => {
                    unreachable!("reads are not prepared")
                }
            }
        }
    }

    fn try_below(&self, entry: &Entry, view: View<'_>) -> Result<Side, Interrupt> {
        let inode = match entry {
            Entry::Inode(inode) => inode.clone(),
            Entry::Linked(key) => match tree::find(&self.linked, key, view.nodes)? {
                Some((node, index)) => node.value(index).clone(),
                None => return Err(ErrorKind::Corrupt.into()),
            },
        };
        let place = self.place.below(&inode, &view.state.aliases, view.nodes)?;
        let linked = match inode.directory().and_then(|d| d.realm.as_ref()) {
            Some(realm) => realm.side.clone(),
            None => self.linked.clone(),
        };
        Ok(Side { inode, place, linked })
    }

    fn attributes(&self) -> Attributes {
        attributes(&self.inode, self.place)
    }

    fn entries(&self) -> Root<DirectoryTree> {
        self.inode.directory().and_then(|directory| directory.entries.clone())
    }
}

/// Compares two inodes and all below; false if `each` has had enough.
async fn compare(
    inner: &Inner,
    before: Option<Side>,
    after: Option<Side>,
    path: Vec<u8>,
    each: Each<'_>,
) -> Result<bool> {
    if let (Some(a), Some(b)) = (&before, &after)
        && a.inode.kind != b.inode.kind
    {
        return Ok(Box::pin(compare(inner, before, None, path.clone(), each)).await?
            && Box::pin(compare(inner, None, after, path, each)).await?);
    }
    let change = match (&before, &after) {
        (Some(a), Some(b)) => (!same_inode(&a.inode, &b.inode)).then_some(Change::Modified),
        (Some(_), None) => Some(Change::Removed),
        (None, Some(_)) => Some(Change::Added),
        (None, None) => None,
    };
    if let Some(change) = change {
        let before = before.as_ref().map(Side::attributes);
        let after = after.as_ref().map(Side::attributes);
        if !each(Difference { path: path.clone(), change, before, after }) {
            return Ok(false);
        }
    }
    let is_directory =
        |side: &Option<Side>| side.as_ref().is_some_and(|side| side.inode.kind == Kind::Directory);
    if !is_directory(&before) && !is_directory(&after) {
        return Ok(true);
    }
    let mut a = Cursor::new(before.as_ref().and_then(Side::entries));
    let mut b = Cursor::new(after.as_ref().and_then(Side::entries));
    loop {
        let step = step(a.stack.last(), b.stack.last());
        let (left, right) = match step {
            Step::End => return Ok(true),
            Step::SkipBoth => {
                a.stack.pop();
                b.stack.pop();
                continue;
            }
            Step::Descend(left, right) => {
                if left {
                    a.descend(inner).await?;
                }
                if right {
                    b.descend(inner).await?;
                }
                continue;
            }
            Step::Take(left, right) => {
                let left = if left { a.take() } else { None };
                (left, if right { b.take() } else { None })
            }
        };
        let name =
            left.as_ref().or(right.as_ref()).map(|(key, _)| key.name.clone()).expect("one side has it");
        let mut below = path.clone();
        if !below.is_empty() {
            below.push(b'/');
        }
        below.extend_from_slice(&name);
        let left = match (&left, &before) {
            (Some((_, entry)), Some(side)) => Some(side.below(inner, entry).await?),
            _ => None,
        };
        let right = match (&right, &after) {
            (Some((_, entry)), Some(side)) => Some(side.below(inner, entry).await?),
            _ => None,
        };
        if !Box::pin(compare(inner, left, right, below, each)).await? {
            return Ok(false);
        }
    }
}

/// What a cursor stands before.
enum Next {
    /// A page; no key in it is lower, if there is a bound.
    Page(Option<EntryKey>, Link<DirectoryTree>),
    Entry(EntryKey, Entry),
}

/// Goes over a directory's tree; the next thing is on top.
struct Cursor {
    stack: Vec<Next>,
}

impl Cursor {
    fn new(root: Root<DirectoryTree>) -> Self {
        Self { stack: root.into_iter().map(|link| Next::Page(None, link)).collect() }
    }

    async fn descend(&mut self, inner: &Inner) -> Result<()> {
        let Some(Next::Page(low, link)) = self.stack.pop() else {
            unreachable!("only pages are descended into")
        };
        let node: Arc<Node<DirectoryTree>> = inner.node(&link).await?;
        match &node.body {
            Body::Leaf(entries) => {
                self.stack
                    .extend(entries.iter().rev().map(|(key, entry)| Next::Entry(key.clone(), entry.clone())));
            }
            Body::Branch(children) => {
                for (index, child) in children.iter().enumerate().rev() {
                    // The first child may hold keys below its own.
                    let low = if index == 0 { low.clone() } else { Some(child.key.clone()) };
                    self.stack.push(Next::Page(low, child.link.clone()));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Option<(EntryKey, Entry)> {
        match self.stack.pop() {
            Some(Next::Entry(key, entry)) => Some((key, entry)),
            _ => unreachable!("only entries are taken"),
        }
    }
}

enum Step {
    End,
    SkipBoth,
    Descend(bool, bool),
    Take(bool, bool),
}

fn step(a: Option<&Next>, b: Option<&Next>) -> Step {
    match (a, b) {
        (None, None) => Step::End,
        (Some(Next::Page(..)), None) => Step::Descend(true, false),
        (None, Some(Next::Page(..))) => Step::Descend(false, true),
        (Some(Next::Entry(..)), None) => Step::Take(true, false),
        (None, Some(Next::Entry(..))) => Step::Take(false, true),
        (Some(Next::Page(low_a, link_a)), Some(Next::Page(low_b, link_b))) => {
            if link_a.same(link_b) {
                Step::SkipBoth
            } else {
                // The page that begins lower is opened; if both begin alike, both are.
                Step::Descend(low_a <= low_b, low_b <= low_a)
            }
        }
        (Some(Next::Page(low, _)), Some(Next::Entry(key, _))) => {
            if low.as_ref().is_some_and(|low| key < low) {
                Step::Take(false, true)
            } else {
                Step::Descend(true, false)
            }
        }
        (Some(Next::Entry(key, _)), Some(Next::Page(low, _))) => {
            if low.as_ref().is_some_and(|low| key < low) {
                Step::Take(true, false)
            } else {
                Step::Descend(false, true)
            }
        }
        (Some(Next::Entry(key_a, _)), Some(Next::Entry(key_b, _))) => {
            Step::Take(key_a <= key_b, key_b <= key_a)
        }
    }
}

fn same_frame(a: &FrameLink, b: &FrameLink) -> bool {
    match (a, b) {
        (FrameLink::Memory(a), FrameLink::Memory(b)) if Arc::ptr_eq(a, b) => true,
        _ => a.address().is_some() && a.address() == b.address(),
    }
}

/// Whether type, mode, owner, size, content and attributes are the same. Content that was written twice counts as different.
fn same_inode(a: &Inode, b: &Inode) -> bool {
    let same_content = match (&a.content, &b.content) {
        (Content::None, Content::None) | (Content::Directory(_), Content::Directory(_)) => true,
        (Content::Inline(a), Content::Inline(b)) => a == b,
        (Content::Tree(a), Content::Tree(b)) => a.same(b),
        (Content::Extents(a), Content::Extents(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|((at_a, a), (at_b, b))| {
                    at_a == at_b
                        && a.start == b.start
                        && a.length == b.length
                        && same_frame(&a.frame, &b.frame)
                })
        }
        _ => false,
    };
    let same_xattrs = match (&a.xattrs, &b.xattrs) {
        (Xattrs::None, Xattrs::None) => true,
        (Xattrs::Inline(a), Xattrs::Inline(b)) => a == b,
        (Xattrs::Frame(a), Xattrs::Frame(b)) => same_frame(&a.frame, &b.frame),
        _ => false,
    };
    let size = |inode: &Inode| if inode.kind == Kind::Directory { 0 } else { inode.size };
    a.mode == b.mode
        && a.uid == b.uid
        && a.gid == b.gid
        && a.rdev == b.rdev
        && size(a) == size(b)
        && same_content
        && same_xattrs
}
