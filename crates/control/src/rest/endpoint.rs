//! Every endpoint of the API, in one table. An entry reads the request, calls the service and wraps the answer; it decides nothing.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use tokio::sync::mpsc;

use super::answer::{Answer, line};
use super::route::{Access, Answers, Call, Holds, Route, Routes};
use super::{metrics, openapi};
use crate::problem::Problem;
use crate::wire;

/// Entries in one page of a directory, unless asked otherwise, and at most.
const PAGE: (u64, u64) = (1000, 10_000);
/// How often a followed job tells how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

macro_rules! json {
    ($type:ty) => {
        Answers::Json(|generator| generator.subschema_for::<$type>())
    };
}

macro_rules! handler {
    (|$call:ident| $body:expr) => {
        |$call: Call| Box::pin(async move { $body })
    };
}

/// The table.
pub(super) fn routes() -> Routes {
    let mut all = server();
    all.extend(tree());
    all.extend(snapshots());
    all.extend(jobs());
    all.extend(mounts());
    all.extend(keys());
    Routes(all)
}

fn server() -> Vec<Route> {
    vec![
        Route::new(
            Method::GET,
            "/health",
            "Whether the process works",
            Answers::Text,
            handler!(|_call| Ok(Answer::text("text/plain", "ok\n".into()))),
        )
        .access(Access::Open),
        Route::new(
            Method::GET,
            "/ready",
            "Whether the pool accepts changes",
            Answers::Text,
            handler!(|call| {
                call.service.ready().await?;
                Ok(Answer::text("text/plain", "ready\n".into()))
            }),
        )
        .access(Access::Open),
        Route::new(
            Method::GET,
            "/metrics",
            "Metrics for Prometheus",
            Answers::Text,
            handler!(|call| {
                Ok(Answer::text("text/plain; version=0.0.4", metrics::text(&call.service).await))
            }),
        ),
        Route::new(
            Method::GET,
            "/api/openapi.json",
            "This document",
            json!(serde_json::Value),
            handler!(|_call| Answer::json(&openapi::document(&routes()))),
        ),
        Route::new(
            Method::GET,
            "/api/v1/status",
            "State of the server and its pool",
            json!(wire::StatusBody),
            handler!(|call| Answer::json(&call.service.status().await)),
        ),
        Route::new(
            Method::POST,
            "/api/v1/sync",
            "Wait until everything answered so far survives a power cut",
            json!(wire::Nothing),
            handler!(|call| {
                call.service.sync().await?;
                Answer::json(&wire::Nothing {})
            }),
        ),
        Route::new(
            Method::POST,
            "/api/v1/checkpoint",
            "Write everything to segments and a new manifest",
            json!(wire::Nothing),
            handler!(|call| {
                call.service.checkpoint().await?;
                Answer::json(&wire::Nothing {})
            }),
        )
        .access(Access::Administrator),
    ]
}

fn keys() -> Vec<Route> {
    vec![
        Route::new(
            Method::GET,
            "/api/v1/keys",
            "What opens the pool",
            json!(wire::KeyList),
            handler!(|call| Answer::json(&call.service.keys())),
        )
        .access(Access::Administrator),
        Route::new(
            Method::POST,
            "/api/v1/keys",
            "Change what opens the pool",
            json!(wire::KeyList),
            handler!(|call| Answer::json(&call.service.change_keys(&call.caller, call.read()?).await?)),
        )
        .access(Access::Administrator)
        .takes::<wire::KeyRequest>(),
    ]
}

fn tree() -> Vec<Route> {
    let sync = "answer when it survives a power cut; true unless given";
    vec![
        Route::new(
            Method::POST,
            "/api/v1/clone",
            "Clone a file or a directory with all below it",
            json!(wire::Cloned),
            handler!(|call| Answer::json(&call.service.clone_tree(&call.caller, call.read()?).await?)),
        )
        .takes::<wire::CloneRequest>(),
        Route::new(
            Method::POST,
            "/api/v1/restore",
            "Clone something out of a snapshot",
            json!(wire::Cloned),
            handler!(|call| Answer::json(&call.service.restore(&call.caller, call.read()?).await?)),
        )
        .takes::<wire::RestoreRequest>(),
        Route::new(
            Method::GET,
            "/api/v1/diff",
            "Differences between two trees, one a line",
            Answers::Lines(|generator| generator.subschema_for::<wire::DiffLine>()),
            handler!(|call| diff(call).await),
        )
        .needs("first", Holds::Path, "the first tree")
        .needs("second", Holds::Path, "the second tree"),
        Route::new(
            Method::GET,
            "/api/v1/info",
            "What is known of a path",
            json!(wire::InfoBody),
            handler!(|call| {
                let path = call.parameters.path("path")?;
                Answer::json(&call.service.info(&call.caller, &path, call.parameters.flag("usage")?).await?)
            }),
        )
        .needs("path", Holds::Path, "a file or directory")
        .may("usage", Holds::Flag, "with its space in the store, which walks its nodes"),
        Route::new(
            Method::GET,
            "/api/v1/usage",
            "Space of a tree, shared and exclusive",
            json!(wire::PathUsage),
            handler!(|call| {
                let path = call.parameters.path("path")?;
                Answer::json(&call.service.usage(&call.caller, &path).await?)
            }),
        )
        .needs("path", Holds::Path, "a file or directory"),
        Route::new(
            Method::GET,
            "/api/v1/entries",
            "Entries of a directory, or the one of a file",
            json!(wire::EntryList),
            handler!(|call| {
                let path = call.parameters.path("path")?;
                let after = call.parameters.integer("after")?.unwrap_or(0);
                let limit = call.parameters.integer("limit")?.unwrap_or(PAGE.0).clamp(1, PAGE.1);
                let itself = call.parameters.flag("itself")?;
                Answer::json(&call.service.entries(&call.caller, &path, after, limit as usize, itself).await?)
            }),
        )
        .needs("path", Holds::Path, "a directory or file")
        .may("after", Holds::Integer, "`next` of the page before")
        .may("limit", Holds::Integer, "entries in the page, 1 to 10000; 1000 unless given")
        .may("itself", Holds::Flag, "the entry of the directory itself instead of those in it"),
        Route::new(
            Method::DELETE,
            "/api/v1/entries",
            "Remove a file or directory",
            json!(wire::Removed),
            handler!(|call| {
                let path = call.parameters.path("path")?;
                let recursive = call.parameters.flag("recursive")?;
                let sync = call.parameters.flag_or("sync", true)?;
                Answer::json(&call.service.remove(&call.caller, &path, recursive, sync).await?)
            }),
        )
        .needs("path", Holds::Path, "what to remove")
        .may("recursive", Holds::Flag, "with all below it, in constant time")
        .may("sync", Holds::Flag, sync),
        Route::new(
            Method::GET,
            "/api/v1/extents",
            "Ranges of a file that hold data",
            json!(wire::ExtentList),
            handler!(|call| {
                let path = call.parameters.path("path")?;
                let after = call.parameters.integer("after")?.unwrap_or(0);
                Answer::json(&call.service.extents(&call.caller, &path, after).await?)
            }),
        )
        .needs("path", Holds::Path, "a file")
        .may("after", Holds::Integer, "`next` of the page before"),
        Route::new(
            Method::GET,
            "/api/v1/xattrs",
            "Extended attributes of a file",
            json!(wire::XattrList),
            handler!(|call| {
                let path = call.parameters.path("path")?;
                Answer::json(&call.service.xattrs(&call.caller, &path).await?)
            }),
        )
        .needs("path", Holds::Path, "a file or directory"),
        Route::new(
            Method::GET,
            "/api/v1/content",
            "Bytes of a file",
            Answers::Bytes,
            handler!(|call| {
                let path = call.parameters.path("path")?;
                let offset = call.parameters.integer("offset")?.unwrap_or(0);
                let length = call.parameters.integer("length")?.unwrap_or(u64::MAX);
                Ok(Answer::bytes(call.service.content(&call.caller, &path, offset, length).await?))
            }),
        )
        .needs("path", Holds::Path, "a file")
        .may("offset", Holds::Integer, "the first byte")
        .may("length", Holds::Integer, "how many bytes; to the end unless given"),
    ]
}

fn snapshots() -> Vec<Route> {
    vec![
        Route::new(
            Method::GET,
            "/api/v1/snapshots",
            "All snapshots, oldest first",
            json!(wire::SnapshotList),
            handler!(|call| {
                let path = call.parameters.path_if_given("path")?;
                Answer::json(&call.service.snapshots(&call.caller, path.as_ref()).await?)
            }),
        )
        .may("path", Holds::Path, "only those of this path"),
        Route::new(
            Method::POST,
            "/api/v1/snapshots",
            "Make a snapshot",
            json!(wire::Snapshot),
            handler!(|call| {
                let made = call.service.snapshot(&call.caller, call.read()?).await?;
                Answer::json_with(StatusCode::CREATED, &made)
            }),
        )
        .takes::<wire::SnapshotRequest>()
        .status(201),
        Route::new(
            Method::DELETE,
            "/api/v1/snapshots",
            "Delete snapshots",
            json!(wire::Removed),
            handler!(|call| {
                let names: Vec<_> = call.parameters.all("name").map(<[u8]>::to_vec).collect();
                let sync = call.parameters.flag_or("sync", true)?;
                Answer::json(&call.service.delete_snapshots(&call.caller, &names, sync).await?)
            }),
        )
        .needs_some("name", Holds::Text, "a snapshot's name")
        .may("sync", Holds::Flag, "answer when it survives a power cut; true unless given"),
        Route::new(
            Method::POST,
            "/api/v1/snapshots/prune",
            "Delete the snapshots of a path that no rule keeps",
            json!(wire::Pruned),
            handler!(|call| Answer::json(&call.service.prune(&call.caller, call.read()?).await?)),
        )
        .takes::<wire::PruneRequest>(),
    ]
}

fn jobs() -> Vec<Route> {
    vec![
        Route::new(
            Method::GET,
            "/api/v1/jobs",
            "All jobs that run or ended lately",
            json!(wire::JobList),
            handler!(|call| Answer::json(&wire::JobList {
                jobs: call.service.jobs().list(call.caller.viewer())
            })),
        ),
        Route::new(
            Method::POST,
            "/api/v1/jobs",
            "Start a check, a scrub, a repair, a collection or a usage",
            json!(wire::Job),
            handler!(|call| {
                let job = call.service.start(&call.caller, call.read()?).await?;
                Answer::json_with(StatusCode::ACCEPTED, &job)
            }),
        )
        .takes::<wire::JobRequest>()
        .status(202),
        Route::new(
            Method::GET,
            "/api/v1/jobs/{id}",
            "One job",
            json!(wire::Job),
            handler!(|call| Answer::json(&call.service.jobs().get(call.id, call.caller.viewer())?)),
        ),
        Route::new(
            Method::DELETE,
            "/api/v1/jobs/{id}",
            "Cancel a job",
            json!(wire::Job),
            handler!(|call| Answer::json(&call.service.jobs().cancel(call.id, call.caller.viewer())?)),
        ),
        Route::new(
            Method::GET,
            "/api/v1/jobs/{id}/progress",
            "A job as it goes on, one state a line, until it has ended",
            Answers::Lines(|generator| generator.subschema_for::<wire::Job>()),
            handler!(|call| progress(call)),
        ),
    ]
}

fn mounts() -> Vec<Route> {
    vec![
        Route::new(
            Method::GET,
            "/api/v1/mounts",
            "Mounts that the server holds",
            json!(wire::MountList),
            handler!(|call| Answer::json(&wire::MountList { mounts: call.service.mounts() })),
        ),
        Route::new(
            Method::POST,
            "/api/v1/mounts",
            "Mount the pool on the server's machine",
            json!(wire::MountBody),
            handler!(|call| {
                let made = call.service.mount(call.read()?).await?;
                Answer::json_with(StatusCode::CREATED, &made)
            }),
        )
        .takes::<wire::MountRequest>()
        .status(201)
        .access(Access::Administrator),
        Route::new(
            Method::DELETE,
            "/api/v1/mounts",
            "Unmount",
            json!(wire::Nothing),
            handler!(|call| {
                let mount_point = call.parameters.bytes("mount_point").unwrap_or_default();
                call.service.unmount(mount_point, call.parameters.flag("lazy")?).await?;
                Answer::json(&wire::Nothing {})
            }),
        )
        .needs("mount_point", Holds::Text, "an absolute path of the server's machine")
        .may("lazy", Holds::Flag, "take it away although it is in use; it ends with its last user")
        .access(Access::Administrator),
    ]
}

/// Streams differences; the job behind them ends with the connection.
async fn diff(call: Call) -> Result<Answer, Problem> {
    let (first, second) = (call.parameters.path("first")?, call.parameters.path("second")?);
    let mut differences = call.service.diff(&call.caller, &first, &second).await?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        // Lines are gathered as far as they are there, so that small ones do not each become a packet.
        while let Some(first) = differences.recv().await {
            let mut piece = Vec::new();
            let mut next = Some(first);
            while let Some(difference) = next {
                let Ok(line) = line(&difference) else { return };
                piece.extend_from_slice(&line);
                next = if piece.len() < 64 << 10 { differences.try_recv().ok() } else { None };
            }
            if sender.send(Ok(Bytes::from(piece))).await.is_err() {
                return;
            }
        }
    });
    Ok(Answer::lines(receiver))
}

/// Tells how a job goes on until it has ended.
fn progress(call: Call) -> Result<Answer, Problem> {
    let mut handle = call.service.jobs().follow(call.id, call.caller.viewer())?;
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let send = async |job: &wire::Job| sender.send(line(job)).await.is_ok();
        loop {
            tokio::select! {
                job = handle.ended() => {
                    send(&job).await;
                    return;
                }
                () = tokio::time::sleep(PROGRESS_INTERVAL) => {
                    let Ok(job) = call.service.jobs().get(call.id, call.caller.viewer()) else { return };
                    if !send(&job).await {
                        return;
                    }
                }
            }
        }
    });
    Ok(Answer::lines(receiver))
}
