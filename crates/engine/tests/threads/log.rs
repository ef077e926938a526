//! Group commit, and what a checkpoint does meanwhile.

use bytes::Bytes;
use offshoot_engine::{Ino, Kind};
use shuttle::future::block_on;

use crate::explore::{Stand, assert_sound, background, content, explore, file, join, thread};
use crate::new;

const MEMORY_BYTES: u64 = 16 << 20;
/// Goes to a segment as frames; the log names them.
const LARGE_BYTES: usize = 70 << 10;

/// Whoever has its sync answered finds its file again, whoever wrote the log for it. The power goes as soon as one has its answer.
#[test]
fn a_sync_covers_what_its_caller_did() {
    explore(|| {
        let stand = Stand::new(MEMORY_BYTES);
        let pool = stand.open();
        let threads = ["a", "b", "c"].map(|name| {
            let power = stand.power.clone();
            thread(&pool, async move |pool| {
                // Others may be without power by now.
                file(&pool, Ino::ROOT, name, name.as_bytes()).await.ok()?;
                pool.sync().await.ok()?;
                power.cut();
                Some(name)
            })
        });
        let synced: Vec<&str> = join(threads).into_iter().flatten().collect();
        assert!(!synced.is_empty());
        let pool = stand.cut(pool);
        block_on(async {
            for name in synced {
                let found = pool.lookup(Ino::ROOT, name.as_bytes()).await.unwrap();
                assert_eq!(content(&pool, found.ino).await.unwrap(), name.as_bytes());
            }
            assert_sound(&pool).await;
        });
    });
}

/// Large and small writes, clones and syncs while a checkpoint and a collection are made; then a cut.
#[test]
fn a_checkpoint_takes_nothing_away_and_counts_everything() {
    explore(|| {
        let stand = Stand::new(MEMORY_BYTES);
        let pool = stand.open();
        let source = block_on(async {
            let source = pool.create(Ino::ROOT, b"source", new(Kind::Directory)).await.unwrap().ino;
            file(&pool, source, "old", b"old").await.unwrap();
            source
        });
        let writer = thread(&pool, async move |pool| {
            let large = Bytes::from(vec![b'l'; LARGE_BYTES]);
            let made = pool.create(source, b"large", new(Kind::File)).await.unwrap().ino;
            pool.write(made, 0, large, false).await.unwrap();
            pool.sync().await.unwrap();
            pool.write(made, 5, Bytes::from_static(b"small"), false).await.unwrap();
            pool.sync().await.unwrap();
        });
        let cloner = thread(&pool, async move |pool| {
            for name in [&b"c1"[..], b"c2"] {
                pool.clone_inode(source, Ino::ROOT, name, Default::default()).await.unwrap();
            }
            pool.remove_tree(Ino::ROOT, b"c1").await.unwrap();
            pool.sync().await.unwrap();
        });
        let keeper = thread(&pool, async |pool| {
            pool.checkpoint().await.unwrap();
            pool.gc().await.unwrap();
        });
        join([writer, cloner, keeper]);
        let pool = stand.cut(pool);
        block_on(async {
            let mut expected = vec![b'l'; LARGE_BYTES];
            expected[5..10].copy_from_slice(b"small");
            let source = pool.lookup(Ino::ROOT, b"source").await.unwrap().ino;
            let large = pool.lookup(source, b"large").await.unwrap().ino;
            assert!(content(&pool, large).await.unwrap() == expected);
            let clone = pool.lookup(Ino::ROOT, b"c2").await.unwrap().ino;
            let old = pool.lookup(clone, b"old").await.unwrap().ino;
            assert_eq!(content(&pool, old).await.unwrap(), b"old");
            pool.lookup(Ino::ROOT, b"c1").await.unwrap_err();
            assert_sound(&pool).await;
        });
    });
}

/// A pool that is closed while it is written to refuses or keeps, and nobody waits for ever.
#[test]
fn a_pool_that_closes_keeps_what_it_acknowledged() {
    explore(|| {
        let stand = Stand::new(MEMORY_BYTES);
        let pool = stand.open();
        let workers = background(&pool);
        let threads = ["a", "b"].map(|name| {
            thread(&pool, async move |pool| {
                file(&pool, Ino::ROOT, name, name.as_bytes()).await.ok()?;
                pool.sync().await.ok()?;
                Some(name)
            })
        });
        let closer = thread(&pool, async |pool| pool.close().await.unwrap());
        let synced: Vec<&str> = join(threads).into_iter().flatten().collect();
        join([closer]);
        join(workers);
        let pool = stand.cut(pool);
        block_on(async {
            for name in synced {
                let found = pool.lookup(Ino::ROOT, name.as_bytes()).await.unwrap();
                assert_eq!(content(&pool, found.ino).await.unwrap(), name.as_bytes());
            }
            assert_sound(&pool).await;
        });
    });
}
