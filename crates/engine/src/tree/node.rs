//! Nodes, links and what a kind of tree has to define.

use std::sync::Arc;

use super::page::Page;
use super::{Missing, Nodes};
use crate::Result;
use crate::address::{Address, ItemKind};
use crate::format::codec::{Reader, Writer, out_of_range};
use crate::kinds::{AliasTree, DirectoryTree, FileTree, FrameLink, Ledger, RealmTree, SideTree};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts the nodes of a pool that are in memory because they were changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangedNodes(Arc<AtomicUsize>);

impl ChangedNodes {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one node, for as long as the mark lives.
    pub(crate) fn mark(&self) -> ChangedMark {
        self.0.fetch_add(1, Ordering::Relaxed);
        ChangedMark(self.0.clone())
    }
}

/// One node among [`ChangedNodes`].
#[derive(Debug)]
pub(crate) struct ChangedMark(Arc<AtomicUsize>);

impl Clone for ChangedMark {
    fn clone(&self) -> Self {
        ChangedNodes(self.0.clone()).mark()
    }
}

impl Drop for ChangedMark {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What differs between the trees: keys, values and their encoding.
pub(crate) trait Tree: Sized + Send + Sync + 'static {
    type Key: Clone + Ord + Send + Sync + std::fmt::Debug;
    type Value: Clone + Send + Sync;
    const KIND: ItemKind;
    /// Whether keys have a rank that is quicker to compare than they are.
    const RANKED: bool = false;

    /// A number that is never higher for a lower key; keys of one rank are told apart by [`Ord`].
    fn rank(_: &Self::Key) -> u64 {
        0
    }
    /// Upper bound of the encoded size of an entry, in bytes.
    fn entry_bytes(key: &Self::Key, value: &Self::Value) -> usize;
    /// Upper bound of the encoded size of a key, in bytes.
    fn key_bytes(key: &Self::Key) -> usize;
    /// What branches sum up over the entries below.
    fn weight(value: &Self::Value) -> u64;
    fn encode_key(key: &Self::Key, out: &mut Writer);
    fn decode_key(from: &mut Reader<'_>) -> Result<Self::Key>;
    /// All links in the value must have addresses.
    fn encode_value(value: &Self::Value, out: &mut Writer);
    fn decode_value(from: &mut Reader<'_>) -> Result<Self::Value>;
    /// Whether a stored entry can be, behind the one `before` it in its leaf.
    fn is_possible(
        _before: Option<&(Self::Key, Self::Value)>,
        _key: &Self::Key,
        _value: &Self::Value,
    ) -> bool {
        true
    }
    fn wrap(node: Arc<Node<Self>>) -> AnyNode;
    fn unwrap(node: AnyNode) -> Option<Arc<Node<Self>>>;
    /// Shows every link in a value to the visitor.
    fn visit_value<V: Visitor>(value: &Self::Value, visitor: &mut V);
    fn visit_value_mut<V: VisitorMut>(value: &mut Self::Value, visitor: &mut V);
    /// Shows a link to a node of this kind to the visitor.
    fn visit_link<V: Visitor>(link: &Link<Self>, visitor: &mut V);
    fn visit_link_mut<V: VisitorMut>(link: &mut Link<Self>, visitor: &mut V);
}

/// Receives the links of a node or value. One method for each kind, because they have different types.
pub(crate) trait Visitor {
    fn directory(&mut self, link: &Link<DirectoryTree>) {
        self.plain(link);
    }
    fn file(&mut self, link: &Link<FileTree>) {
        self.plain(link);
    }
    fn side(&mut self, link: &Link<SideTree>) {
        self.plain(link);
    }
    fn frame(&mut self, link: &FrameLink);
    /// Trees that are never shared and whose nodes hold no links but their own; all others too, for those who tell no difference.
    fn plain<K: Tree>(&mut self, link: &Link<K>);
}

/// As [`Visitor`], with leave to change. Links that are addresses already need not be shown.
pub(crate) trait VisitorMut {
    fn tree<K: Tree>(&mut self, link: &mut Link<K>);
    fn frame(&mut self, link: &mut FrameLink);
}

/// Reduces every link to its address. All must have one.
pub(crate) struct Addresses;

impl VisitorMut for Addresses {
    fn tree<K: Tree>(&mut self, link: &mut Link<K>) {
        *link = Link::Stored(link.address().expect("children are stored before their parent"));
    }
    fn frame(&mut self, link: &mut FrameLink) {
        *link = FrameLink::Stored(link.address().expect("frames are stored before what leads to them"));
    }
}

/// A child of a branch: the subtree of all keys from `key` to the next child's key. The first child's key is no bound: the subtree
/// holds all lower keys too.
pub(crate) struct Branch<K: Tree> {
    pub(crate) key: K::Key,
    pub(crate) link: Link<K>,
    pub(crate) weight: u64,
}

impl<K: Tree> Clone for Branch<K> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), link: self.link.clone(), weight: self.weight }
    }
}

/// Entries in ascending order of their keys.
pub(crate) enum Body<K: Tree> {
    Leaf(Page<K, (K::Key, K::Value)>),
    Branch(Page<K, Branch<K>>),
}

/// One page of a tree.
pub(crate) struct Node<K: Tree> {
    /// The raw address once stored as it is, else 0.
    stored: AtomicU64,
    /// Upper bound of the encoded size.
    pub(crate) bytes: usize,
    /// Sum of the weights of all entries below.
    pub(crate) weight: u64,
    pub(crate) body: Body<K>,
    /// Present unless the node is as it came from the store.
    changed: Option<ChangedMark>,
}

impl<K: Tree> Drop for Node<K> {
    fn drop(&mut self) {
        let body = std::mem::replace(&mut self.body, Body::Leaf(Vec::new().into()));
        super::with_stack(|| drop(body));
    }
}

pub(crate) const NODE_HEADER_BYTES: usize = 8;

impl<K: Tree> Node<K> {
    /// A new page.
    pub(crate) fn new(body: Body<K>, nodes: &dyn Nodes) -> Self {
        Self::make(body, nodes.changed())
    }

    fn make(body: Body<K>, changed: Option<ChangedMark>) -> Self {
        let mut node = Self { stored: AtomicU64::new(0), bytes: 0, weight: 0, body, changed };
        node.measure();
        node
    }

    /// Counts the encoded size and the weight anew.
    pub(crate) fn measure(&mut self) {
        let (bytes, weight) = match &self.body {
            Body::Leaf(entries) => entries.iter().fold((0, 0u64), |(bytes, weight), (key, value)| {
                (bytes + K::entry_bytes(key, value), weight.wrapping_add(K::weight(value)))
            }),
            Body::Branch(children) => children.iter().fold((0, 0u64), |(bytes, weight), child| {
                (bytes + Self::branch_bytes(&child.key), weight.wrapping_add(child.weight))
            }),
        };
        self.bytes = NODE_HEADER_BYTES + bytes;
        self.weight = weight;
    }

    pub(crate) fn branch_bytes(key: &K::Key) -> usize {
        K::key_bytes(key) + 20
    }

    /// The value at an index that [`super::find`] gave.
    ///
    /// # Panics
    /// If the page is a branch.
    pub(crate) fn value(&self, index: usize) -> &K::Value {
        match &self.body {
            Body::Leaf(entries) => &entries[index].1,
            Body::Branch(_) => unreachable!("find returns leaves"),
        }
    }

    /// A copy that has no address.
    pub(crate) fn fork(&self) -> Self {
        Self {
            stored: AtomicU64::new(0),
            bytes: self.bytes,
            weight: self.weight,
            changed: self.changed.clone(),
            body: match &self.body {
                Body::Leaf(entries) => Body::Leaf(entries.clone()),
                Body::Branch(children) => Body::Branch(children.clone()),
            },
        }
    }

    pub(crate) fn address(&self) -> Option<Address> {
        Address::from_raw(self.stored.load(Ordering::Acquire))
    }

    pub(crate) fn set_address(&self, address: Address) {
        self.stored.store(address.raw(), Ordering::Release);
    }

    /// The same page with every link reduced to its address, as it would come from the store.
    ///
    /// # Panics
    /// If a link has no address yet.
    pub(crate) fn settled(&self, address: Address) -> Self {
        let mut copy = self.fork();
        copy.changed = None;
        copy.visit_mut(&mut Addresses);
        copy.stored = AtomicU64::new(address.raw());
        copy
    }

    pub(crate) fn visit<V: Visitor>(&self, visitor: &mut V) {
        match &self.body {
            Body::Leaf(entries) => entries.iter().for_each(|(_, value)| K::visit_value(value, visitor)),
            Body::Branch(children) => children.iter().for_each(|child| K::visit_link(&child.link, visitor)),
        }
    }

    pub(crate) fn visit_mut<V: VisitorMut>(&mut self, visitor: &mut V) {
        match &mut self.body {
            Body::Leaf(entries) => {
                entries.change_all().for_each(|(_, value)| K::visit_value_mut(value, visitor))
            }
            Body::Branch(children) => {
                children.change_all().for_each(|child| K::visit_link_mut(&mut child.link, visitor))
            }
        }
    }

    /// Format: kind, 0 for a leaf or 1 for a branch, count, entries.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(self.bytes);
        out.u8(K::KIND as u8);
        match &self.body {
            Body::Leaf(entries) => {
                out.u8(0);
                out.varint(entries.len() as u64);
                for (key, value) in entries {
                    K::encode_key(key, &mut out);
                    K::encode_value(value, &mut out);
                }
            }
            Body::Branch(children) => {
                out.u8(1);
                out.varint(children.len() as u64);
                for child in children {
                    K::encode_key(&child.key, &mut out);
                    out.u64(child.link.address().expect("children are stored before their parent").raw());
                    out.varint(child.weight);
                }
            }
        }
        out.bytes
    }

    pub(crate) fn decode(bytes: &[u8], address: Address) -> Result<Self> {
        let mut from = Reader::new(bytes);
        if from.u8()? != K::KIND as u8 {
            return Err(out_of_range("node kind"));
        }
        let body = match from.u8()? {
            0 => {
                let count = from.count(2)?;
                let mut entries: Vec<(K::Key, K::Value)> = Vec::with_capacity(count);
                for _ in 0..count {
                    let key = K::decode_key(&mut from)?;
                    if entries.last().is_some_and(|(last, _)| *last >= key) {
                        return Err(out_of_range("node order"));
                    }
                    let value = K::decode_value(&mut from)?;
                    if !K::is_possible(entries.last(), &key, &value) {
                        return Err(out_of_range("node entry"));
                    }
                    entries.push((key, value));
                }
                Body::Leaf(entries.into())
            }
            1 => {
                let count = from.count(9)?;
                if count == 0 {
                    return Err(out_of_range("branch"));
                }
                let mut children: Vec<Branch<K>> = Vec::with_capacity(count);
                for _ in 0..count {
                    let key = K::decode_key(&mut from)?;
                    if children.last().is_some_and(|last| last.key >= key) {
                        return Err(out_of_range("node order"));
                    }
                    let link = Link::Stored(decode_address(&mut from)?);
                    children.push(Branch { key, link, weight: from.varint()? });
                }
                Body::Branch(children.into())
            }
            _ => return Err(out_of_range("node level")),
        };
        from.end()?;
        let mut node = Self::make(body, None);
        let mut order = ChildrenFirst { parent: address, is_kept: true };
        node.visit(&mut order);
        if !order.is_kept {
            return Err(out_of_range("link to a node"));
        }
        node.stored = AtomicU64::new(address.raw());
        Ok(node)
    }
}

/// Children are stored before their parents, so they have lower addresses: nothing that is stored leads to itself, and every way down
/// ends.
struct ChildrenFirst {
    parent: Address,
    is_kept: bool,
}

impl Visitor for ChildrenFirst {
    /// Frames lead nowhere, and the log stores them in segments of its own.
    fn frame(&mut self, _: &FrameLink) {}
    fn plain<K: Tree>(&mut self, link: &Link<K>) {
        self.is_kept &= link.address().is_none_or(|child| child < self.parent);
    }
}

pub(crate) fn decode_address(from: &mut Reader<'_>) -> Result<Address> {
    Address::from_raw(from.u64()?).ok_or_else(|| out_of_range("address"))
}

/// The way to a node.
pub(crate) enum Link<K: Tree> {
    /// In the store, perhaps also in the cache.
    Stored(Address),
    /// In memory; it has an address too once it has been stored.
    Memory(Arc<Node<K>>),
}

/// A tree: nothing, or the link to its root node.
pub(crate) type Root<K> = Option<Link<K>>;

impl<K: Tree> Clone for Link<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Stored(address) => Self::Stored(*address),
            Self::Memory(node) => Self::Memory(node.clone()),
        }
    }
}

impl<K: Tree> Link<K> {
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self, Self::Memory(_))
    }

    pub(crate) fn address(&self) -> Option<Address> {
        match self {
            Self::Stored(address) => Some(*address),
            Self::Memory(node) => node.address(),
        }
    }

    /// The node for reading.
    pub(crate) fn node(&self, nodes: &dyn Nodes) -> Result<Arc<Node<K>>, Missing> {
        match self {
            Self::Memory(node) => Ok(node.clone()),
            Self::Stored(address) => {
                nodes.get(*address).and_then(K::unwrap).ok_or(Missing { address: *address, kind: K::KIND })
            }
        }
    }

    /// The node for changing: brought into memory, copied if anything else refers to it, without an address.
    pub(crate) fn own(&mut self, nodes: &dyn Nodes) -> Result<&mut Node<K>, Missing> {
        if let Self::Stored(_) = self {
            let mut copy = self.node(nodes)?.fork();
            copy.changed = nodes.changed();
            *self = Self::Memory(Arc::new(copy));
        }
        let Self::Memory(arc) = self else { unreachable!("it was just put into memory") };
        if Arc::get_mut(arc).is_none() {
            *arc = Arc::new(arc.fork());
        }
        let node = Arc::get_mut(arc).expect("the node is not shared");
        *node.stored.get_mut() = 0;
        Ok(node)
    }

    /// Whether both lead to the same page.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory(a), Self::Memory(b)) if Arc::ptr_eq(a, b) => true,
            _ => self.address().is_some() && self.address() == other.address(),
        }
    }
}

/// A node of any kind, as the cache holds it.
#[derive(Clone)]
pub(crate) enum AnyNode {
    Directory(Arc<Node<DirectoryTree>>),
    File(Arc<Node<FileTree>>),
    Side(Arc<Node<SideTree>>),
    Alias(Arc<Node<AliasTree>>),
    Ledger(Arc<Node<Ledger>>),
    Realm(Arc<Node<RealmTree>>),
}

impl AnyNode {
    pub(crate) fn decode(kind: ItemKind, bytes: &[u8], address: Address) -> Result<Self> {
        Ok(match kind {
            ItemKind::Frame => return Err(out_of_range("node kind")),
            ItemKind::Directory => Self::Directory(Arc::new(Node::decode(bytes, address)?)),
            ItemKind::File => Self::File(Arc::new(Node::decode(bytes, address)?)),
            ItemKind::Side => Self::Side(Arc::new(Node::decode(bytes, address)?)),
            ItemKind::Alias => Self::Alias(Arc::new(Node::decode(bytes, address)?)),
            ItemKind::Ledger => Self::Ledger(Arc::new(Node::decode(bytes, address)?)),
            ItemKind::Realm => Self::Realm(Arc::new(Node::decode(bytes, address)?)),
        })
    }

    pub(crate) fn visit<V: Visitor>(&self, visitor: &mut V) {
        match self {
            Self::Directory(node) => node.visit(visitor),
            Self::File(node) => node.visit(visitor),
            Self::Side(node) => node.visit(visitor),
            Self::Alias(node) => node.visit(visitor),
            Self::Ledger(node) => node.visit(visitor),
            Self::Realm(node) => node.visit(visitor),
        }
    }

    /// Encoded size, in bytes; the cache weighs with it.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Directory(node) => node.bytes,
            Self::File(node) => node.bytes,
            Self::Side(node) => node.bytes,
            Self::Alias(node) => node.bytes,
            Self::Ledger(node) => node.bytes,
            Self::Realm(node) => node.bytes,
        }
    }
}
