//! What a pool should be: plain nodes in maps, where a clone is a deep copy.
//!
//! It predicts every answer of the engine, kinds of errors included, and everything that can be seen. What it knows of the
//! engine's ways, because callers can see it:
//!
//! - A clone of a directory starts a realm. A file that ever had two names (`linked`) and a plain directory stay in their realm.
//! - A clone of a part of a realm keeps the `nlink` of files with several names, counting names that lie outside the part.
//! - A file that is removed while it is known or held open, and a directory while something in it is held open, moves to the
//!   orphans (`parent` is [`ORPHANS`]); a directory there is a realm of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use offshoot_engine::{ErrorKind, Kind, NewInode, Timestamp};

use super::bytes::Sparse;
use super::node::{Node, Set, new};

/// Names a node; never used twice.
pub type Id = u64;
pub type Answer<T = ()> = Result<T, ErrorKind>;

pub const ROOT: Id = 1;
pub const ORPHANS: Id = 0;
/// Largest size of a file.
pub const SIZE_MAX: u64 = i64::MAX as u64;

/// The model's state after some operation; copies share what is equal.
#[derive(Clone)]
pub struct Model {
    pub nodes: BTreeMap<Id, Arc<Node>>,
    /// Times that nodes are held open.
    pub holds: BTreeMap<Id, u32>,
    /// Nodes that callers hold references to.
    pub known: BTreeSet<Id>,
    /// Orphans that were forgotten, and go with the next collection.
    forgotten: Vec<Id>,
    pub next: Id,
    pub now: Timestamp,
}

impl Model {
    pub fn new(root: Timestamp) -> Self {
        let mut model = Self {
            nodes: BTreeMap::new(),
            holds: BTreeMap::new(),
            known: BTreeSet::new(),
            forgotten: Vec::new(),
            next: 2,
            now: root,
        };
        let mut node = model.fresh(&new(Kind::Directory));
        node.mode = 0o755;
        node.parent = ROOT;
        model.nodes.insert(ROOT, Arc::new(node));
        model
    }

    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[&id]
    }

    fn change(&mut self, id: Id) -> &mut Node {
        Arc::make_mut(self.nodes.get_mut(&id).expect("the node is in the model"))
    }

    fn fresh(&self, new: &NewInode) -> Node {
        let now = self.now;
        Node {
            kind: new.kind,
            mode: new.mode & 0o7777,
            uid: new.uid,
            gid: new.gid,
            rdev: new.rdev,
            nlink: 1,
            size: if new.kind == Kind::Symlink { new.target.len() as u64 } else { 0 },
            content: Sparse::default(),
            target: new.target.to_vec(),
            children: BTreeMap::new(),
            xattrs: new.xattrs.iter().cloned().collect(),
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            read_only: false,
            clone_root: false,
            linked: false,
            parent: ORPHANS,
            gone: false,
        }
    }

    fn add(&mut self, node: Node) -> Id {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, Arc::new(node));
        id
    }

    // ---- where things are ----

    /// The node itself and what it lies in, inside out, to the root or the orphans.
    fn upwards(&self, id: Id) -> impl Iterator<Item = Id> {
        let mut next = (id != ORPHANS).then_some(id);
        std::iter::from_fn(move || {
            let id = next?;
            let parent = self.node(id).parent;
            next = (id != ROOT && parent != ORPHANS).then_some(parent);
            Some(id)
        })
    }

    /// Refuses what is removed for good.
    pub fn alive(&self, id: Id) -> Answer {
        if self.upwards(id).any(|id| self.node(id).gone) { Err(ErrorKind::Stale) } else { Ok(()) }
    }

    /// A directory that was removed, or lies in a tree that was, has no names any more.
    fn has_names(&self, directory: Id) -> Answer {
        self.alive(directory).map_err(|_| ErrorKind::NotFound)
    }

    /// Whether it lies below the orphans.
    pub fn is_orphan(&self, id: Id) -> bool {
        self.upwards(id).last() != Some(ROOT)
    }

    pub fn is_within(&self, id: Id, ancestor: Id) -> bool {
        self.upwards(id).any(|id| id == ancestor)
    }

    /// The root of the realm that a directory's content belongs to.
    pub fn realm(&self, directory: Id) -> Id {
        self.upwards(directory)
            .find(|id| self.node(*id).clone_root)
            .unwrap_or_else(|| if self.is_orphan(directory) { ORPHANS } else { ROOT })
    }

    pub fn is_read_only(&self, id: Id) -> bool {
        self.upwards(id).any(|id| self.node(id).read_only)
    }

    /// Whether somebody can still reach what has no name.
    fn is_reachable(&self, id: Id) -> bool {
        self.holds.contains_key(&id) || self.known.contains(&id)
    }

    fn any_held_within(&self, id: Id) -> bool {
        self.holds.keys().any(|held| self.is_within(*held, id))
    }

    fn is_needed(&self, orphan: Id) -> bool {
        self.is_reachable(orphan) || self.any_held_within(orphan)
    }

    /// Whether it is part of an orphan that goes with the next collection.
    pub fn is_doomed(&self, id: Id) -> bool {
        self.upwards(id).any(|id| self.node(id).parent == ORPHANS && !self.is_needed(id))
    }

    pub fn is_directory(&self, id: Id) -> bool {
        self.node(id).kind == Kind::Directory
    }

    /// As `stat` counts names.
    pub fn nlink(&self, id: Id) -> u32 {
        let node = self.node(id);
        match node.kind {
            Kind::Directory if node.nlink == 0 => 0,
            Kind::Directory => {
                2 + node.children.values().filter(|child| self.is_directory(**child)).count() as u32
            }
            _ => node.nlink,
        }
    }

    /// Everything below a directory, itself included, in the order of a walk.
    pub fn below(&self, id: Id) -> Vec<Id> {
        let mut found = vec![id];
        let mut at = 0;
        while at < found.len() {
            found.extend(self.node(found[at]).children.values());
            at += 1;
        }
        found
    }

    /// The path of a node, if it has a single one.
    pub fn path(&self, id: Id) -> Option<Vec<u8>> {
        let mut path = Vec::new();
        for id in self.upwards(id).filter(|id| *id != ROOT) {
            let node = self.node(id);
            if node.linked || node.gone || node.parent == ORPHANS {
                return None;
            }
            let name = self.node(node.parent).children.iter().find(|(_, child)| **child == id)?.0;
            path = [b"/", &name[..], &path].concat();
        }
        Some(if path.is_empty() { b"/".to_vec() } else { path })
    }

    // ---- names ----

    /// What a name leads to, with the errors of finding it.
    fn look(&self, directory: Id, name: &[u8]) -> Answer<Option<Id>> {
        if !self.is_directory(directory) {
            return Err(ErrorKind::NotDirectory);
        }
        Ok(self.node(directory).children.get(name).copied())
    }

    pub fn lookup(&self, directory: Id, name: &[u8]) -> Answer<Id> {
        if name.len() > 255 {
            return Err(ErrorKind::NameTooLong);
        }
        if check_name(name).is_err() {
            return Err(ErrorKind::NotFound);
        }
        self.has_names(directory)?;
        self.look(directory, name)?.ok_or(ErrorKind::NotFound)
    }

    fn may_change(&self, directory: Id) -> Answer {
        if !self.is_directory(directory) {
            return Err(ErrorKind::NotDirectory);
        }
        if self.is_read_only(directory) { Err(ErrorKind::ReadOnly) } else { Ok(()) }
    }

    fn refuse_orphan(&self, id: Id) -> Answer {
        if self.is_orphan(id) { Err(ErrorKind::NotFound) } else { Ok(()) }
    }

    fn touch(&mut self, directory: Id) {
        let now = self.now;
        let node = self.change(directory);
        node.mtime = now;
        node.ctime = now;
    }

    fn put(&mut self, directory: Id, name: &[u8], id: Id) {
        let free = self.change(directory).children.insert(name.to_vec(), id);
        assert!(free.is_none(), "the name was free");
        self.touch(directory);
        if self.node(id).linked {
            return;
        }
        self.change(id).parent = directory;
    }

    fn take(&mut self, directory: Id, name: &[u8]) -> Id {
        self.touch(directory);
        self.change(directory).children.remove(name).expect("the name is there")
    }

    pub fn create(&mut self, parent: Id, name: &[u8], new: &NewInode) -> Answer<Id> {
        check_name(name)?;
        self.has_names(parent)?;
        self.refuse_orphan(parent)?;
        if self.is_read_only(parent) {
            return Err(ErrorKind::ReadOnly);
        }
        if self.look(parent, name)?.is_some() {
            return Err(ErrorKind::Exists);
        }
        let id = self.add(self.fresh(new));
        self.put(parent, name, id);
        Ok(id)
    }

    pub fn create_unnamed(&mut self, parent: Id, new: &NewInode) -> Answer<Id> {
        self.has_names(parent)?;
        self.may_change(parent)?;
        let mut node = self.fresh(new);
        node.nlink = 0;
        let id = self.add(node);
        self.holds.insert(id, 1);
        Ok(id)
    }

    pub fn link(&mut self, id: Id, parent: Id, name: &[u8]) -> Answer<Id> {
        check_name(name)?;
        self.has_names(parent)?;
        self.alive(id)?;
        self.refuse_orphan(parent)?;
        if self.is_directory(id) {
            return Err(ErrorKind::IsDirectory);
        }
        if self.is_read_only(id) {
            return Err(ErrorKind::ReadOnly);
        }
        self.may_change(parent)?;
        if self.look(parent, name)?.is_some() {
            return Err(ErrorKind::Exists);
        }
        let now = self.now;
        if self.is_orphan(id) {
            if self.node(id).parent != ORPHANS {
                return Err(ErrorKind::CrossRealm);
            }
            let node = self.change(id);
            node.nlink = 1;
            node.ctime = now;
            self.put(parent, name, id);
            return Ok(id);
        }
        let home = self.node(id).parent;
        let home = if self.node(id).linked { home } else { self.realm(home) };
        if home != self.realm(parent) {
            return Err(ErrorKind::CrossRealm);
        }
        let node = self.change(id);
        node.linked = true;
        node.parent = home;
        node.nlink += 1;
        node.ctime = now;
        self.put(parent, name, id);
        Ok(id)
    }

    pub fn unlink(&mut self, parent: Id, name: &[u8]) -> Answer {
        check_name(name)?;
        self.has_names(parent)?;
        let id = self.look(parent, name)?.ok_or(ErrorKind::NotFound)?;
        if self.is_directory(id) {
            return Err(ErrorKind::IsDirectory);
        }
        self.may_change(parent)?;
        self.remove_name(parent, name);
        Ok(())
    }

    pub fn rmdir(&mut self, parent: Id, name: &[u8]) -> Answer {
        check_name(name)?;
        self.has_names(parent)?;
        let id = self.look(parent, name)?.ok_or(ErrorKind::NotFound)?;
        let node = self.node(id);
        if node.kind != Kind::Directory {
            return Err(ErrorKind::NotDirectory);
        }
        if !node.children.is_empty() && !node.read_only {
            return Err(ErrorKind::NotEmpty);
        }
        self.may_change(parent)?;
        self.remove_name(parent, name);
        Ok(())
    }

    pub fn remove_tree(&mut self, parent: Id, name: &[u8]) -> Answer {
        check_name(name)?;
        self.lookup(parent, name)?;
        self.may_change(parent)?;
        self.remove_tree_at(parent, name);
        Ok(())
    }

    /// Removes a name with all below it; what has names elsewhere has fewer afterwards.
    fn remove_tree_at(&mut self, parent: Id, name: &[u8]) {
        let id = self.node(parent).children[name];
        let mut links = BTreeMap::new();
        if !self.node(id).clone_root {
            self.links_below(id, &mut links);
        }
        self.remove_name(parent, name);
        if self.node(id).parent == ORPHANS && !links.is_empty() {
            // What is still open down there keeps a state of its own.
            self.part_links(id, &mut BTreeMap::new());
            self.settle_links(id, id);
        }
        for (id, count) in links {
            self.drop_links(id, count);
        }
    }

    fn links_below(&self, directory: Id, into: &mut BTreeMap<Id, u32>) {
        for child in self.node(directory).children.values() {
            let node = self.node(*child);
            if node.linked {
                *into.entry(*child).or_default() += 1;
            } else if node.kind == Kind::Directory && !node.clone_root {
                self.links_below(*child, into);
            }
        }
    }

    /// Lets names of files with several names lead to copies.
    fn part_links(&mut self, directory: Id, copies: &mut BTreeMap<Id, Id>) {
        for (name, child) in self.node(directory).children.clone() {
            let node = self.node(child);
            if node.linked {
                let copy = self.copy(child, copies);
                self.change(directory).children.insert(name, copy);
            } else if node.kind == Kind::Directory && !node.clone_root {
                self.part_links(child, copies);
            }
        }
    }

    fn drop_links(&mut self, id: Id, count: u32) {
        let (now, reachable) = (self.now, self.is_reachable(id));
        let node = self.change(id);
        node.ctime = now;
        node.nlink = node.nlink.saturating_sub(count);
        if node.nlink > 0 {
            return;
        }
        if reachable {
            node.parent = ORPHANS;
            node.linked = false;
        } else {
            node.gone = true;
        }
    }

    fn remove_name(&mut self, directory: Id, name: &[u8]) {
        let id = self.take(directory, name);
        let now = self.now;
        if self.node(id).linked {
            return self.drop_links(id, 1);
        }
        let held = if self.is_directory(id) {
            !self.node(id).children.is_empty() && self.any_held_within(id)
        } else {
            self.is_reachable(id)
        };
        let node = self.change(id);
        node.ctime = now;
        node.nlink = 0;
        if held {
            node.parent = ORPHANS;
            node.clone_root |= node.kind == Kind::Directory;
        } else {
            node.gone = true;
        }
    }

    pub fn rename(&mut self, parent: Id, name: &[u8], new_parent: Id, new_name: &[u8], mode: Mode) -> Answer {
        check_name(name)?;
        check_name(new_name)?;
        self.has_names(parent)?;
        self.has_names(new_parent)?;
        self.refuse_orphan(parent)?;
        self.refuse_orphan(new_parent)?;
        let source = self.look(parent, name)?.ok_or(ErrorKind::NotFound)?;
        let target = self.look(new_parent, new_name)?;
        self.may_change(parent)?;
        self.may_change(new_parent)?;
        if self.is_directory(source) && self.is_within(new_parent, source) {
            return Err(ErrorKind::Invalid);
        }
        if let Some(target) = target {
            if source == target && mode != Mode::NoReplace {
                return Ok(());
            }
            match mode {
                Mode::NoReplace => return Err(ErrorKind::Exists),
                Mode::Exchange if self.is_directory(target) && self.is_within(parent, target) => {
                    return Err(ErrorKind::Invalid);
                }
                Mode::Exchange => {}
                Mode::Replace | Mode::Whiteout => {
                    match (self.is_directory(source), self.is_directory(target)) {
                        (false, true) => return Err(ErrorKind::IsDirectory),
                        (true, false) => return Err(ErrorKind::NotDirectory),
                        (true, true) if !self.node(target).children.is_empty() => {
                            return Err(ErrorKind::NotEmpty);
                        }
                        _ => {}
                    }
                }
            }
        } else if mode == Mode::Exchange {
            return Err(ErrorKind::NotFound);
        }
        let crosses = self.realm(parent) != self.realm(new_parent);
        let may_cross = |id: Id| {
            let node = self.node(id);
            !crosses || (!node.linked && (node.kind != Kind::Directory || node.clone_root))
        };
        if !may_cross(source) || (mode == Mode::Exchange && !may_cross(target.expect("it was checked"))) {
            return Err(ErrorKind::CrossRealm);
        }
        let now = self.now;
        if let Some(target) = target {
            if mode == Mode::Exchange {
                self.take(parent, name);
                self.take(new_parent, new_name);
                self.put(parent, name, target);
                self.put(new_parent, new_name, source);
                self.change(target).ctime = now;
                self.change(source).ctime = now;
                return Ok(());
            }
            self.remove_name(new_parent, new_name);
        }
        self.take(parent, name);
        self.put(new_parent, new_name, source);
        self.change(source).ctime = now;
        if mode == Mode::Whiteout {
            let id = self.add(self.fresh(&NewInode { mode: 0, ..new(Kind::CharDevice) }));
            self.put(parent, name, id);
        }
        Ok(())
    }

    pub fn clone_node(
        &mut self,
        source: Id,
        parent: Id,
        name: &[u8],
        read_only: bool,
        replace: bool,
    ) -> Answer<Id> {
        check_name(name)?;
        self.alive(source)?;
        self.has_names(parent)?;
        self.refuse_orphan(parent)?;
        let target = self.look(parent, name)?;
        if let Some(target) = target {
            if !replace {
                return Err(ErrorKind::Exists);
            }
            if self.is_within(source, target) {
                return Err(ErrorKind::Invalid);
            }
        }
        self.may_change(parent)?;
        let now = self.now;
        let id = self.copy(source, &mut BTreeMap::new());
        if target.is_some() {
            self.remove_tree_at(parent, name);
        }
        let node = self.change(id);
        node.nlink = 1;
        node.linked = false;
        node.ctime = now;
        node.btime = now;
        node.read_only = read_only;
        node.clone_root = node.kind == Kind::Directory;
        self.put(parent, name, id);
        self.settle_links(id, id);
        Ok(id)
    }

    /// A deep copy. Several names of one file become several names of one copy.
    fn copy(&mut self, id: Id, copies: &mut BTreeMap<Id, Id>) -> Id {
        if let Some(copy) = copies.get(&id) {
            return *copy;
        }
        let node = self.nodes[&id].clone();
        let copy = self.next;
        self.next += 1;
        copies.insert(id, copy);
        let mut children = BTreeMap::new();
        for (name, child) in &node.children {
            children.insert(name.clone(), self.copy(*child, copies));
        }
        self.nodes.insert(copy, Arc::new(Node { children, ..(*node).clone() }));
        for child in self.node(copy).children.clone().into_values() {
            self.change(child).parent = copy;
        }
        copy
    }

    /// Lets files of several names in a copy lie in the root of their realm.
    fn settle_links(&mut self, directory: Id, realm: Id) {
        for child in self.node(directory).children.clone().into_values() {
            let node = self.change(child);
            if node.linked {
                node.parent = realm;
            }
            if node.kind == Kind::Directory {
                let realm = if node.clone_root { child } else { realm };
                self.settle_links(child, realm);
            }
        }
    }

    // ---- holding ----

    /// Whether the node can be held open now.
    pub fn hold(&mut self, id: Id) {
        *self.holds.entry(id).or_default() += 1;
    }

    pub fn release(&mut self, id: Id) {
        let top = self.upwards(id).find(|id| self.node(*id).parent == ORPHANS);
        let holds = self.holds.get_mut(&id).expect("it is held");
        *holds -= 1;
        if *holds == 0 {
            self.holds.remove(&id);
        }
        if let Some(top) = top
            && !self.is_needed(top)
        {
            self.change(top).gone = true;
        }
    }

    /// The last reference was given back.
    pub fn forget(&mut self, id: Id) {
        self.known.remove(&id);
        if self.node(id).parent == ORPHANS && !self.is_reachable(id) {
            self.forgotten.push(id);
        }
    }

    /// Orphans that nobody can reach go.
    pub fn collect(&mut self) {
        for id in std::mem::take(&mut self.forgotten) {
            if self.nodes.contains_key(&id) && !self.is_needed(id) {
                self.change(id).gone = true;
            }
        }
    }

    /// What is left when the pool is opened anew.
    pub fn reopen(&mut self) {
        self.holds.clear();
        self.known.clear();
        self.forgotten.clear();
        let kept = self.below(ROOT);
        self.nodes.retain(|id, _| kept.contains(id));
    }

    // ---- content and attributes ----

    /// A node that may be changed.
    fn writable(&mut self, id: Id) -> Answer<&mut Node> {
        self.alive(id)?;
        if self.is_read_only(id) {
            return Err(ErrorKind::ReadOnly);
        }
        Ok(self.change(id))
    }

    pub fn write(&mut self, id: Id, offset: Option<u64>, data: &[u8], clear_set_id: bool) -> Answer<u64> {
        let now = self.now;
        let node = self.writable(id)?;
        check_file(node)?;
        let start = offset.unwrap_or(node.size);
        let end = check_end(start, data.len() as u64)?;
        if !data.is_empty() {
            node.content.write(start, data);
            node.size = node.size.max(end);
        }
        node.mtime = now;
        node.ctime = now;
        if clear_set_id {
            node.mode &= !0o4000;
            if node.mode & 0o010 != 0 {
                node.mode &= !0o2000;
            }
        }
        Ok(start)
    }

    pub fn set_attributes(&mut self, id: Id, set: &Set) -> Answer {
        let now = self.now;
        let node = self.writable(id)?;
        if let Some(size) = set.size {
            check_file(node)?;
            if size > SIZE_MAX {
                return Err(ErrorKind::TooLarge);
            }
            node.content.zero(size, u64::MAX);
            node.size = size;
            node.mtime = now;
        }
        node.mode = set.mode.map_or(node.mode, |mode| mode & 0o7777);
        node.uid = set.uid.unwrap_or(node.uid);
        node.gid = set.gid.unwrap_or(node.gid);
        node.atime = set.atime.unwrap_or(node.atime);
        node.mtime = set.mtime.unwrap_or(node.mtime);
        node.ctime = set.ctime.unwrap_or(now);
        Ok(())
    }

    /// Zeroes a range unless `keep_content`, and extends the size unless `keep_size`.
    pub fn allocate(
        &mut self,
        id: Id,
        offset: u64,
        length: u64,
        keep_content: bool,
        keep_size: bool,
    ) -> Answer {
        let now = self.now;
        let node = self.writable(id)?;
        check_file(node)?;
        let end = check_end(offset, length)?;
        if !keep_content {
            node.content.zero(offset, end);
        }
        if !keep_size {
            node.size = node.size.max(end);
        }
        node.mtime = now;
        node.ctime = now;
        Ok(())
    }

    pub fn clone_range(&mut self, from: Id, from_at: u64, to: Id, to_at: u64, length: u64) -> Answer<u64> {
        self.alive(from)?;
        let source = self.node(from);
        check_file(source)?;
        let length = length.min(source.size.saturating_sub(from_at));
        let overlap = from_at < to_at.saturating_add(length) && to_at < from_at.saturating_add(length);
        if from == to && overlap && length > 0 {
            return Err(ErrorKind::Invalid);
        }
        if length == 0 {
            return Ok(0);
        }
        let piece = source.content.part(from_at, from_at + length);
        let now = self.now;
        let node = self.writable(to)?;
        check_file(node)?;
        let end = check_end(to_at, length)?;
        node.content.zero(to_at, end);
        for (at, bytes) in piece {
            node.content.write(at - from_at + to_at, &bytes);
        }
        node.size = node.size.max(end);
        node.mtime = now;
        node.ctime = now;
        Ok(length)
    }

    pub fn set_xattr(&mut self, id: Id, name: &[u8], value: &[u8], how: Mode, mode: Option<u32>) -> Answer {
        let now = self.now;
        let node = self.writable(id)?;
        match how {
            Mode::NoReplace if node.xattrs.contains_key(name) => return Err(ErrorKind::Exists),
            Mode::Exchange if !node.xattrs.contains_key(name) => return Err(ErrorKind::NoAttribute),
            _ => {}
        }
        node.xattrs.insert(name.to_vec(), value.to_vec());
        node.mode = mode.unwrap_or(node.mode);
        node.ctime = now;
        Ok(())
    }

    pub fn remove_xattr(&mut self, id: Id, name: &[u8]) -> Answer {
        let now = self.now;
        let node = self.writable(id)?;
        node.xattrs.remove(name).ok_or(ErrorKind::NoAttribute)?;
        node.ctime = now;
        Ok(())
    }
}

/// What to do with what is there already: replace it, fail, or need it; and what to leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Replace,
    NoReplace,
    Exchange,
    Whiteout,
}

fn check_name(name: &[u8]) -> Answer {
    if name.len() > 255 {
        return Err(ErrorKind::NameTooLong);
    }
    let odd = name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0);
    if odd { Err(ErrorKind::Invalid) } else { Ok(()) }
}

fn check_file(node: &Node) -> Answer {
    match node.kind {
        Kind::File => Ok(()),
        Kind::Directory => Err(ErrorKind::IsDirectory),
        _ => Err(ErrorKind::Invalid),
    }
}

fn check_end(offset: u64, length: u64) -> Answer<u64> {
    offset.checked_add(length).filter(|end| *end <= SIZE_MAX).ok_or(ErrorKind::TooLarge)
}
