//! Clones, snapshots, replaced clones and removed ones of a tree that changes without a sync: the command that clones makes
//! durable what it clones.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::{Place, content, exists, locked, read};

/// Files of the tree.
const FILES: usize = 24;
/// Names of one round that are looked into after a crash; looking into all takes too long.
const LOOKED_AT: usize = 6;

/// What a name leads to: the generation of each file, or nothing.
type Tree = Option<Vec<u32>>;

/// One thing that was done to a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Deed {
    begun: u64,
    acknowledged: Option<u64>,
    then: Tree,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Notes {
    seed: u64,
    /// What was done to each path from the root of the mount.
    names: BTreeMap<String, Vec<Deed>>,
}

pub(super) fn run(place: &Place<'_>, notes: &Mutex<Notes>) {
    let mut random = Rng::with_seed(place.seed);
    locked(notes).seed = place.seed;
    let source = place.dir.join("source");
    // One by one: where the mount has gone, nothing may be made below its place.
    for dir in [source.clone(), source.join("below")] {
        if place.tries(|| std::fs::create_dir(&dir)).is_none() {
            return;
        }
    }
    let mut tree = vec![0_u32; FILES];
    let round = place.path.trim_start_matches('/').to_owned();
    let from = format!("{}/source", place.path);
    for number in 0.. {
        // The first time all of them, so that none is missing.
        for (file, generation) in tree.iter_mut().enumerate() {
            if number > 0 && random.u8(..4) > 0 {
                continue;
            }
            *generation += 1;
            let bytes = bytes_of(place.seed, file, *generation);
            if place.tries(|| std::fs::write(path_of(&source, file), &bytes)).is_none() {
                return;
            }
        }
        let earlier: Vec<String> = locked(notes)
            .names
            .iter()
            .filter(|(name, deeds)| {
                !name.starts_with("snapshots") && deeds.last().is_some_and(|deed| deed.then.is_some())
            })
            .map(|(name, _)| name.clone())
            .collect();
        let fresh = format!("{round}/clone-{number}");
        let (name, arguments, then) = match (random.u8(..10), random.choice(earlier)) {
            (0, _) => {
                let name = format!("{round}-{number}");
                (
                    format!("snapshots/{name}"),
                    vec!["snapshot".to_owned(), from.clone(), name],
                    Some(tree.clone()),
                )
            }
            (1, Some(name)) => {
                let arguments = vec!["clone".into(), "--replace".into(), from.clone(), format!("/{name}")];
                (name, arguments, Some(tree.clone()))
            }
            (2..4, Some(name)) => {
                let arguments = vec!["rm".into(), "-r".into(), format!("/{name}")];
                (name, arguments, None)
            }
            _ => {
                let arguments = vec!["clone".into(), from.clone(), format!("/{fresh}")];
                (fresh, arguments, Some(tree.clone()))
            }
        };
        let deed = Deed { begun: place.now(), acknowledged: None, then };
        locked(notes).names.entry(name.clone()).or_default().push(deed);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // Not tried again: it may have been done all the same.
        if place.is_over() || place.world.server.offshoot(&arguments).is_err() {
            return;
        }
        let moment = place.now();
        if let Some(deed) = locked(notes).names.get_mut(&name).and_then(|deeds| deeds.last_mut()) {
            deed.acknowledged = Some(moment);
        }
    }
}

impl Notes {
    /// Returns how many names are as was acknowledged, of those that were looked into.
    pub(super) fn verify(&self, root: &Path, round: &str, moment: u64) -> Result<u64> {
        let mut names: Vec<(&String, &Vec<Deed>)> =
            self.names.iter().filter(|(_, deeds)| deeds.iter().any(|deed| deed.begun <= moment)).collect();
        // The newest are most in danger; of the others some.
        names.sort_by_key(|(_, deeds)| std::cmp::Reverse(deeds.iter().map(|deed| deed.begun).max()));
        let mut random = Rng::with_seed(moment);
        while names.len() > LOOKED_AT {
            names.remove(random.usize(LOOKED_AT / 2..names.len()));
        }
        for (name, deeds) in &names {
            self.verify_name(&root.join(name), deeds, moment)
                .with_context(|| format!("{name} of {round}, to which was done: {deeds:?}"))?;
        }
        Ok(names.len() as u64)
    }

    fn verify_name(&self, path: &Path, deeds: &[Deed], moment: u64) -> Result<()> {
        let begun: Vec<&Deed> = deeds.iter().filter(|deed| deed.begun <= moment).collect();
        let durable = begun.iter().rposition(|deed| deed.acknowledged.is_some_and(|at| at <= moment));
        let mut possible: Vec<&Tree> = begun[durable.unwrap_or(0)..].iter().map(|deed| &deed.then).collect();
        if durable.is_none() {
            possible.push(&None);
        }
        let found = self.tree(path)?;
        ensure!(
            possible.contains(&&found),
            "{} has files of generations {found:?}, and only these are possible: {possible:?}",
            path.display()
        );
        Ok(())
    }

    fn tree(&self, path: &Path) -> Result<Tree> {
        if !exists(path)? {
            return Ok(None);
        }
        let mut tree = Vec::new();
        for file in 0..FILES {
            let path = path_of(path, file);
            let bytes = read(&path)?.with_context(|| format!("{} is lost", path.display()))?;
            ensure!(bytes.len() >= 4, "{} is torn: {} bytes", path.display(), bytes.len());
            let generation = bytes[..4].iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
            ensure!(bytes == bytes_of(self.seed, file, generation), "{} is damaged", path.display());
            tree.push(generation);
        }
        Ok(Some(tree))
    }
}

fn path_of(dir: &Path, file: usize) -> std::path::PathBuf {
    if file.is_multiple_of(3) { dir.join("below") } else { dir.to_owned() }.join(format!("file-{file}"))
}

fn bytes_of(seed: u64, file: usize, generation: u32) -> Vec<u8> {
    let seed = seed.wrapping_add((u64::from(generation) << 16) + file as u64);
    // One is large enough for a frame.
    let size = if file == 0 { 150_000 } else { Rng::with_seed(seed).usize(4..6000) };
    let mut bytes = content(seed, size);
    bytes[..4].copy_from_slice(&generation.to_le_bytes());
    bytes
}
