//! Real source trees: unpacked on the mount, cloned, compared byte by byte, and built inside the clone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Setting, on_server};
use crate::{program, workspace};

const LIMIT: Duration = Duration::from_secs(10 * 60);
/// Unpacked trees, and bytes of their archives.
const TREES_MAX: usize = 60;
const ARCHIVES_BYTES: u64 = 24 << 20;

/// Unpacks, clones, compares, builds, compares again.
pub(crate) fn run(setting: &Setting) -> Result<String> {
    let archives = archives()?;
    on_server(setting, "trees", |server, _| {
        let original = server.mount().join("original");
        std::fs::create_dir(&original)?;
        for archive in &archives {
            unpack(archive, &original)?;
        }
        let before = digest(&original)?;
        server.clone_path("/original", "/clone")?;
        let clone = server.mount().join("clone");
        same(&original, &clone)?;

        let built = build(&clone)?;
        ensure!(digest(&original)? == before, "building in the clone changed the original");
        // Back to what it was, the clone equals the original again.
        std::fs::remove_dir_all(clone.join(&built).join("target"))?;
        restore(&original.join(&built), &clone.join(&built))?;
        same(&original, &clone)?;

        std::fs::remove_dir_all(&clone)?;
        ensure!(digest(&original)? == before, "removing the clone changed the original");
        Ok(format!("{} trees cloned and compared, {built} built in the clone", archives.len()))
    })
}

/// Archives of crates that cargo has downloaded: those that can be built alone first, then others up to the bounds.
pub(crate) fn archives() -> Result<Vec<PathBuf>> {
    let cache = workspace::cargo_home()?.join("registry/cache");
    let mut found = Vec::new();
    for registry in std::fs::read_dir(&cache).with_context(|| format!("no {}", cache.display()))? {
        for entry in std::fs::read_dir(registry?.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "crate") {
                found.push(path);
            }
        }
    }
    let is_alone = |path: &PathBuf| {
        path.file_name().is_some_and(|name| ALONE.iter().any(|(alone, _)| starts(name, alone)))
    };
    found.sort_by_key(|path| (!is_alone(path), path.clone()));
    let mut bytes = 0;
    found.truncate(TREES_MAX);
    found.retain(|path| {
        let size = path.metadata().map_or(0, |metadata| metadata.len());
        bytes += size;
        is_alone(path) || bytes <= ARCHIVES_BYTES
    });
    ensure!(!found.is_empty(), "cargo has downloaded no crate into {}", cache.display());
    Ok(found)
}

fn starts(name: &std::ffi::OsStr, alone: &str) -> bool {
    let rest =
        name.to_str().and_then(|name| name.strip_prefix(alone)).and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// Crates without any dependency that the workspace itself brings along, and the edition they are written in.
const ALONE: &[(&str, &str)] =
    &[("memchr", "2021"), ("smallvec", "2018"), ("itoa", "2021"), ("siphasher", "2018")];

pub(crate) fn unpack(archive: &Path, into: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    program::output(command.arg("-xzf").arg(archive).arg("-C").arg(into), LIMIT).map(drop)
}

/// Builds the first crate that can be built alone with cargo, offline, and returns its directory's name.
fn build(tree: &Path) -> Result<String> {
    let (name, folder, edition) = alone_in(tree)?;
    let dir = tree.join(&folder);
    strip_manifest(&dir, name, edition)?;
    build_crate(&dir)?;
    let library = dir.join("target/debug").join(format!("lib{name}.rlib"));
    ensure!(library.is_file(), "the build of {folder} left no library");
    Ok(folder)
}

/// A crate in `tree` that can be built alone: its name, its directory's name, its edition.
pub(crate) fn alone_in(tree: &Path) -> Result<(&'static str, String, &'static str)> {
    let mut names: Vec<String> =
        std::fs::read_dir(tree)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    for (alone, edition) in ALONE {
        if let Some(folder) = names.iter().find(|name| starts(name.as_ref(), alone)) {
            return Ok((alone, folder.clone(), edition));
        }
    }
    bail!("none of the crates that can be built alone is among {names:?}")
}

/// Replaces the manifest by one without dependencies: even those for tests would be looked up in the registry.
pub(crate) fn strip_manifest(dir: &Path, name: &str, edition: &str) -> Result<()> {
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"{edition}\"\n\
         [features]\nalloc = []\nstd = [\"alloc\"]\n[workspace]\n[lib]\npath = \"src/lib.rs\"\n"
    );
    for unwanted in ["Cargo.lock", "build.rs", "rust-toolchain", "rust-toolchain.toml"] {
        let path = dir.join(unwanted);
        if path.exists() {
            std::fs::remove_file(path)?;
        }
    }
    std::fs::write(dir.join("Cargo.toml"), manifest).map_err(Into::into)
}

/// Builds the crate in `dir`; everything that the build writes stays below it. Returns how long it took.
pub(crate) fn build_crate(dir: &Path) -> Result<Duration> {
    let start = Instant::now();
    let mut command = workspace::cargo();
    command.current_dir(dir).env("CARGO_TARGET_DIR", dir.join("target"));
    // The outer cargo's flags are not meant for this build.
    command.env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTFLAGS").args([
        "build",
        "--offline",
        "--quiet",
    ]);
    program::output(&mut command, LIMIT)?;
    Ok(start.elapsed())
}

/// Makes `copy` what `original` is, file by file.
fn restore(original: &Path, copy: &Path) -> Result<()> {
    std::fs::remove_dir_all(copy)?;
    program::output(Command::new("cp").arg("-a").arg(original).arg(copy), LIMIT).map(drop)
}

fn same(first: &Path, second: &Path) -> Result<()> {
    program::output(Command::new("diff").args(["-r", "--no-dereference"]).arg(first).arg(second), LIMIT)
        .map(drop)
}

/// One line per file: names, types, modes, sizes, times and content.
fn digest(tree: &Path) -> Result<String> {
    let script = r#"find . -printf '%p %y %m %U %G %s %T@ %l\n' | LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum"#;
    program::output(Command::new("sh").args(["-euc", script]).current_dir(tree), LIMIT)
}

#[cfg(test)]
mod tests {
    use super::starts;

    #[test]
    fn crate_names_match_up_to_their_version() {
        assert!(starts("memchr-2.7.4.crate".as_ref(), "memchr"));
        assert!(!starts("memchr-extra-2.7.4".as_ref(), "memchr"));
    }
}
