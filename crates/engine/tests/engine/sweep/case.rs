//! One case: a pool is damaged, opened, read, checked, written to, repaired and emptied.

use std::collections::BTreeMap;
use std::ops::Range;

use futures::executor::block_on;
use offshoot_engine::report::Finding;
use offshoot_engine::{ErrorKind, Ino, Kind};

use super::content::{Contents, Seen, contents, difference, see};
use super::harm::{Harm, Place, apply};
use super::sample::{Sample, open, reopen};

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// No byte was another.
    Same,
    /// Everything could be read, and nothing was found wrong.
    Harmless,
    /// Everything could be read, and the damage was found.
    Found,
    /// Some paths could not be read, and the damage was found.
    Contained,
    /// The pool was refused, and opened with accepted loss.
    Refused,
    /// The pool could not be opened at all.
    Closed,
}

/// What was read to show a path, by object.
pub type Needs = BTreeMap<String, Vec<Range<u64>>>;

/// For each path what is read to show it, an open included.
pub fn needs(sample: &Sample) -> BTreeMap<Vec<u8>, Needs> {
    let paths = sample.states.last().unwrap().keys();
    paths
        .map(|path| {
            let (pool, objects, _) = open(&sample.image, &sample.settings, false);
            super::content::look(&pool.unwrap(), path).unwrap();
            let asked = objects.asked();
            let ranges =
                |set: std::collections::BTreeSet<(u64, u64)>| set.into_iter().map(|(a, b)| a..b).collect();
            (path.clone(), asked.into_iter().map(|(name, set)| (name, ranges(set))).collect())
        })
        .collect()
}

/// Runs a case. What must not be is a panic that says what.
pub fn run(
    sample: &Sample,
    needs: &BTreeMap<Vec<u8>, Needs>,
    place: &Place,
    harm: &Harm,
    to_the_end: bool,
) -> Outcome {
    let trace = format!("{}: {harm:?} of {place:?}", sample.name);
    let Some((image, hits)) = apply(sample, place, harm) else { return Outcome::Same };
    let (mut pool, mut objects, mut log) = open(&image, &sample.settings, false);
    let mut is_refused = false;
    if let Err(error) = &pool {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{trace}: {error:?}");
        let is_named = hits.iter().any(|(place, _)| error.message().contains(&place.words()));
        let is_named = is_named || error.message().contains("objects of this pool are missing");
        assert!(is_named || matches!(place, Place::Log(_)), "{trace}: the error does not name it: {error:?}");
        is_refused = true;
        (pool, objects, log) = open(&image, &sample.settings, true);
    }
    let pool = match pool {
        Ok(pool) => pool,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{trace}: with accepted loss: {error:?}");
            return Outcome::Closed;
        }
    };

    // Nothing else than was written is ever shown. What the log has lost can be lost from its end only.
    let (state, seen) = closest(&sample.states, |paths| see(&pool, paths), &trace);
    let is_last = std::ptr::eq(state, sample.states.last().unwrap());
    let only_log = hits.iter().all(|(place, _)| matches!(place, Place::Log(_)));
    assert!(is_last || is_refused || only_log, "{trace}: operations are lost without a word");
    let unreadable: Vec<&Vec<u8>> =
        seen.iter().filter(|(_, thing)| thing.is_err()).map(|(path, _)| path).collect();
    if !is_refused {
        for path in &unreadable {
            let needs = &needs[*path];
            let is_hit = hits.iter().any(|(place, range)| match place {
                Place::Object(name) => needs.get(name).is_some_and(|read| {
                    read.iter().any(|read| read.start < range.end && range.start < read.end)
                }),
                Place::Log(_) => true,
            });
            let error = seen[*path].as_ref().unwrap_err();
            let path = String::from_utf8_lossy(path);
            assert!(is_hit, "{trace}: {path} needs nothing that is damaged: {error:?}");
        }
    }

    let scrubbed =
        block_on(pool.scrub()).unwrap_or_else(|error| panic!("{trace}: scrub: {error:?}")).findings;
    let checked = block_on(pool.check()).unwrap_or_else(|error| panic!("{trace}: check: {error:?}")).findings;
    for path in &unreadable {
        let named = scrubbed.iter().any(|finding| covers(finding, path));
        assert!(named, "{trace}: scrub does not name {}: {}", String::from_utf8_lossy(path), told(&scrubbed));
    }
    if !unreadable.is_empty() && !is_refused {
        let is_named = hits.iter().any(|(place, _)| {
            scrubbed.iter().any(|finding| finding.message.contains(&place.words()))
                || seen.values().flatten_err().any(|error| error.contains(&place.words()))
        });
        assert!(is_named, "{trace}: nothing names the object: {}", told(&scrubbed));
    }

    // Most of what is harmless is alike: it hits what is dead.
    if !is_refused && unreadable.is_empty() && scrubbed.is_empty() && checked.is_empty() && !to_the_end {
        return Outcome::Harmless;
    }
    // Writing goes on where the way to it is whole.
    match block_on(pool.create(Ino::ROOT, b"written after the damage", crate::world::new(Kind::File))) {
        Ok(made) => {
            block_on(pool.write(made.ino, 0, vec![3; 5000].into(), false)).unwrap();
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{trace}: {error:?}"),
    }
    block_on(pool.checkpoint()).unwrap_or_else(|error| panic!("{trace}: checkpoint: {error:?}"));
    let again = see(&pool, state);
    assert_kept(&seen, &again, &format!("{trace}: after a checkpoint"));

    if to_the_end {
        block_on(pool.repair(true)).unwrap_or_else(|error| panic!("{trace}: dry run: {error:?}"));
    }
    let repaired = block_on(pool.repair(false)).unwrap_or_else(|error| panic!("{trace}: repair: {error:?}"));
    assert!(
        repaired.remaining.is_empty(),
        "{trace}: after {}\nthere is{}",
        told(&repaired.changes),
        told(&repaired.remaining)
    );
    let again = see(&pool, state);
    assert_kept(&seen, &again, &format!("{trace}: after a repair"));
    crate::repair::assert_sound(&pool, &trace);
    let outcome = match (is_refused, unreadable.is_empty(), scrubbed.is_empty() && checked.is_empty()) {
        (true, ..) => Outcome::Refused,
        (false, false, _) => Outcome::Contained,
        (false, true, false) => Outcome::Found,
        (false, true, true) => Outcome::Harmless,
    };
    if to_the_end {
        block_on(pool.close()).unwrap_or_else(|error| panic!("{trace}: close: {error:?}"));
        drop(pool);
        let pool = reopen(&objects, &log, &sample.settings, false)
            .unwrap_or_else(|error| panic!("{trace}: open after a repair: {error:?}"));
        assert_kept(&seen, &see(&pool, state), &format!("{trace}: after a repair and a start"));
        crate::repair::assert_sound(&pool, &trace);
        readable_or_lost(&pool, &trace);
        // Nobody knows anything of it any more.
        drop(pool);
        let pool = reopen(&objects, &log, &sample.settings, false).unwrap();
        crate::repair::assert_all_comes_back(&pool, &trace);
    }
    outcome
}

/// The state that a pool is in, and what is seen of it.
fn closest<'s>(states: &'s [Contents], see: impl Fn(&Contents) -> Seen, trace: &str) -> (&'s Contents, Seen) {
    let mut first = None;
    for state in states.iter().rev() {
        let seen = see(state);
        match difference(&seen, state) {
            None => return (state, seen),
            Some(words) => drop(first.get_or_insert(words)),
        }
    }
    panic!("{trace}: {}", first.unwrap_or_default());
}

/// Findings, to be read.
fn told(findings: &[Finding]) -> String {
    let path =
        |finding: &Finding| String::from_utf8_lossy(finding.path.as_deref().unwrap_or_default()).into_owned();
    findings.iter().map(|finding| format!("\n  {}: {}", path(finding), finding.message)).collect()
}

/// Whether a finding says of a path that it is hit.
fn covers(finding: &Finding, path: &[u8]) -> bool {
    let Some(found) = &finding.path else {
        // Without a node of these, more than a path may be out of reach.
        return finding.message.contains("alias tree") || finding.message.contains("tree of realms");
    };
    let found = if found == b"/" { &[][..] } else { found };
    // To list a directory takes the inodes of its files of several names.
    let is_listed = finding.message.contains("the file is lost")
        && found
            .strip_prefix(path)
            .is_some_and(|rest| rest.iter().filter(|byte| **byte == b'/').count() == 1);
    is_listed || path.strip_prefix(found).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// What could be read can be read, and is the same. Names may go, of files and of directories.
fn assert_kept(before: &Seen, after: &Seen, trace: &str) {
    for (path, thing) in before {
        let shown = String::from_utf8_lossy(path);
        match (thing, &after[path]) {
            (Ok(before), Ok(after)) => {
                assert!(before.data == after.data, "{trace}: {shown} shows other bytes");
                assert_eq!(
                    (before.kind, before.mode, &before.attributes),
                    (after.kind, after.mode, &after.attributes),
                    "{trace}: {shown}"
                );
            }
            (Ok(_), Err(error)) => panic!("{trace}: {shown} cannot be read any more: {error:?}"),
            (Err(_), Ok(_)) => {}
            (Err(_), Err(error)) => assert!(
                matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound),
                "{trace}: {shown}: {error:?}"
            ),
        }
    }
}

/// Everything in a repaired pool can be listed; a file may be lost in part.
fn readable_or_lost(pool: &offshoot_engine::Pool, trace: &str) {
    let mut paths = vec![Vec::new()];
    while let Some(path) = paths.pop() {
        match super::content::look(pool, &path) {
            Ok(thing) => paths.extend(thing.names.iter().map(|name| [&path[..], b"/", name].concat())),
            Err(error) => assert!(
                error.kind() == ErrorKind::Corrupt && error.to_string().contains("was lost to damage"),
                "{trace}: {}: {error:?}",
                String::from_utf8_lossy(&path)
            ),
        }
    }
}

/// The words of errors.
trait FlattenErr<'a> {
    fn flatten_err(self) -> impl Iterator<Item = String>;
}

impl<'a, T: 'a, I: Iterator<Item = &'a Result<T, offshoot_engine::Error>>> FlattenErr<'a> for I {
    fn flatten_err(self) -> impl Iterator<Item = String> {
        self.filter_map(|thing| thing.as_ref().err().map(ToString::to_string))
    }
}

/// A pool that nothing is done to is as it was.
pub fn sound(sample: &Sample) {
    let (pool, ..) = open(&sample.image, &sample.settings, false);
    let pool = pool.unwrap();
    let all = contents(&pool);
    assert_eq!(&all, sample.states.last().unwrap(), "{}", sample.name);
    crate::repair::assert_sound(&pool, sample.name);
}
