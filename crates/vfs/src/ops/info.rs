//! The document that `info` shows of one inode, over every road that leads to it.

use offshoot_engine::Timestamp;
use offshoot_engine::report::Info;
use serde_json::{Value, json};

/// What is known of an inode, as a JSON document of version 1. Paths that are not UTF-8 are shown with replacement characters; sizes
/// are bytes, times are seconds since 1970 with their nanoseconds.
pub fn info_document(path: &[u8], info: &Info) -> Value {
    let attributes = &info.attributes;
    json!({
        "version": 1,
        "path": String::from_utf8_lossy(path),
        "ino": attributes.ino.0,
        "realm": attributes.ino.realm(),
        "kind": kind_name(attributes.kind),
        "read_only": attributes.read_only,
        "clone_root": attributes.clone_root,
        "size_bytes": attributes.size,
        "allocated_bytes": attributes.allocated,
        "files": info.files,
        "directories": info.directories,
        "logical_bytes": info.logical_bytes,
        "origin": info.origin.as_ref().map(|origin| json!({
            "ino": origin.ino.0,
            "path": String::from_utf8_lossy(&origin.path),
            "time": time(origin.time),
        })),
    })
}

fn time(time: Timestamp) -> Value {
    json!({ "secs": time.secs, "nanos": time.nanos })
}

fn kind_name(kind: offshoot_engine::Kind) -> &'static str {
    use offshoot_engine::Kind;
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "symlink",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        Kind::CharDevice => "char_device",
        Kind::BlockDevice => "block_device",
    }
}
