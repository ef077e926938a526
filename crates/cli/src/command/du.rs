//! `offshoot du`: space of trees, with what is shared told from what is their own.

use std::ffi::OsString;

use clap::Args;
use offshoot_control::wire::PathUsage;
use serde::Serialize;

use crate::Context;
use crate::failure::Outcome;
use crate::location::InPool;
use crate::output::{Table, counted, size};

/// Tell the space of files and trees, shared and exclusive
///
/// SIZE is what the files hold, STORED what that takes in the store, EXCLUSIVE what deleting it would free.
#[derive(Args)]
pub(crate) struct Du {
    /// Files or directories
    #[arg(required = true)]
    paths: Vec<OsString>,
}

#[derive(Serialize)]
struct Answer {
    usages: Vec<PathUsage>,
}

impl Du {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let paths = self.paths.iter().map(|path| InPool::read(path)).collect::<Outcome<Vec<_>>>()?;
        let answer = context.server.run(&paths.iter().collect::<Vec<_>>(), async |client| {
            let mut usages = Vec::new();
            for path in &paths {
                let usage = client.usage(&path.path).await;
                usages.push(usage.map_err(|error| {
                    crate::failure::Failure::from(error).or_advise(|| path.meant_locally(false))
                })?);
            }
            Ok(Answer { usages })
        })?;
        context.output.value(&answer, |answer| {
            let mut table = Table::new(&[">SIZE", ">STORED", ">SHARED", ">EXCLUSIVE", ">FILES", "PATH"]);
            for PathUsage { path, usage } in &answer.usages {
                table.row([
                    size(usage.logical_bytes),
                    size(usage.total_bytes),
                    size(usage.shared_bytes),
                    size(usage.exclusive_bytes),
                    usage.files.to_string(),
                    path.to_string(),
                ]);
            }
            table.text()
        })
    }
}

/// Space in words.
pub(super) fn describe(usage: &offshoot_control::wire::UsageBody) -> String {
    let shared = match usage.shared_bytes {
        0 => "nothing shared".to_owned(),
        bytes => format!("{} shared", size(bytes)),
    };
    format!("{} ({shared}, {} its own)", size(usage.total_bytes), size(usage.exclusive_bytes))
}

/// Files and directories in words.
pub(super) fn contents(files: u64, directories: u64) -> String {
    format!("{}, {}", counted(files, "file"), counted(directories, "directory"))
}
