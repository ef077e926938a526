//! `offshoot fork`: a clone of a whole pool, with a writer of its own.
//!
//! Works on the objects alone: no server is asked, and one that has the parent goes on undisturbed.

use clap::{Args, Subcommand};
use offshoot_engine::fork::{self, Fork};
use offshoot_engine::{ErrorKind, Random};
use serde::Serialize;
use serde_json::json;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{Table, count, counted, size};
use crate::stores::{self, Site, Stores, at};

/// Clone a whole pool to another place, where it has a server of its own
///
/// Nothing is copied but what is small: the fork reads what it shares where it is, in the store of its parent, and writes to
/// its own place. A server may have the parent meanwhile and is not disturbed. The fork has what was durable there; of a
/// pool whose durability is local, that is its last checkpoint. Then serve it: `offshoot up --url NEW_URL` for a bucket,
/// `offshoot up --data NEW_URL` for a directory, with the password or key of the parent if it is encrypted.
///
/// The parent keeps what the fork shares until `offshoot fork release` lets go of it. Credentials come from the environment,
/// or from the settings file that -c names. A pool that is called list or release is given as ./list.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct ForkCommand {
    #[command(subcommand)]
    action: Option<Action>,
    /// The parent: a directory, or s3://, gs:// or az://
    #[arg(required = true, value_name = "URL", value_parser = Site::read)]
    parent: Option<Site>,
    /// Where the fork is to be: an empty directory, or an empty prefix in a bucket
    #[arg(required = true, value_name = "NEW_URL", value_parser = Site::read)]
    child: Option<Site>,
}

#[derive(Subcommand)]
enum Action {
    /// List what a pool keeps objects for: its forks, and copies that are being made
    List {
        /// The pool
        #[arg(value_name = "URL", value_parser = Site::read)]
        pool: Site,
    },
    /// Let go of a fork that nobody needs any more
    ///
    /// The fork cannot be read from then on, and the parent frees what it kept for it alone. Stop its server first, and remove
    /// what is at its place afterwards.
    Release {
        /// The parent, with the number of the fork; or the fork itself
        #[arg(value_name = "URL", value_parser = Site::read)]
        pool: Site,
        /// Number of the fork, as `offshoot fork list` shows it
        #[arg(value_parser = number)]
        number: Option<u64>,
        /// Only tell what would be let go
        #[arg(long)]
        dry_run: bool,
    },
}

fn number(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| "not a number of up to 16 hexadecimal digits".into())
}

/// A fork, for programs and tables.
#[derive(Serialize)]
struct Listed {
    /// 16 hexadecimal digits.
    number: String,
    location: String,
    objects: Option<u64>,
}

impl From<Fork> for Listed {
    fn from(from: Fork) -> Self {
        Self { number: format!("{:016x}", from.id), location: from.location, objects: from.objects }
    }
}

impl ForkCommand {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let runtime = stores::runtime()?;
        let stores = Stores::of_command(context, &runtime)?;
        match self.action {
            None => {
                let missing = || Failure::usage("`offshoot fork` needs a pool and a new place");
                make(context, &stores, &self.parent.ok_or_else(missing)?, &self.child.ok_or_else(missing)?)
            }
            Some(Action::List { pool }) => {
                let objects = stores.existing(&pool)?;
                let forks = stores.wait(async {
                    fork::forks_of(&*objects).await.map_err(|error| at(&pool.url(), error))
                })?;
                let forks: Vec<_> = forks.into_iter().map(Listed::from).collect();
                context.output.value(&json!({ "forks": forks }), |_| describe(&forks))
            }
            Some(Action::Release { pool, number, dry_run }) => {
                release(context, &stores, &pool, number, dry_run)
            }
        }
    }
}

fn make(context: &Context, stores: &Stores, parent: &Site, child: &Site) -> Outcome {
    if matches!((parent, child), (Site::Directory(_), Site::Bucket(_))) {
        return Err(Failure::usage(format!(
            "{} is on this machine, and a fork of it in a bucket could be read from nowhere else",
            parent.url()
        ))
        .advise("fork it to a directory, or copy it to a bucket: `offshoot pool copy`"));
    }
    if parent == child {
        return Err(Failure::usage("a pool cannot be forked to where it is"));
    }
    let objects = stores.existing(parent)?;
    let own = stores.new_one(child)?;
    let (from, to) = (parent.url(), child.url());
    let id = Random::system().number();
    let forked = stores.wait(async {
        let made = fork::fork(&*objects, &*own, &from, &to, id).await;
        made.map_err(|error| at(if error.kind() == ErrorKind::PoolExists { &to } else { &from }, error))
    });
    let forked = forked.map_err(|failure| {
        failure.or_advise(|| {
            Some(format!(
                "if it was broken off, {from} keeps everything for it: `offshoot fork release {from} {id:016x}` lets go of it"
            ))
        })
    })?;
    let facts = json!({
        "number": format!("{id:016x}"),
        "parent": from,
        "url": to,
        "shared_objects": forked.objects,
        "shared_bytes": forked.bytes,
    });
    context.output.done(&facts, |_| {
        let served = match child {
            Site::Directory(directory) => format!("offshoot up --data {}", directory.display()),
            Site::Bucket(url) => format!("offshoot up --url {url}"),
        };
        format!(
            "{to} is fork {id:016x} of {from}; they share {} ({}).\n`{served}` serves it.",
            counted(forked.objects, "object"),
            size(forked.bytes)
        )
    })
}

fn release(context: &Context, stores: &Stores, pool: &Site, number: Option<u64>, dry_run: bool) -> Outcome {
    let (parent, id) = match number {
        Some(id) => (pool.clone(), id),
        None => {
            let own = stores.own(pool)?;
            let known =
                stores.wait(async { fork::parent_of(&*own).await.map_err(|e| at(&pool.url(), e)) })?;
            let known = known.ok_or_else(|| {
                Failure::usage(format!("{} is no fork", pool.url()))
                    .advise("name the number of one of its forks too, as `offshoot fork list` shows it")
            })?;
            (Site::read(&known.location).map_err(Failure::new)?, known.id)
        }
    };
    let url = parent.url();
    let objects = stores.existing(&parent)?;
    let known = stores.wait(async { fork::forks_of(&*objects).await.map_err(|error| at(&url, error)) })?;
    let Some(fork) = known.into_iter().find(|fork| fork.id == id) else {
        return Err(Failure::new(format!("{url} keeps nothing for a fork {id:016x}"))
            .advise(format!("`offshoot fork list {url}` shows what it keeps something for")));
    };
    if !dry_run {
        stores.wait(async { fork::release(&*objects, id).await.map_err(|error| at(&url, error)) })?;
    }
    let listed = Listed::from(fork);
    context.output.done(&json!({ "released": !dry_run, "parent": url, "fork": listed }), |_| {
        let Listed { number, location, .. } = &listed;
        match dry_run {
            true => format!("Fork {number} at {location} would be let go, and could not be read any more."),
            false => format!(
                "Let go of fork {number} at {location}. It cannot be read any more; remove what is there."
            ),
        }
    })
}

fn describe(forks: &[Listed]) -> String {
    if forks.is_empty() {
        return "No forks\n".into();
    }
    let mut table = Table::new(&["NUMBER", "OBJECTS", "PLACE"]);
    for Listed { number, location, objects } in forks {
        let kept = objects.map_or_else(|| "all, while it is made".into(), count);
        table.row([number.clone(), kept, location.clone()]);
    }
    table.text()
}
