//! What a pool lives on: a directory, a bucket with a directory for its log, or memory. The log can be among the objects instead.
//!
//! The directory of a bucket's pool names the bucket. Its log holds what was synced since the last checkpoint, so one that belongs to
//! another pool must never be taken for this one's.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use offshoot_bucket::{BucketStore, Depth};
use offshoot_engine::log::{FileLog, LogStore, MemoryLog, ObjectLog};
use offshoot_engine::object::{LocalStore, MemoryStore, ObjectStore};
use offshoot_engine::{OpenMode, Random, Storage};
use tokio::runtime::Handle;

use super::lock::PoolLock;
use crate::failure::{Failure, Outcome};
use crate::settings::{Bucket, Durability, Place, Storage as Wanted};
use crate::stores::{OBJECTS, Stores, make_private};

/// Size at which log files are kept for their next use.
const LOG_FILE_BYTES: u64 = 64 << 20;

/// Directory of the log below a pool's directory.
const LOG: &str = "log";
/// File with the lock of a pool's directory.
const LOCK: &str = "lock";
/// File with the url of the bucket whose log is here.
const URL: &str = "url";
/// Names of manifests in a bucket: where there is one, there is a pool.
const MANIFESTS: &str = "manifests/";

/// What a pool lives on, opened.
pub(super) struct Ground {
    pub(super) storage: Storage,
    pub(super) lock: Option<PoolLock>,
    /// There was nothing before.
    pub(super) is_new: bool,
}

impl Ground {
    /// Opens it. Requests to a bucket run on `runtime`.
    pub(super) fn open(wanted: &Wanted, mode: OpenMode, runtime: &Handle) -> Outcome<Self> {
        match &wanted.place {
            Place::Memory => {
                let storage =
                    Storage { objects: Arc::new(MemoryStore::new()), log: Arc::new(MemoryLog::new()) };
                Ok(Self { storage, lock: None, is_new: true })
            }
            Place::Directory(directory) => Self::local(wanted, directory, mode, runtime),
            Place::Bucket(bucket) => Self::bucket(wanted, bucket, mode, runtime),
        }
    }

    fn local(wanted: &Wanted, directory: &Path, mode: OpenMode, runtime: &Handle) -> Outcome<Self> {
        let Wanted { place, durability, .. } = wanted;
        let is_new = !has_pool(directory)?;
        if is_new && mode == OpenMode::Existing {
            return Err(no_pool(place));
        }
        let lock = lock(directory)?;
        make_private(&directory.join(OBJECTS)).map_err(|error| unmade(directory, &error))?;
        let own = Arc::new(LocalStore::open(directory.join(OBJECTS))?);
        let objects = Stores::beside(Some(place), runtime.clone()).whole(own, &place.url())?;
        let log = log(*durability, directory, &objects)?;
        let storage = Storage { objects, log };
        Ok(Self { storage, lock: Some(lock), is_new })
    }

    fn bucket(wanted: &Wanted, bucket: &Bucket, mode: OpenMode, runtime: &Handle) -> Outcome<Self> {
        let Wanted { place, durability, .. } = wanted;
        let directory = &bucket.state_directory;
        let url = place.url();
        check_url(directory, &url)?;
        let settings = bucket.with_environment();
        let refused = |error: offshoot_bucket::ConnectError| Failure::usage(error.to_string());
        let first = BucketStore::impatient(&settings, runtime.clone()).map_err(refused)?;
        let is_new =
            runtime.block_on(first.list(MANIFESTS)).map_err(|error| cannot_open(&url, error))?.is_empty();
        if is_new && mode == OpenMode::Existing {
            return Err(no_pool(place));
        }
        if !bucket.accept_unfit {
            let depth = if is_new { Depth::Whole } else { Depth::Brief };
            runtime.block_on(first.require_fit(depth)).map_err(|error| cannot_open(&url, error))?;
        }
        let lock = lock(directory)?;
        write_url(directory, &url).map_err(|error| unmade(directory, &error))?;
        let own = Arc::new(BucketStore::new(&settings, runtime.clone()).map_err(refused)?);
        let objects = Stores::beside(Some(place), runtime.clone()).whole(own, &url)?;
        let log = log(*durability, directory, &objects)?;
        let storage = Storage { objects, log };
        Ok(Self { storage, lock: Some(lock), is_new })
    }
}

/// The log of a pool whose directory on this machine is `directory`.
fn log(
    durability: Durability,
    directory: &Path,
    objects: &Arc<dyn ObjectStore>,
) -> Outcome<Arc<dyn LogStore>> {
    match durability {
        Durability::Local => {
            make_private(&directory.join(LOG)).map_err(|error| unmade(directory, &error))?;
            Ok(Arc::new(FileLog::open(directory.join(LOG), LOG_FILE_BYTES)?))
        }
        Durability::Store => Ok(Arc::new(ObjectLog::new(Arc::clone(objects), Random::system().number()))),
    }
}

/// True if there is a pool on this machine, false if one can be made; of a bucket nothing is known without asking it.
pub(super) fn holds_pool(place: &Place) -> Outcome<bool> {
    match place {
        Place::Memory | Place::Bucket(_) => Ok(false),
        Place::Directory(directory) => has_pool(directory),
    }
}

pub(super) fn no_pool(place: &Place) -> Failure {
    let at = match place {
        Place::Memory => "memory".into(),
        Place::Directory(directory) => directory.display().to_string(),
        Place::Bucket(_) => place.url(),
    };
    Failure::no_pool(format!("there is no pool in {at}")).advise("without --no-create, a new one is made")
}

fn cannot_open(url: &str, error: offshoot_engine::Error) -> Failure {
    let failure = Failure::from(error);
    Failure { message: format!("cannot open the pool at {url}: {}", failure.message), ..failure }
}

fn lock(directory: &Path) -> Outcome<PoolLock> {
    std::fs::create_dir_all(directory).map_err(|error| unmade(directory, &error))?;
    PoolLock::take(directory, LOCK)
}

fn unmade(directory: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("the pool's directory {} cannot be made: {error}", directory.display()))
}

/// Refuses a directory that belongs to another pool.
fn check_url(directory: &Path, url: &str) -> Outcome {
    let shown = directory.display();
    match std::fs::read_to_string(directory.join(URL)) {
        Ok(other) if other.trim() == url => Ok(()),
        Ok(other) => Err(Failure::no_pool(format!(
            "{shown} has the log of the pool at {}, and not of {url}",
            other.trim()
        ))
        .advise("name another directory, by storage.state_dir or --data")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let has_log =
                std::fs::read_dir(directory.join(LOG)).is_ok_and(|mut entries| entries.next().is_some());
            if !has_pool(directory)? && !has_log {
                return Ok(());
            }
            Err(Failure::no_pool(format!("{shown} has a pool or a log of its own, and not the log of {url}"))
                .advise("name another directory, by storage.state_dir or --data"))
        }
        Err(error) => Err(Failure::no_pool(format!("the directory {shown} cannot be read: {error}"))),
    }
}

/// Notes durably whose log is here.
fn write_url(directory: &Path, url: &str) -> std::io::Result<()> {
    if directory.join(URL).exists() {
        return Ok(());
    }
    let (new, path) = (directory.join("url-new"), directory.join(URL));
    let mut file = std::fs::File::create(&new)?;
    writeln!(file, "{url}")?;
    file.sync_all()?;
    std::fs::rename(&new, &path)?;
    std::fs::File::open(directory)?.sync_all()
}

/// True if `directory` holds a pool, false if one can be made there.
fn has_pool(directory: &Path) -> Outcome<bool> {
    let shown = directory.display();
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            return Err(Failure::no_pool(format!("the pool's directory {shown} cannot be read: {error}")));
        }
    };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    let has = |name: &str| names.iter().any(|other| other == name);
    if has(OBJECTS) {
        let empty =
            std::fs::read_dir(directory.join(OBJECTS)).is_ok_and(|mut entries| entries.next().is_none());
        return Ok(!empty);
    }
    if let Ok(url) = std::fs::read_to_string(directory.join(URL)) {
        let url = url.trim();
        return Err(Failure::no_pool(format!("{shown} has the log of the pool at {url}"))
            .advise(format!("`offshoot up --url {url}` opens it; or name another directory")));
    }
    // A start that was broken off leaves these behind.
    let ours = [LOCK, LOG, "url-new", crate::connection::SOCKET_NAME];
    match names.iter().find(|name| !ours.iter().any(|our| *name == our)) {
        None => Ok(false),
        Some(other) => Err(Failure::no_pool(format!(
            "{shown} is no pool: it holds other things, such as {}",
            other.display()
        ))
        .advise("name an empty directory, or one that does not exist yet")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_directory_with_other_things_in_it_is_no_pool() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!has_pool(&directory.path().join("missing")).unwrap());
        assert!(!has_pool(directory.path()).unwrap());
        std::fs::write(directory.path().join(LOCK), "").unwrap();
        assert!(!has_pool(directory.path()).unwrap());
        std::fs::write(directory.path().join("letter.txt"), "").unwrap();
        let failure = has_pool(directory.path()).unwrap_err();
        assert_eq!(failure.exit, Exit::NoPool);
        assert!(failure.message.contains("letter.txt"));
        std::fs::create_dir_all(directory.path().join("pool/segments")).unwrap();
        assert!(has_pool(directory.path()).unwrap());
    }

    #[test]
    fn a_log_is_never_taken_for_that_of_another_pool() {
        let directory = tempfile::tempdir().unwrap();
        check_url(&directory.path().join("missing"), "s3://b/p").unwrap();
        check_url(directory.path(), "s3://b/p").unwrap();
        write_url(directory.path(), "s3://b/p").unwrap();
        write_url(directory.path(), "s3://b/p").unwrap();
        check_url(directory.path(), "s3://b/p").unwrap();
        let failure = check_url(directory.path(), "s3://b/other").unwrap_err();
        assert!(failure.message.contains("the log of the pool at s3://b/p"), "{failure}");
        let failure = has_pool(directory.path()).unwrap_err();
        assert!(failure.advice.unwrap().contains("offshoot up --url s3://b/p"));
        let local = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(local.path().join("pool/segments")).unwrap();
        assert!(check_url(local.path(), "s3://b/p").unwrap_err().message.contains("of its own"));
        let started = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(started.path().join(LOG)).unwrap();
        check_url(started.path(), "s3://b/p").unwrap();
        std::fs::write(started.path().join(LOG).join("log-1"), "").unwrap();
        assert!(check_url(started.path(), "s3://b/p").unwrap_err().message.contains("a log of its own"));
    }
}
