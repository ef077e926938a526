//! `offshoot umount`: takes a mount of the running server away.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use offshoot_control::Kind;
use offshoot_host::mount;
use serde_json::json;

use crate::Context;
use crate::failure::{Failure, Outcome};

/// Unmount a directory
///
/// A mount whose server has died is cleared away without one.
#[derive(Args)]
pub(crate) struct Umount {
    /// Where it is mounted
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Take it away although it is in use; it ends with its last user
    #[arg(long)]
    lazy: bool,
}

impl Umount {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let shown = self.directory.display();
        let found = mount::mount_at(&self.directory).map_err(|error| Failure::new(error.to_string()))?;
        let ours = found.as_ref().filter(|found| found.is_offshoot());
        let answer = json!({ "mount_point": shown.to_string() });
        if ours.is_some_and(|found| found.is_dead()) {
            mount::clear_dead(&self.directory).map_err(|error| Failure::new(error.to_string()))?;
            return context.output.done(&answer, |_| format!("Cleared the dead mount at {shown}"));
        }
        let directory = match ours {
            Some(found) => found.mount_point.clone(),
            // The server may be on another machine, or see other mounts.
            None => std::path::absolute(&self.directory).map_err(|error| Failure::new(error.to_string()))?,
        };
        let client_paths = ours.map(|found| crate::location::InPool {
            path: offshoot_control::PoolPath::root(),
            source: Some(found.source.clone()),
        });
        let paths: Vec<_> = client_paths.iter().collect();
        let bytes = directory.as_os_str().as_bytes();
        let done = context.server.run(&paths, async |client| Ok(client.unmount(bytes, self.lazy).await?));
        done.map_err(|failure| {
            let busy = failure.is(Kind::Busy);
            failure.or_advise(|| {
                busy.then(|| "end what uses it, or give --lazy to take it away all the same".into())
            })
        })?;
        context.output.done(&answer, |_| format!("Unmounted {shown}"))
    }
}
