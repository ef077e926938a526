//! Listings of a directory that changes: what was there the whole time is shown once, what was never there is not shown, and
//! nothing is shown twice.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Result, ensure};
use fastrand::Rng;

use super::together;

/// Names that are there before the round. A listing takes several requests.
const OLD: usize = 300;
const CHANGES: usize = 40;
const LISTINGS: usize = 12;

/// An operation with its start and end, in nanoseconds since the round began.
struct Done {
    start_ns: u64,
    end_ns: u64,
    what: What,
}

enum What {
    Made(String),
    Removed(String),
    Listed(Vec<String>),
}

/// One round in `dir`; returns the number of operations.
pub(super) fn round(dir: &Path, threads: usize, random: &mut Rng) -> Result<u64> {
    let old: Vec<String> = (0..OLD).map(|number| format!("an-old-name-{number}")).collect();
    for name in &old {
        File::create(dir.join(name))?;
    }
    let done = together(threads, random, |thread, began, random| {
        let now = || began.elapsed().as_nanos() as u64;
        let mut done = Vec::new();
        let mut record = |work: &mut dyn FnMut() -> std::io::Result<What>| {
            let start_ns = now();
            done.push(work().map(|what| Done { start_ns, end_ns: now(), what }));
        };
        if thread.is_multiple_of(2) {
            for _ in 0..LISTINGS {
                record(&mut || {
                    let name = |entry: std::io::Result<std::fs::DirEntry>| {
                        entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
                    };
                    std::fs::read_dir(dir)?.map(name).collect::<std::io::Result<_>>().map(What::Listed)
                });
            }
        } else {
            // Every name is made once and removed once at most, each by one thread.
            let mut mine: Vec<String> = old.iter().skip(thread / 2).step_by(threads).cloned().collect();
            for number in 0..CHANGES {
                if random.bool() {
                    let name = mine.swap_remove(random.usize(..mine.len()));
                    record(&mut || {
                        std::fs::remove_file(dir.join(&name)).map(|()| What::Removed(name.clone()))
                    });
                } else {
                    let name = format!("new-{thread}-{number}");
                    mine.push(name.clone());
                    record(&mut || File::create_new(dir.join(&name)).map(|_| What::Made(name.clone())));
                }
            }
        }
        done
    })?;
    let done = done.into_iter().collect::<std::io::Result<Vec<Done>>>()?;
    verify(&old, &done)?;
    Ok(done.len() as u64)
}

/// The first and last time that a name may be there, and the time that it is there for certain.
#[derive(Clone, Copy)]
struct Life {
    may_from: u64,
    must_from: u64,
    must_to: u64,
    may_to: u64,
}

fn verify(old: &[String], done: &[Done]) -> Result<()> {
    let always = Life { may_from: 0, must_from: 0, must_to: u64::MAX, may_to: u64::MAX };
    let mut lives: HashMap<&str, Life> = old.iter().map(|name| (name.as_str(), always)).collect();
    for one in done {
        if let What::Made(name) = &one.what {
            lives.insert(name, Life { may_from: one.start_ns, must_from: one.end_ns, ..always });
        }
    }
    for one in done {
        if let What::Removed(name) = &one.what
            && let Some(life) = lives.get_mut(name.as_str())
        {
            (life.must_to, life.may_to) = (one.start_ns, one.end_ns);
        }
    }
    for one in done {
        let What::Listed(names) = &one.what else { continue };
        let mut shown: HashMap<&str, usize> = HashMap::new();
        for name in names {
            *shown.entry(name).or_default() += 1;
        }
        for (name, times) in &shown {
            ensure!(*times == 1, "a listing shows {name} {times} times");
            let life = lives.get(name);
            ensure!(
                life.is_some_and(|life| life.may_from <= one.end_ns && life.may_to >= one.start_ns),
                "a listing shows {name}, which was not there at any time of it"
            );
        }
        for (name, life) in &lives {
            let there = life.must_from < one.start_ns && life.must_to > one.end_ns;
            ensure!(
                !there || shown.contains_key(name),
                "a listing lacks {name}, which was there the whole time"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> Result<()> {
        let at = |start_ns, end_ns, what| Done { start_ns, end_ns, what };
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let done = [
            at(10, 20, What::Made("before".into())),
            at(10, 20, What::Removed("gone".into())),
            at(35, 50, What::Made("meanwhile".into())),
            at(50, 60, What::Made("after".into())),
            at(30, 40, What::Listed(names)),
        ];
        verify(&["old".to_owned(), "gone".to_owned()], &done)
    }

    #[test]
    fn what_must_and_what_may_be_shown_are_told_apart() {
        listed(&["old", "before"]).expect("what must be there");
        listed(&["meanwhile", "before", "old"]).expect("what may be there too");
        for wrong in [
            &["old"][..],
            &["before"],
            &["old", "before", "before"],
            &["old", "before", "after"],
            &["old", "before", "gone"],
            &["old", "before", "other"],
        ] {
            assert!(listed(wrong).is_err(), "{wrong:?}");
        }
    }
}
