//! Reading every stored byte that counts: items, lists of items, what is around them, the manifest and the segment table.

use std::collections::BTreeMap;

use super::naming::{Damage, damage};
use super::{begin, known_count};
use crate::address::{Address, ItemKind, SegmentId};
use crate::checkpoint::Checkpointer;
use crate::encryption::decrypt_object;
use crate::format::manifest;
use crate::namespace::State;
use crate::pool::Inner;
use crate::repair::Reach;
use crate::report::CheckReport;
use crate::segment::{ObjectName, Pinned, SegmentRecord};
use crate::tree::AnyNode;
use crate::{ErrorKind, Result};

/// Reads every live item.
pub(crate) async fn scrub(inner: &Inner) -> Result<CheckReport> {
    let mut report = CheckReport::default();
    begin(inner, &mut report).await?;
    let checkpointer = inner.checkpointer.lock().await;
    let mut damage = read_all(inner, &checkpointer, &mut report).await?;
    damage.name_paths(&checkpointer.manifest, &mut report).await?;
    Ok(report)
}

/// Reads everything that the newest manifest needs, past the caches.
pub(crate) async fn read_all<'a>(
    inner: &'a Inner,
    checkpointer: &Checkpointer,
    report: &mut CheckReport,
) -> Result<Damage<'a>> {
    let manifest = &checkpointer.manifest;
    let mut found = Damage::none(inner);
    let table: BTreeMap<SegmentId, SegmentRecord> = inner.items.table().clone();
    let nodes = Pinned::new(&inner.items);
    let mut objects: BTreeMap<ObjectName, Vec<(SegmentId, u64, u32)>> = BTreeMap::new();
    for (segment, record) in &table {
        let place = (*segment, record.directory_offset, record.directory_length);
        objects.entry(record.object).or_default().push(place);
        report.segments += 1;
        let directory = match inner.items.stored_directory(*segment, record).await {
            Ok(found) => found,
            Err(error) => {
                found.bad_segments.insert(*segment, damage(error)?);
                continue;
            }
        };
        for item in &directory.items {
            let address = Address::new(*segment, item.index);
            // Where a count is not known, everything is looked at.
            if known_count(manifest, address, &nodes).await? == Some(0) {
                continue;
            }
            report.bytes += u64::from(item.stored_length);
            let read = match inner.items.read(address, item.kind).await {
                Ok(bytes) if item.kind == ItemKind::Frame => {
                    report.frames += 1;
                    drop(bytes);
                    Ok(())
                }
                Ok(bytes) => {
                    report.nodes += 1;
                    AnyNode::decode(item.kind, &bytes, address).map(|_| ())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = read {
                found.bad.insert(address, (item.kind, damage(error)?));
            }
        }
    }
    for (object, segments) in objects {
        if let Err(error) = inner.items.envelope(object, &segments).await {
            let error = damage(error)?;
            // Where nothing of an object can be read, that has been told of its segments.
            if segments.iter().any(|(segment, ..)| !found.bad_segments.contains_key(segment)) {
                found.bad_objects.insert(object, error);
            }
        }
    }
    let absent = Reach::absent(inner, &State::of_manifest(manifest)).await?;
    absent_items(inner, absent.into_iter(), &mut found).await?;
    stored_manifest(inner, checkpointer, &mut found).await?;
    Ok(found)
}

/// Notes items that something leads to and that no segment has.
pub(crate) async fn absent_items(
    inner: &Inner,
    items: impl Iterator<Item = (Address, ItemKind)>,
    found: &mut Damage<'_>,
) -> Result<()> {
    let mut items: Vec<_> = items.collect();
    items.sort_unstable_by_key(|(address, _)| *address);
    for of_segment in items.chunk_by(|(a, _), (b, _)| a.segment() == b.segment()) {
        let segment = of_segment[0].0.segment();
        if found.bad_segments.contains_key(&segment) || inner.items.is_gathering(segment) {
            continue;
        }
        let (path, directory) = match inner.items.directory(segment).await {
            Ok((record, directory)) => (record.object.path(), directory),
            Err(error) => {
                let error = damage(error)?;
                found.bad.extend(of_segment.iter().map(|(address, kind)| (*address, (*kind, error.clone()))));
                continue;
            }
        };
        for (address, kind) in of_segment {
            if directory.find(address.index()).is_none_or(|item| item.kind != *kind) {
                let error =
                    format!("{path}: there is no item {} in segment {:x}", address.index(), segment.0);
                found.bad.insert(*address, (*kind, error));
            }
        }
    }
    Ok(())
}

/// Compares the stored manifest and segment table with what is in memory.
async fn stored_manifest(inner: &Inner, checkpointer: &Checkpointer, found: &mut Damage<'_>) -> Result<()> {
    let manifest = &checkpointer.manifest;
    let mut expected = vec![(manifest::path(manifest.number), vec![manifest.encode()])];
    if manifest.table != 0 {
        let base = inner.table_base.lock().clone();
        let records: Vec<_> = base.iter().map(|(segment, record)| (*segment, Some(record.clone()))).collect();
        // An older version may have written it.
        let encodings = (1..=manifest.version).map(|version| manifest::encode_table(version, &records));
        expected.push((manifest::table_path(manifest.table), encodings.collect()));
    }
    for (path, encodings) in expected {
        let fault = match inner.items.objects().get(&path, 0, u64::MAX).await {
            Ok(stored) => match decrypt_object(inner.items.keys(), manifest.version, &path, stored) {
                Ok(plain) if encodings.contains(&plain) => continue,
                Ok(_) => format!("{path} does not have the bytes that were written"),
                Err(error) => error.to_string(),
            },
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
                format!("{path} cannot be read: {error}")
            }
            Err(error) => return Err(error),
        };
        let words =
            "; the server has it in memory, and a repair writes it anew: do not stop the server before";
        found.bad_manifest.push(format!("{fault}{words}"));
    }
    Ok(())
}
