//! Metrics in the text format of Prometheus: the engine's counters, and what the status tells as gauges.

use std::fmt::Write;

use crate::Service;

/// All metrics.
pub(super) async fn text(service: &Service) -> String {
    let mut text = String::new();
    for (name, meaning, value) in service.counters() {
        write_one(&mut text, &format!("{name}_total"), meaning.trim(), "counter", value);
    }
    let status = service.status().await;
    let pool = &status.pool;
    let gauges: [(&str, &str, u64); 29] = [
        ("up", "The pool accepts changes.", u64::from(pool.stopped.is_none())),
        ("files", "Files of all kinds but directories.", pool.files),
        ("directories", "Directories.", pool.directories),
        ("directory_clones", "Clones of directories.", pool.clones),
        ("logical_bytes", "Bytes in files, clones counted in full.", pool.logical_bytes),
        ("live_bytes", "Live bytes in the store.", pool.live_bytes),
        ("stored_bytes", "Bytes of all segments in the store.", pool.stored_bytes),
        ("segments", "Segments in the store.", pool.segments),
        ("garbage_queue", "Removed trees and replaced nodes that wait to be freed.", pool.garbage_queue),
        (
            "defragment_queue",
            "Parts of files noted as fragmented that wait to be looked at.",
            pool.defragment_queue,
        ),
        ("unreadable_items", "Stored items that were found damaged or missing.", pool.unreadable_items),
        ("abandoned_nodes", "Nodes that could not be read when they were freed.", pool.abandoned_nodes),
        ("counts_lost", "Counts of references are lost.", u64::from(pool.counts_lost)),
        (
            "upkeep_failing",
            "The log or a checkpoint could not be written.",
            u64::from(pool.failing.is_some()),
        ),
        ("known_inodes", "Inodes that clients know.", pool.known_inodes),
        ("dirty_bytes", "Bytes written that are in no segment yet.", pool.dirty_bytes),
        ("unsynced_bytes", "Bytes acknowledged that are not durable yet.", pool.unsynced_bytes),
        (
            "unsynced_operations",
            "Operations acknowledged that are not durable yet.",
            pool.unsynced_operations,
        ),
        (
            "unsynced_age_ms",
            "Milliseconds since the first operation that is not durable yet; 0 if all are.",
            pool.unsynced_age_ms,
        ),
        ("log_since_checkpoint_bytes", "Bytes of log since the last checkpoint.", pool.log_bytes),
        ("memory_bytes", "Bytes in memory: caches and dirty data.", pool.memory_bytes),
        ("memory_bytes_max", "The bound of the bytes in memory.", pool.memory_bytes_max),
        ("disk_cache_bytes", "Bytes of the cache on a disk of this machine.", pool.disk_cache_bytes),
        ("disk_cache_bytes_max", "The bound of the cache on disk; 0 without one.", pool.disk_cache_bytes_max),
        ("free_bytes", "Free bytes of the pool.", pool.free_bytes),
        ("total_bytes", "Size of the pool in bytes.", pool.total_bytes),
        ("writer_epoch", "Epoch of this writer.", pool.writer_epoch),
        ("mounts", "Mounts that the server holds.", status.mounts.len() as u64),
        ("jobs_running", "Jobs at work.", status.jobs_running),
    ];
    for (name, meaning, value) in gauges {
        write_one(&mut text, name, meaning, "gauge", value);
    }
    let _ = writeln!(
        text,
        "# HELP offshoot_build_info Version of the program.\n# TYPE offshoot_build_info gauge"
    );
    let _ = writeln!(text, "offshoot_build_info{{version=\"{}\"}} 1", status.server.version);
    text
}

fn write_one(text: &mut String, name: &str, meaning: &str, kind: &str, value: u64) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "# HELP offshoot_{name} {meaning}\n# TYPE offshoot_{name} {kind}\noffshoot_{name} {value}"
    );
}
