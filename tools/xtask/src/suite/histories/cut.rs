//! Clones of a directory in which several files are written in order: each clone is one cut.
//!
//! A writer counts up, writes the count into one file after the other and moves a token to a name with the count. So in every
//! state of the directory an earlier file is as new as a later one or one step ahead, and the token has exactly one name.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use rustix::fs::{XattrFlags, fsetxattr};
use rustix::io::Errno;

use super::{CLONE, together};

/// Files of a writer.
const FILES: usize = 4;
/// Names that each cloner tries to take with a clone in a round.
const CLONES: usize = 8;
/// Counts a writer stops at, should the cloners be slow.
const COUNT_MAX: u64 = 5000;

enum Done {
    /// A writer's `count` began and had been written everywhere at these times.
    Count {
        writer: usize,
        count: u64,
        start_ns: u64,
        end_ns: u64,
    },
    Clone {
        name: String,
        start_ns: u64,
        end_ns: u64,
    },
    /// Another has made a clone of this name first.
    Lost {
        name: String,
    },
}

/// One round in `dir`, which is at `path` in the pool, with two writers; returns the number of operations.
pub(super) fn round(dir: &Path, path: &str, threads: usize, random: &mut Rng) -> Result<u64> {
    let source = dir.join("source");
    std::fs::create_dir_all(source.join("deep"))?;
    let mut writers = Vec::new();
    for writer in 0..2 {
        let open = |file| {
            let path = file_path(&source, writer, file);
            std::fs::write(&path, 0_u64.to_le_bytes())?;
            OpenOptions::new().write(true).open(path)
        };
        std::fs::write(token(&source, writer, 0), "token")?;
        writers.push((0..FILES).map(open).collect::<std::io::Result<Vec<File>>>()?);
    }
    let directory = File::open(&source)?;
    let stop = AtomicBool::new(false);
    let done = together(threads.max(3), random, |thread, began, _| {
        let now = || began.elapsed().as_nanos() as u64;
        let mut done = Vec::new();
        if let Some(files) = writers.get(thread) {
            for count in 1..COUNT_MAX {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let start_ns = now();
                let step = || -> Result<Done> {
                    for file in files {
                        file.write_all_at(&count.to_le_bytes(), 0)?;
                    }
                    std::fs::rename(token(&source, thread, count - 1), token(&source, thread, count))?;
                    Ok(Done::Count { writer: thread, count, start_ns, end_ns: now() })
                };
                done.push(step());
            }
        } else {
            for number in 0..CLONES {
                let clone = || -> Result<Done> {
                    let (name, start_ns) = (format!("clone-{number}"), now());
                    let value = format!("{path}/{name}");
                    match fsetxattr(&directory, CLONE, value.as_bytes(), XattrFlags::empty()) {
                        Ok(()) => {}
                        Err(Errno::EXIST) => return Ok(Done::Lost { name }),
                        Err(errno) => return Err(errno.into()),
                    }
                    // Whoever made it sees it at once.
                    std::fs::metadata(dir.join(&name)).with_context(|| format!("{name} cannot be seen"))?;
                    Ok(Done::Clone { name, start_ns, end_ns: now() })
                };
                done.push(clone());
            }
            stop.store(true, Ordering::Relaxed);
        }
        done
    })?;
    let done = done.into_iter().collect::<Result<Vec<Done>>>()?;
    for number in 0..CLONES {
        let this = format!("clone-{number}");
        let made =
            done.iter().filter(|done| matches!(done, Done::Clone { name, .. } if *name == this)).count();
        ensure!(made == 1, "{made} clones have succeeded in taking the name {this}");
    }
    for one in &done {
        if let Done::Lost { name } = one {
            std::fs::metadata(dir.join(name)).with_context(|| format!("{name} was there and is not"))?;
        }
        if let Done::Clone { name, start_ns, end_ns } = one {
            verify(&dir.join(name), *start_ns, *end_ns, &done).with_context(|| name.clone())?;
        }
    }
    Ok(done.iter().map(|done| if matches!(done, Done::Count { .. }) { FILES as u64 + 1 } else { 1 }).sum())
}

fn verify(clone: &Path, clone_start: u64, clone_end: u64, done: &[Done]) -> Result<()> {
    for writer in 0..2 {
        let mut counts = Vec::new();
        for file in 0..FILES {
            let bytes = std::fs::read(file_path(clone, writer, file))?;
            counts
                .push(u64::from_le_bytes(bytes.as_slice().try_into().context("a count has another length")?));
        }
        let prefix = format!("token-{writer}-");
        let mut tokens = Vec::new();
        for entry in std::fs::read_dir(clone.join("deep"))? {
            let name = entry?.file_name();
            if let Some(count) = name.to_str().and_then(|name| name.strip_prefix(&prefix)) {
                tokens.push(count.parse::<u64>()?);
            }
        }
        ensure!(tokens.len() == 1, "the token of writer {writer} has the names {tokens:?}");
        counts.extend(tokens);
        in_order(&counts)?;
        for other in done {
            let Done::Count { writer: other, count, start_ns, end_ns } = other else { continue };
            if *other == writer {
                ensure!(
                    *end_ns >= clone_start || counts[FILES] >= *count,
                    "{counts:?} lacks {count}, done before"
                );
                ensure!(*start_ns <= clone_end || counts[0] < *count, "{counts:?} has {count}, begun after");
            }
        }
    }
    Ok(())
}

/// What is written earlier is as new or one step newer.
fn in_order(counts: &[u64]) -> Result<()> {
    let sound =
        counts.is_sorted_by(|earlier, later| earlier >= later) && counts[0] - counts[counts.len() - 1] <= 1;
    ensure!(sound, "the counts {counts:?} were never there at one time");
    Ok(())
}

/// Every other file lies deeper, so that a clone has several nodes to hold.
fn file_path(source: &Path, writer: usize, file: usize) -> PathBuf {
    let dir = if file.is_multiple_of(2) { source.to_owned() } else { source.join("deep") };
    dir.join(format!("count-{writer}-{file}"))
}

fn token(source: &Path, writer: usize, count: u64) -> PathBuf {
    source.join("deep").join(format!("token-{writer}-{count}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_counts_of_one_moment_are_in_order() {
        for sound in [[4, 4, 4], [5, 4, 4], [5, 5, 4]] {
            in_order(&sound).expect("one moment");
        }
        for torn in [[4, 5, 4], [4, 4, 5], [6, 5, 4], [6, 4, 4]] {
            assert!(in_order(&torn).is_err(), "{torn:?}");
        }
    }
}
