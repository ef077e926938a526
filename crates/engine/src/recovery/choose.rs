//! Which manifest to open: the newest, or the newest that is sound.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::encryption::{Unlocked, decrypt_object, unlock};
use crate::format::manifest::{self, Manifest};
use crate::object::{ObjectStore, keep_copy};
use crate::segment::{Items, SegmentRecord, absent};
use crate::{Error, ErrorKind, Result, Settings};

type Table = BTreeMap<crate::address::SegmentId, SegmentRecord>;

/// A manifest to open.
pub(super) struct Chosen {
    pub(super) manifest: Manifest,
    /// What the pool is encrypted with.
    pub(super) keys: Unlocked,
    /// The segment table as it was last written whole.
    pub(super) table_base: Arc<Table>,
    /// The highest number of any manifest.
    pub(super) newest: u64,
    /// Newer manifests that could not be read.
    pub(super) passed_over: Vec<PassedOver>,
}

/// A manifest that could not be read, or not with its table.
pub(super) struct PassedOver {
    objects: Vec<String>,
    pub(super) words: String,
}

impl Chosen {
    /// The first manifest of a new pool.
    pub(super) fn new(manifest: Manifest, keys: Unlocked) -> Self {
        Self { newest: manifest.number, manifest, keys, table_base: Arc::default(), passed_over: Vec::new() }
    }
}

/// The numbers of all manifests, ascending.
///
/// # Errors
/// `Store`.
pub(super) async fn numbers(objects: &dyn ObjectStore) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for object in objects.list(manifest::PREFIX).await? {
        match manifest::number(&object.name) {
            Some(number) => numbers.push(number),
            None => tracing::warn!(object = object.name, "an object has a name that no pool gives"),
        }
    }
    Ok(numbers)
}

/// The newest of the manifests of these numbers with its table; if loss is accepted the newest sound one.
///
/// # Errors
/// `Corrupt`, `NewerFormat`, `WrongPassword`, `Invalid`, `Store`.
pub(super) async fn manifest(
    objects: &dyn ObjectStore,
    numbers: Vec<u64>,
    settings: &Settings,
) -> Result<Option<Chosen>> {
    let Some(newest) = numbers.last().copied() else { return Ok(None) };
    let mut passed_over: Vec<PassedOver> = Vec::new();
    for number in numbers.into_iter().rev() {
        match read(objects, number, settings).await {
            Ok((manifest, base, keys)) if passed_over.is_empty() || settings.accept_loss => {
                return Ok(Some(Chosen { manifest, keys, table_base: Arc::new(base), newest, passed_over }));
            }
            Ok((manifest, ..)) => {
                let words = passed_over.into_iter().map(|passed| passed.words).collect::<Vec<_>>().join(". ");
                let message = format!(
                    "{words}. The pool cannot be opened without it; {} from {} seconds after 1970, as of operation {}, is \
                     sound, but the log that leads on from there may be gone. {}",
                    manifest::path(number),
                    manifest.time.secs,
                    manifest.sequence,
                    super::CHOICES
                );
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
            Err((objects, error)) if error.kind() == ErrorKind::Corrupt => {
                let words = format!("{} cannot be read: {error}", manifest::path(number));
                passed_over.push(PassedOver { objects, words });
            }
            Err((_, error)) => return Err(error),
        }
    }
    let words = passed_over.into_iter().map(|passed| passed.words).collect::<Vec<_>>().join(". ");
    Err(Error::new(
        ErrorKind::Corrupt,
        format!(
            "{words}. There is no sound manifest, and no pool can be opened without one: put a sound copy back"
        ),
    ))
}

/// A manifest and the table that it changes; else the objects that were looked at, and why not.
async fn read(
    objects: &dyn ObjectStore,
    number: u64,
    settings: &Settings,
) -> Result<(Manifest, Table, Unlocked), (Vec<String>, Error)> {
    let path = manifest::path(number);
    let version = settings.format_version;
    let manifest = get(objects, &path).await.and_then(|bytes| {
        let keys = unlock(settings.encryption.as_ref(), version, &path, &bytes)?;
        let bytes = decrypt_object(keys.as_ref(), version, &path, bytes)?;
        Ok((Manifest::decode(&bytes, version, &path)?, keys))
    });
    let (manifest, keys) = manifest.map_err(|error| (vec![path.clone()], error))?;
    if manifest.table == 0 {
        return Ok((manifest, Table::new(), keys));
    }
    let table_path = manifest::table_path(manifest.table);
    let records = get(objects, &table_path)
        .await
        .and_then(|bytes| decrypt_object(keys.as_ref(), version, &table_path, bytes))
        .and_then(|bytes| manifest::decode_table(&bytes, version, &table_path));
    match records {
        Ok(records) => {
            let table =
                records.into_iter().filter_map(|(segment, record)| Some((segment, record?))).collect();
            Ok((manifest, table, keys))
        }
        Err(error) => Err((vec![path, table_path], error)),
    }
}

async fn get(objects: &dyn ObjectStore, path: &str) -> Result<bytes::Bytes> {
    objects.get(path, 0, u64::MAX).await.map_err(|error| absent(path, error))
}

/// Gives the items the table of a manifest, and what was born.
pub(super) fn set_table(manifest: &Manifest, base: &Table, items: &Items) {
    let mut table = items.table_mut();
    table.clone_from(base);
    for (segment, record) in &manifest.table_changes {
        match record {
            Some(record) => table.insert(*segment, record.clone()),
            None => table.remove(segment),
        };
    }
    drop(table);
    for (address, kind) in &manifest.born {
        items.born(*address, *kind, 0);
    }
}

/// Copies what could not be read aside, before a later checkpoint deletes it.
///
/// # Errors
/// `NoSpace`, `Store`.
pub(super) async fn keep_copies(objects: &dyn ObjectStore, passed_over: &[PassedOver]) -> Result<()> {
    for name in passed_over.iter().flat_map(|passed| &passed.objects) {
        let bytes = match objects.get(name, 0, u64::MAX).await {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
                tracing::error!(object = name, %error, "there is nothing that could be kept of an object");
                continue;
            }
            Err(error) => return Err(error),
        };
        keep_copy(objects, name, bytes).await?;
    }
    Ok(())
}
