//! The control API: connections with any bytes, requests that fit into the table of endpoints, and bodies.

use std::sync::{Arc, LazyLock};

use offshoot_control::rest::{Server, fuzzing};
use offshoot_control::service::{Identity, Service, ServiceSettings};
use offshoot_control::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::choices::Choices;
use crate::fuse::file_system;

const METHODS: [&str; 6] = ["GET", "POST", "DELETE", "HEAD", "PUT", "OPTIONS"];
const PATHS: [&str; 20] = [
    "/health",
    "/ready",
    "/metrics",
    "/api/openapi.json",
    "/api/v1/status",
    "/api/v1/sync",
    "/api/v1/checkpoint",
    "/api/v1/clone",
    "/api/v1/restore",
    "/api/v1/diff",
    "/api/v1/info",
    "/api/v1/usage",
    "/api/v1/entries",
    "/api/v1/extents",
    "/api/v1/xattrs",
    "/api/v1/content",
    "/api/v1/snapshots",
    "/api/v1/snapshots/prune",
    "/api/v1/jobs",
    "/api/v1/mounts",
];
/// How an answer begins: an old request is answered in its own version.
const VERSIONS: [&str; 2] = ["HTTP/1.0 ", "HTTP/1.1 "];
/// Requests of one connection.
const REQUESTS_MAX: usize = 8;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime needs nothing")
});

/// The first byte says which of these the rest is.
pub(crate) fn http(input: &[u8]) {
    let mut choices = Choices::new(input);
    match choices.u8() {
        b'b' => body(choices.rest()),
        b'%' => fuzzing::percent(choices.rest()),
        b'r' => exchange(true, choices.rest()),
        _ => conversation(choices),
    }
}

/// One value of everything that comes over the wire.
fn body(text: &[u8]) {
    same::<wire::CloneRequest>(text);
    same::<wire::SnapshotRequest>(text);
    same::<wire::RestoreRequest>(text);
    same::<wire::PruneRequest>(text);
    same::<wire::JobRequest>(text);
    same::<wire::MountRequest>(text);
    same::<wire::SnapshotList>(text);
    same::<wire::EntryList>(text);
    same::<wire::XattrList>(text);
    same::<wire::InfoBody>(text);
    same::<wire::DiffLine>(text);
    same::<wire::StatusBody>(text);
}

/// What can be read is written so that it is read as the same.
fn same<T: DeserializeOwned + Serialize + PartialEq>(text: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(text) {
        let written = serde_json::to_vec(&value).expect("what was read can be written");
        let again = serde_json::from_slice::<T>(&written);
        assert!(again.is_ok_and(|again| again == value), "{}", String::from_utf8_lossy(&written));
    }
}

/// Requests with a method, an endpoint, a query and a body.
fn conversation(mut choices: Choices<'_>) {
    let administrator = !choices.u8().is_multiple_of(4);
    let mut sent = Vec::new();
    for _ in 0..REQUESTS_MAX {
        if choices.is_empty() {
            break;
        }
        let (method, path) = (METHODS[choices.below(METHODS.len())], PATHS[choices.below(PATHS.len())]);
        let (query, body) = (choices.piece(), choices.piece());
        // What a target cannot hold would end the connection, and everything behind it.
        let query: String = query
            .iter()
            .map(
                |byte| {
                    if byte.is_ascii_graphic() { char::from(*byte).into() } else { format!("%{byte:02x}") }
                },
            )
            .collect();
        let head =
            format!("{method} {path}?{query} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        sent.extend_from_slice(head.as_bytes());
        sent.extend_from_slice(body);
    }
    exchange(administrator, &sent);
}

fn exchange(administrator: bool, bytes: &[u8]) {
    let (pool, vfs) = file_system();
    let settings = ServiceSettings {
        owner: 0,
        owner_group: 0,
        source: "offshoot:fuzz".into(),
        storage_url: "memory:".into(),
        version: "0".into(),
        mounter: Err("there are no mounts here".into()),
    };
    let server = Server::new(Arc::new(Service::new(vfs, settings)));
    let caller = if administrator { Identity::administrator() } else { Identity::nobody() };
    let answer = RUNTIME.block_on(fuzzing::exchange(&server, caller, bytes));
    let text = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || VERSIONS.iter().any(|version| text.starts_with(version)), "{text}");
    assert!(!VERSIONS.iter().any(|version| text.contains(&format!("{version}500"))), "{text}");
    drop(pool);
}
