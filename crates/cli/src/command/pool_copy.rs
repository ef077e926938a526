//! `offshoot pool copy`: a whole pool to another place, object by object.

use std::sync::Mutex;

use clap::Args;
use offshoot_engine::copy::{CopyReport, copy};
use offshoot_engine::{ErrorKind, Random, fork};
use serde_json::json;

use crate::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Unit, counted, size};
use crate::stores::{self, Site, Stores, at};

/// Copy a whole pool to another place
///
/// A server may have the source meanwhile; the copy has what was durable there when it began, of a pool whose durability
/// is local its last checkpoint. What was written is read back and compared. A copy that is interrupted goes on with the same
/// command; until it has, there is no pool at the new place. Needs no password and no key.
///
/// Exit codes: 0 copied, 1 failed, 2 usage, 10 no pool to copy, 11 the source changes too fast, 130 interrupted.
#[derive(Args)]
pub(super) struct Copy {
    /// The pool: a directory, or s3://, gs:// or az://
    #[arg(value_name = "URL", value_parser = Site::read)]
    source: Site,
    /// An empty directory, or an empty prefix in a bucket
    #[arg(value_name = "NEW_URL", value_parser = Site::read)]
    destination: Site,
}

impl Copy {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let Self { source, destination } = self;
        if source == destination {
            return Err(Failure::usage("a pool cannot be copied to where it is"));
        }
        let runtime = stores::runtime()?;
        let stores = Stores::of_command(context, &runtime)?;
        let (from, to) = (source.url(), destination.url());
        let objects = stores.existing(&source)?;
        let new = stores.new_one(&destination)?;
        let line = Mutex::new(context.output.progress("copying", Unit::Bytes));
        let show = |done, all| {
            if let Ok(mut line) = line.lock() {
                line.update(done, Some(all));
            }
        };
        let copied = stores.wait(async {
            let copied = copy(&*objects, &*new, &to, Random::system().number(), &show).await;
            copied.map_err(|error| match error.kind() {
                ErrorKind::PoolExists | ErrorKind::Corrupt => at(&to, error),
                _ => at(&from, error),
            })
        });
        drop(line);
        let copied = copied.map_err(|failure| {
            if failure.exit == Exit::Interrupted {
                // Until it goes on, the source need not keep anything for it.
                let _ = stores.wait(async {
                    for begun in fork::forks_of(&*objects).await? {
                        if begun.location == to && begun.objects.is_none() {
                            fork::release(&*objects, begun.id).await?;
                        }
                    }
                    Ok(())
                });
            }
            failure.or_advise(|| Some("the same command goes on where it was broken off".into()))
        })?;
        let CopyReport { objects, bytes, objects_found } = copied;
        let facts = json!({
            "source": from,
            "destination": to,
            "objects": objects,
            "bytes": bytes,
            "objects_found": objects_found,
        });
        context.output.done(&facts, |_| {
            let found = match objects_found {
                0 => String::new(),
                found => format!(", {} of them by an earlier try", counted(found, "object")),
            };
            format!("Copied {from} to {to}: {} ({}){found}.", counted(objects, "object"), size(bytes))
        })
    }
}
