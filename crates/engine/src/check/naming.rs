//! Which paths does damage hit?
//!
//! Goes down from the root to everything that leads to something damaged, into every clone that shares it, and into nothing
//! else. What is told is bounded; how much there is, is counted all the same.

use std::collections::BTreeMap;
use std::ops::Range;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::Result;
use crate::address::{Address, ItemKind, SegmentId};
use crate::format::manifest::Manifest;
use crate::kinds::Extent;
use crate::pool::Inner;
use crate::record::{Content, Directory, Entry, Inode, SideKey, Xattrs};
use crate::refcount::EdgeCollector;
use crate::report::{CheckReport, Finding};
use crate::segment::ObjectName;
use crate::tree::{AnyNode, Body, Link, Missing};
use crate::{Error, ErrorKind};

use super::Way;

/// Findings after which no more are listed.
pub(super) const FINDINGS_MAX: usize = 10_000;
/// Ranges of one file that are listed.
const RANGES_MAX: usize = 64;

/// Puts a finding, or counts it only.
pub(super) fn find(report: &mut CheckReport, finding: Finding) {
    report.findings_total += 1;
    if report.findings.len() < FINDINGS_MAX {
        report.findings.push(finding);
    }
}

/// What cannot be read.
pub(crate) struct Damage<'a> {
    inner: &'a Inner,
    /// Items, with their kind and what is wrong.
    pub(crate) bad: FxHashMap<Address, (ItemKind, String)>,
    /// Segments whose lists of items cannot be read.
    pub(crate) bad_segments: FxHashMap<SegmentId, String>,
    /// Objects whose items can be read, but not what is around them.
    pub(crate) bad_objects: BTreeMap<ObjectName, String>,
    /// What is wrong with the stored manifest or table.
    pub(crate) bad_manifest: Vec<String>,
    /// Whether something damaged lies below a node.
    hit: FxHashMap<Address, bool>,
    /// Findings that a node of a directory tree leads to.
    below: FxHashMap<Address, u64>,
    /// A path for what is damaged and was found.
    pub(crate) named: FxHashMap<Address, Vec<u8>>,
}

/// What of a file is damaged.
struct Hits {
    ranges: Vec<Range<u64>>,
    attributes: bool,
    why: String,
}

impl<'a> Damage<'a> {
    pub(super) fn none(inner: &'a Inner) -> Self {
        Self {
            inner,
            bad: FxHashMap::default(),
            bad_segments: FxHashMap::default(),
            bad_objects: BTreeMap::new(),
            bad_manifest: Vec::new(),
            hit: FxHashMap::default(),
            below: FxHashMap::default(),
            named: FxHashMap::default(),
        }
    }

    fn of(&self, address: Address) -> Option<&String> {
        let segment = || self.bad_segments.get(&address.segment());
        self.bad.get(&address).map(|(_, error)| error).or_else(segment)
    }

    /// A node; one that cannot be read is damaged.
    async fn node(&mut self, address: Address, kind: ItemKind) -> Result<Option<AnyNode>> {
        if self.of(address).is_some() {
            return Ok(None);
        }
        match self.inner.items.node(Missing { address, kind }).await {
            Ok(node) => Ok(Some(node)),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.bad.insert(address, (kind, error.to_string()));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Lists every path that leads to something damaged, and what of the damage no path leads to.
    pub(crate) async fn name_paths(&mut self, manifest: &Manifest, report: &mut CheckReport) -> Result<()> {
        let is_whole = self.bad.is_empty() && self.bad_segments.is_empty();
        if is_whole && self.bad_objects.is_empty() && self.bad_manifest.is_empty() {
            return Ok(());
        }
        if !is_whole {
            self.inode(&manifest.root, &Way(None), report).await?;
        }
        let mut unnamed: Vec<_> =
            self.bad.iter().filter(|(address, _)| !self.named.contains_key(*address)).collect();
        unnamed.sort_unstable_by_key(|(address, _)| **address);
        for (address, (kind, error)) in unnamed {
            let message = match kind {
                ItemKind::Ledger => format!(
                    "node {address:?} of the ledger is damaged: counts of references are lost, and what they were of is not \
                     freed before a repair: {error}"
                ),
                ItemKind::Alias => {
                    format!(
                        "node {address:?} of the alias tree is damaged: nested clones cannot be looked into: {error}"
                    )
                }
                ItemKind::Realm => format!(
                    "node {address:?} of the tree of realms is damaged: clones of directories may not be made or \
                     removed: {error}"
                ),
                _ => format!("item {address:?} ({kind:?}) is damaged, no path leads to it: {error}"),
            };
            find(report, Finding { path: None, ranges: Vec::new(), message });
        }
        let mut others: Vec<String> = Vec::new();
        let mut segments: Vec<_> = self.bad_segments.iter().collect();
        segments.sort_unstable();
        others
            .extend(segments.iter().map(|(id, error)| format!("segment {:x} cannot be read: {error}", id.0)));
        others.extend(
            self.bad_objects
                .values()
                .map(|error| format!("{error}; its items can be read, and a repair writes them anew")),
        );
        others.extend(self.bad_manifest.iter().cloned());
        for message in others {
            find(report, Finding { path: None, ranges: Vec::new(), message });
        }
        Ok(())
    }

    /// Whether something damaged lies below an item.
    async fn hits(&mut self, address: Address, kind: ItemKind) -> Result<bool> {
        if self.of(address).is_some() {
            return Ok(true);
        }
        if kind == ItemKind::Frame {
            return Ok(false);
        }
        if let Some(known) = self.hit.get(&address) {
            return Ok(*known);
        }
        let Some(node) = self.node(address, kind).await? else { return Ok(true) };
        let mut links = EdgeCollector::default();
        node.visit(&mut links);
        drop(node);
        let mut any = false;
        for (child, kind) in links.edges {
            any |= Box::pin(self.hits(child, kind)).await?;
        }
        self.hit.insert(address, any);
        Ok(any)
    }

    /// The number of findings that a node of a directory tree leads to; what damaged side trees hit counts as one.
    async fn count(&mut self, address: Address) -> Result<u64> {
        if !self.hits(address, ItemKind::Directory).await? {
            return Ok(0);
        }
        if let Some(known) = self.below.get(&address) {
            return Ok(*known);
        }
        let Some(AnyNode::Directory(node)) = self.node(address, ItemKind::Directory).await? else {
            return Ok(1);
        };
        let mut count = 0;
        match &node.body {
            Body::Branch(children) => {
                for address in children.iter().filter_map(|child| child.link.address()) {
                    count += Box::pin(self.count(address)).await?;
                }
            }
            Body::Leaf(entries) => {
                for (_, entry) in entries {
                    let Entry::Inode(inode) = entry else { continue };
                    let mut links = EdgeCollector::default();
                    crate::kinds::visit_inode(inode, &mut links);
                    let mut is_content = false;
                    for (address, kind) in links.edges {
                        if kind == ItemKind::Directory {
                            count += Box::pin(self.count(address)).await?;
                        } else {
                            is_content |= self.hits(address, kind).await?;
                        }
                    }
                    count += u64::from(is_content);
                }
            }
        }
        self.below.insert(address, count);
        Ok(count)
    }

    async fn inode(&mut self, inode: &Inode, way: &Way, report: &mut CheckReport) -> Result<()> {
        report.inodes += 1;
        let Some(directory) = inode.directory() else {
            if let Some(hits) = self.file(inode, way).await? {
                find(report, hits.finding(way.path()));
            }
            return Ok(());
        };
        if let Some(root) = directory.entries.as_ref().and_then(Link::address) {
            if report.findings.len() < FINDINGS_MAX {
                self.directory(root, way, report).await?;
            } else {
                report.findings_total += self.count(root).await?;
            }
        }
        if let Some(side) = directory.realm.as_ref().and_then(|realm| realm.side.as_ref()?.address())
            && self.hits(side, ItemKind::Side).await?
        {
            self.side(directory, side, way, report).await?;
        }
        if let Some(hits) = self.file(inode, way).await? {
            find(report, hits.finding(way.path()));
        }
        Ok(())
    }

    /// Goes on below a directory.
    async fn directory(&mut self, root: Address, way: &Way, report: &mut CheckReport) -> Result<()> {
        let mut stack: Vec<Address> = vec![root];
        while let Some(address) = stack.pop() {
            if !self.hits(address, ItemKind::Directory).await? {
                continue;
            }
            let Some(AnyNode::Directory(node)) = self.node(address, ItemKind::Directory).await? else {
                let error = self.of(address).cloned().unwrap_or_default();
                self.named.entry(address).or_insert_with(|| way.path());
                let message = format!("entries of this directory are lost: {error}");
                find(report, Finding { path: Some(way.path()), ranges: Vec::new(), message });
                continue;
            };
            match &node.body {
                Body::Branch(children) => {
                    stack.extend(children.iter().filter_map(|child| child.link.address()))
                }
                Body::Leaf(entries) => {
                    for (key, entry) in entries {
                        if let Entry::Inode(inode) = entry {
                            Box::pin(self.inode(inode, &way.below(&key.name), report)).await?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// What of an inode's content and attributes is damaged.
    async fn file(&mut self, inode: &Inode, way: &Way) -> Result<Option<Hits>> {
        let mut hits = Hits { ranges: Vec::new(), attributes: false, why: String::new() };
        match &inode.content {
            Content::Extents(extents) => self.extents(extents, way, &mut hits),
            Content::Tree(Link::Stored(root)) => self.file_tree(*root, 0..inode.size, way, &mut hits).await?,
            _ => {}
        }
        if let Xattrs::Frame(held) = &inode.xattrs
            && let Some(address) = held.frame.address()
            && let Some(error) = self.of(address)
        {
            (hits.attributes, hits.why) = (true, error.clone());
            self.named.entry(address).or_insert_with(|| way.path());
        }
        Ok((hits.attributes || !hits.ranges.is_empty()).then_some(hits))
    }

    fn extents<'e>(
        &mut self,
        extents: impl IntoIterator<Item = &'e (u64, Extent)>,
        way: &Way,
        hits: &mut Hits,
    ) {
        for (offset, extent) in extents {
            let Some(address) = extent.frame.address() else { continue };
            let Some(error) = self.of(address) else { continue };
            hits.add(*offset..*offset + u64::from(extent.length), error);
            self.named.entry(address).or_insert_with(|| way.path());
        }
    }

    /// Ranges of `range` that a node of a file tree leads to and that cannot be read.
    async fn file_tree(
        &mut self,
        address: Address,
        range: Range<u64>,
        way: &Way,
        hits: &mut Hits,
    ) -> Result<()> {
        if !self.hits(address, ItemKind::File).await? {
            return Ok(());
        }
        let Some(AnyNode::File(node)) = self.node(address, ItemKind::File).await? else {
            let error = self.of(address).cloned().unwrap_or_default();
            hits.add(range, &error);
            self.named.entry(address).or_insert_with(|| way.path());
            return Ok(());
        };
        match &node.body {
            Body::Leaf(extents) => self.extents(extents, way, hits),
            Body::Branch(children) => {
                for (index, child) in children.iter().enumerate() {
                    let Link::Stored(address) = child.link else { continue };
                    let start = if index == 0 { range.start } else { child.key };
                    let end = children.get(index + 1).map_or(range.end, |next| next.key);
                    Box::pin(self.file_tree(address, start..end, way, hits)).await?;
                }
            }
        }
        Ok(())
    }

    /// Names the files of a realm whose inodes or content in its side tree are damaged.
    async fn side(
        &mut self,
        directory: &Directory,
        root: Address,
        way: &Way,
        report: &mut CheckReport,
    ) -> Result<()> {
        let mut hit: FxHashMap<SideKey, Hits> = FxHashMap::default();
        // From a key up to another, where nothing is known of the inodes.
        let mut lost: Vec<(Option<SideKey>, Option<SideKey>, String)> = Vec::new();
        let mut stack = vec![(root, None, None)];
        while let Some((address, low, high)) = stack.pop() {
            if !self.hits(address, ItemKind::Side).await? {
                continue;
            }
            let Some(AnyNode::Side(node)) = self.node(address, ItemKind::Side).await? else {
                lost.push((low, high, self.of(address).cloned().unwrap_or_default()));
                self.named.entry(address).or_insert_with(|| way.path());
                continue;
            };
            match &node.body {
                Body::Branch(children) => {
                    for (index, child) in children.iter().enumerate() {
                        let Link::Stored(address) = child.link else { continue };
                        let start = if index == 0 { low } else { Some(child.key) };
                        let end = children.get(index + 1).map_or(high, |next| Some(next.key));
                        stack.push((address, start, end));
                    }
                }
                Body::Leaf(inodes) => {
                    for (key, inode) in inodes {
                        if let Some(hits) = self.file(inode, way).await? {
                            hit.insert(*key, hits);
                        }
                    }
                }
            }
        }
        let is_lost = |key: &SideKey| {
            lost.iter().find(|(low, high, _)| {
                low.is_none_or(|low| low <= *key) && high.is_none_or(|high| *key < high)
            })
        };
        let mut named: FxHashSet<SideKey> = FxHashSet::default();
        let mut is_named = false;
        let mut directories = vec![(directory.entries.as_ref().and_then(Link::address), way.clone())];
        if directory.totals.links == 0 {
            directories.clear();
        }
        while let Some((address, way)) = directories.pop() {
            let Some(address) = address else { continue };
            let Some(AnyNode::Directory(node)) = self.node(address, ItemKind::Directory).await? else {
                continue;
            };
            match &node.body {
                Body::Branch(children) => {
                    directories.extend(children.iter().map(|child| (child.link.address(), way.clone())));
                }
                Body::Leaf(entries) => {
                    for (name, entry) in entries {
                        let below = &name.name;
                        match entry {
                            Entry::Linked(key) => {
                                let path = || way.below(below).path();
                                if let Some(hits) = hit.get(&**key) {
                                    find(report, hits.finding(path()));
                                    named.insert(**key);
                                } else if let Some((.., error)) = is_lost(key) {
                                    let message = format!("the file is lost: {error}");
                                    find(report, Finding { path: Some(path()), ranges: Vec::new(), message });
                                    is_named = true;
                                }
                            }
                            Entry::Inode(inode) => {
                                let within = inode
                                    .directory()
                                    .filter(|below| below.totals.links > 0 && below.realm.is_none());
                                if let Some(within) = within {
                                    let root = within.entries.as_ref().and_then(Link::address);
                                    directories.push((root, way.below(below)));
                                }
                            }
                        }
                    }
                }
            }
        }
        // What no name of this clone leads to is kept by it all the same.
        let unnamed = hit.iter().filter(|(key, _)| !named.contains(*key)).count();
        let error = lost.first().map(|(.., error)| error).or_else(|| Some(&hit.values().next()?.why));
        if unnamed > 0 || (!lost.is_empty() && !is_named) {
            let error = error.cloned().unwrap_or_default();
            let message = format!("files with several names are damaged in this clone: {error}");
            find(report, Finding { path: Some(way.path()), ranges: Vec::new(), message });
        }
        Ok(())
    }
}

impl Hits {
    fn add(&mut self, range: Range<u64>, error: &str) {
        if self.why.is_empty() {
            error.clone_into(&mut self.why);
        }
        match self.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.ranges.push(range),
        }
    }

    fn finding(&self, path: Vec<u8>) -> Finding {
        let mut what: Vec<String> = Vec::new();
        if !self.ranges.is_empty() {
            let shown = self.ranges.iter().take(8);
            let shown: Vec<_> = shown.map(|range| format!("{} to {}", range.start, range.end)).collect();
            let more = match self.ranges.len().saturating_sub(8) {
                0 => String::new(),
                more => format!(" and {more} more ranges"),
            };
            what.push(format!("content is damaged, bytes {}{more}", shown.join(", ")));
        }
        if self.attributes {
            what.push("extended attributes are damaged".into());
        }
        let message = format!("{}: {}", what.join("; "), self.why);
        let ranges = self.ranges.iter().take(RANGES_MAX).cloned().collect();
        Finding { path: Some(path), ranges, message }
    }
}

/// The words of an error that is damage; other errors are passed on.
pub(super) fn damage(error: Error) -> Result<String> {
    if error.kind() == ErrorKind::Corrupt { Ok(error.to_string()) } else { Err(error) }
}
