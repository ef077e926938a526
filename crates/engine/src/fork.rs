//! Forks: a clone of a whole pool into a store of its own, with a writer of its own, that shares the parent's segments.
//!
//! A fork copies the newest manifest, the tables and the log, which are small, and a list of the objects that hold segments. It reads those
//! where they are ([`ForkStore`]) and writes beside them. The parent is told with two objects: one that makes it delete nothing
//! while the fork is made (`forks/<id>/begun`), and then one with the list (`forks/<id>/objects`): what is on it stays, until the fork is
//! let go ([`release`]). The parent's writer looks at these after it has put a manifest and before it deletes what that has replaced,
//! and a fork reads the newest manifest after it has put the first of them, so neither can miss the other, wherever they run.
//!
//! Nothing is decoded but names, so the fork of an encrypted pool needs no key.

mod store;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;

use crate::descent::{self, Descent};
use crate::format::VERSION;
use crate::format::codec::Reader;
use crate::format::manifest::{self, seal, unseal};
use crate::object::{ObjectInfo, ObjectStore, put_own};
use crate::{Error, ErrorKind, Result, log, segment};

pub use store::ForkStore;

/// Prefix of what a pool knows of its forks.
const PREFIX: &str = "forks/";
/// What a fork knows of its parent.
const PARENT: &str = "parent";
const PARENT_MAGIC: &[u8; 8] = b"OFFSHPAR";
const PIN_MAGIC: &[u8; 8] = b"OFFSHPIN";
/// How often a copy is begun again because the parent has gone on meanwhile.
const ATTEMPTS: u32 = 10;

/// Where a fork comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The parent's store, in words that whoever opens stores understands.
    pub location: String,
    /// The number that the parent knows the fork by.
    pub id: u64,
    /// Objects that the fork may read there.
    objects: Vec<ObjectInfo>,
}

impl Parent {
    fn encode(&self) -> Bytes {
        seal(PARENT_MAGIC, VERSION, |out| {
            out.bytes(self.location.as_bytes());
            out.u64(self.id);
            encode_objects(&self.objects, out);
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let (_, body) = unseal(PARENT_MAGIC, bytes, VERSION, PARENT)?;
        let mut from = Reader::new(body);
        let location = String::from_utf8_lossy(from.bytes()?).into_owned();
        let parent = Self { location, id: from.u64()?, objects: decode_objects(&mut from)? };
        from.end()?;
        Ok(parent)
    }
}

/// What a fork shares with its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forked {
    /// The number that the parent knows the fork by, for [`release`].
    pub id: u64,
    /// Objects that both read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Something that a pool keeps objects for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Its number.
    pub id: u64,
    /// Where it is, in words that whoever made it chose; nothing if that is not known.
    pub location: String,
    /// How many objects are kept for it; none is known of one that is being made, for which all are kept, or of a copy.
    pub objects: Option<u64>,
}

/// Makes `child`, which has to be empty, a fork of the pool in `parent`, in the state that is durable there: of a log that is not among
/// the objects, that is the last checkpoint. `location` says where the parent is, for [`parent_of`], `child_location` where the
/// child is, for [`forks_of`]; `id` is a random number.
///
/// # Errors
/// `PoolExists` if the child is not empty, `NoPool` if there is no parent, `InUse` if the parent goes on faster than it can be copied, `Store`.
pub async fn fork(
    parent: &dyn ObjectStore,
    child: &dyn ObjectStore,
    location: &str,
    child_location: &str,
    id: u64,
) -> Result<Forked> {
    if let Some(object) = child.list("").await?.first() {
        let words =
            format!("there is an object {:?} where the fork is to be; take an empty place", object.name);
        return Err(Error::new(ErrorKind::PoolExists, words));
    }
    begin(parent, id, child_location).await?;
    let made = make(parent, child, location, id).await;
    if made.is_err() {
        // Nothing needs the pin, and nobody will open what was made of the child: it has no manifest.
        release(parent, id).await?;
    }
    made
}

/// From here on the pool deletes no segment, until [`release`]. Begun twice for the same `location`, it is begun once.
pub(crate) async fn begin(objects: &dyn ObjectStore, id: u64, location: &str) -> Result<()> {
    put_own(objects, &begun(id), seal(PIN_MAGIC, VERSION, |out| out.bytes(location.as_bytes()))).await
}

/// All objects that hold segments.
pub(crate) async fn segments_of(objects: &dyn ObjectStore) -> Result<Vec<ObjectInfo>> {
    let mut listed = objects.list(segment::PREFIX).await?;
    listed.retain(|object| segment::ObjectName::parse(&object.name).is_some());
    Ok(listed)
}

async fn make(parent: &dyn ObjectStore, child: &dyn ObjectStore, location: &str, id: u64) -> Result<Forked> {
    let Copied { manifest, others } = Copied::of(parent).await?;
    // What the log names was put before it.
    let objects = segments_of(parent).await?;
    let list = seal(PIN_MAGIC, VERSION, |out| encode_objects(&objects, out));
    parent.put(&listed(id), vec![list]).await?;
    let forked =
        Forked { id, objects: objects.len() as u64, bytes: objects.iter().map(|object| object.size).sum() };
    child.put(PARENT, vec![Parent { location: location.to_owned(), id, objects }.encode()]).await?;
    let descent =
        Descent { id, manifest: manifest::number(&manifest.0).expect("it is the path of a manifest") };
    // The manifest last: with it there is a pool.
    for (name, bytes) in others.into_iter().chain([(descent::NAME.into(), descent.encode()), manifest]) {
        child.put(&name, vec![bytes]).await?;
    }
    Ok(forked)
}

/// What of a pool is small, by name: a durable state of it, but for its segments.
pub(crate) struct Copied {
    pub(crate) manifest: (String, Bytes),
    /// Tables and the log.
    pub(crate) others: Vec<(String, Bytes)>,
}

impl Copied {
    /// Reads the newest state of a pool that may be in use.
    ///
    /// # Errors
    /// `NoPool`, `InUse` if it changes faster than it can be read, `Store`.
    pub(crate) async fn of(pool: &dyn ObjectStore) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            match Self::read(pool).await {
                // A checkpoint has replaced it meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                read => return read,
            }
        }
        Err(Error::new(ErrorKind::InUse, "the pool changes faster than it can be copied; try again"))
    }

    /// # Errors
    /// `NotFound` if something was deleted while it was read.
    async fn read(parent: &dyn ObjectStore) -> Result<Self> {
        let manifests = parent.list(manifest::PREFIX).await?;
        let newest = manifests.iter().filter_map(|object| manifest::number(&object.name)).max();
        let newest =
            newest.ok_or_else(|| Error::new(ErrorKind::NoPool, "there is no pool that could be forked"))?;
        let path = manifest::path(newest);
        let manifest = (path.clone(), parent.get(&path, 0, u64::MAX).await?);
        let mut others = Vec::new();
        let tables = parent.list(manifest::TABLE_PREFIX).await?;
        let names = tables.into_iter().map(|object| object.name).chain(log_parts(parent).await?);
        for name in names {
            let bytes = parent.get(&name, 0, u64::MAX).await?;
            others.push((name, bytes));
        }
        Ok(Self { manifest, others })
    }
}

/// The names of parts of log files, so that none is missing before another: a file is only whole when the next one has begun, so it is
/// listed again then.
async fn log_parts(parent: &dyn ObjectStore) -> Result<Vec<String>> {
    let mut files: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for object in parent.list(log::PARTS_PREFIX).await? {
        if let Some((number, _)) = log::part_of(&object.name) {
            files.entry(number).or_default().push(object.name);
        }
    }
    let last = files.last_key_value().map(|(number, _)| *number);
    for (number, parts) in &mut files {
        if Some(*number) != last {
            let listed = parent.list(&log::parts_of(*number)).await?;
            *parts = listed.into_iter().map(|object| object.name).collect();
        }
    }
    Ok(files.into_values().flatten().collect())
}

/// Where the pool in a store comes from, if it is a fork.
///
/// # Errors
/// `Corrupt`, `NewerFormat`, `Store`.
pub async fn parent_of(objects: &dyn ObjectStore) -> Result<Option<Parent>> {
    match objects.get(PARENT, 0, u64::MAX).await {
        Ok(bytes) => Parent::decode(&bytes).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The forks that a pool knows of, by their numbers, and copies of it that are being made.
///
/// # Errors
/// `Corrupt`, `NewerFormat`, `Store`.
pub async fn forks_of(objects: &dyn ObjectStore) -> Result<Vec<Fork>> {
    let mut forks = Vec::new();
    for id in ids(objects).await? {
        let pinned = pinned_by(objects, id).await?.map(|objects| objects.len() as u64);
        forks.push(Fork { id, location: location_of(objects, id).await?, objects: pinned });
    }
    Ok(forks)
}

/// Where a fork is, if that was written down in words that can be read: nothing else depends on it.
async fn location_of(objects: &dyn ObjectStore, id: u64) -> Result<String> {
    let name = begun(id);
    let bytes = match objects.get(&name, 0, u64::MAX).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        got => got?,
    };
    let body = unseal(PIN_MAGIC, &bytes, VERSION, &name).map_or(&[][..], |(_, body)| body);
    let location = Reader::new(body).bytes().unwrap_or_default();
    Ok(String::from_utf8_lossy(location).into_owned())
}

/// Whether a pool keeps objects for the fork with this number.
///
/// # Errors
/// `Store`.
pub async fn is_kept(objects: &dyn ObjectStore, id: u64) -> Result<bool> {
    Ok(ids(objects).await?.contains(&id))
}

/// Lets a fork go that nobody needs any more: the pool may delete what it kept for it alone. The fork cannot be read from then on.
///
/// # Errors
/// `Store`.
pub async fn release(objects: &dyn ObjectStore, id: u64) -> Result<()> {
    // This order: one that has begun and has no list holds everything.
    objects.delete(&begun(id)).await?;
    objects.delete(&listed(id)).await
}

/// Names of the objects of a pool that its forks need; `None` if one is being made, which may need any.
///
/// # Errors
/// `Corrupt`, `NewerFormat`, `Store`.
pub(crate) async fn needed(objects: &dyn ObjectStore) -> Result<Option<HashSet<String>>> {
    let mut names = HashSet::new();
    for id in ids(objects).await? {
        match pinned_by(objects, id).await? {
            Some(objects) => names.extend(objects.into_iter().map(|object| object.name)),
            None => return Ok(None),
        }
    }
    Ok(Some(names))
}

async fn ids(objects: &dyn ObjectStore) -> Result<BTreeSet<u64>> {
    let listed = objects.list(PREFIX).await?;
    let id = |object: &ObjectInfo| u64::from_str_radix(object.name.get(PREFIX.len()..)?.get(..16)?, 16).ok();
    Ok(listed.iter().filter_map(id).collect())
}

async fn pinned_by(objects: &dyn ObjectStore, id: u64) -> Result<Option<Vec<ObjectInfo>>> {
    let name = listed(id);
    let bytes = match objects.get(&name, 0, u64::MAX).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        got => got?,
    };
    let (_, body) = unseal(PIN_MAGIC, &bytes, VERSION, &name)?;
    let mut from = Reader::new(body);
    let pinned = decode_objects(&mut from)?;
    from.end()?;
    Ok(Some(pinned))
}

fn begun(id: u64) -> String {
    format!("{PREFIX}{id:016x}/begun")
}

fn listed(id: u64) -> String {
    format!("{PREFIX}{id:016x}/objects")
}

fn encode_objects(objects: &[ObjectInfo], out: &mut crate::format::codec::Writer) {
    out.varint(objects.len() as u64);
    for object in objects {
        out.bytes(object.name.as_bytes());
        out.varint(object.size);
    }
}

fn decode_objects(from: &mut Reader<'_>) -> Result<Vec<ObjectInfo>> {
    (0..from.count(2)?)
        .map(|_| {
            let name = String::from_utf8_lossy(from.bytes()?).into_owned();
            Ok(ObjectInfo { name, size: from.varint()? })
        })
        .collect()
}
