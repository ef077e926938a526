//! Making a damaged pool sound.
//!
//! Whatever can be made from the trees is made from them anew: counts, totals, weights, numbers of names, realms, the segment
//! table. What cannot be read is taken out of the trees, and what is whole and lost its way to the root gets names in
//! `/lost+found`. Nothing is invented: where a file's data is lost, reading it goes on to fail. All of that is prepared beside
//! the live pool and put in its place by one manifest, so a power cut leaves the pool as it was.

mod file;
mod found;
mod names;
mod reach;
mod realms;
mod rebuild;

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;

use crate::check::{self, Damage};
use crate::checkpoint::{Checkpointer, Installed, checkpoint_within, fence, install};
use crate::format::manifest::Manifest;
use crate::namespace::{Change, Ending, Interrupt, Locations, State};
use crate::pool::Inner;
use crate::report::{CheckReport, Finding, RepairReport};
use crate::segment::Pinned;
use crate::{Error, ErrorKind, Result};

use found::Found;
pub(crate) use reach::Reach;
use realms::RealmsDone;
use rebuild::{Bad, Done, Rebuilder};

/// Changes after which no more are listed.
const CHANGES_MAX: usize = 10_000;

/// Repairs the pool, or says what that would do.
pub(crate) async fn repair(inner: &Inner, dry_run: bool) -> Result<RepairReport> {
    let mut report = RepairReport { dry_run, ..RepairReport::default() };
    report.before = check::check(inner).await?;
    let mut read = CheckReport::default();
    // Everything is read while the pool goes on. The items do not change, so what is damaged now is damaged then.
    let damage = {
        let checkpointer = inner.checkpointer.lock().await;
        let mut damage = check::read_all(inner, &checkpointer, &mut read).await?;
        let reach = Reach::of(inner, &State::of_manifest(&checkpointer.manifest)).await?;
        let items = reach.counts.iter().map(|(address, (kind, _))| (*address, *kind));
        check::absent_items(inner, items, &mut damage).await?;
        damage.name_paths(&checkpointer.manifest, &mut read).await?;
        let has_leaks = checkpointer.manifest.abandoned > 0 || !checkpointer.manifest.uncounted.is_empty();
        report.sound = report.before.findings.is_empty() && read.findings.is_empty() && !has_leaks;
        damage
    };
    merge(&mut report.before, read);
    if report.sound {
        return Ok(report);
    }
    let _pause = if dry_run { None } else { Some(inner.pause()?) };
    let mut checkpointer = inner.checkpointer.lock().await;
    if !dry_run {
        checkpoint_within(inner, &mut checkpointer, false).await?;
    }
    let plan = match plan(inner, &checkpointer.manifest, &damage).await {
        Ok(plan) => plan,
        Err(error) => return Err(fence(inner, &checkpointer, error).await),
    };
    plan.tell(&mut report);
    if dry_run {
        return Ok(report);
    }
    match carry_out(inner, &mut checkpointer, plan, &damage).await {
        Ok(installed) => tell_installed(&installed, &mut report),
        Err(error) => return Err(fence(inner, &checkpointer, error).await),
    }
    drop(checkpointer);
    report.remaining = check::check(inner).await?.findings;
    Ok(report)
}

/// Adds what a scrub has found to what a check has found.
fn merge(report: &mut CheckReport, read: CheckReport) {
    report.bytes = report.bytes.max(read.bytes);
    report.frames = report.frames.max(read.frames);
    let known: FxHashSet<(Option<Vec<u8>>, String)> =
        report.findings.iter().map(|finding| (finding.path.clone(), finding.message.clone())).collect();
    let before = report.findings.len();
    report.findings.extend(
        read.findings
            .into_iter()
            .filter(|finding| !known.contains(&(finding.path.clone(), finding.message.clone()))),
    );
    report.findings_total += (report.findings.len() - before) as u64;
}

/// What a repair makes of a pool.
struct Plan {
    state: State,
    done: Done,
    realms: RealmsDone,
    /// Names in the directory for what is found, with what they lead to.
    found: Vec<(Vec<u8>, String)>,
}

/// Makes the state that a pool has to have.
async fn plan(inner: &Inner, manifest: &Manifest, damage: &Damage<'_>) -> Result<Plan> {
    let mut rebuilder = Rebuilder::new(inner, Bad::of(inner, damage));
    let mut state = State {
        root: rebuilder.base(&manifest.root).await?,
        orphans: rebuilder.base(&manifest.orphans).await?,
        ..State::of_manifest(manifest)
    };
    let realms = rebuilder.realms(&mut state).await?;
    let mut found = Vec::new();
    let all = found::find(&mut rebuilder, manifest, &damage.named, inner.clock.now()).await?;
    if !all.is_empty() {
        found = put(inner, &mut state, all, &rebuilder.nodes).await?;
    }
    Ok(Plan { state, done: rebuilder.done, realms, found })
}

/// Gives names to what was found.
async fn put(
    inner: &Inner,
    state: &mut State,
    all: Vec<Found>,
    nodes: &Pinned<'_>,
) -> Result<Vec<(Vec<u8>, String)>> {
    let sequence = state.sequence;
    let mut names = Vec::new();
    let directory = change(inner, state, nodes, |change| change.lost_and_found()).await?;
    for Found { name, inode, what } in all {
        let mut attempt = 1_u64;
        loop {
            let mut full = name.clone();
            full.extend_from_slice(format!(".{attempt}").as_bytes());
            match change(inner, state, nodes, |change| change.put_found(&directory, &full, &inode)).await {
                Ok(()) => {
                    names.push(([b"/", &*directory.name, b"/", &full[..]].concat(), what));
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Exists => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }
    // No operation of the log has done this.
    state.sequence = sequence;
    Ok(names)
}

/// Changes a state that is not live.
async fn change<R>(
    inner: &Inner,
    state: &mut State,
    nodes: &Pinned<'_>,
    step: impl Fn(&mut Change<'_>) -> Result<R, Interrupt>,
) -> Result<R> {
    loop {
        let changed = {
            let mut change = Change {
                state,
                locations: &mut Locations::default(),
                nodes,
                hasher: inner.hasher,
                gauge: &inner.gauge,
                interval: 0,
                time: inner.clock.now(),
                replay: false,
                ending: &mut Ending::default(),
                realm_ids: inner.settings.realm_ids,
                fragmented: None,
            };
            step(&mut change)
        };
        match changed {
            Ok(done) => return Ok(done),
            Err(Interrupt::Missing(missing)) => nodes.fetch(missing).await?,
            Err(Interrupt::Error(error)) => return Err(error),
            Err(Interrupt::NoRealm) => {
                return Err(Error::new(
                    ErrorKind::NoSpace,
                    "what is found needs clone numbers, and all are in use: remove clones that are not needed and repair again",
                ));
            }
            Err(Interrupt::Alias(_) | Interrupt::Changed | Interrupt::Paused) => {
                unreachable!(
                    "directories of the root's own realm need no alias, and nothing else is asked for"
                )
            }
        }
    }
}

/// Makes the planned state the live one.
async fn carry_out(
    inner: &Inner,
    checkpointer: &mut Checkpointer,
    plan: Plan,
    damage: &Damage<'_>,
) -> Result<Installed> {
    let anew: BTreeSet<_> = damage.bad_objects.keys().copied().collect();
    let whole_table = !damage.bad_manifest.is_empty();
    let installed = install(inner, checkpointer, plan.state, &anew, whole_table).await?;
    // What waits for the background is found again, as at a start.
    let realms = inner.core.read().state.realms.clone();
    let ended = {
        let nodes = Pinned::new(&inner.items);
        loop {
            match Ending::find(&realms, &nodes) {
                Ok(realms) => break realms,
                Err(missing) => nodes.fetch(missing).await?,
            }
        }
    };
    inner.core.write().ending.realms = ended;
    // So that the manifest before the newest, too, is that of a sound pool.
    checkpoint_within(inner, checkpointer, false).await?;
    Ok(installed)
}

fn tell(report: &mut RepairReport, path: Option<Vec<u8>>, message: String) {
    report.changes_total += 1;
    if report.changes.len() < CHANGES_MAX {
        report.changes.push(Finding { path, ranges: Vec::new(), message });
    }
}

impl Plan {
    fn tell(&self, report: &mut RepairReport) {
        let Self { done, realms, found, .. } = self;
        for (path, what) in found {
            tell(report, Some(path.clone()), what.clone());
        }
        report.found = found.len() as u64;
        let counted = [
            (done.directories_summed, "directories say now what they have"),
            (
                done.files_marked,
                "files have parts that are lost: reading those fails until they are overwritten",
            ),
            (done.bytes_marked, "bytes of files are marked as lost"),
            (done.attributes_marked, "files have lost their extended attributes: reading those fails"),
            (done.side_nodes_lost, "nodes with files of several names are lost, and those files with them"),
            (done.names_dropped, "names that led to lost files are removed"),
            (done.names_counted, "files of several names have their names counted anew"),
            (realms.aliases_dropped, "aliases of clones that are gone are removed"),
            (realms.realms_changed, "entries of the tree of realms are made anew"),
            (
                u64::from(realms.aliases_lost),
                "alias tree has lost nodes: nested clones show other inode numbers",
            ),
        ];
        for (count, words) in counted {
            if count > 0 {
                tell(report, None, format!("{count} {words}"));
            }
        }
    }
}

fn tell_installed(installed: &Installed, report: &mut RepairReport) {
    report.items_freed = installed.items_freed;
    report.freed_bytes = installed.bytes_freed;
    let counted = [
        (installed.counts_changed, "counts of references are made anew"),
        (installed.items_freed, "items that nothing leads to are freed"),
        (installed.segments_dropped, "segments that cannot be read are dropped"),
        (installed.segments_counted, "segments have their live items counted anew"),
    ];
    for (count, words) in counted {
        if count > 0 {
            tell(report, None, format!("{count} {words}"));
        }
    }
}
