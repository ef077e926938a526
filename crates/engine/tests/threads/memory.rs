//! Waiting for memory, and who wakes whom.

use bytes::Bytes;
use offshoot_engine::{Ino, Kind};
use shuttle::future::block_on;

use crate::explore::{Stand, assert_sound, background, explore, join, thread};
use crate::new;

/// A third of it may be dirty: less than what three writers bring at once.
const MEMORY_BYTES: u64 = 1 << 20;
const WRITE_BYTES: usize = 160 << 10;
const WRITES: u64 = 2;

/// Everybody gets on, by the work of the background alone.
#[test]
fn writers_that_wait_for_memory_are_woken() {
    explore(|| {
        let stand = Stand::new(MEMORY_BYTES);
        let pool = stand.open();
        let workers = background(&pool);
        let threads = [b"a", b"b", b"c"].map(|name| {
            thread(&pool, async move |pool| {
                let made = pool.create(Ino::ROOT, name, new(Kind::File)).await.unwrap().ino;
                for write in 0..WRITES {
                    let data = Bytes::from(vec![name[0]; WRITE_BYTES]);
                    pool.write(made, write * WRITE_BYTES as u64, data, false).await.unwrap();
                }
            })
        });
        join(threads);
        block_on(pool.close()).unwrap();
        join(workers);
        drop(pool);
        block_on(assert_sound(&stand.open()));
    });
}

/// A pool that stops, or is closed without being able to store anything, lets go of everybody who waits, whenever that is.
#[test]
fn writers_that_wait_for_memory_hear_that_the_pool_has_stopped() {
    explore(|| {
        let stand = Stand::new(MEMORY_BYTES);
        let pool = stand.open();
        let workers = background(&pool);
        let writers = [b"a", b"b"].map(|name| {
            thread(&pool, async move |pool| {
                let Ok(made) = pool.create(Ino::ROOT, name, new(Kind::File)).await else { return };
                for write in 0..2 * WRITES {
                    let data = Bytes::from(vec![name[0]; WRITE_BYTES]);
                    if pool.write(made.ino, write * WRITE_BYTES as u64, data, false).await.is_err() {
                        return;
                    }
                }
            })
        });
        let power = stand.power.clone();
        let breaker = thread(&pool, async move |pool| {
            power.cut();
            // A log that cannot be written stops the pool; frames that cannot be put are tried again until it is closed.
            pool.sync().await.ok();
            pool.close().await.ok();
        });
        join(writers);
        join([breaker]);
        block_on(pool.create(Ino::ROOT, b"more", new(Kind::File))).unwrap_err();
        join(workers);
    });
}
