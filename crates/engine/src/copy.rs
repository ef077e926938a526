//! Copies of whole pools from one store to another, object by object.
//!
//! Segments first and the manifest last, so that there is a pool only when all of it is there. The source may be in use: it is pinned like
//! the parent of a fork, and what is copied is the state that is durable in it. A copy that was interrupted goes on where it was: a mark
//! in the destination says that what else is there belongs to it, and objects never change under their names.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use crate::descent::{self, Descent};
use crate::fork::{self, Copied};
use crate::format::VERSION;
use crate::format::codec::Reader;
use crate::format::manifest::{self, seal, unseal};
use crate::object::{ObjectInfo, ObjectStore, put_own};
use crate::{Error, ErrorKind, Result};

/// In the destination while a copy is under way.
const MARK: &str = "copy-under-way";
const MARK_MAGIC: &[u8; 8] = b"OFFSHCPY";
/// Objects on their way at one time. Each is in memory whole.
const PARALLEL: usize = 4;

/// What a copy has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyReport {
    /// Objects of the pool.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that an earlier, interrupted copy had brought.
    pub objects_found: u64,
}

/// Copies the pool in `source` to `destination`, which must be empty or have an unfinished copy of it. What was put is read back and
/// compared. `location` says where the destination is, for [`fork::forks_of`] of the source meanwhile; `id` is a random number;
/// `progress` is told bytes done and bytes in all.
///
/// # Errors
/// `PoolExists` if something else is in the destination, `NoPool` if there is no source, `InUse` if the source goes on faster than it
/// can be copied, `Corrupt` if the destination gives back other bytes than were put, `Store`.
pub async fn copy(
    source: &dyn ObjectStore,
    destination: &dyn ObjectStore,
    location: &str,
    id: u64,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<CopyReport> {
    let (id, there) = claim(destination, id).await?;
    // One that was killed has left this behind, under the same number.
    fork::begin(source, id, location).await?;
    let copied = run(source, destination, id, there, progress).await;
    fork::release(source, id).await?;
    copied
}

/// Marks the destination, and returns the number of the copy and what an earlier try of it has brought.
async fn claim(destination: &dyn ObjectStore, mut id: u64) -> Result<(u64, Vec<ObjectInfo>)> {
    let there = destination.list("").await?;
    if there.is_empty() {
        put_own(destination, MARK, seal(MARK_MAGIC, VERSION, |out| out.u64(id))).await?;
    } else if there.iter().all(|object| object.name != MARK) {
        let words =
            format!("there is an object {:?} where the copy is to be; take an empty place", there[0].name);
        return Err(Error::new(ErrorKind::PoolExists, words));
    } else {
        let bytes = destination.get(MARK, 0, u64::MAX).await?;
        let (_, body) = unseal(MARK_MAGIC, &bytes, VERSION, MARK)?;
        let mut from = Reader::new(body);
        id = from.u64()?;
        from.end()?;
    }
    Ok((id, there.into_iter().filter(|object| object.name != MARK).collect()))
}

async fn run(
    source: &dyn ObjectStore,
    destination: &dyn ObjectStore,
    id: u64,
    there: Vec<ObjectInfo>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<CopyReport> {
    let Copied { manifest, mut others } = Copied::of(source).await?;
    let number = manifest::number(&manifest.0).expect("it is the path of a manifest");
    others.push((descent::NAME.into(), Descent { id, manifest: number }.encode()));
    let segments = fork::segments_of(source).await?;
    let mut there: HashMap<String, u64> =
        there.into_iter().map(|object| (object.name, object.size)).collect();
    let missing: Vec<&ObjectInfo> =
        segments.iter().filter(|object| there.remove(&object.name) != Some(object.size)).collect();
    // What the source has replaced since the copy was begun.
    for name in there.into_keys() {
        destination.delete(&name).await?;
    }
    let small: u64 = others.iter().chain([&manifest]).map(|(_, bytes)| bytes.len() as u64).sum();
    let bytes = small + segments.iter().map(|object| object.size).sum::<u64>();
    let mut done = bytes - small - missing.iter().map(|object| object.size).sum::<u64>();
    let report = CopyReport {
        objects: (segments.len() + others.len() + 1) as u64,
        bytes,
        objects_found: (segments.len() - missing.len()) as u64,
    };
    progress(done, bytes);
    let mut under_way = futures::stream::iter(missing)
        .map(|object| async move {
            let content = source.get(&object.name, 0, u64::MAX).await?;
            put_and_compare(destination, &object.name, content).await?;
            Ok::<u64, Error>(object.size)
        })
        .buffer_unordered(PARALLEL);
    while let Some(size) = under_way.try_next().await? {
        done += size;
        progress(done, bytes);
    }
    drop(under_way);
    for (name, content) in others.into_iter().chain([manifest]) {
        put_and_compare(destination, &name, content).await?;
    }
    progress(bytes, bytes);
    destination.delete(MARK).await?;
    Ok(report)
}

async fn put_and_compare(destination: &dyn ObjectStore, name: &str, content: Bytes) -> Result<()> {
    // One of another length was cut off by a store that does not put objects whole.
    destination.delete(name).await?;
    destination.put(name, vec![content.clone()]).await?;
    if destination.get(name, 0, u64::MAX).await? == content {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        format!("the destination gives back other bytes of {name} than were put"),
    ))
}
