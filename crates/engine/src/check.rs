//! Is everything as it should be?
//!
//! `check` marks everything that the newest manifest leads to and compares that with every count, sum and list. `scrub`
//! reads every live item. Both go on past what cannot be read and name the paths that it is part of, in every clone that
//! shares it; what can only be known from it is told as unknown and not as wrong.

mod links;
mod naming;
pub(crate) mod realms;
mod scrub;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::address::{Address, ItemKind};
use crate::checkpoint::{checkpoint, root_edges};
use crate::format::manifest::Manifest;
use crate::kinds::{AliasTree, DirectoryTree, Extent, RealmTree};
use crate::pool::Inner;
use crate::record::{Content, Entry, Inode, Sums};
use crate::refcount::{EdgeCollector, stored_count};
use crate::report::{CheckReport, Finding};
use crate::segment::Pinned;
use crate::tree::{AnyNode, Body, Link, Missing, Node, Tree};
use crate::{ErrorKind, Result};

pub(crate) use naming::Damage;
pub(crate) use scrub::{absent_items, read_all, scrub};

/// In place of the path of what was removed; no name has a slash.
const REMOVED: &[u8] = b"(removed)/";

/// A path, shared by all that lies below it.
#[derive(Clone, Debug)]
pub(crate) struct Way(Option<Arc<(Way, Vec<u8>)>>);

impl Way {
    /// Where what was removed lies.
    fn removed() -> Way {
        Way(None).below(REMOVED)
    }

    fn is_removed(&self) -> bool {
        let mut at = self;
        while let Some(step) = &at.0 {
            if step.0.0.is_none() {
                return step.1 == REMOVED;
            }
            at = &step.0;
        }
        false
    }

    fn below(&self, name: &[u8]) -> Way {
        Way(Some(Arc::new((self.clone(), name.to_vec()))))
    }

    fn path(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = self;
        while let Some(step) = &at.0 {
            names.push(step.1.as_slice());
            at = &step.0;
        }
        if names.is_empty() {
            return b"/".to_vec();
        }
        names.iter().rev().flat_map(|name| [b"/".as_slice(), *name].concat()).collect()
    }
}

/// Marks from the roots.
struct Marker<'a> {
    inner: &'a Inner,
    report: CheckReport,
    counts: FxHashMap<Address, (ItemKind, u32)>,
    work: Vec<(Address, ItemKind, Way)>,
    verified_directories: FxHashSet<Address>,
    compared: links::Compared,
    damage: Damage<'a>,
}

impl Marker<'_> {
    fn find(&mut self, way: Option<&Way>, message: String) {
        let finding = Finding { path: way.map(Way::path), ranges: Vec::new(), message };
        naming::find(&mut self.report, finding);
    }

    fn edge(&mut self, address: Address, kind: ItemKind, way: &Way) {
        let known = self.counts.entry(address).or_insert((kind, 0));
        known.1 += 1;
        if known.0 != kind {
            let message = format!("item {address:?} is referred to as {kind:?} and as {:?}", known.0);
            self.find(Some(way), message);
        } else if known.1 == 1 {
            if kind == ItemKind::Frame {
                self.report.frames += 1;
            } else {
                self.work.push((address, kind, way.clone()));
            }
        }
    }

    /// Counts the links of an inode, and checks its sums.
    async fn inode(&mut self, inode: &Inode, way: &Way) -> Result<()> {
        self.report.inodes += 1;
        let mut links = EdgeCollector::default();
        crate::kinds::visit_inode(inode, &mut links);
        for (address, kind) in links.edges {
            self.edge(address, kind, way);
        }
        match &inode.content {
            Content::Directory(directory) => {
                self.compare_links(directory, way).await?;
                let Some(Link::Stored(root)) = &directory.entries else {
                    if directory.sums() != Sums::default() {
                        self.find(Some(way), "an empty directory counts entries".into());
                    }
                    return Ok(());
                };
                if !self.verified_directories.insert(*root) {
                    return Ok(());
                }
                match sums(self.inner, *root).await {
                    Ok(found) => {
                        let said = directory.sums();
                        if found != said {
                            let message = format!(
                                "the directory says {} entries, {} directories, {:?}; it has {}, {}, {:?}",
                                said.count,
                                said.subdirectories,
                                said.totals,
                                found.count,
                                found.subdirectories,
                                found.totals
                            );
                            self.find(Some(way), message);
                        }
                    }
                    // The damaged node is found when it is marked.
                    Err(error) if error.kind() == ErrorKind::Corrupt => {}
                    Err(error) => return Err(error),
                }
            }
            Content::Extents(extents) => self.report.lost_bytes += lost_bytes(extents),
            Content::Tree(Link::Stored(root)) => {
                let missing = Missing { address: *root, kind: ItemKind::File };
                if let Ok(AnyNode::File(node)) = self.inner.items.node(missing).await
                    && node.weight != inode.allocated
                {
                    let message =
                        format!("the file says {} allocated bytes and has {}", inode.allocated, node.weight);
                    self.find(Some(way), message);
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn run(&mut self) -> Result<()> {
        while let Some((address, kind, way)) = self.work.pop() {
            self.report.nodes += 1;
            let node = match self.inner.items.node(Missing { address, kind }).await {
                Ok(node) => node,
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    self.damage.bad.insert(address, (kind, error.to_string()));
                    continue;
                }
                Err(error) => return Err(error),
            };
            match &node {
                AnyNode::Directory(node) => self.directory_node(node, &way).await?,
                AnyNode::Side(node) => {
                    if let Body::Leaf(entries) = &node.body {
                        for (_, inode) in entries {
                            self.inode(inode, &way).await?;
                        }
                        continue;
                    }
                    self.weights(node, &way).await;
                    self.links(node, &way);
                }
                AnyNode::File(node) => {
                    if let Body::Leaf(extents) = &node.body {
                        self.report.lost_bytes += lost_bytes(extents);
                    }
                    self.weights(node, &way).await;
                    self.links(node, &way);
                }
                AnyNode::Alias(node) => self.links(node, &way),
                AnyNode::Ledger(node) => self.links(node, &way),
                AnyNode::Realm(node) => self.links(node, &way),
            }
        }
        Ok(())
    }

    /// Compares what a branch says its children weigh with what they do. One that cannot be read is found when it is marked.
    async fn weights<K: Tree>(&mut self, node: &Node<K>, way: &Way) {
        let Body::Branch(children) = &node.body else { return };
        for child in children {
            let Ok(node) = self.inner.node(&child.link).await else { continue };
            if node.weight != child.weight {
                let (address, weight, claimed) = (child.link.address(), node.weight, child.weight);
                self.find(Some(way), format!("node {address:?} weighs {weight} and not {claimed}"));
            }
        }
    }

    fn links<K: Tree>(&mut self, node: &Node<K>, way: &Way) {
        let mut links = EdgeCollector::default();
        node.visit(&mut links);
        for (address, kind) in links.edges {
            self.edge(address, kind, way);
        }
    }

    async fn directory_node(&mut self, node: &Node<DirectoryTree>, way: &Way) -> Result<()> {
        match &node.body {
            Body::Branch(_) => {
                self.weights(node, way).await;
                self.links(node, way);
            }
            Body::Leaf(entries) => {
                for (key, entry) in entries {
                    if let Entry::Inode(inode) = entry {
                        self.inode(inode, &way.below(&key.name)).await?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Bytes that a repair has marked as lost.
fn lost_bytes<'e>(extents: impl IntoIterator<Item = &'e (u64, Extent)>) -> u64 {
    let lost = extents.into_iter().filter(|(_, extent)| extent.frame.is_lost());
    lost.map(|(_, extent)| u64::from(extent.length)).sum()
}

/// What the entries of one directory's tree add up to.
async fn sums(inner: &Inner, root: Address) -> Result<Sums> {
    let mut sums = Sums::default();
    let mut stack = vec![root];
    while let Some(address) = stack.pop() {
        let AnyNode::Directory(node) =
            inner.items.node(Missing { address, kind: ItemKind::Directory }).await?
        else {
            continue;
        };
        match &node.body {
            Body::Branch(children) => stack.extend(children.iter().filter_map(|child| child.link.address())),
            Body::Leaf(entries) => {
                sums = entries.iter().fold(sums, |sums, (_, entry)| sums.plus(entry.sums()));
            }
        }
    }
    Ok(sums)
}

/// Makes a checkpoint, so that the manifest has everything.
async fn begin(inner: &Inner, report: &mut CheckReport) -> Result<()> {
    match checkpoint(inner, false).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            let message = format!(
                "no checkpoint can be made, what has changed since the last is not looked at: {error}"
            );
            naming::find(report, Finding { path: None, ranges: Vec::new(), message });
            Ok(())
        }
        made => made.map(|_| ()),
    }
}

/// Marks everything and compares.
pub(crate) async fn check(inner: &Inner) -> Result<CheckReport> {
    let mut report = CheckReport::default();
    begin(inner, &mut report).await?;
    let checkpointer = inner.checkpointer.lock().await;
    let manifest = &checkpointer.manifest;
    let mut marker = Marker {
        inner,
        report,
        counts: FxHashMap::default(),
        work: Vec::new(),
        verified_directories: FxHashSet::default(),
        compared: FxHashSet::default(),
        damage: Damage::none(inner),
    };
    let root = Way(None);
    marker.inode(&manifest.root, &root).await?;
    let mut links = EdgeCollector::default();
    manifest.aliases.iter().for_each(|link| AliasTree::visit_link(link, &mut links));
    manifest.realms.iter().for_each(|link| RealmTree::visit_link(link, &mut links));
    for (address, kind) in links.edges {
        marker.edge(address, kind, &root);
    }
    for (address, kind) in &manifest.garbage {
        marker.edge(*address, *kind, &root);
    }
    marker.run().await?;
    // Last, so that what a clone shares with something removed is shown by the clone's path.
    marker.inode(&manifest.orphans, &Way::removed()).await?;
    marker.run().await?;
    realms::check(inner, manifest, &mut marker).await?;
    debug_assert!(root_edges(manifest).iter().all(|(address, _)| marker.counts.contains_key(address)));
    compare_counts(inner, manifest, &checkpointer.lost_nodes, &mut marker).await?;
    let Marker { mut report, mut damage, counts, .. } = marker;
    absent_items(inner, counts.iter().map(|(address, (kind, _))| (*address, *kind)), &mut damage).await?;
    damage.name_paths(manifest, &mut report).await?;
    Ok(report)
}

/// The count of an item, if it can be known.
async fn known_count(manifest: &Manifest, address: Address, nodes: &Pinned<'_>) -> Result<Option<u32>> {
    match stored_count(&manifest.ledger, &manifest.uncounted, address, nodes).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
        known => known,
    }
}

/// Compares the marks with the ledger, and both with the segments. `lost_nodes` are of checkpoints that failed; the next one frees them.
async fn compare_counts(
    inner: &Inner,
    manifest: &Manifest,
    lost_nodes: &[Address],
    marker: &mut Marker<'_>,
) -> Result<()> {
    let nodes = Pinned::new(&inner.items);
    // Below what cannot be read there may be more references than were seen.
    let is_whole = marker.damage.bad.is_empty();
    let leaks = manifest.abandoned > 0;
    let mut unknown = 0_u64;
    let mut expected: Vec<_> = marker.counts.iter().map(|(address, (_, count))| (*address, *count)).collect();
    expected.sort_unstable();
    for (address, count) in expected {
        let Some(stored) = known_count(manifest, address, &nodes).await? else {
            unknown += 1;
            continue;
        };
        if stored < count || (stored > count && is_whole && !leaks) {
            marker
                .find(None, format!("item {address:?} has {count} references and the ledger says {stored}"));
        }
    }
    if unknown > 0 {
        let message = format!(
            "the counts of references to {unknown} items are lost; nothing of what they hold is, but it is never freed"
        );
        marker.find(None, message);
    }
    let mut ledger_nodes = FxHashSet::default();
    let mut ledger_is_whole = manifest.uncounted.is_empty();
    let mut stack: Vec<Address> = manifest.ledger.iter().filter_map(Link::address).collect();
    while let Some(address) = stack.pop() {
        ledger_nodes.insert(address);
        match inner.items.node(Missing { address, kind: ItemKind::Ledger }).await {
            Ok(node) => {
                let mut links = EdgeCollector::default();
                node.visit(&mut links);
                stack.extend(links.edges.into_iter().map(|(address, _)| address));
            }
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                ledger_is_whole = false;
                marker.damage.bad.insert(address, (ItemKind::Ledger, error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    let born: FxHashSet<Address> = manifest.born.iter().map(|(address, _)| *address).collect();
    let dead_later: FxHashSet<Address> = manifest.ledger_dead.iter().chain(lost_nodes).copied().collect();
    let table: Vec<_> =
        inner.items.table().iter().map(|(segment, record)| (*segment, record.clone())).collect();
    let mut leaked = (0_u64, 0_u64);
    for (segment, record) in table {
        marker.report.segments += 1;
        marker.report.bytes += record.bytes;
        if inner
            .items
            .born_items()
            .keys()
            .any(|address| address.segment() == segment && !born.contains(address))
        {
            // Put by the log since the manifest.
            continue;
        }
        let directory = match inner.items.directory(segment).await {
            Ok((_, directory)) => directory,
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                marker.damage.bad_segments.insert(segment, error.to_string());
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut live = (0, 0);
        let mut is_known = true;
        for item in &directory.items {
            let address = Address::new(segment, item.index);
            let Some(count) = known_count(manifest, address, &nodes).await? else {
                is_known = false;
                continue;
            };
            if count == 0 {
                continue;
            }
            live.0 += 1;
            live.1 += u64::from(item.stored_length);
            let known = marker.counts.contains_key(&address)
                || ledger_nodes.contains(&address)
                || born.contains(&address)
                || dead_later.contains(&address);
            let tree_is_whole = if item.kind == ItemKind::Ledger { ledger_is_whole } else { is_whole };
            if known || !tree_is_whole {
                continue;
            }
            if leaks {
                leaked = (leaked.0 + 1, leaked.1 + u64::from(item.stored_length));
            } else {
                marker.find(
                    None,
                    format!("item {address:?} ({:?}) is kept and nothing refers to it", item.kind),
                );
            }
        }
        if is_known && live != (record.live_items, record.live_bytes) {
            let message = format!(
                "segment {:x} says {} live items of {} bytes and has {} of {}",
                segment.0, record.live_items, record.live_bytes, live.0, live.1
            );
            marker.find(None, message);
        }
    }
    if leaked.0 > 0 {
        let message = format!(
            "{} items of {} bytes are kept and nothing refers to them: {} nodes could not be read when they were freed, \
             and what they led to is not known",
            leaked.0, leaked.1, manifest.abandoned
        );
        marker.find(None, message);
    }
    Ok(())
}
