//! Records that several threads append to one file (`O_APPEND`) while it is cloned: nothing is lost, torn or out of a thread's
//! order, and each clone is what the file was at one moment between its start and its end.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use rustix::fs::{XattrFlags, fsetxattr};

use super::{CLONE, together};

const RECORDS: u64 = 24;
const RECORD_BYTES_MAX: usize = 3000;
const CLONES: usize = 6;

/// What a thread did, in nanoseconds since the round began.
enum Done {
    Record { thread: u64, number: u64, start_ns: u64, end_ns: u64 },
    Clone { name: String, start_ns: u64, end_ns: u64 },
}

/// One round in `dir`, which is at `path` in the pool; returns the number of operations.
pub(super) fn round(dir: &Path, path: &str, clones: bool, threads: usize, random: &mut Rng) -> Result<u64> {
    let file = dir.join("records");
    File::create(&file)?;
    let files: Vec<File> =
        (0..threads).map(|_| OpenOptions::new().append(true).open(&file)).collect::<std::io::Result<_>>()?;
    let done = together(threads, random, |thread, began, random| {
        let mut done = Vec::new();
        let now = || began.elapsed().as_nanos() as u64;
        let attempt =
            |done: &mut Vec<Result<Done>>, work: &mut dyn FnMut() -> Result<Done>| done.push(work());
        if thread == 0 && clones {
            for number in 0..CLONES {
                attempt(&mut done, &mut || {
                    let (name, start_ns) = (format!("clone-{number}"), now());
                    fsetxattr(&files[0], CLONE, format!("{path}/{name}").as_bytes(), XattrFlags::empty())?;
                    Ok(Done::Clone { name, start_ns, end_ns: now() })
                });
            }
            return done;
        }
        for number in 0..RECORDS {
            let bytes = record(thread as u64, number, random);
            attempt(&mut done, &mut || {
                let start_ns = now();
                let written = (&files[thread]).write(&bytes)?;
                ensure!(written == bytes.len(), "{written} of {} bytes were appended", bytes.len());
                Ok(Done::Record { thread: thread as u64, number, start_ns, end_ns: now() })
            });
        }
        done
    })?;
    let done = done.into_iter().collect::<Result<Vec<Done>>>()?;
    let whole = std::fs::read(&file)?;
    let all = parse(&whole).context("the file at the end")?;
    let expected = done.iter().filter(|done| matches!(done, Done::Record { .. })).count();
    ensure!(all.len() == expected, "{expected} records were appended and {} are there", all.len());
    for one in &done {
        let Done::Clone { name, start_ns: clone_start, end_ns: clone_end } = one else { continue };
        let bytes = std::fs::read(dir.join(name)).with_context(|| format!("{name} is not there"))?;
        ensure!(whole.starts_with(&bytes), "{name} is not what the file was at any time");
        let cloned = parse(&bytes).with_context(|| name.clone())?;
        for other in &done {
            let Done::Record { thread, number, start_ns, end_ns } = other else { continue };
            let there = cloned.contains(&(*thread, *number));
            ensure!(
                there || end_ns >= clone_start,
                "{name} lacks record {number} of thread {thread}, appended before"
            );
            ensure!(
                !there || start_ns <= clone_end,
                "{name} has record {number} of thread {thread}, appended after"
            );
        }
    }
    Ok(done.len() as u64)
}

/// Thread, number and length, then bytes that follow from them.
fn record(thread: u64, number: u64, random: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![0; 24 + random.usize(..RECORD_BYTES_MAX)];
    let length = bytes.len() as u64;
    bytes[..8].copy_from_slice(&thread.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes[16..24].copy_from_slice(&length.to_le_bytes());
    Rng::with_seed(thread << 32 | number).fill(&mut bytes[24..]);
    bytes
}

/// The records, which must be whole and in the order of each thread.
fn parse(mut bytes: &[u8]) -> Result<Vec<(u64, u64)>> {
    let mut found: Vec<(u64, u64)> = Vec::new();
    while !bytes.is_empty() {
        ensure!(bytes.len() >= 24, "a record is torn at the end");
        let field = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let (thread, number, length) = (field(0), field(8), field(16) as usize);
        ensure!((24..=bytes.len()).contains(&length), "after {} records there is no record", found.len());
        let mut content = vec![0; length - 24];
        Rng::with_seed(thread << 32 | number).fill(&mut content);
        ensure!(bytes[24..length] == content, "record {number} of thread {thread} is torn");
        let next = found.iter().filter(|(other, _)| *other == thread).count() as u64;
        ensure!(number == next, "of thread {thread} there is record {number} where {next} should be");
        found.push((thread, number));
        bytes = &bytes[length..];
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_tearing_and_disorder_are_found() {
        let mut random = Rng::with_seed(1);
        let [a, b, c] = [record(1, 0, &mut random), record(2, 0, &mut random), record(1, 1, &mut random)];
        assert_eq!(parse(&[&a[..], &b, &c].concat()).expect("whole"), [(1, 0), (2, 0), (1, 1)]);
        assert!(parse(&[&c[..], &b, &a].concat()).is_err());
        assert!(parse(&[&b[..], &c].concat()).is_err());
        assert!(parse(&[&a[..], &c[..c.len() - 1]].concat()).is_err());
        let mut torn = [&a[..], &b].concat();
        let at = a.len() - 1;
        torn[at] ^= 1;
        assert!(parse(&torn).is_err());
    }
}
