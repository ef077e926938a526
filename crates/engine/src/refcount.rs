//! Reference counts.
//!
//! The count of an item is the number of links to it in live stored nodes, in the manifest's roots and in the queue of
//! garbage. A count of one is implicit; the ledger holds the others, and 0 for what is dead. Counts change at checkpoints only: new
//! nodes count their links up, then whatever lost its last reference is taken apart, one node at a time, and counts its links down.
//! Taking apart stops at what is still shared, and can stop anywhere and go on at a later checkpoint.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::address::{Address, ItemKind, SegmentId};
use crate::kinds::{DirectoryTree, FileTree, FrameLink, Ledger, SideTree};
use crate::segment::{Born, Items, Pinned};
use crate::tree::{self, Link, Missing, Root, Tree, Visitor};
use crate::{Error, ErrorKind, Result};

/// Links to items, counted.
pub(crate) type Edges = FxHashMap<Address, u32>;

/// Collects the addresses of all links it is shown.
#[derive(Default)]
pub(crate) struct EdgeCollector {
    pub(crate) edges: Vec<(Address, ItemKind)>,
}

impl EdgeCollector {
    fn add(&mut self, address: Option<Address>, kind: ItemKind) {
        self.edges.push((address.expect("links of stored nodes have addresses"), kind));
    }
}

impl Visitor for EdgeCollector {
    fn directory(&mut self, link: &Link<DirectoryTree>) {
        self.add(link.address(), ItemKind::Directory);
    }
    fn file(&mut self, link: &Link<FileTree>) {
        self.add(link.address(), ItemKind::File);
    }
    fn side(&mut self, link: &Link<SideTree>) {
        self.add(link.address(), ItemKind::Side);
    }
    fn frame(&mut self, link: &FrameLink) {
        self.add(link.address(), ItemKind::Frame);
    }
    fn plain<K: Tree>(&mut self, link: &Link<K>) {
        self.add(link.address(), K::KIND);
    }
}

struct Count {
    /// As the ledger has it; 0 for a new item.
    before: u32,
    now: u32,
    dead: bool,
}

/// The counts that one checkpoint changes.
pub(crate) struct Counter<'a> {
    items: &'a Items,
    ledger: &'a Root<Ledger>,
    nodes: Pinned<'a>,
    born: FxHashMap<Address, Born>,
    counts: FxHashMap<Address, Count>,
    /// Items that died, by segment.
    dead: BTreeMap<SegmentId, Vec<u32>>,
    /// Nodes that only the queue still refers to.
    pub(crate) garbage: Vec<(Address, ItemKind)>,
    freed: u64,
}

impl<'a> Counter<'a> {
    pub(crate) fn new(
        items: &'a Items,
        ledger: &'a Root<Ledger>,
        born: FxHashMap<Address, Born>,
        garbage: Vec<(Address, ItemKind)>,
    ) -> Self {
        Self {
            items,
            ledger,
            nodes: Pinned::new(items),
            born,
            counts: FxHashMap::default(),
            dead: BTreeMap::new(),
            garbage,
            freed: 0,
        }
    }

    async fn load(&mut self, address: Address) -> Result<&mut Count> {
        if !self.counts.contains_key(&address) {
            let before = if self.born.contains_key(&address) {
                0
            } else {
                stored_count(self.ledger, address, &self.nodes).await?
            };
            self.counts.insert(address, Count { before, now: before, dead: false });
        }
        Ok(self.counts.get_mut(&address).expect("it was just put there"))
    }

    /// Counts links of new nodes and roots.
    pub(crate) async fn add(&mut self, edges: &Edges) -> Result<()> {
        let mut sorted: Vec<_> = edges.iter().map(|(address, count)| (*address, *count)).collect();
        sorted.sort_unstable_by_key(|(address, ..)| *address);
        for (address, count) in sorted {
            let is_new = self.born.contains_key(&address);
            let entry = self.load(address).await?;
            if entry.before == 0 && !is_new {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!("item {address:?} is dead and referred to"),
                ));
            }
            entry.now += count;
        }
        Ok(())
    }

    /// Drops one link.
    pub(crate) async fn remove(&mut self, address: Address, kind: ItemKind) -> Result<()> {
        let entry = self.load(address).await?;
        match entry.now {
            0 => {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!("the count of item {address:?} is too low"),
                ));
            }
            1 if kind == ItemKind::Frame => {
                entry.now = 0;
                self.bury(address);
            }
            // The queue takes the last reference over.
            1 => self.garbage.push((address, kind)),
            _ => entry.now -= 1,
        }
        Ok(())
    }

    /// Drops new items that nothing refers to, if they were made at `interval` or before.
    pub(crate) async fn drop_unused(&mut self, interval: u64) -> Result<()> {
        let candidates: Vec<_> = self
            .born
            .iter()
            .filter(|(address, born)| {
                born.interval <= interval && self.counts.get(*address).is_none_or(|count| count.now == 0)
            })
            .map(|(address, born)| (*address, born.kind))
            .collect();
        for (address, kind) in candidates {
            let entry = self.load(address).await?;
            if kind == ItemKind::Frame {
                self.bury(address);
            } else {
                entry.now = 1;
                self.garbage.push((address, kind));
            }
        }
        Ok(())
    }

    /// Takes garbage apart, at most `budget` nodes.
    pub(crate) async fn take_apart(&mut self, budget: usize) -> Result<()> {
        for _ in 0..budget {
            let Some((address, kind)) = self.garbage.pop() else { break };
            let node = match self.items.node(Missing { address, kind }).await {
                Ok(node) => node,
                Err(error) => {
                    self.garbage.push((address, kind));
                    return Err(error);
                }
            };
            let mut links = EdgeCollector::default();
            node.visit(&mut links);
            for (child, kind) in links.edges {
                self.remove(child, kind).await?;
            }
            self.load(address).await?.now = 0;
            self.bury(address);
            self.items.drop_cached(address, kind);
        }
        Ok(())
    }

    /// Notes nodes of the ledger itself as dead.
    pub(crate) async fn bury_ledger_nodes(&mut self, addresses: &[Address]) -> Result<()> {
        for address in addresses {
            self.load(*address).await?.now = 0;
            self.bury(*address);
        }
        Ok(())
    }

    fn bury(&mut self, address: Address) {
        self.freed += 1;
        self.counts.get_mut(&address).expect("only counted items are buried").dead = true;
        self.dead.entry(address.segment()).or_default().push(address.index());
    }

    /// Ends counting.
    pub(crate) fn finish(self) -> Counted {
        let Self { counts, mut born, dead, garbage, freed, .. } = self;
        born.retain(|address, _| counts.get(address).is_none_or(|count| count.now == 0 && !count.dead));
        let mut changes: Vec<_> = counts
            .iter()
            // What is new and not referred to yet has no count yet; the implicit count of what is new is one.
            .filter(|(_, count)| (count.now > 0 || count.dead) && count.now != count.before.max(1))
            .map(|(address, count)| (address.raw(), count.now))
            .collect();
        changes.sort_unstable();
        Counted { changes, dead, garbage, born, freed }
    }
}

/// The result of counting.
pub(crate) struct Counted {
    /// Raw address and new count, ascending.
    pub(crate) changes: Vec<(u64, u32)>,
    pub(crate) dead: BTreeMap<SegmentId, Vec<u32>>,
    pub(crate) garbage: Vec<(Address, ItemKind)>,
    /// New items that still nothing refers to.
    pub(crate) born: FxHashMap<Address, Born>,
    pub(crate) freed: u64,
}

/// The count that the ledger has; what it does not name has one reference.
pub(crate) async fn stored_count(ledger: &Root<Ledger>, address: Address, nodes: &Pinned<'_>) -> Result<u32> {
    loop {
        match tree::find(ledger, &address.raw(), nodes) {
            Ok(None) => return Ok(1),
            Ok(Some((node, index))) => return Ok(*node.value(index)),
            Err(missing) => nodes.fetch(missing).await?,
        }
    }
}

/// Puts counts into the ledger; the implicit ones leave it.
pub(crate) async fn write_counts(
    ledger: &mut Root<Ledger>,
    changes: &[(u64, u32)],
    nodes: &Pinned<'_>,
) -> Result<()> {
    for (address, count) in changes {
        loop {
            let done = if *count == 1 {
                tree::remove(ledger, address, nodes).map(|_| ())
            } else {
                tree::insert(ledger, *address, *count, nodes).map(|_| ())
            };
            match done {
                Ok(()) => break,
                Err(missing) => nodes.fetch(missing).await?,
            }
        }
    }
    Ok(())
}

/// Drops all counts of a segment that is no more.
pub(crate) async fn drop_segment(
    ledger: &mut Root<Ledger>,
    segment: SegmentId,
    nodes: &Pinned<'_>,
) -> Result<()> {
    let (from, to) = (segment.0 << 24, (segment.0 + 1) << 24);
    loop {
        match tree::remove_range(ledger, &from, &to, nodes) {
            Ok(()) => return Ok(()),
            Err(missing) => nodes.fetch(missing).await?,
        }
    }
}
