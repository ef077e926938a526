//! What operations leave where it is.

use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::address::Address;
use crate::frame::DirtyGauge;
use crate::kinds::DirectoryTree;
use crate::pool::{NewInode, RenameMode};
use crate::record::{Entry, Sums};
use crate::tree::{AnyNode, Body, Link, Missing, Nodes};

/// Nothing is stored.
struct NoneStored;

impl Nodes for NoneStored {
    fn get(&self, _: Address) -> Option<AnyNode> {
        None
    }

    fn frame(&self, _: Address) -> Option<bytes::Bytes> {
        None
    }
}

struct World {
    state: State,
    locations: Locations,
}

impl World {
    fn new() -> Self {
        Self { state: State::new(Timestamp::default()), locations: Locations::default() }
    }

    fn run(&mut self, operation: Operation) -> Outcome {
        self.attempt(operation).expect("the operation succeeds")
    }

    fn attempt(&mut self, operation: Operation) -> Result<Outcome, Interrupt> {
        let mut change = Change {
            state: &mut self.state,
            locations: &mut self.locations,
            nodes: &NoneStored,
            hasher: NameHasher { key: [1, 2], mask: u64::MAX },
            gauge: &Arc::new(DirtyGauge::default()),
            interval: 1,
            time: Timestamp::default(),
            replay: false,
            fragmented: None,
            ending: &mut super::Ending::default(),
            realm_ids: super::REALM_IDS,
        };
        change.apply(&operation)
    }

    fn create(&mut self, parent: Ino, name: &str, kind: Kind) -> Ino {
        let new = NewInode {
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            rdev: 0,
            target: bytes::Bytes::new(),
            xattrs: Vec::new(),
        };
        match self.run(Operation::Create { parent, name: name.as_bytes().into(), new }) {
            Outcome::Attributes(attributes) => attributes.ino,
            other => panic!("{other:?}"),
        }
    }

    /// Where the nodes of all directories are in memory.
    fn places(&self) -> HashSet<usize> {
        fn go(link: &Link<DirectoryTree>, into: &mut HashSet<usize>) {
            let Link::Memory(node) = link else { panic!("nothing is stored") };
            into.insert(Arc::as_ptr(node) as usize);
            match &node.body {
                Body::Branch(children) => children.iter().for_each(|child| go(&child.link, into)),
                Body::Leaf(entries) => entries.iter().for_each(|(_, entry)| {
                    if let Entry::Inode(inode) = entry {
                        inode.directory().and_then(|d| d.entries.as_ref()).iter().for_each(|l| go(l, into));
                    }
                }),
            }
        }
        let mut places = HashSet::new();
        self.state.root.directory().and_then(|d| d.entries.as_ref()).iter().for_each(|l| go(l, &mut places));
        places
    }
}

#[test]
fn no_operation_copies_nodes_that_nothing_else_refers_to() {
    // A clone once held on to the leaf of its source while it put the entry, so that the whole path in the directory of
    // clones was copied with all entries of its nodes. The more there were, the longer it took.
    let mut world = World::new();
    let source = world.create(Ino::ROOT, "source", Kind::Directory);
    world.create(source, "in it", Kind::File);
    let file = world.create(Ino::ROOT, "file", Kind::File);
    let many = world.create(Ino::ROOT, "many", Kind::Directory);
    for number in 0..1000 {
        world.create(many, &format!("f{number}"), Kind::File);
    }
    let clone = |source, name: &str| Operation::Clone {
        source,
        parent: many,
        name: name.as_bytes().into(),
        read_only: false,
        replace: false,
        source_path: Vec::new(),
        links: Vec::new(),
    };
    let link = |name: &str| Operation::Link { ino: file, parent: many, name: name.as_bytes().into() };
    let rename = |name: &str, new_name: &str| Operation::Rename {
        parent: many,
        name: name.as_bytes().into(),
        new_parent: many,
        new_name: new_name.as_bytes().into(),
        mode: RenameMode::Replace,
    };
    let operations = [
        clone(source, "c1"),
        clone(file, "c2"),
        link("second name"),
        link("third name"),
        rename("f1", "renamed"),
        rename("f2", "f3"),
        Operation::Unlink { parent: many, name: b"f4".as_slice().into() },
        Operation::RemoveTree { parent: many, name: b"c1".as_slice().into(), links: Vec::new() },
    ];
    for (at, operation) in operations.into_iter().enumerate() {
        let before = world.places();
        assert!(before.len() > 10);
        world.run(operation);
        let after = world.places();
        let gone = before.difference(&after).count();
        // Removing the clone of the source leaves the source itself.
        assert_eq!(gone, 0, "operation {at} copied {gone} nodes");
    }
}

#[test]
fn counts_that_damage_made_wrong_stop_nothing_and_let_nothing_go() {
    // Fuzzing made a directory that counts fewer entries than it has: taking one out went below zero. One that counts none could
    // have been removed as if it were empty.
    let mut world = World::new();
    let directory = world.create(Ino::ROOT, "directory", Kind::Directory);
    for name in ["below", "and", "beside"] {
        world.create(directory, name, Kind::Directory);
    }
    let key = NameHasher { key: [1, 2], mask: u64::MAX }.key(b"directory");
    let entries = &mut world.state.root.directory_mut().expect("it is a directory").entries;
    crate::tree::update::<_, _, Missing>(entries, &key, &NoneStored, |entry| {
        let Entry::Inode(inode) = entry else { panic!("it has one name") };
        Arc::make_mut(inode).directory_mut().expect("it is a directory").set_sums(Sums::default());
        Ok(())
    })
    .expect("nothing is missing");

    let remove = |parent, name: &str| Operation::RemoveDirectory { parent, name: name.as_bytes().into() };
    match world.attempt(remove(Ino::ROOT, "directory")) {
        Err(Interrupt::Error(error)) => assert_eq!(error.kind(), ErrorKind::NotEmpty),
        other => panic!("{other:?}"),
    }
    world.run(remove(directory, "below"));
    world.run(Operation::Rename {
        parent: directory,
        name: b"and".as_slice().into(),
        new_parent: Ino::ROOT,
        new_name: b"and".as_slice().into(),
        mode: RenameMode::Replace,
    });
}
