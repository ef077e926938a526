//! The count of known inodes, holds, removal, and changes on a condition.

use offshoot_engine::{Ino, Kind, SetAttributes, Unchanged};
use shuttle::future::block_on;

use crate::explore::{Stand, assert_sound, background, content, explore, file, join, thread};
use crate::new;

const MEMORY_BYTES: u64 = 16 << 20;

/// A file that is removed while others look it up, hold it and forget it stays whole for them, and goes with the last of them.
#[test]
fn what_is_removed_goes_when_nobody_knows_it_any_more() {
    explore(|| {
        let stand = Stand::new(MEMORY_BYTES);
        let pool = stand.open();
        let workers = background(&pool);
        block_on(async {
            let made = file(&pool, Ino::ROOT, "f", b"content").await.unwrap();
            pool.forget(made.ino, 1);
        });
        let readers = [(), ()].map(|()| {
            thread(&pool, async |pool| {
                let Ok(found) = pool.lookup(Ino::ROOT, b"f").await else { return };
                pool.hold(found.ino).unwrap();
                pool.forget(found.ino, 1);
                assert_eq!(content(&pool, found.ino).await.unwrap(), b"content");
                pool.release(found.ino).await.unwrap();
            })
        });
        let remover = thread(&pool, async |pool| pool.unlink(Ino::ROOT, b"f").await.unwrap());
        join(readers);
        join([remover]);
        block_on(async {
            pool.gc().await.unwrap();
            let status = pool.status().await;
            assert_eq!((status.files, status.known_inodes), (0, 0), "{status:?}");
            pool.close().await.unwrap();
        });
        join(workers);
        drop(pool);
        let pool = stand.open();
        block_on(async {
            assert_sound(&pool).await;
            assert_eq!(pool.status().await.files, 0);
        });
    });
}

/// Files with names inside and outside of a tree that is removed or replaced, and names that come and go below it.
#[test]
fn a_removed_tree_takes_its_names_along() {
    explore(|| {
        let stand = Stand::new(MEMORY_BYTES);
        let pool = stand.open();
        let (tree, linked) = block_on(async {
            let tree = pool.create(Ino::ROOT, b"tree", new(Kind::Directory)).await.unwrap().ino;
            let linked = file(&pool, Ino::ROOT, "outside", b"linked").await.unwrap().ino;
            pool.link(linked, tree, b"inside").await.unwrap();
            (tree, linked)
        });
        let linker = thread(&pool, async move |pool| {
            // The tree may be gone.
            pool.link(linked, tree, b"second").await.ok();
            pool.unlink(tree, b"inside").await.ok();
        });
        let cloner = thread(&pool, async move |pool| {
            pool.clone_inode(tree, Ino::ROOT, b"clone", Default::default()).await.ok();
        });
        let remover = thread(&pool, async |pool| pool.remove_tree(Ino::ROOT, b"tree").await.unwrap());
        let keeper = thread(&pool, async |pool| pool.checkpoint().await.unwrap());
        join([linker, cloner, remover, keeper]);
        block_on(async {
            let names = pool.attributes(linked).await.unwrap().nlink;
            assert_eq!(names, 1);
            pool.sync().await.unwrap();
        });
        let pool = stand.cut(pool);
        block_on(async {
            assert_sound(&pool).await;
            let outside = pool.lookup(Ino::ROOT, b"outside").await.unwrap();
            assert_eq!(outside.nlink, 1);
            assert_eq!(content(&pool, outside.ino).await.unwrap(), b"linked");
        });
    });
}

/// Of changes that were decided from the same attributes, one is made.
#[test]
fn a_change_on_a_condition_is_made_once() {
    explore(|| {
        let stand = Stand::new(MEMORY_BYTES);
        let pool = stand.open();
        let ino = block_on(file(&pool, Ino::ROOT, "f", b"")).unwrap().ino;
        let threads = [1, 2, 3].map(|bit| {
            thread(&pool, async move |pool| {
                // Adds its own bit to whatever there is.
                let mut tries = 0;
                loop {
                    let mode = pool.attributes(ino).await.unwrap().mode;
                    let set = SetAttributes { mode: Some(mode ^ (1 << bit)), ..SetAttributes::default() };
                    let unchanged = Unchanged { mode: Some(mode), ..Unchanged::default() };
                    tries += 1;
                    if pool.set_attributes_if(ino, set, unchanged).await.unwrap().is_some() {
                        return tries;
                    }
                }
            })
        });
        let before = block_on(pool.attributes(ino)).unwrap().mode & !0b1110;
        // Everybody else can overtake a change once for each of theirs.
        assert!(join(threads).into_iter().all(|tries| tries <= 3));
        let after = block_on(pool.attributes(ino)).unwrap().mode;
        assert_eq!(after & !0b1110, before);
        block_on(pool.close()).unwrap();
    });
}
