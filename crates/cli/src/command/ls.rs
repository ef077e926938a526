//! `offshoot ls`: entries of a directory, without a mount.

use std::ffi::OsString;

use clap::Args;
use offshoot_control::time;
use offshoot_control::wire::{Entry, EntryList, FileKind};

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::location::InPool;
use crate::output::Table;

/// List a directory of the pool
///
/// Control characters, bytes that are no UTF-8 and backslashes are shown behind a backslash, as \n, \xff and \\; --json shows
/// names as they are.
#[derive(Args)]
pub(crate) struct Ls {
    /// A directory or file
    #[arg(default_value = "/")]
    path: OsString,
    /// One line an entry, with type, mode, owner, size and time
    #[arg(short, long)]
    long: bool,
    /// The directory itself instead of what is in it
    #[arg(short, long)]
    directory: bool,
}

impl Ls {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let path = InPool::read(&self.path)?;
        let done = context.server.run(&[&path], async |client| {
            if self.directory {
                return Ok(client.entry(&path.path).await?);
            }
            let mut all = client.entries(&path.path, 0).await?;
            while let Some(next) = all.next {
                let page = client.entries(&path.path, next).await?;
                all.entries.extend(page.entries);
                all.next = page.next;
            }
            // Directories are in the order of hashes; people want names.
            all.entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(all)
        });
        let list = done.map_err(|failure: Failure| failure.or_advise(|| path.meant_locally(false)))?;
        context.output.value(&list, |list: &EntryList| {
            if self.long {
                table(&list.entries)
            } else {
                list.entries.iter().map(|e| format!("{}\n", e.name)).collect()
            }
        })
    }
}

fn table(entries: &[Entry]) -> String {
    let mut table = Table::new(&["MODE", ">LINKS", "OWNER", ">SIZE", "CHANGED (UTC)", "NAME"]);
    for entry in entries {
        let attributes = &entry.attributes;
        let mut name = entry.name.to_string();
        if let Some(target) = &entry.target {
            name.push_str(&format!(" -> {target}"));
        }
        if attributes.clone_root {
            name.push_str(if attributes.read_only { "  (read-only clone)" } else { "  (clone)" });
        }
        table.row([
            mode(attributes.kind, attributes.mode),
            attributes.nlink.to_string(),
            format!("{}:{}", attributes.uid, attributes.gid),
            attributes.size_bytes.to_string(),
            time::for_table(attributes.mtime.0),
            name,
        ]);
    }
    table.text()
}

/// `drwxr-x--T`, as `ls` of coreutils shows it.
pub(super) fn mode(kind: FileKind, mode: u32) -> String {
    let mut text = String::with_capacity(10);
    text.push(match kind {
        FileKind::File => '-',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
        FileKind::CharDevice => 'c',
        FileKind::BlockDevice => 'b',
    });
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_shown_as_usual() {
        assert_eq!(mode(FileKind::File, 0o644), "-rw-r--r--");
        assert_eq!(mode(FileKind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(mode(FileKind::File, 0o6754), "-rwsr-sr--");
        assert_eq!(mode(FileKind::File, 0o7000), "---S--S--T");
    }
}
