//! Taking in what the store holds and the manifest does not know.

use std::cmp::Reverse;

use rustc_hash::FxHashSet;

use crate::address::{Address, ItemKind, SegmentId};
use crate::format::manifest::TableChange;
use crate::object::ObjectStore;
use crate::segment::{self, Items, ObjectName, SegmentRecord};
use crate::simulation::mutant::{self, Mutant};
use crate::{ErrorKind, Result};

/// What was found in the store.
#[derive(Default)]
pub(super) struct Adopted {
    /// Nodes of checkpoints that were never finished.
    pub(super) lost_nodes: Vec<Address>,
    /// Objects that nothing needs which the manifest knows.
    pub(super) dead: Vec<ObjectName>,
    /// New places of segments that the manifest knows elsewhere.
    pub(super) moved: Vec<TableChange>,
}

/// Takes segments in that were written after the manifest: the log may name their frames. Their nodes belong to a checkpoint that was
/// never finished. Objects that hold old segments at new places, or nothing known, are dead, unless
/// a newer manifest could not be read (`keep`): then segments that it has moved are found again where they are now.
pub(super) async fn adopt_segments(objects: &dyn ObjectStore, items: &Items, keep: bool) -> Result<Adopted> {
    let known: FxHashSet<ObjectName> = items.table().values().map(|record| record.object).collect();
    let mut listed = objects.list(segment::PREFIX).await?;
    // A writer that was replaced, or one of its requests that came late, may have used the number of a segment that its successor
    // used as well: the successor's is the one that counts, and comes first.
    if !mutant::is_on(Mutant::AdoptOlderWriter) {
        let place = |name: ObjectName| (name.number, Reverse(name.epoch));
        listed.sort_by_key(|object| ObjectName::parse(&object.name).map(place));
    }
    let present: FxHashSet<ObjectName> =
        listed.iter().filter_map(|object| ObjectName::parse(&object.name)).collect();
    let mut adopted = Adopted::default();
    for object in listed {
        let Some(name) = ObjectName::parse(&object.name) else {
            tracing::warn!(object = object.name, "an object has a name that no pool gives");
            continue;
        };
        items.set_next_segment(items.next_segment().max(name.number + 1));
        items.set_object_bytes(name, object.size);
        if known.contains(&name) {
            continue;
        }
        let footer = match items.footer(name, object.size).await {
            Ok(footer) => footer,
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::error!(object = object.name, %error, "a new segment cannot be read and is left alone");
                items.leave_alone(name, &error);
                continue;
            }
            Err(error) => return Err(error),
        };
        if keep {
            find_moved(items, name, &footer, &present, &mut adopted.moved);
        }
        // A segment that lies elsewhere was moved, from here or to here. One that no manifest knows was written after the manifest, or
        // is one that has died and was not deleted any more: taken in, it dies at the next checkpoint, as nothing refers to it.
        let new = match footer[..] {
            [entry] if entry.0.0 == name.number && !items.table().contains_key(&entry.0) => Some(entry),
            _ => None,
        };
        match new {
            Some(_) if mutant::is_on(Mutant::IgnoreNewSegments) => {}
            Some(entry) => adopt(items, name, object.size, entry, &mut adopted.lost_nodes).await?,
            None if keep => {}
            None => adopted.dead.push(name),
        }
    }
    // Items that were never put are no more.
    let table = items.table();
    items.born_items().retain(|address, _| table.contains_key(&address.segment()));
    drop(table);
    Ok(adopted)
}

async fn adopt(
    items: &Items,
    object: ObjectName,
    size: u64,
    (id, directory_offset, directory_length): (SegmentId, u64, u32),
    lost: &mut Vec<Address>,
) -> Result<()> {
    let mut record = SegmentRecord {
        object,
        directory_offset,
        directory_length,
        bytes: size,
        live_items: 0,
        live_bytes: 0,
    };
    let directory = match items.directory_at(id, &record).await {
        Ok(directory) => directory,
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            tracing::error!(object = object.path(), %error, "a new segment cannot be read and is left alone");
            items.leave_alone(object, &error);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    record.live_items = directory.items.len() as u32;
    record.live_bytes = directory.items.iter().map(|item| u64::from(item.stored_length)).sum();
    items.table_mut().insert(id, record);
    for item in &directory.items {
        let address = Address::new(id, item.index);
        if item.kind == ItemKind::Frame {
            items.born(address, ItemKind::Frame, 0);
        } else {
            lost.push(address);
        }
    }
    Ok(())
}

/// Segments whose objects are gone lie in the object that a later checkpoint has moved them to.
fn find_moved(
    items: &Items,
    object: ObjectName,
    footer: &[(SegmentId, u64, u32)],
    present: &FxHashSet<ObjectName>,
    moved: &mut Vec<TableChange>,
) {
    let mut table = items.table_mut();
    for (id, directory_offset, directory_length) in footer {
        if let Some(record) = table.get_mut(id)
            && !present.contains(&record.object)
        {
            (record.object, record.directory_offset, record.directory_length) =
                (object, *directory_offset, *directory_length);
            moved.push((*id, Some(record.clone())));
        }
    }
}
