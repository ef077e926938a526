//! The tree against `BTreeMap`, with nodes that are not in memory.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::node::NODE_HEADER_BYTES;
use super::*;
use crate::address::SegmentId;
use crate::kinds::{DirectoryTree, EntryKey};
use crate::record::{Content, Entry, Identity, Name, Realm, SideKey};
use crate::sync::Mutex;

/// Stored nodes, each in memory or not.
#[derive(Default)]
struct Shelf {
    nodes: Mutex<HashMap<Address, (AnyNode, bool)>>,
}

impl Nodes for Shelf {
    fn get(&self, address: Address) -> Option<AnyNode> {
        self.nodes.lock().get(&address).filter(|(_, near)| *near).map(|(node, _)| node.clone())
    }

    fn frame(&self, _: Address) -> Option<bytes::Bytes> {
        None
    }
}

/// All nodes of a shelf.
struct Everything<'a>(&'a Shelf);

impl Nodes for Everything<'_> {
    fn get(&self, address: Address) -> Option<AnyNode> {
        self.0.nodes.lock().get(&address).map(|(node, _)| node.clone())
    }

    fn frame(&self, _: Address) -> Option<bytes::Bytes> {
        None
    }
}

impl Shelf {
    /// Runs a change until it misses nothing. As long as it misses something the tree must mean the same.
    fn until_done<R>(
        &self,
        root: &mut Root<DirectoryTree>,
        before: &BTreeMap<EntryKey, u64>,
        mut change: impl FnMut(&mut Root<DirectoryTree>, &dyn Nodes) -> Result<R, Missing>,
    ) -> R {
        loop {
            match change(root, self) {
                Ok(result) => return result,
                Err(missing) => {
                    assert!(self.content(root) == *before, "a change that misses a node changes nothing");
                    self.check(root);
                    self.nodes.lock().get_mut(&missing.address).expect("the node is stored").1 = true;
                }
            }
        }
    }

    /// Writes a tree out, as a checkpoint does; nothing of it is in memory then.
    fn store(&self, root: &mut Root<DirectoryTree>) {
        if let Some(link) = root {
            self.store_link(link);
        }
        self.nodes.lock().values_mut().for_each(|(_, near)| *near = false);
    }

    fn store_link(&self, link: &mut Link<DirectoryTree>) {
        let Link::Memory(node) = &*link else { return };
        let mut copy = node.fork();
        if let Body::Branch(children) = &mut copy.body {
            children.change_all().for_each(|child| self.store_link(&mut child.link));
        }
        let mut nodes = self.nodes.lock();
        let address = Address::new(SegmentId(1), nodes.len() as u32);
        let bytes = copy.encode();
        assert!(
            bytes.len() <= copy.bytes,
            "{} bytes where at most {} were expected",
            bytes.len(),
            copy.bytes
        );
        let node = AnyNode::decode(DirectoryTree::KIND, &bytes, address).unwrap();
        nodes.insert(address, (node, false));
        *link = Link::Stored(address);
    }

    fn content(&self, root: &Root<DirectoryTree>) -> BTreeMap<EntryKey, u64> {
        let mut found = BTreeMap::new();
        let start = EntryKey { hash: 0, name: Name::new() };
        let stopped = scan(root, &start, &Everything(self), &mut |key, entry| {
            assert!(found.last_key_value().is_none_or(|(last, _)| last < key), "keys ascend");
            found.insert(key.clone(), number(entry));
            ControlFlow::<()>::Continue(())
        });
        assert!(stopped.is_ok_and(|stopped| stopped.is_none()));
        found
    }

    /// Checks every rule of the tree.
    fn check(&self, root: &Root<DirectoryTree>) {
        if let Some(link) = root {
            self.check_node(link, None, None);
        }
    }

    /// Returns the depth and the weight.
    fn check_node(
        &self,
        link: &Link<DirectoryTree>,
        low: Option<&EntryKey>,
        high: Option<&EntryKey>,
    ) -> (u32, u64) {
        let node = link.node(&Everything(self)).unwrap();
        let mut measured = node.fork();
        measured.measure();
        assert_eq!(node.bytes, measured.bytes, "a node knows its size");
        assert!(node.bytes <= NODE_BYTES_MAX, "a node of {} bytes", node.bytes);
        let (depth, weight) = match &node.body {
            Body::Leaf(entries) => {
                assert!(!entries.is_empty(), "no leaf is empty");
                for (index, (key, _)) in entries.iter().enumerate() {
                    assert_eq!(entries.find(key), Ok(index), "a key is found where it is");
                    assert!(
                        low.is_none_or(|low| low <= key) && high.is_none_or(|high| key < high),
                        "{key:?} out of place"
                    );
                }
                (0, entries.iter().map(|(_, entry)| DirectoryTree::weight(entry)).sum())
            }
            Body::Branch(children) => {
                let mut depths = Vec::new();
                let mut sum = 0;
                for (index, child) in children.iter().enumerate() {
                    let low = if index == 0 { low } else { Some(&child.key) };
                    let high = children.get(index + 1).map(|next| &next.key).or(high);
                    assert_eq!(children.child_of(&child.key), index, "a key leads to its child");
                    let (depth, weight) = self.check_node(&child.link, low, high);
                    assert_eq!(weight, child.weight, "a branch knows the weight of its child");
                    depths.push(depth);
                    sum += weight;
                }
                assert!(depths.windows(2).all(|two| two[0] == two[1]), "all leaves are equally deep");
                (depths[0] + 1, sum)
            }
        };
        assert_eq!(weight, node.weight);
        (depth, weight)
    }
}

fn number(entry: &Entry) -> u64 {
    match entry {
        Entry::Linked(key) => key.number,
        Entry::Inode(inode) => inode.number,
    }
}

/// A key with a long name, so that few fit into a node.
fn key(position: u16) -> EntryKey {
    let length = 150 + usize::from(position % 100);
    EntryKey { hash: 10 + u64::from(position / 2), name: Name::from_vec(vec![position as u8; length]) }
}

fn entry(number: u64) -> Entry {
    if !number.is_multiple_of(8) {
        return SideKey { foreign: None, number }.into();
    }
    // Entries that weigh something are among others that do not.
    let mut inode = crate::namespace::State::new(crate::Timestamp { secs: 0, nanos: 0 }).root;
    inode.number = number;
    inode.kind = crate::Kind::File;
    inode.content = Content::Inline(Box::default());
    inode.identity = Some(Box::new(Identity { realm: Realm::FIRST, home: 0 }));
    inode.into()
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16),
    InsertMany(u16, u16),
    Remove(u16),
    RemoveMany(u16, u16),
    RemoveRange(u16, u16),
    Update(u16),
    Find(u16),
    LastBefore(u16),
    Store,
    Clone,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = 0..4000u16;
    let run = (0..4000u16, 1..600u16);
    let step = prop_oneof![
        4 => at.clone().prop_map(Step::Insert),
        4 => run.clone().prop_map(|(at, count)| Step::InsertMany(at, count)),
        4 => at.clone().prop_map(Step::Remove),
        3 => run.clone().prop_map(|(at, count)| Step::RemoveMany(at, count)),
        2 => run.prop_map(|(at, count)| Step::RemoveRange(at, count)),
        2 => at.clone().prop_map(Step::Update),
        2 => at.clone().prop_map(Step::Find),
        2 => at.prop_map(Step::LastBefore),
        2 => Just(Step::Store),
        1 => Just(Step::Clone),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_is_a_map_whatever_is_in_memory(steps in steps()) {
        let shelf = Shelf::default();
        let mut root: Root<DirectoryTree> = None;
        let mut map: BTreeMap<EntryKey, u64> = BTreeMap::new();
        let mut clones = Vec::new();
        let mut next = 0;
        for step in steps {
            next += 1;
            match step {
                Step::Insert(at) => {
                    let old = shelf.until_done(&mut root, &map, |root, nodes| insert(root, key(at), entry(next), nodes));
                    prop_assert_eq!(old.as_ref().map(number), map.insert(key(at), next));
                }
                Step::InsertMany(at, count) => {
                    for at in at..at + count {
                        shelf.until_done(&mut root, &map, |root, nodes| insert(root, key(at), entry(next), nodes));
                        map.insert(key(at), next);
                    }
                }
                Step::Remove(at) => {
                    let old = shelf.until_done(&mut root, &map, |root, nodes| remove(root, &key(at), nodes));
                    prop_assert_eq!(old.as_ref().map(number), map.remove(&key(at)));
                }
                Step::RemoveMany(at, count) => {
                    for at in at..at + count {
                        let old = shelf.until_done(&mut root, &map, |root, nodes| remove(root, &key(at), nodes));
                        prop_assert_eq!(old.as_ref().map(number), map.remove(&key(at)));
                    }
                }
                Step::RemoveRange(at, count) => {
                    let (from, to) = (key(at).min(key(at + count)), key(at).max(key(at + count)));
                    shelf.until_done(&mut root, &map, |root, nodes| remove_range(root, &from, &to, nodes));
                    map.retain(|key, _| *key < from || *key >= to);
                }
                Step::Update(at) => {
                    let done = shelf.until_done(&mut root, &map, |root, nodes| {
                        update::<_, _, Missing>(root, &key(at), nodes, |value| Ok(std::mem::replace(value, entry(next))))
                    });
                    let known = map.get_mut(&key(at)).map(|value| std::mem::replace(value, next));
                    prop_assert_eq!(done.as_ref().map(number), known);
                }
                Step::Find(at) => {
                    let found = shelf.until_done(&mut root, &map, |root, nodes| find(root, &key(at), nodes));
                    let found = found.map(|(node, index)| match &node.body {
                        Body::Leaf(entries) => number(&entries[index].1),
                        Body::Branch(_) => unreachable!(),
                    });
                    prop_assert_eq!(found, map.get(&key(at)).copied());
                }
                Step::LastBefore(at) => {
                    let found = shelf.until_done(&mut root, &map, |root, nodes| last_before(root, &key(at), nodes));
                    let known = map.range(..=key(at)).next_back().map(|(key, value)| (key.clone(), *value));
                    prop_assert_eq!(found.map(|(key, value)| (key, number(&value))), known);
                }
                Step::Store => shelf.store(&mut root),
                Step::Clone => clones.push((root.clone(), map.clone())),
            }
            shelf.check(&root);
            prop_assert!(shelf.content(&root) == map);
            let weight = shelf.until_done(&mut root, &map, |root, nodes| total_weight(root, nodes));
            prop_assert_eq!(weight, map.values().filter(|number| number.is_multiple_of(8)).count() as u64);
            let weighty = shelf.until_done(&mut root, &map, |root, nodes| {
                let mut found = BTreeMap::new();
                let stopped: Option<()> = scan_weighty(root, nodes, &mut |key, entry| {
                    found.insert(key.clone(), number(entry));
                    ControlFlow::Continue(())
                })?;
                assert!(stopped.is_none());
                Ok(found)
            });
            let expected = map.iter().filter(|(_, number)| number.is_multiple_of(8));
            prop_assert!(weighty.into_iter().eq(expected.map(|(key, number)| (key.clone(), *number))));
        }
        for (root, map) in clones {
            prop_assert!(shelf.content(&root) == map, "a clone never changes");
        }
    }
}

#[test]
fn a_range_is_removed_with_the_nodes_at_its_ends_only() {
    let shelf = Shelf::default();
    let mut root: Root<DirectoryTree> = None;
    for at in 0..3000 {
        insert(&mut root, key(at), entry(0), &shelf).unwrap();
    }
    shelf.store(&mut root);
    let mut map = shelf.content(&root);
    let all = shelf.nodes.lock().len();
    shelf.until_done(&mut root, &map, |root, nodes| remove_range(root, &key(100), &key(2900), nodes));
    map.retain(|at, _| *at < key(100) || *at >= key(2900));
    assert_eq!(shelf.content(&root).len(), map.len());
    shelf.check(&root);
    let near = shelf.nodes.lock().values().filter(|(_, near)| *near).count();
    assert!(near <= 8, "{near} of {all} nodes were fetched");
    shelf.until_done(&mut root, &map, |root, nodes| remove_range(root, &key(0), &key(2999), nodes));
    assert_eq!(shelf.content(&root).len(), 1);
}

#[test]
fn damaged_nodes_are_refused_and_never_panic() {
    let entries: Vec<_> = (0..20).map(|at| (key(at), entry(u64::from(at)))).collect();
    let bytes = Node::<DirectoryTree>::new(Body::Leaf(entries.into()), &Shelf::default()).encode();
    let address = Address::new(SegmentId(1), 0);
    assert!(Node::<DirectoryTree>::decode(&bytes, address).is_ok());
    for length in 0..bytes.len() {
        assert!(Node::<DirectoryTree>::decode(&bytes[..length], address).is_err(), "cut at {length}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // Some flips give another valid node; checksums tell them.
        let _ = Node::<DirectoryTree>::decode(&damaged, address);
    }
    let empty = Node::<DirectoryTree>::new(Body::Leaf(Vec::new().into()), &Shelf::default());
    assert_eq!(empty.bytes, NODE_HEADER_BYTES);
}

/// Fuzzing found that a node that led to itself, with checksums that fit, kept `check` busy for ever.
#[test]
fn no_node_leads_to_itself_or_to_what_was_stored_after_it() {
    let at = |index| Address::new(SegmentId(3), index);
    let branch = |child| {
        let child = Branch { key: key(1), link: Link::Stored(child), weight: 0 };
        Node::<DirectoryTree>::new(Body::Branch(vec![child].into()), &Shelf::default()).encode()
    };
    let directory = |entries| {
        let mut inode = crate::namespace::State::new(crate::Timestamp { secs: 0, nanos: 0 }).root;
        inode.directory_mut().unwrap().entries = Some(Link::Stored(entries));
        let leaf = Body::Leaf(vec![(key(1), inode.into())].into());
        Node::<DirectoryTree>::new(leaf, &Shelf::default()).encode()
    };
    for (child, is_good) in
        [(at(6), true), (at(7), false), (at(8), false), (Address::new(SegmentId(4), 0), false)]
    {
        for bytes in [branch(child), directory(child)] {
            assert_eq!(Node::<DirectoryTree>::decode(&bytes, at(7)).is_ok(), is_good, "{child:?}");
        }
    }
}
