//! Word of changes, and write-back before a clone.

use std::io;
use std::sync::Arc;

use futures::executor::block_on;
use offshoot_engine::{Ino, Kind};
use offshoot_vfs::{Caller, Change, ClonePath, Code, Create, FlushRequest, Flusher, SessionId, Watcher};
use parking_lot::Mutex;

use crate::world::{World, code};

#[derive(Default)]
struct Ear(Mutex<Vec<(String, Option<SessionId>)>>);

impl Watcher for Ear {
    fn changed(&self, change: Change<'_>, session: Option<SessionId>) {
        let words = match change {
            Change::Entry { name, .. } => format!("entry {}", String::from_utf8_lossy(name)),
            Change::Attributes { .. } => "attributes".to_owned(),
            Change::Content { offset, length, .. } => format!("content {offset}+{length}"),
        };
        self.0.lock().push((words, session));
    }

    fn settle(&self, _: bool) {
        self.0.lock().push(("settled".to_owned(), None));
    }
}

fn listen(world: &World) -> Arc<Ear> {
    let ear = Arc::new(Ear::default());
    let watcher: Arc<dyn Watcher> = ear.clone();
    world.vfs.add_watcher(Arc::downgrade(&watcher));
    ear
}

#[test]
fn a_change_says_which_session_made_it() {
    let world = World::new();
    let ear = listen(&world);
    let session = world.vfs.open_session();
    assert_ne!(session.session(), world.vfs.open_session().session());
    let create = Create::new(Kind::File, 0o644, 0);
    block_on(session.create(&Caller::root(), Ino::ROOT, b"f", create)).unwrap();
    assert_eq!(*ear.0.lock(), [("entry f".to_owned(), session.session())]);
}

#[test]
fn a_removed_name_changes_its_inode_too() {
    let world = World::new();
    world.file("f", "content");
    let ear = listen(&world);
    block_on(world.vfs.remove_path(&Caller::root(), b"/f", false)).unwrap();
    let heard: Vec<String> = ear.0.lock().iter().map(|(words, _)| words.clone()).collect();
    assert_eq!(heard, ["entry f", "attributes", "settled"]);
}

#[test]
fn a_watcher_that_is_gone_hears_nothing() {
    let world = World::new();
    drop(listen(&world));
    world.file("f", "content");
    let ear = listen(&world);
    world.file("g", "");
    assert!(!ear.0.lock().is_empty());
}

struct Holder {
    asked: Mutex<Vec<(Vec<u8>, bool)>>,
    fails: bool,
}

impl Flusher for Holder {
    fn flush(&self, request: FlushRequest<'_>) -> io::Result<()> {
        self.asked.lock().push((request.source.to_vec(), request.from_client));
        if self.fails { Err(io::Error::other("disk on fire")) } else { Ok(()) }
    }
}

#[test]
fn a_clone_asks_for_what_mounts_hold() {
    let world = World::new();
    world.file("f", "content");
    let holder = Arc::new(Holder { asked: Mutex::default(), fails: false });
    let flusher: Arc<dyn Flusher> = holder.clone();
    world.vfs.add_flusher(Arc::downgrade(&flusher));
    block_on(world.vfs.clone_path(&Caller::root(), b"/f", b"/g", ClonePath::default())).unwrap();
    assert_eq!(*holder.asked.lock(), [(b"/f".to_vec(), false)]);
}

#[test]
fn a_clone_is_refused_if_a_mount_cannot_give_back_what_it_holds() {
    let world = World::new();
    world.file("f", "content");
    let flusher: Arc<dyn Flusher> = Arc::new(Holder { asked: Mutex::default(), fails: true });
    world.vfs.add_flusher(Arc::downgrade(&flusher));
    let cloned = block_on(world.vfs.clone_path(&Caller::root(), b"/f", b"/g", ClonePath::default()));
    assert_eq!(code(cloned), Code::Io);
    assert_eq!(code(block_on(world.vfs.resolve(b"/g"))), Code::NoEntry);
}
