//! Reference counts.
//!
//! The count of an item is the number of links to it in live stored nodes, in the manifest's roots and in the queue of
//! garbage. A count of one is implicit; the ledger holds the others, and 0 for what is dead. Counts change at checkpoints only: new
//! nodes count their links up, then whatever lost its last reference is taken apart, one node at a time, and counts its links down.
//! Taking apart stops at what is still shared, and can stop anywhere and go on at a later checkpoint.
//!
//! Damage leaks and never loses: a node that cannot be read is freed without what it leads to, which stays for ever; an item
//! whose count was lost with a node of the ledger is never freed. See [`mend`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::address::{Address, ItemKind, SegmentId};
use crate::format::manifest::Manifest;
use crate::kinds::{FrameLink, Ledger};
use crate::segment::{Born, Items, Pinned};
use crate::simulation::mutant::{self, Mutant};
use crate::tree::{self, AnyNode, Body, Branch, Link, Missing, Node, Nodes, Root, Tree, Visitor};
use crate::{ErrorKind, Result};

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
    fn frame(&mut self, link: &FrameLink) {
        // What was lost is nowhere, and has no count.
        if !link.is_lost() {
            self.add(link.address(), ItemKind::Frame);
        }
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
    /// The count was lost or is wrong: it is not changed, and the item is not freed.
    unknown: bool,
}

/// Addresses whose counts were lost; the ledger still tells of those that it names.
pub(crate) type Uncounted = [Range<u64>];

/// The counts that one checkpoint changes.
pub(crate) struct Counter<'a> {
    items: &'a Items,
    ledger: &'a Root<Ledger>,
    uncounted: &'a Uncounted,
    nodes: Pinned<'a>,
    born: FxHashMap<Address, Born>,
    counts: FxHashMap<Address, Count>,
    /// Items that died, by segment.
    dead: BTreeMap<SegmentId, Vec<u32>>,
    /// Nodes that only the queue still refers to.
    pub(crate) garbage: Vec<(Address, ItemKind)>,
    freed: u64,
    /// Nodes that were freed without what they led to.
    abandoned: u64,
}

impl<'a> Counter<'a> {
    pub(crate) fn new(
        items: &'a Items,
        ledger: &'a Root<Ledger>,
        uncounted: &'a Uncounted,
        born: FxHashMap<Address, Born>,
        garbage: Vec<(Address, ItemKind)>,
    ) -> Self {
        Self {
            items,
            ledger,
            uncounted,
            nodes: Pinned::new(items),
            born,
            counts: FxHashMap::default(),
            dead: BTreeMap::new(),
            garbage,
            freed: 0,
            abandoned: 0,
        }
    }

    async fn load(&mut self, address: Address) -> Result<&mut Count> {
        if !self.counts.contains_key(&address) {
            let known = if self.born.contains_key(&address) {
                Some(0)
            } else {
                stored_count(self.ledger, self.uncounted, address, &self.nodes).await?
            };
            let before = known.unwrap_or(1);
            let count = Count { before, now: before, dead: false, unknown: known.is_none() };
            self.counts.insert(address, count);
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
            if entry.before == 0 && !is_new && !entry.unknown {
                entry.unknown = true;
                tracing::error!(?address, "an item is referred to and counted as dead; it is left as it is");
            }
            let is_forgotten = mutant::is_on(Mutant::ForgetReference) && address.index() % 8 == 0;
            if !(entry.unknown || is_forgotten && entry.now > 0) {
                entry.now += count;
            }
        }
        Ok(())
    }

    /// Drops one link.
    pub(crate) async fn remove(&mut self, address: Address, kind: ItemKind) -> Result<()> {
        let entry = self.load(address).await?;
        match entry.now {
            _ if entry.unknown => {}
            0 => {
                entry.unknown = true;
                tracing::error!(?address, "the count of an item is too low; it is left as it is");
            }
            2 if mutant::is_on(Mutant::FreeSharedItem) && kind == ItemKind::Frame => {
                entry.now = 0;
                self.bury(address);
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
                Ok(node) => Some(node),
                // What it led to is not known any more and stays.
                Err(error) if error.kind() == ErrorKind::Corrupt => None,
                Err(error) => return Err(error),
            };
            let mut links = EdgeCollector::default();
            match node {
                Some(node) => node.visit(&mut links),
                None => self.abandoned += 1,
            }
            for (child, kind) in links.edges {
                self.remove(child, kind).await?;
            }
            self.free(address).await?;
            self.items.drop_cached(address, kind);
        }
        Ok(())
    }

    /// Notes nodes of the ledger itself as dead.
    pub(crate) async fn bury_ledger_nodes(&mut self, addresses: &[Address]) -> Result<()> {
        for address in addresses {
            self.free(*address).await?;
        }
        Ok(())
    }

    /// Frees what is known to be referred to by nothing else, whatever its count is.
    async fn free(&mut self, address: Address) -> Result<()> {
        let is_new = self.born.contains_key(&address);
        let entry = self.load(address).await?;
        if !entry.dead && (entry.before > 0 || is_new) {
            (entry.now, entry.unknown) = (0, false);
            self.bury(address);
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
        let Self { counts, mut born, dead, garbage, freed, abandoned, .. } = self;
        born.retain(|address, _| counts.get(address).is_none_or(|count| count.now == 0 && !count.dead));
        let mut changes: Vec<_> = counts
            .iter()
            // What is new and not referred to yet has no count yet; the implicit count of what is new is one.
            .filter(|(_, count)| !count.unknown)
            .filter(|(_, count)| (count.now > 0 || count.dead) && count.now != count.before.max(1))
            .map(|(address, count)| (address.raw(), count.now))
            .collect();
        changes.sort_unstable();
        Counted { changes, dead, garbage, born, freed, abandoned }
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
    /// Nodes among them that could not be read.
    pub(crate) abandoned: u64,
}

/// The count that the ledger has. What it does not name has one reference, or none that is known where counts were lost.
pub(crate) async fn stored_count(
    ledger: &Root<Ledger>,
    uncounted: &Uncounted,
    address: Address,
    nodes: &Pinned<'_>,
) -> Result<Option<u32>> {
    loop {
        match tree::find(ledger, &address.raw(), nodes) {
            Ok(None) if uncounted.iter().any(|range| range.contains(&address.raw())) => return Ok(None),
            Ok(None) => return Ok(Some(1)),
            Ok(Some((node, index))) => return Ok(Some(*node.value(index))),
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

/// Takes out of the ledger what cannot be read. Returns the addresses whose counts are lost with it, below `end`.
pub(crate) async fn mend(ledger: &mut Root<Ledger>, end: u64, items: &Items) -> Result<Vec<Range<u64>>> {
    let mut lost = Vec::new();
    if let Some(link) = ledger.take() {
        *ledger = mend_below(link, 0..u64::MAX, items, &mut lost).await?;
    }
    lost.iter_mut().for_each(|range: &mut Range<u64>| range.end = range.end.min(end));
    lost.retain(|range| !range.is_empty());
    Ok(lost)
}

async fn mend_below(
    link: Link<Ledger>,
    range: Range<u64>,
    items: &Items,
    lost: &mut Vec<Range<u64>>,
) -> Result<Root<Ledger>> {
    let nodes = Pinned::new(items);
    let node = match &link {
        Link::Memory(node) => node.clone(),
        Link::Stored(address) => {
            match items.node(Missing { address: *address, kind: ItemKind::Ledger }).await {
                Ok(AnyNode::Ledger(node)) => node,
                Ok(_) => unreachable!("a node has the kind that it was asked for as"),
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    lost.push(range);
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    };
    let Body::Branch(children) = &node.body else { return Ok(Some(link)) };
    let known = lost.len();
    let mut kept: Vec<Branch<Ledger>> = Vec::with_capacity(children.len());
    for (index, child) in children.iter().enumerate() {
        let start = if index == 0 { range.start } else { child.key };
        let end = children.get(index + 1).map_or(range.end, |next| next.key);
        let lost_before = lost.len();
        let below = Box::pin(mend_below(child.link.clone(), start..end, items, lost)).await?;
        kept.extend(below.map(|link| {
            let weight = match &link {
                Link::Memory(node) if lost.len() > lost_before => node.weight,
                _ => child.weight,
            };
            Branch { key: child.key, link, weight }
        }));
    }
    Ok(if lost.len() == known {
        Some(link)
    } else if kept.is_empty() {
        None
    } else {
        let nodes: &dyn Nodes = &nodes;
        Some(Link::Memory(Arc::new(Node::new(Body::Branch(kept.into()), nodes))))
    })
}

/// The counts of a manifest, for those who only look.
pub(crate) struct Counts {
    ledger: Root<Ledger>,
    uncounted: Vec<Range<u64>>,
}

impl Counts {
    pub(crate) fn of_manifest(manifest: &Manifest) -> Self {
        Self { ledger: manifest.ledger.clone(), uncounted: manifest.uncounted.clone() }
    }

    /// The count of an item. One that was lost keeps the item from being freed, as many references would.
    pub(crate) async fn of(&self, address: Address, nodes: &Pinned<'_>) -> Result<u32> {
        match stored_count(&self.ledger, &self.uncounted, address, nodes).await {
            Ok(count) => Ok(count.unwrap_or(u32::MAX)),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(u32::MAX),
            Err(error) => Err(error),
        }
    }
}
