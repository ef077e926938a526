//! A pool that is full, and who makes room in it.

use bytes::Bytes;
use fastrand::Rng;
use offshoot_engine::{ErrorKind, Ino, Kind, Pool, Result};
use shuttle::future::block_on;

use crate::explore::{Stand, assert_sound, explore, join, thread};
use crate::new;

const CAPACITY_BYTES: u64 = 512 << 10;
/// What is removed.
const LARGE_BYTES: usize = 256 << 10;
const SMALL_BYTES: usize = 24 << 10;

/// A new file of bytes that cannot be compressed.
async fn noise(pool: &Pool, name: &str, length: usize) -> Result<()> {
    let mut data = vec![0; length];
    Rng::with_seed(length as u64 + u64::from(name.as_bytes()[0])).fill(&mut data);
    let made = pool.create(Ino::ROOT, name.as_bytes(), new(Kind::File)).await?;
    let written = pool.write(made.ino, 0, Bytes::from(data), false).await;
    pool.forget(made.ino, 1);
    written.map(|_| ())
}

/// What was removed from a full pool is there for everybody who writes afterwards: for who comes while another makes room of it, too,
/// and though one looked for room while it was being removed.
#[test]
fn what_was_removed_makes_room_for_everybody() {
    explore(|| {
        let mut stand = Stand::new(16 << 20);
        stand.settings.capacity_bytes = Some(CAPACITY_BYTES);
        let pool = stand.open();
        block_on(async {
            noise(&pool, "large", LARGE_BYTES).await.unwrap();
            let mut count = 0;
            while let Ok(()) = noise(&pool, &format!("{count}"), SMALL_BYTES).await {
                count += 1;
            }
            assert!(count > 2, "{count} files");
        });
        let remover = thread(&pool, async |pool| pool.unlink(Ino::ROOT, b"large").await.unwrap());
        let early = thread(&pool, async |pool| match noise(&pool, "early", SMALL_BYTES).await {
            Err(error) if error.kind() == ErrorKind::NoSpace => {}
            done => done.unwrap(),
        });
        join([remover]);
        join([early]);
        let writers = ["x", "y"]
            .map(|name| thread(&pool, async move |pool| noise(&pool, name, SMALL_BYTES).await.unwrap()));
        join(writers);
        block_on(assert_sound(&pool));
    });
}
