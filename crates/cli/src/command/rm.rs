//! `offshoot rm`: removes, in constant time.

use std::ffi::OsString;

use clap::Args;
use offshoot_control::Kind;
use offshoot_control::wire::{FileKind, PathText};
use offshoot_engine::ErrorKind;
use serde::Serialize;

use super::du::contents;
use crate::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::location::InPool;
use crate::output::size;

/// Remove files and directories
///
/// A tree goes in constant time; its space comes back in the background, less what clones share with it. Where one path cannot
/// be removed, the others are all the same, and the exit code is 1.
#[derive(Args)]
pub(crate) struct Rm {
    /// What to remove
    #[arg(required = true)]
    paths: Vec<OsString>,
    /// Directories with all below them
    #[arg(short, long)]
    recursive: bool,
    /// Nothing is wrong about a path that does not exist
    #[arg(short, long)]
    force: bool,
    /// Only tell what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// What became of the paths.
#[derive(Default, Serialize)]
struct Report {
    /// What was removed.
    paths: Vec<PathText>,
    /// What was not.
    failed: Vec<Failed>,
    #[serde(skip)]
    words: Vec<String>,
}

#[derive(Serialize)]
struct Failed {
    path: PathText,
    kind: &'static str,
    message: String,
}

impl Rm {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let paths = self.paths.iter().map(|path| InPool::read(path)).collect::<Outcome<Vec<_>>>()?;
        let output = &context.output;
        let mut report = Report::default();
        let mut last: Option<Failure> = None;
        let ended = context.server.run(&paths.iter().collect::<Vec<_>>(), async |client| {
            for path in &paths {
                match self.one(&client, path).await {
                    Ok(words) => {
                        report.words.push(words);
                        report.paths.push((&path.path).into());
                    }
                    Err(failure) if self.force && failure.is(Kind::Engine(ErrorKind::NotFound)) => {}
                    // The server is gone: the others would fail alike.
                    Err(failure) if failure.exit != Exit::Failed => return Err(failure),
                    Err(failure) => {
                        let failure = advise(failure, path);
                        report.failed.push(Failed {
                            path: (&path.path).into(),
                            kind: failure.kind,
                            message: failure.message.clone(),
                        });
                        if let Some(before) = last.replace(failure) {
                            output.failure(&before);
                        }
                    }
                }
            }
            Ok(())
        });
        // However it ended, what was done is told.
        if output.json || (self.dry_run && !report.words.is_empty()) {
            output
                .value(&report, |report| report.words.iter().map(|words| format!("{words}\n")).collect())?;
        } else if !report.words.is_empty() {
            output.note(&report.words.join("\n"));
        }
        match (ended, last) {
            (Err(failure), before) => {
                if let Some(before) = before {
                    output.failure(&before);
                }
                Err(failure)
            }
            (Ok(()), Some(failure)) => Err(failure),
            (Ok(()), None) => Ok(()),
        }
    }

    async fn one(&self, client: &offshoot_control::Client, path: &InPool) -> Outcome<String> {
        if !self.dry_run {
            client.remove(&path.path, self.recursive).await?;
            return Ok(format!("Removed {}", path.path));
        }
        let info = client.info(&path.path, false).await?;
        if info.attributes.kind == FileKind::Directory && !self.recursive && info.attributes.size_bytes > 0 {
            return Err(Failure {
                kind: "not_empty",
                ..Failure::new(format!("cannot remove {}: it is a directory with entries", path.path))
            });
        }
        let holds = contents(info.files, info.directories);
        Ok(format!("Would remove {} ({holds}, {})", path.path, size(info.logical_bytes)))
    }
}

fn advise(failure: Failure, path: &InPool) -> Failure {
    let full = failure.is(Kind::Engine(ErrorKind::NotEmpty));
    let missing = failure.is(Kind::Engine(ErrorKind::NotFound));
    failure.or_advise(|| {
        if full {
            Some("give -r to remove it with all below it".into())
        } else if missing {
            path.meant_locally(false)
        } else {
            None
        }
    })
}
