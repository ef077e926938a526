//! `offshoot diff`: what differs between two trees.

use std::ffi::OsString;

use clap::Args;
use offshoot_control::problem::Problem;
use offshoot_control::wire::{AttributesBody, ChangeKind, DiffLine, DifferenceBody, FileKind};
use serde_json::json;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::location::InPool;
use crate::output::{JSON_VERSION, Output, Unit, count, size};

/// Differences that are held to be sorted.
const SORTED_MAX: usize = 1_000_000;

/// Tell what differs between two trees
///
/// + is only in the second, - only in the first, M is in both and differs. Sorted by path. What the two share is skipped without
///   a look, so comparing a clone with its original is fast at any size.
#[derive(Args)]
pub(crate) struct Diff {
    /// The first tree
    first: OsString,
    /// The second tree
    second: OsString,
    /// Only count
    #[arg(long)]
    count: bool,
}

#[derive(Default)]
struct Counts {
    added: u64,
    removed: u64,
    modified: u64,
}

impl Diff {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let first = InPool::read(&self.first)?;
        let second = InPool::read(&self.second)?;
        let output = context.output;
        let done = context.server.run(&[&first, &second], async |client| {
            let mut lines = client.diff(&first.path, &second.path).await?;
            let mut progress = output.progress("comparing", Unit::Things("differences"));
            let mut counts = Counts::default();
            let mut told = 0;
            let mut list = Listing::new(output);
            loop {
                match lines.next::<DiffLine>().await? {
                    Some(DiffLine::Difference(difference)) => {
                        counts.add(difference.change);
                        told += 1;
                        progress.update(told, None);
                        if !self.count {
                            list.add(&difference)?;
                        }
                    }
                    Some(DiffLine::End { .. }) => break,
                    Some(DiffLine::Problem(problem)) => return Err(Problem::from(problem).into()),
                    None => {
                        return Err(Failure::new("the server broke off before all differences were told"));
                    }
                }
            }
            drop(progress);
            list.tell()?;
            Ok(counts)
        });
        let counts = done.map_err(|failure| {
            failure.or_advise(|| first.meant_locally(false).or_else(|| second.meant_locally(false)))
        })?;
        if output.json {
            let counts =
                json!({ "added": counts.added, "removed": counts.removed, "modified": counts.modified });
            return output.data(&format!("\n],\"counts\":{counts}}}\n"));
        }
        let summary =
            format!("{} added, {} removed, {} modified", counts.added, counts.removed, counts.modified);
        if self.count {
            output.data(&format!("{summary}\n"))
        } else {
            output.note(&summary);
            Ok(())
        }
    }
}

/// Differences on their way to stdout: they come in the order of the pool, which is another in each pool, and are shown sorted.
struct Listing {
    output: Output,
    waiting: Vec<(Vec<u8>, String)>,
    /// Differences that were told.
    told: u64,
    begun: bool,
}

impl Listing {
    fn new(output: Output) -> Self {
        Self { output, waiting: Vec::new(), told: 0, begun: false }
    }

    fn add(&mut self, difference: &DifferenceBody) -> Outcome {
        let text = if self.output.json {
            serde_json::to_string(difference).map_err(|error| Failure::new(error.to_string()))?
        } else {
            line(difference)
        };
        self.waiting.push((difference.path.as_bytes().to_vec(), text));
        if self.waiting.len() < SORTED_MAX {
            return Ok(());
        }
        if self.told == 0 {
            self.output.warn(&format!(
                "there are more than {} differences; each so many are sorted for themselves",
                count(SORTED_MAX as u64)
            ));
        }
        self.tell()
    }

    /// Tells what waits.
    fn tell(&mut self) -> Outcome {
        let names =
            |path: &[u8]| -> Vec<Vec<u8>> { path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect() };
        self.waiting.sort_by_cached_key(|(path, _)| names(path));
        if self.output.json && !self.begun {
            self.output.data(&format!("{{\"version\":{JSON_VERSION},\"differences\":["))?;
        }
        self.begun = true;
        for (_, text) in std::mem::take(&mut self.waiting) {
            if self.output.json {
                let comma = if self.told > 0 { "," } else { "" };
                self.output.data(&format!("{comma}\n{text}"))?;
            } else {
                self.output.data(&text)?;
            }
            self.told += 1;
        }
        Ok(())
    }
}

impl Counts {
    fn add(&mut self, change: ChangeKind) {
        *match change {
            ChangeKind::Added => &mut self.added,
            ChangeKind::Removed => &mut self.removed,
            ChangeKind::Modified => &mut self.modified,
        } += 1;
    }
}

fn line(difference: &DifferenceBody) -> String {
    let sign = match difference.change {
        ChangeKind::Added => '+',
        ChangeKind::Removed => '-',
        ChangeKind::Modified => 'M',
    };
    let mut path = difference.path.to_string();
    if path.is_empty() {
        path = ".".into();
    }
    let is_directory =
        |side: &Option<AttributesBody>| side.as_ref().is_some_and(|a| a.kind == FileKind::Directory);
    if is_directory(&difference.after) || (difference.after.is_none() && is_directory(&difference.before)) {
        path.push('/');
    }
    let what = what_differs(difference);
    if what.is_empty() { format!("{sign} {path}\n") } else { format!("{sign} {path}  ({what})\n") }
}

/// What of an entry differs, in words.
fn what_differs(difference: &DifferenceBody) -> String {
    let (Some(before), Some(after)) = (&difference.before, &difference.after) else { return String::new() };
    let mut what = Vec::new();
    if before.kind != after.kind {
        what.push("type".to_owned());
    } else if before.kind == FileKind::File && before.size_bytes != after.size_bytes {
        what.push(format!("{} -> {}", size(before.size_bytes), size(after.size_bytes)));
    } else if before.kind == FileKind::File && before.mtime != after.mtime {
        what.push("content or time".into());
    }
    if before.mode != after.mode {
        what.push(format!("mode {:o} -> {:o}", before.mode, after.mode));
    }
    if (before.uid, before.gid) != (after.uid, after.gid) {
        what.push(format!("owner {}:{} -> {}:{}", before.uid, before.gid, after.uid, after.gid));
    }
    what.join(", ")
}
