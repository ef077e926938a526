//! `offshoot info`: what is known of a path.

use std::ffi::OsString;

use clap::Args;
use offshoot_control::time;
use offshoot_control::wire::{FileKind, InfoBody};

use super::du;
use super::ls::mode;
use crate::Context;
use crate::failure::Outcome;
use crate::location::InPool;
use crate::output::{Table, size};

/// Tell what is known of a path: attributes, space, and where it was cloned from
#[derive(Args)]
pub(crate) struct InfoCommand {
    /// A file or directory
    path: OsString,
    /// Do not measure the space in the store, which walks the tree's nodes
    #[arg(long)]
    no_usage: bool,
}

impl InfoCommand {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let path = InPool::read(&self.path)?;
        let done =
            context.server.run(&[&path], async |client| Ok(client.info(&path.path, !self.no_usage).await?));
        let info = done.map_err(|failure| failure.or_advise(|| path.meant_locally(false)))?;
        context.output.value(&info, describe)
    }
}

fn describe(info: &InfoBody) -> String {
    let attributes = &info.attributes;
    let mut table = Table::facts();
    table.fact("Path", info.path.to_string());
    table.fact("Kind", kind(info));
    table.fact("Inode", attributes.ino.to_string());
    table.fact("Mode", format!("{} ({:04o})", mode(attributes.kind, attributes.mode), attributes.mode));
    table.fact("Owner", format!("{}:{}", attributes.uid, attributes.gid));
    table.fact("Changed", time::for_table(attributes.mtime.0) + " UTC");
    table.fact("Created", time::for_table(attributes.btime.0) + " UTC");
    if attributes.kind == FileKind::Directory {
        table.fact("Holds", du::contents(info.files, info.directories));
    }
    table.fact("Size", size(info.logical_bytes));
    if let Some(usage) = &info.usage {
        table.fact("Stored", du::describe(usage));
    }
    let mut name = "Cloned from";
    for origin in &mut info.origin.iter().chain(&info.lineage) {
        table.fact(name, format!("{} at {} UTC", origin.path, time::for_table(origin.time.0)));
        name = "  before";
    }
    table.text()
}

fn kind(info: &InfoBody) -> String {
    let kind = match info.attributes.kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symbolic link",
        FileKind::Fifo => "named pipe",
        FileKind::Socket => "socket",
        FileKind::CharDevice => "character device",
        FileKind::BlockDevice => "block device",
    };
    let clone = match (info.origin.is_some(), info.attributes.read_only) {
        (true, true) => ", a read-only clone",
        (true, false) => ", a clone",
        (false, true) => ", in a read-only clone",
        (false, false) => "",
    };
    format!("{kind}{clone}")
}
