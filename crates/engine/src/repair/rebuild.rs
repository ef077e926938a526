//! Trees without what cannot be read.
//!
//! Everything is looked at once, however many clones share it, and what is sound stays the very node that it is. A node that
//! cannot be read goes, and what its parents say of their entries is counted anew. What lies in it may be found again
//! (see [`super::found`]). Nothing of a file is invented: see [`super::file`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::address::{Address, ItemKind, SegmentId};
use crate::check::Damage;
use crate::kinds::{DirectoryTree, EntryKey, FrameLink, SideTree};
use crate::pool::Inner;
use crate::record::{Content, Directory, Entry, Inode, SideKey, Sums, Xattrs};
use crate::segment::Pinned;
use crate::sync::Mutex;
use crate::tree::{AnyNode, Body, Branch, Link, Missing, Node, Root, Tree};
use crate::{ErrorKind, Result};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A tree that was gone through.
pub(super) struct Rebuilt<K: Tree> {
    /// Nothing, if nothing of it is left.
    pub(super) root: Root<K>,
    pub(super) weight: u64,
    pub(super) sums: Sums,
    pub(super) is_changed: bool,
}

impl<K: Tree> Clone for Rebuilt<K> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), ..*self }
    }
}

impl<K: Tree> Rebuilt<K> {
    fn nothing() -> Self {
        Self { root: None, weight: 0, sums: Sums::default(), is_changed: true }
    }
}

/// A node of a directory tree that cannot be read.
#[derive(Clone, Debug)]
pub(super) struct LostNode {
    pub(super) address: Address,
    /// Keys that it held: from one, up to another.
    pub(super) low: Option<EntryKey>,
    pub(super) high: Option<EntryKey>,
}

impl LostNode {
    pub(super) fn holds(&self, key: &EntryKey) -> bool {
        self.low.as_ref().is_none_or(|low| low <= key) && self.high.as_ref().is_none_or(|high| key < high)
    }
}

/// Trees whose values are inodes, or lead to some.
trait Inodes: Tree {
    fn inode(value: &Self::Value) -> Option<&Arc<Inode>>;
    fn value(inode: Inode) -> Self::Value;
    fn sum(value: &Self::Value, sums: &mut Sums);
    fn memo<'m>(rebuilder: &'m mut Rebuilder<'_>) -> &'m mut FxHashMap<Address, Rebuilt<Self>>;
    fn lost(rebuilder: &mut Rebuilder<'_>, address: Address, range: (Option<Self::Key>, Option<Self::Key>));
}

impl Inodes for DirectoryTree {
    fn inode(value: &Entry) -> Option<&Arc<Inode>> {
        match value {
            Entry::Inode(inode) => Some(inode),
            Entry::Linked(_) => None,
        }
    }
    fn value(inode: Inode) -> Entry {
        inode.into()
    }
    fn sum(value: &Entry, sums: &mut Sums) {
        *sums = sums.plus(value.sums());
    }
    fn memo<'m>(rebuilder: &'m mut Rebuilder<'_>) -> &'m mut FxHashMap<Address, Rebuilt<Self>> {
        &mut rebuilder.directories
    }
    fn lost(
        rebuilder: &mut Rebuilder<'_>,
        address: Address,
        (low, high): (Option<EntryKey>, Option<EntryKey>),
    ) {
        if !rebuilder.lost.iter().any(|lost| lost.address == address) {
            rebuilder.lost.push(LostNode { address, low, high });
        }
    }
}

impl Inodes for SideTree {
    fn inode(value: &Arc<Inode>) -> Option<&Arc<Inode>> {
        Some(value)
    }
    fn value(inode: Inode) -> Arc<Inode> {
        Arc::new(inode)
    }
    fn sum(_: &Arc<Inode>, _: &mut Sums) {}
    fn memo<'m>(rebuilder: &'m mut Rebuilder<'_>) -> &'m mut FxHashMap<Address, Rebuilt<Self>> {
        &mut rebuilder.sides
    }
    fn lost(rebuilder: &mut Rebuilder<'_>, _: Address, _: (Option<SideKey>, Option<SideKey>)) {
        rebuilder.done.side_nodes_lost += 1;
    }
}

/// Everything that is known to be damaged.
pub(super) struct Bad {
    items: FxHashSet<Address>,
    /// Segments whose items can be found.
    segments: FxHashSet<SegmentId>,
}

impl Bad {
    pub(super) fn of(inner: &Inner, damage: &Damage<'_>) -> Self {
        let mut segments: FxHashSet<SegmentId> = inner.items.table().keys().copied().collect();
        segments.retain(|segment| !damage.bad_segments.contains_key(segment));
        Self { items: damage.bad.keys().copied().collect(), segments }
    }

    pub(super) fn contains(&self, address: Address) -> bool {
        self.items.contains(&address) || !self.segments.contains(&address.segment())
    }
}

/// What was done to trees.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Directories whose sums were wrong, also because entries went.
    pub(super) directories_summed: u64,
    /// Files of which a part is marked as lost now, and those bytes; what clones share counts once.
    pub(super) files_marked: u64,
    pub(super) bytes_marked: u64,
    pub(super) attributes_marked: u64,
    pub(super) side_nodes_lost: u64,
    /// Names that led to files of several names which are no more.
    pub(super) names_dropped: u64,
    /// Files of several names whose number of names was wrong.
    pub(super) names_counted: u64,
}

/// Goes through trees.
pub(super) struct Rebuilder<'a> {
    pub(super) inner: &'a Inner,
    /// Items that are known to be damaged.
    pub(super) bad: Bad,
    pub(super) nodes: Pinned<'a>,
    directories: FxHashMap<Address, Rebuilt<DirectoryTree>>,
    sides: FxHashMap<Address, Rebuilt<SideTree>>,
    /// File trees in which nothing has to be done, or something.
    pub(super) sound_files: FxHashMap<Address, bool>,
    pub(super) files: FxHashMap<(Address, u64), Content>,
    pub(super) realms: FxHashMap<super::names::RealmTrees, super::names::Reconciled>,
    /// Nodes of directory trees that were lost.
    pub(super) lost: Vec<LostNode>,
    /// The newest node of any tree that was lost. What it led to was written before it.
    pub(super) newest_lost: Mutex<Option<Address>>,
    /// Inodes of files of several names to which no name leads any more.
    pub(super) unnamed: Vec<Arc<Inode>>,
    pub(super) done: Done,
}

impl<'a> Rebuilder<'a> {
    pub(super) fn new(inner: &'a Inner, bad: Bad) -> Self {
        Self {
            inner,
            bad,
            nodes: Pinned::new(&inner.items),
            directories: FxHashMap::default(),
            sides: FxHashMap::default(),
            sound_files: FxHashMap::default(),
            files: FxHashMap::default(),
            realms: FxHashMap::default(),
            lost: Vec::new(),
            newest_lost: Mutex::new(None),
            unnamed: Vec::new(),
            done: Done::default(),
        }
    }

    /// A node, unless it cannot be read.
    pub(super) async fn node<K: Tree>(&self, link: &Link<K>) -> Result<Option<Arc<Node<K>>>> {
        let address = match link {
            Link::Memory(node) => return Ok(Some(node.clone())),
            Link::Stored(address) => *address,
        };
        if !self.bad.contains(address) {
            match self.inner.items.node(Missing { address, kind: K::KIND }).await {
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                node => return node.map(K::unwrap),
            }
        }
        let mut newest = self.newest_lost.lock();
        *newest = (*newest).max(Some(address));
        Ok(None)
    }

    /// An inode of a base of the state.
    pub(super) async fn base(&mut self, inode: &Inode) -> Result<Inode> {
        Ok(self.inode(inode).await?.unwrap_or_else(|| inode.clone()))
    }

    /// Goes through a directory tree.
    pub(super) async fn directory(&mut self, root: &Link<DirectoryTree>) -> Result<Rebuilt<DirectoryTree>> {
        self.tree(root, (None, None)).await
    }

    fn tree<'f, K: Inodes>(
        &'f mut self,
        link: &'f Link<K>,
        range: (Option<K::Key>, Option<K::Key>),
    ) -> Boxed<'f, Rebuilt<K>> {
        Box::pin(async move {
            let address = link.address().expect("what is rebuilt was stored");
            if let Some(known) = K::memo(self).get(&address) {
                return Ok(known.clone());
            }
            let rebuilt = match self.node(link).await? {
                Some(node) => self.page(link, &node, range).await?,
                None => {
                    K::lost(self, address, range);
                    Rebuilt::nothing()
                }
            };
            K::memo(self).insert(address, rebuilt.clone());
            Ok(rebuilt)
        })
    }

    async fn page<K: Inodes>(
        &mut self,
        link: &Link<K>,
        node: &Node<K>,
        (low, high): (Option<K::Key>, Option<K::Key>),
    ) -> Result<Rebuilt<K>> {
        let mut sums = Sums::default();
        let mut is_changed = false;
        let body = match &node.body {
            Body::Leaf(entries) => {
                let mut kept = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    let new = match K::inode(value) {
                        Some(inode) => self.inode(inode).await?.map(K::value),
                        None => None,
                    };
                    is_changed |= new.is_some();
                    let value = new.unwrap_or_else(|| value.clone());
                    K::sum(&value, &mut sums);
                    kept.push((key.clone(), value));
                }
                Body::Leaf(kept.into())
            }
            Body::Branch(children) => {
                let mut kept = Vec::with_capacity(children.len());
                for (index, child) in children.iter().enumerate() {
                    let from = if index == 0 { low.clone() } else { Some(child.key.clone()) };
                    let to =
                        children.get(index + 1).map_or_else(|| high.clone(), |next| Some(next.key.clone()));
                    let below = self.tree(&child.link, (from, to)).await?;
                    is_changed |= below.is_changed || below.weight != child.weight;
                    sums = sums.plus(below.sums);
                    if let Some(link) = below.root {
                        kept.push(Branch { key: child.key.clone(), link, weight: below.weight });
                    }
                }
                if kept.is_empty() {
                    return Ok(Rebuilt::nothing());
                }
                Body::Branch(kept.into())
            }
        };
        if !is_changed {
            let root = Some(link.clone());
            return Ok(Rebuilt { root, weight: node.weight, sums, is_changed });
        }
        let node = Node::new(body, &self.nodes);
        Ok(Rebuilt { weight: node.weight, root: Some(Link::Memory(Arc::new(node))), sums, is_changed })
    }

    /// An inode as it has to be; `None` if it is already.
    async fn inode(&mut self, inode: &Inode) -> Result<Option<Inode>> {
        let mut new = None;
        match &inode.content {
            Content::None | Content::Inline(_) => {}
            Content::Extents(_) | Content::Tree(_) => {
                if let Some((content, allocated)) = self.file(inode).await? {
                    new = Some(Inode { content, allocated, ..inode.clone() });
                }
            }
            Content::Directory(directory) => {
                if let Some(directory) = self.directory_content(directory).await? {
                    new = Some(Inode { content: Content::Directory(Box::new(directory)), ..inode.clone() });
                }
            }
        }
        if let Xattrs::Frame(held) = &inode.xattrs
            && let Some(address) = held.frame.address()
            && !address.is_lost()
            && self.is_bad_frame(address)
        {
            self.done.attributes_marked += 1;
            let inode = new.get_or_insert_with(|| inode.clone());
            let mut held = held.clone();
            held.frame = FrameLink::Stored(Address::LOST);
            inode.xattrs = Xattrs::Frame(held);
        }
        Ok(new)
    }

    pub(super) fn is_bad_frame(&self, address: Address) -> bool {
        self.bad.contains(address)
    }

    async fn directory_content(&mut self, directory: &Directory) -> Result<Option<Directory>> {
        let mut new = directory.clone();
        let mut is_changed = false;
        let mut sums = Sums::default();
        if let Some(link) = &directory.entries {
            let rebuilt = self.directory(link).await?;
            is_changed |= rebuilt.is_changed;
            sums = rebuilt.sums;
            new.entries = rebuilt.root;
        }
        if sums != directory.sums() {
            self.done.directories_summed += 1;
            is_changed = true;
        }
        new.set_sums(sums);
        if let Some(realm) = &mut new.realm {
            if let Some(link) = realm.side.take() {
                let rebuilt = self.tree(&link, (None, None)).await?;
                is_changed |= rebuilt.is_changed;
                realm.side = rebuilt.root;
            }
            is_changed |= self.reconcile_names(directory, &mut new).await?;
        }
        Ok(is_changed.then_some(new))
    }
}

/// A stored node of any kind, for those that know its kind only.
pub(super) async fn any_node(inner: &Inner, address: Address, kind: ItemKind) -> Result<Option<AnyNode>> {
    match inner.items.node(Missing { address, kind }).await {
        Ok(node) => Ok(Some(node)),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
        Err(error) => Err(error),
    }
}
