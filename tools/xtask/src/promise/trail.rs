//! Steps of which none is synced by itself: a write, a rename and another write, one after the other. Operations come back
//! in their order, without gaps; and what another program's sync covers is durable as well.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Mark, Place, acknowledged, exists, locked, read, sync_dir};

const DIR: &str = "trail";

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Notes {
    /// Steps that are durable, whoever made them so.
    durable: Vec<Mark>,
}

pub(super) fn run(place: &Place<'_>, notes: &Mutex<Notes>) {
    let dir = place.dir.join(DIR);
    let begin = || -> std::io::Result<_> {
        std::fs::create_dir(&dir)?;
        std::fs::write(dir.join("at-0"), [])?;
        let files = (File::create(dir.join("before"))?, File::create(dir.join("behind"))?);
        files.0.write_all_at(&0_u64.to_le_bytes(), 0)?;
        files.1.write_all_at(&0_u64.to_le_bytes(), 0)?;
        sync_dir(&dir)?;
        Ok(files)
    };
    // Not tried again: half of it would be in the way.
    let Ok((before, behind)) = begin() else { return };
    locked(notes).durable(place.now(), 1);
    for step in 1_u64.. {
        let (from, to) = (dir.join(format!("at-{}", step - 1)), dir.join(format!("at-{step}")));
        let made = place.tries(|| before.write_all_at(&step.to_le_bytes(), 0)).and_then(|()| {
            place.tries(|| std::fs::rename(&from, &to))?;
            place.tries(|| behind.write_all_at(&step.to_le_bytes(), 0))
        });
        if made.is_none() {
            return;
        }
        // Counted from 1, since that the trail exists is the first.
        place.steps.store(step + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_micros(300));
    }
}

impl Notes {
    /// Notes that `steps` are durable.
    pub(super) fn durable(&mut self, moment: u64, steps: u64) {
        self.durable.push(Mark { moment, count: steps });
    }

    /// Returns how many steps are durable and there.
    pub(super) fn verify(&self, dir: &Path, moment: u64) -> Result<u64> {
        let dir = dir.join(DIR);
        let durable = acknowledged(&self.durable, moment);
        if durable == 0 {
            return Ok(0);
        }
        ensure!(exists(&dir)?, "{} is lost, {durable} steps were durable", dir.display());
        let mut at = Vec::new();
        for entry in std::fs::read_dir(&dir)? {
            let name = entry?.file_name();
            at.extend(name.to_str().and_then(|name| name.strip_prefix("at-")?.parse::<u64>().ok()));
        }
        ensure!(at.len() == 1, "{} has {} places at once: {at:?}", dir.display(), at.len());
        let (at, before, behind) = (at[0], number(&dir.join("before"))?, number(&dir.join("behind"))?);
        let is_in_order =
            [(at, at), (at + 1, at)].contains(&(before, behind)) || (before, behind + 1) == (at, at);
        ensure!(
            is_in_order,
            "{} is out of order: {before} was written, then the name was at {at}, then {behind} was written",
            dir.display()
        );
        ensure!(behind + 1 >= durable, "{} has {behind} steps, {} were durable", dir.display(), durable - 1);
        Ok(durable)
    }
}

fn number(path: &Path) -> Result<u64> {
    let bytes = read(path)?.with_context(|| format!("{} is lost", path.display()))?;
    ensure!(bytes.len() == 8, "{} is torn: {} bytes", path.display(), bytes.len());
    Ok(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}
