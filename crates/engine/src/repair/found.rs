//! What is whole and no name leads to any more.
//!
//! A lost node of a directory tree takes with it the way to everything below. The nodes below are still in their segments and
//! were live. Those of them that no other leads to get names in `/lost+found`, with the directory that they probably come from
//! in the name. If the node that was lost was shared by clones, what is found is found once.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::reach::Reach;
use super::rebuild::{LostNode, Rebuilder, any_node};
use crate::address::{Address, ItemKind};
use crate::format::manifest::Manifest;
use crate::kinds::{DirectoryTree, EntryKey, FileTree};
use crate::namespace::State;
use crate::record::{Content, Directory, Entry, Inode, RealmRoot, Scope, SideKey, Sums, Xattrs};
use crate::refcount::{EdgeCollector, stored_count};
use crate::tree::{self, AnyNode, Body, Link, Root};
use crate::{ErrorKind, Kind, Result, Timestamp};

/// Bytes of a name that tell where something comes from.
const NAME_BYTES_MAX: usize = 200;

/// Something that gets a name.
pub(super) struct Found {
    /// What it gets a name of.
    pub(super) name: Vec<u8>,
    pub(super) inode: Inode,
    /// What it is, in words.
    pub(super) what: String,
}

/// Looks for what was lost with nodes of directory trees, side trees and file trees.
pub(super) async fn find(
    rebuilder: &mut Rebuilder<'_>,
    manifest: &Manifest,
    named: &FxHashMap<Address, Vec<u8>>,
    time: Timestamp,
) -> Result<Vec<Found>> {
    let newest_lost = *rebuilder.newest_lost.lock();
    let candidates = match newest_lost {
        Some(newest) => candidates(rebuilder, manifest, newest).await?,
        None => Vec::new(),
    };
    let mut groups: Vec<Group> = Vec::new();
    let mut files = Vec::new();
    let mut names: FxHashMap<SideKey, Vec<u8>> = FxHashMap::default();
    for (address, kind) in candidates {
        if kind == ItemKind::File {
            files.push(address);
            continue;
        }
        let rebuilt = rebuilder.directory(&Link::Stored(address)).await?;
        let entries = rebuilder.entries(&rebuilt.root).await?;
        if entries.is_empty() {
            continue;
        }
        for (key, entry) in &entries {
            if let Entry::Linked(side) = entry {
                names.insert(**side, key.name.to_vec());
            }
        }
        let from = origin(&rebuilder.lost, address, &entries);
        let group = groups.iter_mut().find(|group| {
            group.from.is_some()
                && group.from == from
                && entries.iter().all(|(key, _)| !group.keys.contains(key))
        });
        let group = match group {
            Some(group) => group,
            None => {
                groups.push(Group { from, ..Group::default() });
                groups.last_mut().expect("one was just put there")
            }
        };
        for (key, entry) in entries {
            group.keys.insert(key.clone());
            group.sums = group.sums.plus(entry.sums());
            tree::insert(&mut group.root, key, entry, &rebuilder.nodes)
                .expect("a tree that is being made is in memory");
        }
    }
    let mut found = Vec::new();
    for group in groups {
        let path = group.from.and_then(|from| named.get(&from)).cloned();
        let mut directory = Directory {
            entries: group.root,
            realm: Some(Box::new(RealmRoot { side: None, read_only: false, scope: Scope::Part })),
            ..Directory::default()
        };
        directory.set_sums(group.sums);
        // Their inodes lie in no tree that belongs to this; they are found by themselves if no name is left.
        let gone: FxHashSet<SideKey> = linked(rebuilder, &directory).await?;
        if !gone.is_empty() {
            rebuilder.drop_names(&mut directory, &gone).await?;
        }
        let count = directory.count;
        let what = match &path {
            Some(path) => {
                format!("{count} entries that {} has lost are found again", String::from_utf8_lossy(path))
            }
            None => format!("a directory of {count} entries is found again; its name and place are lost"),
        };
        let name = path.map_or_else(|| b"directory".to_vec(), |path| flat(&path));
        let inode = inode(Kind::Directory, Content::Directory(Box::new(directory)), 0, time);
        found.push(Found { name, inode, what });
    }
    for address in files {
        let link = Link::<FileTree>::Stored(address);
        let Some(AnyNode::File(node)) = any_node(rebuilder.inner, address, ItemKind::File).await? else {
            continue;
        };
        let size = rebuilder
            .entries(&Some(link.clone()))
            .await?
            .iter()
            .map(|(offset, extent)| offset + u64::from(extent.length))
            .max()
            .unwrap_or(0);
        let mut file = inode(Kind::File, Content::Tree(link), size, time);
        file.allocated = node.weight;
        if let Some((content, allocated)) = rebuilder.file(&file).await? {
            (file.content, file.allocated) = (content, allocated);
        }
        let what =
            "content of a file is found again, at its offsets; its name and attributes are lost".into();
        found.push(Found { name: b"content".to_vec(), inode: file, what });
    }
    let mut told: FxHashSet<(u64, Vec<Address>)> = FxHashSet::default();
    for inode in std::mem::take(&mut rebuilder.unnamed) {
        let mut links = EdgeCollector::default();
        crate::kinds::visit_inode(&inode, &mut links);
        // A clone has the same file.
        if !told.insert((inode.number, links.edges.into_iter().map(|(address, _)| address).collect())) {
            continue;
        }
        let name = names.iter().find(|(key, _)| key.number == inode.number).map(|(_, name)| name.clone());
        let name = name.unwrap_or_else(|| format!("file {}", inode.number).into_bytes());
        let what = "a file that had several names is found again; all of them are lost".into();
        found.push(Found { name, inode: Arc::unwrap_or_clone(inode), what });
    }
    Ok(found)
}

/// Entries that come from the same place.
#[derive(Default)]
struct Group {
    /// The node that was lost.
    from: Option<Address>,
    keys: FxHashSet<EntryKey>,
    root: Root<DirectoryTree>,
    sums: Sums,
}

/// Live nodes that nothing leads to, without those that others of them lead to.
async fn candidates(
    rebuilder: &Rebuilder<'_>,
    manifest: &Manifest,
    newest_lost: Address,
) -> Result<Vec<(Address, ItemKind)>> {
    // What the damaged trees lead to is in the new ones, as it was or made anew.
    let state = State::of_manifest(manifest);
    let reach = Reach::without(rebuilder.inner, &state, |address| rebuilder.bad.contains(address)).await?;
    let items = &rebuilder.inner.items;
    let table: Vec<_> = items.table().iter().map(|(segment, record)| (*segment, record.clone())).collect();
    let garbage: FxHashSet<Address> = manifest.garbage.iter().map(|(address, _)| *address).collect();
    let mut candidates: Vec<(Address, ItemKind)> = Vec::new();
    let mut led_to: FxHashSet<Address> = FxHashSet::default();
    for (segment, record) in table {
        let directory = match items.stored_directory(segment, &record).await {
            Ok(directory) => directory,
            Err(error) if error.kind() == ErrorKind::Corrupt => continue,
            Err(error) => return Err(error),
        };
        for item in &directory.items {
            let address = Address::new(segment, item.index);
            let kind = item.kind;
            // Children are written before their parents.
            if !matches!(kind, ItemKind::Directory | ItemKind::File | ItemKind::Side)
                || reach.counts.contains_key(&address)
                || address > newest_lost
                || rebuilder.bad.contains(address)
            {
                continue;
            }
            let count = stored_count(&manifest.ledger, &manifest.uncounted, address, &rebuilder.nodes).await;
            let count = match count {
                Err(error) if error.kind() == ErrorKind::Corrupt => None,
                known => known?,
            };
            if count == Some(0) {
                continue;
            }
            let Some(node) = any_node(rebuilder.inner, address, kind).await? else { continue };
            let mut links = EdgeCollector::default();
            node.visit(&mut links);
            led_to.extend(links.edges.into_iter().map(|(address, _)| address));
            if kind != ItemKind::Side && !garbage.contains(&address) {
                candidates.push((address, kind));
            }
        }
    }
    candidates.retain(|(address, _)| !led_to.contains(address));
    // The newest first: if two have one name, that comes first.
    candidates.reverse();
    Ok(candidates)
}

/// The lost node that had these entries, if it can be only one.
fn origin(lost: &[LostNode], address: Address, entries: &[(EntryKey, Entry)]) -> Option<Address> {
    let mut fit = lost
        .iter()
        .filter(|lost| address < lost.address && entries.iter().all(|(key, _)| lost.holds(key)))
        .map(|lost| lost.address);
    match (fit.next(), fit.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// The files of several names that names of a realm lead to.
async fn linked(rebuilder: &Rebuilder<'_>, directory: &Directory) -> Result<FxHashSet<SideKey>> {
    let mut found = FxHashSet::default();
    let mut stack: Vec<Link<DirectoryTree>> =
        directory.entries.iter().filter(|_| directory.totals.links > 0).cloned().collect();
    while let Some(link) = stack.pop() {
        let Some(node) = rebuilder.node(&link).await? else { continue };
        match &node.body {
            Body::Branch(children) => stack.extend(children.iter().map(|child| child.link.clone())),
            Body::Leaf(entries) => {
                for (_, entry) in entries {
                    match entry {
                        Entry::Linked(key) => drop(found.insert(**key)),
                        Entry::Inode(inode) => stack.extend(
                            inode
                                .directory()
                                .filter(|below| below.totals.links > 0 && below.realm.is_none())
                                .and_then(|below| below.entries.clone()),
                        ),
                    }
                }
            }
        }
    }
    Ok(found)
}

/// A path as one name.
fn flat(path: &[u8]) -> Vec<u8> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let mut name: Vec<u8> = path.iter().map(|byte| if *byte == b'/' { b'%' } else { *byte }).collect();
    if name.is_empty() {
        name = b"root".to_vec();
    }
    // Its end tells more than its beginning.
    name.split_off(name.len().saturating_sub(NAME_BYTES_MAX))
}

fn inode(kind: Kind, content: Content, size: u64, time: Timestamp) -> Inode {
    Inode {
        number: 0,
        kind,
        mode: if kind == Kind::Directory { 0o700 } else { 0o600 },
        read_only: false,
        uid: 0,
        gid: 0,
        nlink: 1,
        rdev: 0,
        size,
        allocated: 0,
        atime: time,
        mtime: time,
        ctime: time,
        btime: time,
        content,
        xattrs: Xattrs::None,
        identity: None,
        origin: None,
    }
}
