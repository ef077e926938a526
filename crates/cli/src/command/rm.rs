//! `offshoot rm`: removes, in constant time.

use std::ffi::OsString;

use clap::Args;
use offshoot_control::Kind;
use offshoot_control::wire::{FileKind, Removed};
use offshoot_engine::ErrorKind;

use super::du::contents;
use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::location::InPool;
use crate::output::size;

/// Remove files and directories
///
/// A tree goes in constant time; its space comes back in the background, less what clones share with it.
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

impl Rm {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let paths = self.paths.iter().map(|path| InPool::read(path)).collect::<Outcome<Vec<_>>>()?;
        let mut told = String::new();
        let removed = context.server.run(&paths.iter().collect::<Vec<_>>(), async |client| {
            let mut removed = Removed { paths: Vec::new() };
            for path in &paths {
                let one = self.one(&client, path).await;
                match one {
                    Ok(words) => {
                        told.push_str(&words);
                        removed.paths.push((&path.path).into());
                    }
                    Err(failure) if self.force && failure.is(Kind::Engine(ErrorKind::NotFound)) => {}
                    Err(failure) => return Err(advise(failure, path)),
                }
            }
            Ok(removed)
        })?;
        if context.output.json {
            return context.output.value(&removed, |_| String::new());
        }
        context.output.note(told.trim_end());
        Ok(())
    }

    async fn one(&self, client: &offshoot_control::Client, path: &InPool) -> Outcome<String> {
        if !self.dry_run {
            client.remove(&path.path, self.recursive).await?;
            return Ok(format!("Removed {}\n", path.path));
        }
        let info = client.info(&path.path, false).await?;
        if info.attributes.kind == FileKind::Directory && !self.recursive && info.attributes.size_bytes > 0 {
            return Err(Failure {
                kind: "not_empty",
                ..Failure::new(format!("cannot remove {}: it is a directory with entries", path.path))
            });
        }
        let holds = contents(info.files, info.directories);
        Ok(format!("Would remove {} ({holds}, {})\n", path.path, size(info.logical_bytes)))
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
