//! Records appended to one file, each made durable before the next: with `fdatasync`, or through a handle with `O_DSYNC`.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use anyhow::{Result, ensure};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::{Mark, Place, acknowledged, content, locked, read, sync_dir, trail};

/// The number of the record, then bytes that follow from it.
const RECORD_BYTES: usize = 700;
const PAGE_BYTES: usize = 4096;
const NAME: &str = "appended";

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Notes {
    /// Records that are durable.
    records: Vec<Mark>,
}

/// Appends until it is over. A sync is a sync of all, so steps of the trail are durable with it.
pub(super) fn run(place: &Place<'_>, notes: &Mutex<Notes>, trail: &Mutex<trail::Notes>) {
    let path = place.dir.join(NAME);
    let through_handle = place.seed.is_multiple_of(2);
    let flags = if through_handle { OFlags::DSYNC.bits() as i32 } else { 0 };
    let open = || -> std::io::Result<File> {
        let file =
            File::options().create(true).truncate(false).write(true).custom_flags(flags).open(&path)?;
        sync_dir(&place.dir)?;
        Ok(file)
    };
    let Some(file) = place.tries(open) else { return };
    for number in 0_u64.. {
        let steps = std::cell::Cell::new(0);
        let append = || {
            steps.set(place.steps.load(Ordering::SeqCst));
            file.write_all_at(&record(number), number * RECORD_BYTES as u64)?;
            if through_handle { Ok(()) } else { file.sync_data() }
        };
        if place.tries(append).is_none() {
            return;
        }
        let moment = place.now();
        locked(notes).records.push(Mark { moment, count: number + 1 });
        locked(trail).durable(moment, steps.get());
    }
}

impl Notes {
    /// Returns how many acknowledged records are there.
    pub(super) fn verify(&self, dir: &Path, moment: u64) -> Result<u64> {
        let path = dir.join(NAME);
        let records = acknowledged(&self.records, moment);
        let found = read(&path)?.unwrap_or_default();
        let whole = (found.len() / RECORD_BYTES) as u64;
        ensure!(whole >= records, "{} has {whole} of {records} records", path.display());
        // The kernel cuts a write that begins inside a page at the end of that page, if it does not hold the page.
        ensure!(
            found.len().is_multiple_of(RECORD_BYTES) || found.len().is_multiple_of(PAGE_BYTES),
            "{} ends in a torn record: {} bytes",
            path.display(),
            found.len()
        );
        for (number, bytes) in found.chunks(RECORD_BYTES).enumerate() {
            let expected = record(number as u64);
            ensure!(*bytes == expected[..bytes.len()], "record {number} of {} is damaged", path.display());
        }
        Ok(records)
    }
}

fn record(number: u64) -> Vec<u8> {
    let mut bytes = content(number, RECORD_BYTES);
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}
