//! Where a pool in a bucket is cached on this machine, and how large that may become if nobody says so.
//!
//! By itself the cache is beside the log, in a directory that is of this bucket alone. A pool in a local directory or in
//! memory has none.

use std::path::{Path, PathBuf};

use offshoot_engine::DiskCacheSettings;

use crate::settings::{DISK_BYTES_MIN, Place, Settings};

/// The most that is taken without being asked to, in bytes.
const MOST_BYTES: u64 = 10 << 30;
/// Directory of the cache below the directory with the log.
const CACHE: &str = "cache";
/// Characters of a url that the name of a directory has.
const NAME_CHARS_MAX: usize = 200;

/// The disk cache of the pool that these settings are of.
pub(super) fn choose(settings: &Settings) -> Option<DiskCacheSettings> {
    let cache = &settings.cache;
    let Place::Bucket(bucket) = &settings.storage.place else {
        if cache.disk_directory.is_some() || cache.disk_bytes.is_some_and(|bytes| bytes > 0) {
            tracing::warn!(
                "only a pool in a bucket has a disk cache; cache.dir and cache.disk_size_gb are not used"
            );
        }
        return None;
    };
    let directory = match &cache.disk_directory {
        Some(directory) => directory.join(name(&settings.storage.place.url())),
        None => bucket.state_directory.join(CACHE),
    };
    let size_bytes = match cache.disk_bytes {
        Some(0) => return None,
        Some(bytes) => bytes,
        None => default_bytes(free_bytes(&directory)?, held_bytes(&directory)),
    };
    if size_bytes < DISK_BYTES_MIN {
        tracing::warn!(
            ?directory,
            "there is too little free space for a disk cache; the pool works without it"
        );
        return None;
    }
    Some(DiskCacheSettings { directory, size_bytes })
}

/// Half of what is free, were there no cache.
fn default_bytes(free: u64, held: u64) -> u64 {
    (free.saturating_add(held) / 2).min(MOST_BYTES)
}

/// The name of a url's directory. Where two have the same, the engine keeps their pools apart.
fn name(url: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let mut name: Vec<char> = url.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    name.drain(..name.len().saturating_sub(NAME_CHARS_MAX));
    name.into_iter().collect()
}

/// Free bytes where a directory is or will be, if that can be told.
fn free_bytes(directory: &Path) -> Option<u64> {
    let place = directory.ancestors().find(|ancestor| ancestor.exists())?;
    let space = rustix::fs::statvfs(place).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Bytes of the files in a directory and in those right below it.
fn held_bytes(directory: &Path) -> u64 {
    let files = |directory: PathBuf| std::fs::read_dir(directory).into_iter().flatten().flatten();
    let bytes = |entry: std::fs::DirEntry| entry.metadata().map_or(0, |metadata| metadata.len());
    files(directory.to_owned())
        .map(|entry| if entry.path().is_dir() { files(entry.path()).map(bytes).sum() } else { bytes(entry) })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(text: &str) -> Option<DiskCacheSettings> {
        choose(&Settings::parse(Path::new("x.toml"), text, |_| None).unwrap())
    }

    #[test]
    fn a_pool_in_a_bucket_has_one_beside_its_log() {
        let state = tempfile::tempdir().unwrap();
        let storage = format!("[storage]\nurl = \"s3://b/p\"\nstate_dir = \"{}\"\n", state.path().display());
        let chosen = choice(&storage).unwrap();
        assert_eq!(chosen.directory, state.path().join("cache"));
        assert!((DISK_BYTES_MIN..=MOST_BYTES).contains(&chosen.size_bytes));
        let given = choice(&format!("{storage}[cache]\ndir = \"/c\"\ndisk_size_gb = 2.5")).unwrap();
        assert_eq!(given.directory, Path::new("/c/s3___b_p"));
        assert_eq!(given.size_bytes, 5 << 29);
        assert_eq!(choice(&format!("{storage}[cache]\ndisk_size_gb = 0")), None);
    }

    #[test]
    fn a_local_pool_has_none() {
        assert_eq!(choice("[storage]\nurl = \"file:///tmp/pool\""), None);
        assert_eq!(choice("[storage]\nurl = \"memory:\"\n[cache]\ndir = \"/c\"\ndisk_size_gb = 2"), None);
    }

    #[test]
    fn a_restart_does_not_halve_it() {
        let before = default_bytes(8 << 30, 0);
        assert_eq!(before, 4 << 30);
        assert_eq!(default_bytes(4 << 30, before), before);
        assert_eq!(default_bytes(1 << 40, 0), MOST_BYTES);
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(held_bytes(&directory.path().join("missing")), 0);
        std::fs::create_dir(directory.path().join("pool")).unwrap();
        std::fs::write(directory.path().join("pool/frames-1"), [0; 1000]).unwrap();
        assert_eq!(held_bytes(directory.path()), 1000);
    }

    #[test]
    fn a_long_url_has_a_name_that_a_directory_can_have() {
        assert_eq!(name(&format!("s3://b/{}", "ä".repeat(300))).len(), NAME_CHARS_MAX);
    }
}
