//! Is everything as it should be?
//!
//! `check` marks everything that the newest manifest leads to and compares that with every count, sum and list. `scrub`
//! reads every live item and names the paths that a damaged one is part of, in every clone that shares it.

mod links;
mod realms;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::address::{Address, ItemKind, SegmentId};
use crate::checkpoint::{checkpoint, root_edges};
use crate::format::manifest::Manifest;
use crate::kinds::{AliasTree, DirectoryTree, RealmTree};
use crate::pool::Inner;
use crate::record::{Content, Entry, Inode, Totals};
use crate::refcount::{EdgeCollector, stored_count};
use crate::report::{CheckReport, Finding};
use crate::segment::Pinned;
use crate::tree::{AnyNode, Body, Link, Missing, Node, Root, Tree};
use crate::{ErrorKind, Result};

/// Findings after which no more are listed.
const FINDINGS_MAX: usize = 10_000;

/// In place of the path of what was removed; no name has a slash.
const REMOVED: &[u8] = b"(removed)/";

/// A path, shared by all that lies below it.
#[derive(Clone, Debug)]
struct Way(Option<Arc<(Way, Vec<u8>)>>);

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
}

impl Marker<'_> {
    fn find(&mut self, way: Option<&Way>, message: String) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(Finding { path: way.map(Way::path), message });
        }
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
                    if directory.count != 0 || directory.totals != Totals::default() {
                        self.find(Some(way), "an empty directory counts entries".into());
                    }
                    return Ok(());
                };
                if !self.verified_directories.insert(*root) {
                    return Ok(());
                }
                match sums(self.inner, *root).await {
                    Ok((count, subdirectories, totals)) => {
                        if count != directory.count
                            || subdirectories != directory.subdirectories
                            || totals != directory.totals
                        {
                            let message = format!(
                                "the directory says {} entries, {} directories, {:?}; it has {count}, \
                                 {subdirectories}, {totals:?}",
                                directory.count, directory.subdirectories, directory.totals
                            );
                            self.find(Some(way), message);
                        }
                    }
                    // The damaged node is found when it is marked.
                    Err(error) if error.kind() == ErrorKind::Corrupt => {}
                    Err(error) => return Err(error),
                }
            }
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
                    self.find(Some(&way), format!("node {address:?} cannot be read: {error}"));
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

/// Entries, directories among them and totals of one directory's tree.
async fn sums(inner: &Inner, root: Address) -> Result<(u64, u32, Totals)> {
    let (mut count, mut subdirectories, mut totals) = (0, 0, Totals::default());
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
                for (_, entry) in entries {
                    count += 1;
                    subdirectories += u32::from(entry.is_directory());
                    totals = totals.plus(entry.totals());
                }
            }
        }
    }
    Ok((count, subdirectories, totals))
}

/// Marks everything and compares.
pub(crate) async fn check(inner: &Inner) -> Result<CheckReport> {
    checkpoint(inner, false).await?;
    let checkpointer = inner.checkpointer.lock().await;
    let manifest = &checkpointer.manifest;
    let mut marker = Marker {
        inner,
        report: CheckReport::default(),
        counts: FxHashMap::default(),
        work: Vec::new(),
        verified_directories: FxHashSet::default(),
        compared: FxHashSet::default(),
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
    compare_counts(inner, manifest, &mut marker).await?;
    Ok(marker.report)
}

/// Compares the marks with the ledger, and both with the segments.
async fn compare_counts(inner: &Inner, manifest: &Manifest, marker: &mut Marker<'_>) -> Result<()> {
    let nodes = Pinned::new(&inner.items);
    let mut expected: Vec<_> = marker.counts.iter().map(|(address, (_, count))| (*address, *count)).collect();
    expected.sort_unstable();
    for (address, count) in expected {
        let stored = stored_count(&manifest.ledger, address, &nodes).await?;
        if stored != count {
            marker
                .find(None, format!("item {address:?} has {count} references and the ledger says {stored}"));
        }
    }
    let mut ledger_nodes = FxHashSet::default();
    let mut stack: Vec<Address> = manifest.ledger.iter().filter_map(Link::address).collect();
    while let Some(address) = stack.pop() {
        ledger_nodes.insert(address);
        match inner.items.node(Missing { address, kind: ItemKind::Ledger }).await {
            Ok(node) => {
                let mut links = EdgeCollector::default();
                node.visit(&mut links);
                stack.extend(links.edges.into_iter().map(|(address, _)| address));
            }
            Err(error) => marker.find(None, format!("the ledger's node {address:?} cannot be read: {error}")),
        }
    }
    let born: FxHashSet<Address> = manifest.born.iter().map(|(address, _)| *address).collect();
    let dead_later: FxHashSet<Address> = manifest.ledger_dead.iter().copied().collect();
    let table: Vec<_> =
        inner.items.table().iter().map(|(segment, record)| (*segment, record.clone())).collect();
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
                marker.find(None, format!("segment {:x} cannot be read: {error}", segment.0));
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut live = (0, 0);
        for item in &directory.items {
            let address = Address::new(segment, item.index);
            let count = stored_count(&manifest.ledger, address, &nodes).await?;
            if count == 0 {
                continue;
            }
            live.0 += 1;
            live.1 += u64::from(item.stored_length);
            let known = marker.counts.contains_key(&address)
                || ledger_nodes.contains(&address)
                || born.contains(&address)
                || dead_later.contains(&address);
            if !known {
                marker.find(
                    None,
                    format!("item {address:?} ({:?}) is kept and nothing refers to it", item.kind),
                );
            }
        }
        if live != (record.live_items, record.live_bytes) {
            let message = format!(
                "segment {:x} says {} live items of {} bytes and has {} of {}",
                segment.0, record.live_items, record.live_bytes, live.0, live.1
            );
            marker.find(None, message);
        }
    }
    Ok(())
}

/// Reads every live item.
pub(crate) async fn scrub(inner: &Inner) -> Result<CheckReport> {
    checkpoint(inner, false).await?;
    let checkpointer = inner.checkpointer.lock().await;
    let manifest = &checkpointer.manifest;
    let mut report = CheckReport::default();
    let mut bad: FxHashMap<Address, String> = FxHashMap::default();
    let mut bad_segments: FxHashMap<SegmentId, String> = FxHashMap::default();
    let segments: Vec<SegmentId> = inner.items.table().keys().copied().collect();
    let nodes = Pinned::new(&inner.items);
    for segment in segments {
        report.segments += 1;
        let (_, directory) = match inner.items.directory(segment).await {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                bad_segments.insert(segment, error.to_string());
                continue;
            }
            Err(error) => return Err(error),
        };
        for item in &directory.items {
            let address = Address::new(segment, item.index);
            // A ledger that cannot be read tells nothing: then everything is looked at.
            if stored_count(&manifest.ledger, address, &nodes).await.is_ok_and(|count| count == 0) {
                continue;
            }
            report.bytes += u64::from(item.stored_length);
            let read = match inner.items.read(address, item.kind).await {
                Ok(bytes) if item.kind == ItemKind::Frame => {
                    report.frames += 1;
                    drop(bytes);
                    Ok(())
                }
                Ok(bytes) => {
                    report.nodes += 1;
                    AnyNode::decode(item.kind, &bytes, address).map(|_| ())
                }
                Err(error) => Err(error),
            };
            match read {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    bad.insert(address, error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
    }
    let damage = Damage { inner, bad, bad_segments };
    damage.name_paths(manifest, &mut report).await?;
    Ok(report)
}

/// What cannot be read.
struct Damage<'a> {
    inner: &'a Inner,
    bad: FxHashMap<Address, String>,
    bad_segments: FxHashMap<SegmentId, String>,
}

impl Damage<'_> {
    fn of(&self, address: Address) -> Option<&String> {
        self.bad.get(&address).or_else(|| self.bad_segments.get(&address.segment()))
    }

    /// Lists every path that leads to something damaged.
    async fn name_paths(&self, manifest: &Manifest, report: &mut CheckReport) -> Result<()> {
        if self.bad.is_empty() && self.bad_segments.is_empty() {
            return Ok(());
        }
        let mut named = FxHashSet::default();
        let mut hit = FxHashMap::default();
        let root = Way(None);
        self.inode(&manifest.root, &root, &mut hit, &mut named, report).await?;
        for (address, error) in &self.bad {
            if !named.contains(address) {
                let message = format!("item {address:?} is damaged, no path leads to it: {error}");
                report.findings.push(Finding { path: None, message });
            }
        }
        for error in self.bad_segments.values() {
            report.findings.push(Finding { path: None, message: error.clone() });
        }
        Ok(())
    }

    /// Whether something damaged lies below an item.
    async fn hits(
        &self,
        address: Address,
        kind: ItemKind,
        hit: &mut FxHashMap<Address, bool>,
    ) -> Result<bool> {
        if self.of(address).is_some() {
            return Ok(true);
        }
        if kind == ItemKind::Frame {
            return Ok(false);
        }
        if let Some(known) = hit.get(&address) {
            return Ok(*known);
        }
        let mut links = EdgeCollector::default();
        self.inner.items.node(Missing { address, kind }).await?.visit(&mut links);
        let mut any = false;
        for (child, kind) in links.edges {
            any |= Box::pin(self.hits(child, kind, hit)).await?;
        }
        hit.insert(address, any);
        Ok(any)
    }

    async fn inode(
        &self,
        inode: &Inode,
        way: &Way,
        hit: &mut FxHashMap<Address, bool>,
        named: &mut FxHashSet<Address>,
        report: &mut CheckReport,
    ) -> Result<()> {
        report.inodes += 1;
        let mut links = EdgeCollector::default();
        crate::kinds::visit_inode(inode, &mut links);
        for (address, kind) in links.edges {
            if report.findings.len() >= FINDINGS_MAX || !self.hits(address, kind, hit).await? {
                continue;
            }
            if kind == ItemKind::Directory && self.of(address).is_none() {
                self.directory(&Some(Link::Stored(address)), way, hit, named, report).await?;
                continue;
            }
            let mut found = Vec::new();
            self.damaged_below(address, kind, &mut found).await?;
            for address in &found {
                named.insert(*address);
            }
            let what = match kind {
                ItemKind::Directory => "entries of this directory are lost",
                ItemKind::Side => "files with several names are damaged in this clone",
                _ => "content is damaged",
            };
            let error = found.first().and_then(|address| self.of(*address)).cloned().unwrap_or_default();
            report.findings.push(Finding { path: Some(way.path()), message: format!("{what}: {error}") });
        }
        Ok(())
    }

    async fn damaged_below(&self, address: Address, kind: ItemKind, found: &mut Vec<Address>) -> Result<()> {
        if self.of(address).is_some() {
            found.push(address);
            return Ok(());
        }
        if kind == ItemKind::Frame {
            return Ok(());
        }
        let mut links = EdgeCollector::default();
        self.inner.items.node(Missing { address, kind }).await?.visit(&mut links);
        for (child, kind) in links.edges {
            Box::pin(self.damaged_below(child, kind, found)).await?;
        }
        Ok(())
    }

    /// Goes on below a directory whose root can be read.
    async fn directory(
        &self,
        root: &Root<DirectoryTree>,
        way: &Way,
        hit: &mut FxHashMap<Address, bool>,
        named: &mut FxHashSet<Address>,
        report: &mut CheckReport,
    ) -> Result<()> {
        let mut stack: Vec<Address> = root.iter().filter_map(Link::address).collect();
        while let Some(address) = stack.pop() {
            if let Some(error) = self.of(address) {
                named.insert(address);
                let message = format!("entries of this directory are lost: {error}");
                report.findings.push(Finding { path: Some(way.path()), message });
                continue;
            }
            if !self.hits(address, ItemKind::Directory, hit).await? {
                continue;
            }
            let missing = Missing { address, kind: ItemKind::Directory };
            let AnyNode::Directory(node) = self.inner.items.node(missing).await? else { continue };
            match &node.body {
                Body::Branch(children) => {
                    stack.extend(children.iter().filter_map(|child| child.link.address()))
                }
                Body::Leaf(entries) => {
                    for (key, entry) in entries {
                        if let Entry::Inode(inode) = entry {
                            Box::pin(self.inode(inode, &way.below(&key.name), hit, named, report)).await?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
