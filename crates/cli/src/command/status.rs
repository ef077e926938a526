//! `offshoot status`: the state of the server and its pool.

use std::time::Duration;

use clap::Args;
use offshoot_control::time;
use offshoot_control::wire::StatusBody;

use super::du::contents;
use crate::Context;
use crate::failure::Outcome;
use crate::output::{Table, count, counted, size};

/// Tell the state of the server and its pool
#[derive(Args)]
pub(crate) struct Status {}

impl Status {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let status = context.server.run(&[], async |client| Ok(client.status().await?))?;
        context.output.value(&status, describe)
    }
}

/// The state as a table of facts.
pub(super) fn describe(status: &StatusBody) -> String {
    let StatusBody { server, pool, mounts, .. } = status;
    let mut table = Table::facts();
    if let Some(why) = &pool.stopped {
        table.fact("STOPPED", format!("the pool accepts no changes: {why}"));
    }
    if let Some(why) = &pool.failing {
        table.fact("FAILING", format!("{why}; it is tried again"));
    }
    if let Some(loss) = &pool.accepted_loss {
        table.fact("LOSS", loss);
    }
    if let Some(damage) = damage(status) {
        table.fact("DAMAGE", damage);
    }
    let how = if pool.encrypted { "encrypted" } else { "NOT ENCRYPTED" };
    table.fact("Pool", format!("{} (id {}, {how})", server.storage_url, pool.id));
    let since = time::for_table(server.started.0);
    table.fact("Server", format!("offshoot {}, process {}, since {since} UTC", server.version, server.pid));
    for mount in mounts {
        let how = if mount.read_only { ", read-only" } else { "" };
        table.fact("Mount", format!("{} ({}{how})", mount.mount_point, mount.protocol));
    }
    table.fact("Holds", format!("{}, {}", contents(pool.files, pool.directories), size(pool.logical_bytes)));
    table.fact("Clones", format!("{} of directories", count(pool.clones)));
    let garbage = match pool.garbage_queue {
        0 => String::new(),
        waiting => format!(", {} waiting to be freed", count(waiting)),
    };
    let fragmented = match pool.defragment_queue {
        0 => String::new(),
        waiting => format!(", {} parts of files to be looked at for fragments", count(waiting)),
    };
    let stored = format!("{} in {} segments", size(pool.stored_bytes), count(pool.segments));
    table.fact("Stored", format!("{stored}, {} of it live{garbage}{fragmented}", size(pool.live_bytes)));
    table.fact("Space", format!("{} free of {}", size(pool.free_bytes), size(pool.total_bytes)));
    let memory = format!("{} of at most {}", size(pool.memory_bytes), size(pool.memory_bytes_max));
    table.fact("Memory", format!("{memory}, {} not in segments yet", size(pool.dirty_bytes)));
    if pool.disk_cache_bytes_max > 0 {
        let looked = pool.disk_cache_hits + pool.disk_cache_misses;
        let room = format!("{} of at most {}", size(pool.disk_cache_bytes), size(pool.disk_cache_bytes_max));
        let served = format!("{} of {} reads served", count(pool.disk_cache_hits), count(looked));
        table.fact("Disk cache", format!("{room}, {served}"));
    }
    table.fact("Durability", durability(status));
    table.fact("Jobs", count(status.jobs_running));
    table.text()
}

/// What is known to be damaged, and what to do.
fn damage(status: &StatusBody) -> Option<String> {
    let pool = &status.pool;
    let mut parts = Vec::new();
    if pool.unreadable_items > 0 {
        parts.push(format!(
            "{} cannot be read, `offshoot scrub` names the files",
            counted(pool.unreadable_items, "stored item")
        ));
    }
    if pool.abandoned_nodes > 0 {
        parts.push(format!(
            "{} could not be read when freed, the space of what was below is lost",
            counted(pool.abandoned_nodes, "node")
        ));
    }
    if pool.counts_lost {
        parts.push("counts of references are lost, what they were of is whole and never freed".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn durability(status: &StatusBody) -> String {
    let pool = &status.pool;
    let place = if pool.durability == "store" { "in the store" } else { "on the local disk" };
    let unsynced = match (pool.unsynced_operations, pool.unsynced_bytes) {
        (0, 0) => format!("everything is durable {place}"),
        (operations, bytes) => format!(
            "{} ({}) not durable {place} yet, the first for {}",
            counted(operations, "operation"),
            size(bytes),
            time::duration(Duration::from_millis(pool.unsynced_age_ms)),
        ),
    };
    let checkpoint = time::for_table(pool.last_checkpoint.0);
    format!("{unsynced}; {} of log since the checkpoint at {checkpoint} UTC", size(pool.log_bytes))
}
