//! Space of a tree: what it takes in the store, and how much of that is its own.
//!
//! An item is exclusive if every link to it comes from something exclusive. The walk starts at the inode and follows
//! exclusive links first, as long as counts are used up by links that it has seen; what is left over is shared. It reads
//! nodes, never data.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::address::{Address, ItemKind};
use crate::checkpoint::checkpoint;
use crate::kinds::{FrameLink, visit_inode};
use crate::namespace::Trail;
use crate::pool::Inner;
use crate::record::Inode;
use crate::refcount::Counts;
use crate::report::Usage;
use crate::segment::Pinned;
use crate::tree::{self, Body, Link, Missing, Root, Tree, Visitor};
use crate::{Ino, Result};

/// Collects links: addresses of what is stored, sizes of what is only in memory.
#[derive(Default)]
struct Links {
    stored: Vec<(Address, ItemKind)>,
    memory_bytes: u64,
    seen: FxHashSet<usize>,
}

impl Links {
    fn tree<K: Tree>(&mut self, link: &Link<K>) {
        match (link.address(), link) {
            (Some(address), _) => self.stored.push((address, K::KIND)),
            (None, Link::Memory(node)) => {
                if self.seen.insert(std::sync::Arc::as_ptr(node) as usize) {
                    self.memory_bytes += node.bytes as u64;
                    tree::with_stack(|| node.visit(self));
                }
            }
            (None, Link::Stored(_)) => unreachable!("stored links have addresses"),
        }
    }
}

impl Visitor for Links {
    fn frame(&mut self, link: &FrameLink) {
        if link.is_lost() {
            return;
        }
        match (link.address(), link) {
            (Some(address), _) => self.stored.push((address, ItemKind::Frame)),
            (None, FrameLink::Memory(frame)) => {
                if self.seen.insert(std::sync::Arc::as_ptr(frame) as usize) {
                    self.memory_bytes += u64::from(frame.length());
                }
            }
            (None, FrameLink::Stored(_)) => unreachable!("stored links have addresses"),
        }
    }
    fn plain<K: Tree>(&mut self, link: &Link<K>) {
        self.tree(link);
    }
}

/// Measures a file or tree.
pub(crate) async fn usage(inner: &Inner, ino: Ino) -> Result<Usage> {
    // Afterwards nearly everything has an address and a count.
    checkpoint(inner, false).await?;
    let (inode, trail, state_root, pin) = inner
        .view(|view, locations| {
            let trail = if ino == Ino::ROOT { Trail::default() } else { locations.trail(ino)? };
            let inode = (*view.inode(&trail)?.0).clone();
            Ok((inode, trail, view.state.root.clone(), view.pin()))
        })
        .await?;
    let counts = {
        let checkpointer = inner.checkpointer.lock().await;
        Counts::of_manifest(&checkpointer.manifest)
    };
    let nodes = Pinned::new(&inner.items);
    let alone = way_is_exclusive(inner, &state_root, &trail, &counts, &nodes).await?;

    let mut links = Links::default();
    visit_inode(&inode, &mut links);
    let totals = inode.totals();
    let mut usage = Usage {
        files: totals.files,
        directories: totals.directories,
        logical_bytes: totals.bytes,
        total_bytes: links.memory_bytes,
        exclusive_bytes: links.memory_bytes,
        shared_bytes: 0,
    };

    // Links seen from exclusive items, where that is not yet all of them.
    let mut partly: FxHashMap<Address, (ItemKind, u32)> = FxHashMap::default();
    let mut shared: Vec<(Address, ItemKind)> = Vec::new();
    let mut done: FxHashSet<Address> = FxHashSet::default();
    let mut exclusive = links.stored;
    if !alone {
        shared.append(&mut exclusive);
    }
    while let Some((address, kind)) = exclusive.pop() {
        let count = counts.of(address, &nodes).await?;
        if count > 1 {
            let seen = partly.entry(address).or_insert((kind, 0));
            seen.1 += 1;
            if seen.1 < count {
                continue;
            }
            partly.remove(&address);
        }
        done.insert(address);
        usage.exclusive_bytes += inner.items.stored_length(address).await?;
        exclusive.extend(links_of(inner, address, kind).await?);
    }
    usage.total_bytes = usage.exclusive_bytes;
    shared.extend(partly.into_iter().map(|(address, (kind, _))| (address, kind)));
    while let Some((address, kind)) = shared.pop() {
        if done.insert(address) {
            usage.shared_bytes += inner.items.stored_length(address).await?;
            shared.extend(links_of(inner, address, kind).await?);
        }
    }
    usage.total_bytes += usage.shared_bytes;
    drop(pin);
    Ok(usage)
}

async fn links_of(inner: &Inner, address: Address, kind: ItemKind) -> Result<Vec<(Address, ItemKind)>> {
    if kind == ItemKind::Frame {
        return Ok(Vec::new());
    }
    let mut links = crate::refcount::EdgeCollector::default();
    inner.items.node(Missing { address, kind }).await?.visit(&mut links);
    Ok(links.edges)
}

/// Whether every node on the way from the root to an inode belongs to one tree only.
async fn way_is_exclusive(
    inner: &Inner,
    root: &Inode,
    trail: &Trail,
    counts: &Counts,
    nodes: &Pinned<'_>,
) -> Result<bool> {
    let mut inode = root.clone();
    for key in &trail.keys {
        let entries = inode.directory().and_then(|directory| directory.entries.clone());
        match find_exclusive(inner, &entries, key, counts, nodes).await? {
            Some(crate::record::Entry::Inode(next)) => inode = std::sync::Arc::unwrap_or_clone(next),
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The value of a key, if it is there and no node on the way to it belongs to another tree too.
pub(crate) async fn find_exclusive<K: Tree>(
    inner: &Inner,
    root: &Root<K>,
    key: &K::Key,
    counts: &Counts,
    nodes: &Pinned<'_>,
) -> Result<Option<K::Value>> {
    let Some(mut link) = root.clone() else { return Ok(None) };
    loop {
        if let Some(address) = link.address()
            && counts.of(address, nodes).await? > 1
        {
            return Ok(None);
        }
        let node = inner.node(&link).await?;
        match &node.body {
            Body::Branch(children) => link = children[children.child_of(key)].link.clone(),
            Body::Leaf(entries) => {
                return Ok(entries.iter().find(|(k, _)| k == key).map(|(_, value)| value.clone()));
            }
        }
    }
}
