//! Standing still for a repair, and caches that are too small.

use bytes::Bytes;
use offshoot_engine::{Ino, Kind};
use shuttle::future::block_on;

use crate::explore::{Stand, assert_sound, content, explore, file, join, thread};
use crate::new;

/// Changes that wait for a repair go on after it.
#[test]
fn changes_go_on_after_a_repair() {
    explore(|| {
        let stand = Stand::new(16 << 20);
        let pool = stand.open();
        block_on(file(&pool, Ino::ROOT, "f", b"before")).unwrap();
        let writers = ["a", "b"].map(|name| {
            thread(&pool, async move |pool| {
                file(&pool, Ino::ROOT, name, name.as_bytes()).await.unwrap();
                pool.sync().await.unwrap();
            })
        });
        let repairer = thread(&pool, async |pool| drop(pool.repair(false).await.unwrap()));
        join(writers);
        join([repairer]);
        let pool = stand.cut(pool);
        block_on(async {
            for name in ["a", "b"] {
                let found = pool.lookup(Ino::ROOT, name.as_bytes()).await.unwrap();
                assert_eq!(content(&pool, found.ino).await.unwrap(), name.as_bytes());
            }
            assert_sound(&pool).await;
        });
    });
}

/// Readers and a writer of a pool of which nothing is in memory, while the collector moves what they read.
#[test]
fn what_is_read_is_not_moved_away() {
    explore(|| {
        let stand = Stand::new(1 << 20);
        let pool = stand.open();
        block_on(async {
            let d = pool.create(Ino::ROOT, b"d", new(Kind::Directory)).await.unwrap().ino;
            for n in 0..12_u8 {
                let made = file(&pool, d, &n.to_string(), &vec![n; 9 << 10]).await.unwrap();
                pool.forget(made.ino, 1);
            }
            pool.close().await.unwrap();
        });
        drop(pool);
        let pool = stand.open();
        let d = block_on(pool.lookup(Ino::ROOT, b"d")).unwrap().ino;
        let readers = [3_u8, 11].map(|n| {
            thread(&pool, async move |pool| {
                let found = pool.lookup(d, n.to_string().as_bytes()).await.unwrap();
                assert!(content(&pool, found.ino).await.unwrap() == vec![n; 9 << 10]);
                pool.forget(found.ino, 1);
            })
        });
        let writer = thread(&pool, async move |pool| {
            for n in [0, 1, 2, 4, 5, 6, 7, 8, 9] {
                pool.unlink(d, n.to_string().as_bytes()).await.unwrap();
            }
            let found = pool.lookup(d, b"10").await.unwrap();
            pool.write(found.ino, 0, Bytes::from_static(b"new"), false).await.unwrap();
        });
        let collector = thread(&pool, async |pool| pool.gc().await.unwrap());
        join(readers);
        join([writer]);
        join([collector]);
        block_on(async {
            assert_sound(&pool).await;
            pool.close().await.unwrap();
        });
    });
}
