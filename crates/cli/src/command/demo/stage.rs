//! Where the demo plays: in a mount of the running server, or in a server of its own that is gone afterwards.

use std::fs::File;
use std::hash::Hasher;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use offshoot_control::path::text;
use offshoot_control::{Address, Client, PoolPath};
use offshoot_engine::OpenMode;
use offshoot_host::mount;

use super::NAME;
use crate::Context;
use crate::command::up::impossible;
use crate::connection::{ServerOptions, interruptible};
use crate::daemon::Daemon;
use crate::failure::{Failure, Outcome};
use crate::settings::Settings;

/// Bytes that are written and read at a time.
const PIECE_BYTES: usize = 1 << 20;

/// A mount to play in.
pub(super) struct Stage {
    server: ServerOptions,
    mount_point: PathBuf,
    /// Path of `mount_point` in the pool.
    root: PoolPath,
    name: String,
    own: Option<Own>,
}

/// A server of the demo's own.
struct Own {
    daemon: Daemon,
    directory: PathBuf,
}

impl Stage {
    /// Finds a mount of the running server, or starts one.
    pub(super) fn set(context: &Context) -> Outcome<Self> {
        let name = format!("{NAME}-{}", std::process::id());
        if let Some((mount_point, root)) = mounted(context) {
            return Ok(Self { server: context.server.clone(), mount_point, root, name, own: None });
        }
        if let Some(why) = impossible() {
            return Err(Failure::new(format!(
                "the demo needs a mount, and this machine cannot mount: {why}"
            )));
        }
        let directory = std::env::temp_dir().join(&name);
        let failed = |error: std::io::Error| {
            Failure::new(format!("the temporary directory {} cannot be made: {error}", directory.display()))
        };
        let mount_point = directory.join("mount");
        std::fs::create_dir(&directory).and_then(|()| std::fs::create_dir(&mount_point)).map_err(failed)?;
        context.output.note(&format!(
            "No server with a mount was found; a temporary one plays in {}.",
            directory.display()
        ));
        let started =
            Daemon::start(&Settings::embedded(&directory.join("data")), OpenMode::Create, None, false);
        let daemon = match started {
            Ok(daemon) => daemon,
            Err(failure) => {
                let _ = std::fs::remove_dir_all(&directory);
                return Err(failure);
            }
        };
        let server = ServerOptions {
            server: Some(format!("unix:{}", daemon.socket().display())),
            ..ServerOptions::default()
        };
        let made = daemon.mount(&mount_point);
        let stage =
            Self { server, mount_point, root: PoolPath::root(), name, own: Some(Own { daemon, directory }) };
        match made {
            Ok(_) => Ok(stage),
            Err(failure) => {
                let _ = stage.clear(context);
                Err(failure)
            }
        }
    }

    /// Where it plays, for a person.
    pub(super) fn place(&self) -> String {
        self.local().display().to_string()
    }

    /// The directory of the demo in the pool.
    pub(super) fn directory(&self) -> PoolPath {
        self.root.join(self.name.as_bytes()).unwrap_or_else(|_| PoolPath::root())
    }

    /// The name of its snapshot.
    pub(super) fn snapshot(&self) -> &str {
        &self.name
    }

    /// A client of the server.
    pub(super) fn client(&self) -> Outcome<Client> {
        self.server.client(&[])
    }

    fn local(&self) -> PathBuf {
        self.mount_point.join(&self.name)
    }

    fn file(&self, index: u64) -> PathBuf {
        self.local().join(format!("part-{:02}", index % 16)).join(format!("file-{index:04}"))
    }

    /// Writes files with `bytes` in all and returns a hash of them.
    pub(super) fn write(&self, files: u64, bytes: u64) -> Outcome<u64> {
        let failed =
            |error: std::io::Error| Failure::new(format!("cannot write below {}: {error}", self.place()));
        let mut hash = std::hash::DefaultHasher::new();
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        for index in 0..files {
            let path = self.file(index);
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
            let mut file = File::create_new(path).map_err(failed)?;
            let mut left = (bytes / files) as usize;
            while left > 0 {
                let piece = noise.piece(left.min(PIECE_BYTES));
                hash.write(&piece);
                file.write_all(&piece).map_err(failed)?;
                left -= piece.len();
            }
        }
        Ok(hash.finish())
    }

    /// Reads the files again and returns the hash of them.
    pub(super) fn read(&self, files: u64) -> Outcome<u64> {
        let failed =
            |error: std::io::Error| Failure::new(format!("cannot read below {}: {error}", self.place()));
        let mut hash = std::hash::DefaultHasher::new();
        let mut piece = vec![0; PIECE_BYTES];
        for index in 0..files {
            let mut file = File::open(self.file(index)).map_err(failed)?;
            loop {
                let length = file.read(&mut piece).map_err(failed)?;
                if length == 0 {
                    break;
                }
                hash.write(&piece[..length]);
            }
        }
        Ok(hash.finish())
    }

    /// Removes the directory as `rm -r` does.
    pub(super) fn lose(&self) -> Outcome {
        std::fs::remove_dir_all(self.local())
            .map_err(|error| Failure::new(format!("cannot remove {}: {error}", self.place())))
    }

    /// Removes all that the demo made.
    pub(super) fn clear(self, context: &Context) -> Outcome {
        if let Some(Own { daemon, directory }) = self.own {
            let stopped = daemon.stop(&context.output);
            let removed = std::fs::remove_dir_all(&directory)
                .map_err(|error| Failure::new(format!("cannot remove {}: {error}", directory.display())));
            return stopped.and(removed);
        }
        let client = self.client()?;
        interruptible(async {
            // Whichever is not there was not made, or is gone already.
            let removed = client.remove(&self.directory(), true).await;
            let deleted = client.delete_snapshots(&[self.name.clone().into_bytes()]).await;
            for failure in removed.err().into_iter().chain(deleted.err()).map(Failure::from) {
                if !failure.is(offshoot_control::Kind::Engine(offshoot_engine::ErrorKind::NotFound)) {
                    return Err(failure);
                }
            }
            Ok(())
        })
    }
}

/// A mount on this machine of the server that the command line means.
fn mounted(context: &Context) -> Option<(PathBuf, PoolPath)> {
    let client = context.server.client(&[]).ok()?;
    if !matches!(client.address(), Address::Unix(_)) {
        return None;
    }
    let status = interruptible(async { Ok(client.status().await?) }).ok()?;
    let mounts = mount::offshoot_mounts().ok()?;
    let ours = mounts.into_iter().find(|mount| {
        mount.source.as_bytes() == status.server.source.as_bytes() && !mount.read_only && !mount.is_dead()
    })?;
    let root = PoolPath::parse(ours.root.as_os_str().as_bytes()).ok()?;
    tracing::debug!(mount = %ours.mount_point.display(), root = %text(root.as_bytes()), "the demo plays in a mount");
    Some((ours.mount_point, root))
}

/// Bytes that do not compress, the same in every run (xorshift64).
struct Noise(u64);

impl Noise {
    fn piece(&mut self, length: usize) -> Vec<u8> {
        let mut piece = Vec::with_capacity(length + 8);
        while piece.len() < length {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            piece.extend_from_slice(&self.0.to_le_bytes());
        }
        piece.truncate(length);
        piece
    }
}
