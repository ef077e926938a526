//! A temporary directory for one step, and a directory on ext4 to compare with.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cleanup::{Guard, Undo};
use crate::mounts::{self, Disk};

/// Size of the image that stands in where temporary files are not on ext4.
const EXT4_BYTES: u64 = 8 << 30;

/// A directory that everybody may enter, gone when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    _guard: Guard,
}

impl Place {
    /// Makes one; its name tells the step and this process.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir()
            .canonicalize()
            .context("the directory for temporary files does not exist")?
            .join(format!("offshoot-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { _guard: Guard::new(Undo::Directory(path.clone())), path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// A directory on ext4: in `place` if temporary files are on ext4, else on an image in it.
pub(crate) struct Ext4 {
    dir: PathBuf,
    _disk: Option<Disk>,
}

impl Ext4 {
    pub(crate) fn new(place: &Place) -> Result<Self> {
        let disk = match mounts::kind_of(place.path()).as_str() {
            "ext4" => None,
            _ => Some(Disk::make(place.path(), "ext4", EXT4_BYTES, &["mkfs.ext4", "-q", "-F"])?),
        };
        let dir = disk.as_ref().map_or(place.path(), Disk::point).join("local");
        std::fs::create_dir(&dir)?;
        Ok(Self { dir, _disk: disk })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}
