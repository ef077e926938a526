//! The kinds of trees and what they hold.

use std::sync::Arc;

use crate::Result;
use crate::address::{Address, ItemKind};
use crate::format::codec::{Reader, Writer, out_of_range};
use crate::format::inode as encoding;
use crate::frame::Frame;
use crate::record::{
    AliasKey, Content, Entry, Foreign, Inode, Name, Realm, RealmKey, RealmValue, SideKey, Xattrs,
};
use crate::tree::{AnyNode, Link, Node, Tree, Visitor, VisitorMut};

/// The way to a frame.
#[derive(Clone)]
pub(crate) enum FrameLink {
    Stored(Address),
    /// In memory; it has an address too once it has been stored.
    Memory(Arc<Frame>),
}

impl FrameLink {
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self, Self::Memory(_))
    }

    pub(crate) fn address(&self) -> Option<Address> {
        match self {
            Self::Stored(address) => Some(*address),
            Self::Memory(frame) => frame.address(),
        }
    }

    /// Whether what it led to was lost, and a repair has said so.
    pub(crate) fn is_lost(&self) -> bool {
        self.address().is_some_and(Address::is_lost)
    }
}

/// A run of file content: `length` bytes of a frame from `start`.
#[derive(Clone)]
pub(crate) struct Extent {
    pub(crate) frame: FrameLink,
    pub(crate) start: u32,
    pub(crate) length: u32,
}

/// Position of a name in its directory: a keyed hash, then the name itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryKey {
    /// 3 or more, below 2^63.
    pub(crate) hash: u64,
    pub(crate) name: Name,
}

/// Name -> entry.
pub(crate) struct DirectoryTree;
/// Offset in bytes -> extent. A hole is an absent key.
pub(crate) struct FileTree;
/// Inodes with several names.
pub(crate) struct SideTree;
/// What came from elsewhere, met in a clone of where it came to -> the realm that it belongs to there.
pub(crate) struct AliasTree;
/// Raw address -> number of stored references, where it is not 1; 0 is dead.
pub(crate) struct Ledger;
/// All realms with their uses, and ranges of free ids.
pub(crate) struct RealmTree;

impl Tree for DirectoryTree {
    type Key = EntryKey;
    type Value = Entry;
    const KIND: ItemKind = ItemKind::Directory;
    const RANKED: bool = true;

    fn rank(key: &EntryKey) -> u64 {
        key.hash
    }

    fn entry_bytes(key: &EntryKey, value: &Entry) -> usize {
        Self::key_bytes(key) + encoding::entry_bytes(value)
    }
    fn key_bytes(key: &EntryKey) -> usize {
        10 + key.name.len()
    }
    /// Identities: the way to what a removal has to look for.
    fn weight(value: &Entry) -> u64 {
        value.totals().identities()
    }
    fn encode_key(key: &EntryKey, out: &mut Writer) {
        out.u64(key.hash);
        out.bytes(&key.name);
    }
    fn decode_key(from: &mut Reader<'_>) -> Result<EntryKey> {
        let hash = from.u64()?;
        let name = from.bytes()?;
        if name.is_empty() || name.len() > 255 || !(3..1 << 63).contains(&hash) {
            return Err(out_of_range("name"));
        }
        Ok(EntryKey { hash, name: Name::from_slice(name) })
    }
    fn encode_value(value: &Entry, out: &mut Writer) {
        encoding::encode_entry(value, out);
    }
    fn decode_value(from: &mut Reader<'_>) -> Result<Entry> {
        encoding::decode_entry(from)
    }
    fn wrap(node: Arc<Node<Self>>) -> AnyNode {
        AnyNode::Directory(node)
    }
    fn unwrap(node: AnyNode) -> Option<Arc<Node<Self>>> {
        if let AnyNode::Directory(node) = node { Some(node) } else { None }
    }
    fn visit_value<V: Visitor>(value: &Entry, visitor: &mut V) {
        if let Entry::Inode(inode) = value {
            visit_inode(inode, visitor);
        }
    }
    fn visit_value_mut<V: VisitorMut>(value: &mut Entry, visitor: &mut V) {
        if let Entry::Inode(inode) = value {
            visit_shared_mut(inode, visitor);
        }
    }
    fn visit_link<V: Visitor>(link: &Link<Self>, visitor: &mut V) {
        visitor.directory(link);
    }
    fn visit_link_mut<V: VisitorMut>(link: &mut Link<Self>, visitor: &mut V) {
        visitor.tree(link);
    }
}

/// Shows every link of an inode to the visitor.
pub(crate) fn visit_inode<V: Visitor>(inode: &Inode, visitor: &mut V) {
    match &inode.content {
        Content::None | Content::Inline(_) => {}
        Content::Extents(extents) => extents.iter().for_each(|(_, extent)| visitor.frame(&extent.frame)),
        Content::Tree(link) => visitor.file(link),
        Content::Directory(directory) => {
            directory.entries.iter().for_each(|link| visitor.directory(link));
            directory.realm.iter().flat_map(|realm| &realm.side).for_each(|link| visitor.side(link));
        }
    }
    if let Xattrs::Frame(held) = &inode.xattrs {
        visitor.frame(&held.frame);
    }
}

/// As [`visit_inode`], with leave to change.
pub(crate) fn visit_inode_mut<V: VisitorMut>(inode: &mut Inode, visitor: &mut V) {
    match &mut inode.content {
        Content::None | Content::Inline(_) => {}
        Content::Extents(extents) => {
            extents.iter_mut().for_each(|(_, extent)| visitor.frame(&mut extent.frame))
        }
        Content::Tree(link) => visitor.tree(link),
        Content::Directory(directory) => {
            directory.entries.iter_mut().for_each(|link| visitor.tree(link));
            directory.realm.iter_mut().flat_map(|realm| &mut realm.side).for_each(|link| visitor.tree(link));
        }
    }
    if let Xattrs::Frame(held) = &mut inode.xattrs {
        visitor.frame(&mut held.frame);
    }
}

/// As [`visit_inode_mut`], for an inode that other nodes may share. Without links into memory it stays shared.
fn visit_shared_mut<V: VisitorMut>(inode: &mut Arc<Inode>, visitor: &mut V) {
    if inode.leads_into_memory() {
        visit_inode_mut(Arc::make_mut(inode), visitor);
    }
}

impl Tree for FileTree {
    type Key = u64;
    type Value = Extent;
    const KIND: ItemKind = ItemKind::File;

    fn entry_bytes(_: &u64, _: &Extent) -> usize {
        28
    }
    fn key_bytes(_: &u64) -> usize {
        10
    }
    fn weight(value: &Extent) -> u64 {
        u64::from(value.length)
    }
    fn encode_key(key: &u64, out: &mut Writer) {
        out.varint(*key);
    }
    fn decode_key(from: &mut Reader<'_>) -> Result<u64> {
        from.varint()
    }
    fn encode_value(value: &Extent, out: &mut Writer) {
        encoding::encode_extent(value, out);
    }
    fn decode_value(from: &mut Reader<'_>) -> Result<Extent> {
        encoding::decode_extent(from)
    }
    fn is_possible(before: Option<&(u64, Extent)>, key: &u64, value: &Extent) -> bool {
        encoding::is_possible_extent(before, *key, value)
    }
    fn wrap(node: Arc<Node<Self>>) -> AnyNode {
        AnyNode::File(node)
    }
    fn unwrap(node: AnyNode) -> Option<Arc<Node<Self>>> {
        if let AnyNode::File(node) = node { Some(node) } else { None }
    }
    fn visit_value<V: Visitor>(value: &Extent, visitor: &mut V) {
        visitor.frame(&value.frame);
    }
    fn visit_value_mut<V: VisitorMut>(value: &mut Extent, visitor: &mut V) {
        visitor.frame(&mut value.frame);
    }
    fn visit_link<V: Visitor>(link: &Link<Self>, visitor: &mut V) {
        visitor.file(link);
    }
    fn visit_link_mut<V: VisitorMut>(link: &mut Link<Self>, visitor: &mut V) {
        visitor.tree(link);
    }
}

impl Tree for SideTree {
    type Key = SideKey;
    type Value = Arc<Inode>;
    const KIND: ItemKind = ItemKind::Side;

    fn entry_bytes(key: &SideKey, value: &Arc<Inode>) -> usize {
        Self::key_bytes(key) + encoding::inode_bytes(value)
    }
    fn key_bytes(_: &SideKey) -> usize {
        30
    }
    /// As in a directory tree.
    fn weight(value: &Arc<Inode>) -> u64 {
        u64::from(value.identity.is_some())
    }
    fn encode_key(key: &SideKey, out: &mut Writer) {
        encoding::encode_side_key(key, out);
    }
    fn decode_key(from: &mut Reader<'_>) -> Result<SideKey> {
        encoding::decode_side_key(from)
    }
    fn encode_value(value: &Arc<Inode>, out: &mut Writer) {
        encoding::encode_inode(value, out);
    }
    fn decode_value(from: &mut Reader<'_>) -> Result<Arc<Inode>> {
        encoding::decode_inode(from).map(Arc::new)
    }
    fn wrap(node: Arc<Node<Self>>) -> AnyNode {
        AnyNode::Side(node)
    }
    fn unwrap(node: AnyNode) -> Option<Arc<Node<Self>>> {
        if let AnyNode::Side(node) = node { Some(node) } else { None }
    }
    fn visit_value<V: Visitor>(value: &Arc<Inode>, visitor: &mut V) {
        visit_inode(value, visitor);
    }
    fn visit_value_mut<V: VisitorMut>(value: &mut Arc<Inode>, visitor: &mut V) {
        visit_shared_mut(value, visitor);
    }
    fn visit_link<V: Visitor>(link: &Link<Self>, visitor: &mut V) {
        visitor.side(link);
    }
    fn visit_link_mut<V: VisitorMut>(link: &mut Link<Self>, visitor: &mut V) {
        visitor.tree(link);
    }
}

/// A tree whose values hold no links.
macro_rules! plain_tree {
    ($tree:ident, $kind:ident, $key:ty, $value:ty) => {
        fn wrap(node: Arc<Node<Self>>) -> AnyNode {
            AnyNode::$kind(node)
        }
        fn unwrap(node: AnyNode) -> Option<Arc<Node<Self>>> {
            if let AnyNode::$kind(node) = node { Some(node) } else { None }
        }
        fn visit_value<V: Visitor>(_: &$value, _: &mut V) {}
        fn visit_value_mut<V: VisitorMut>(_: &mut $value, _: &mut V) {}
        fn visit_link<V: Visitor>(link: &Link<Self>, visitor: &mut V) {
            visitor.plain(link);
        }
        fn visit_link_mut<V: VisitorMut>(link: &mut Link<Self>, visitor: &mut V) {
            visitor.tree(link);
        }
        const KIND: ItemKind = ItemKind::$kind;
    };
}

impl Tree for AliasTree {
    type Key = AliasKey;
    type Value = Realm;
    plain_tree!(AliasTree, Alias, AliasKey, Realm);

    fn entry_bytes(_: &AliasKey, _: &Realm) -> usize {
        45
    }
    fn key_bytes(_: &AliasKey) -> usize {
        30
    }
    fn weight(_: &Realm) -> u64 {
        1
    }
    fn encode_key(key: &AliasKey, out: &mut Writer) {
        out.varint(key.outer);
        out.varint(key.foreign.home);
        out.varint(key.foreign.realm);
    }
    fn decode_key(from: &mut Reader<'_>) -> Result<AliasKey> {
        decode_alias_key(from)
    }
    fn encode_value(value: &Realm, out: &mut Writer) {
        encoding::encode_realm(*value, out);
    }
    fn decode_value(from: &mut Reader<'_>) -> Result<Realm> {
        encoding::decode_realm(from)
    }
}

impl Tree for Ledger {
    type Key = u64;
    type Value = u32;
    plain_tree!(Ledger, Ledger, u64, u32);

    fn entry_bytes(_: &u64, _: &u32) -> usize {
        15
    }
    fn key_bytes(_: &u64) -> usize {
        10
    }
    fn weight(_: &u32) -> u64 {
        1
    }
    fn encode_key(key: &u64, out: &mut Writer) {
        out.varint(*key);
    }
    fn decode_key(from: &mut Reader<'_>) -> Result<u64> {
        from.varint()
    }
    fn encode_value(value: &u32, out: &mut Writer) {
        out.varint(u64::from(*value));
    }
    fn decode_value(from: &mut Reader<'_>) -> Result<u32> {
        from.varint_u32()
    }
}

impl Tree for RealmTree {
    type Key = RealmKey;
    type Value = RealmValue;
    plain_tree!(RealmTree, Realm, RealmKey, RealmValue);

    fn entry_bytes(key: &RealmKey, _: &RealmValue) -> usize {
        Self::key_bytes(key) + 15
    }
    fn key_bytes(_: &RealmKey) -> usize {
        11
    }
    /// Free ids in the lower 32 bits, realms that have ended in the upper.
    fn weight(value: &RealmValue) -> u64 {
        match value {
            RealmValue::Uses { uses, .. } => u64::from(*uses == 0) << 32,
            RealmValue::Free { count } => u64::from(*count),
        }
    }
    fn encode_key(key: &RealmKey, out: &mut Writer) {
        match key {
            RealmKey::Uses(uid) => {
                out.u8(0);
                out.varint(*uid);
            }
            RealmKey::Free(last) => {
                out.u8(1);
                out.varint(u64::from(*last));
            }
        }
    }
    fn decode_key(from: &mut Reader<'_>) -> Result<RealmKey> {
        Ok(match from.u8()? {
            0 => RealmKey::Uses(decode_uid(from)?),
            1 => RealmKey::Free(decode_id(from)?),
            _ => return Err(out_of_range("realm")),
        })
    }
    fn encode_value(value: &RealmValue, out: &mut Writer) {
        match value {
            RealmValue::Uses { id, uses } => {
                out.varint(u64::from(*id));
                out.varint(*uses);
            }
            RealmValue::Free { count } => {
                out.varint(0);
                out.varint(u64::from(*count));
            }
        }
    }
    fn decode_value(from: &mut Reader<'_>) -> Result<RealmValue> {
        Ok(match decode_id(from)? {
            0 => match decode_id(from)? {
                0 => return Err(out_of_range("realm")),
                count => RealmValue::Free { count },
            },
            id => RealmValue::Uses { id, uses: from.varint()? },
        })
    }
    fn is_possible(before: Option<&(RealmKey, RealmValue)>, key: &RealmKey, value: &RealmValue) -> bool {
        match (key, value) {
            (RealmKey::Uses(_), RealmValue::Uses { .. }) => true,
            // Ranges begin at 1 and do not touch.
            (RealmKey::Free(last), RealmValue::Free { count }) => {
                last.checked_sub(*count).is_some_and(|below| match before {
                    Some((RealmKey::Free(before), _)) => below > *before,
                    _ => true,
                })
            }
            _ => false,
        }
    }
}

/// The uid of a realm. One more than it can always be written.
pub(crate) fn decode_uid(from: &mut Reader<'_>) -> Result<u64> {
    from.varint().and_then(|uid| if uid < 1 << 63 { Ok(uid) } else { Err(out_of_range("realm")) })
}

pub(crate) fn decode_alias_key(from: &mut Reader<'_>) -> Result<AliasKey> {
    Ok(AliasKey {
        outer: decode_uid(from)?,
        foreign: Foreign { home: decode_uid(from)?, realm: decode_uid(from)? },
    })
}

fn decode_id(from: &mut Reader<'_>) -> Result<u32> {
    from.varint_u32().and_then(|id| if id < 1 << 24 { Ok(id) } else { Err(out_of_range("realm")) })
}
