//! Files that are written under another name, made durable, renamed into place and made durable there: one that is replaced
//! again and again, and new ones, of which some are removed later.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::{Mark, Place, acknowledged, content, exists, locked, read, sync_dir};

/// Every so many versions a file stays beside.
const KEEP_EVERY: u64 = 4;
/// New files of one round that are looked into after a crash, from the newest on.
const LOOKED_AT: usize = 30;
const CURRENT: &str = "current";

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Notes {
    seed: u64,
    /// Versions of the file that is replaced, from 1.
    versions: Vec<Mark>,
    /// Version of each new file, when it was acknowledged, and when its removal was begun and acknowledged.
    kept: Vec<(u64, u64, Option<(u64, Option<u64>)>)>,
}

pub(super) fn run(place: &Place<'_>, notes: &Mutex<Notes>) {
    let mut random = Rng::with_seed(place.seed);
    locked(notes).seed = place.seed;
    let (current, next) = (place.dir.join(CURRENT), place.dir.join("next"));
    let write = |version: u64, to: &Path| {
        let mut file = File::create(&next)?;
        file.write_all(&bytes_of(place.seed, version))?;
        file.sync_all()?;
        std::fs::rename(&next, to)?;
        sync_dir(&place.dir)
    };
    for version in 1_u64.. {
        if place.tries(|| write(version, &current)).is_none() {
            return;
        }
        let moment = place.now();
        locked(notes).versions.push(Mark { moment, count: version });
        if version.is_multiple_of(KEEP_EVERY) {
            let path = kept(&place.dir, version);
            if place.tries(|| write(version, &path)).is_none() {
                return;
            }
            let moment = place.now();
            locked(notes).kept.push((version, moment, None));
            if random.u8(..3) == 0 && remove_one(place, notes, &mut random).is_none() {
                return;
            }
        }
    }
}

/// Removes one of the new files and notes it.
fn remove_one(place: &Place<'_>, notes: &Mutex<Notes>, random: &mut Rng) -> Option<()> {
    let begun = place.now();
    let (slot, path) = {
        let mut notes = locked(notes);
        let slot = random.usize(..notes.kept.len());
        let (version, _, removed) = &mut notes.kept[slot];
        if removed.is_some() {
            return Some(());
        }
        *removed = Some((begun, None));
        (slot, kept(&place.dir, *version))
    };
    place.tries(|| match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => sync_dir(&place.dir),
    })?;
    let moment = place.now();
    locked(notes).kept[slot].2 = Some((begun, Some(moment)));
    Some(())
}

impl Notes {
    /// Returns how many acknowledged versions and removals hold.
    pub(super) fn verify(&self, dir: &Path, moment: u64) -> Result<u64> {
        let path = dir.join(CURRENT);
        let version = acknowledged(&self.versions, moment);
        let mut held = version;
        match read(&path)? {
            None => ensure!(version == 0, "{} is lost, version {version} was durable", path.display()),
            Some(found) => {
                let there = version_of(&found).with_context(|| format!("{} is torn", path.display()))?;
                ensure!(there >= version, "{} has version {there}, {version} was durable", path.display());
                ensure!(
                    found == bytes_of(self.seed, there),
                    "{} is damaged: version {there}, {} bytes",
                    path.display(),
                    found.len()
                );
            }
        }
        let made = self.kept.iter().rev().filter(|(_, made, _)| *made <= moment);
        for (version, made, removed) in made.take(LOOKED_AT) {
            let path = kept(dir, *version);
            held += 1;
            match removed {
                Some((_, Some(gone))) if *gone <= moment => {
                    ensure!(!exists(&path)?, "{} is there, its removal was durable", path.display());
                    continue;
                }
                Some((begun, _)) if *begun <= moment && !exists(&path)? => continue,
                _ => {}
            }
            let found =
                read(&path)?.with_context(|| format!("{} is lost, made by {made}", path.display()))?;
            ensure!(
                found == bytes_of(self.seed, *version),
                "{} is damaged: {} bytes",
                path.display(),
                found.len()
            );
        }
        Ok(held)
    }
}

fn kept(dir: &Path, version: u64) -> PathBuf {
    dir.join(format!("kept-{version}"))
}

/// The version, then bytes that follow from it: mostly small, some so large that they do not go through the log.
fn bytes_of(seed: u64, version: u64) -> Vec<u8> {
    let seed = seed.wrapping_add(version << 20);
    let mut random = Rng::with_seed(seed);
    let size = match random.u8(..10) {
        0..3 => random.usize(8..600),
        3..9 => random.usize(8..100 << 10),
        _ => random.usize(8..900 << 10),
    };
    let mut bytes = content(seed, size);
    bytes[..8].copy_from_slice(&version.to_le_bytes());
    bytes
}

fn version_of(bytes: &[u8]) -> Result<u64> {
    let head = bytes.get(..8).context("it has not even a version")?;
    Ok(head.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}
