//! Clones of whole trees through the command line, against `cp -r --reflink=always` on XFS and snapshots on btrfs; and the server's
//! memory once the largest tree is there.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::files::create_files;
use super::row::{Goal, Row, bytes, seconds};
use super::{Bench, median, timed};
use crate::mounts::Disk;
use crate::place::Place;
use crate::program;

const LIMIT: Duration = Duration::from_secs(600);
const FILE_BYTES: usize = 100;
/// Beyond this a copy takes too long to be measured several times.
const COPY_FILES_MAX: u64 = 100_000;

pub(super) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let sizes: &[u64] = bench.size(&[1_000, 100_000, 1_000_000], &[1_000, 10_000]);
    let rounds = bench.size(5, 3);
    let place = Place::new("bench-tree-clones")?;
    let copies: Vec<u64> = sizes.iter().copied().filter(|files| *files <= COPY_FILES_MAX).collect();
    let on_xfs = {
        let xfs = Disk::make(place.path(), "xfs", 8 << 30, &["mkfs.xfs", "-q", "-m", "reflink=1"])?;
        measure(
            xfs.point(),
            &copies,
            rounds,
            |dir| std::fs::create_dir(dir).map_err(Into::into),
            |from, to| {
                program::output(Command::new("cp").args(["-r", "--reflink=always"]).arg(from).arg(to), LIMIT)
                    .map(drop)
            },
        )?
    };
    let on_btrfs = {
        let btrfs = Disk::make(place.path(), "btrfs", 12 << 30, &["mkfs.btrfs", "-q", "-m", "single"])?;
        let subvolume = |word: &str, paths: &[&Path]| {
            program::output(Command::new("btrfs").args(["subvolume", word]).args(paths), LIMIT).map(drop)
        };
        measure(
            btrfs.point(),
            sizes,
            rounds,
            |dir| subvolume("create", &[dir]),
            |from, to| subvolume("snapshot", &[from, to]),
        )?
    };
    let server = bench.serve(&place)?;
    let in_pool = |path: &Path| format!("/{}", path.file_name().unwrap_or_default().to_string_lossy());
    let ours = measure(
        server.mount(),
        sizes,
        rounds,
        |dir| std::fs::create_dir(dir).map_err(Into::into),
        |from, to| server.clone_path(&in_pool(from), &in_pool(to)),
    )?;
    let (resident, most) = server.resident_bytes()?;
    server.stop()?;

    let mut rows = Vec::new();
    for (at, files) in sizes.iter().enumerate() {
        let (what, ours) = (format!("clone of {files} files"), seconds(ours[at]));
        if let Some(copy) = on_xfs.get(at) {
            rows.push(Row::against(
                &what,
                ours,
                "cp -r --reflink=always on XFS",
                seconds(*copy),
                Goal::RatioAtMost(0.33),
            ));
        }
        rows.push(Row::against(
            &what,
            ours,
            "btrfs subvolume snapshot",
            seconds(on_btrfs[at]),
            Goal::AtMost(0.010),
        ));
    }
    if let (Some(first), Some(last)) = (ours.first(), ours.last()) {
        let what = format!("clone of {} files", sizes[sizes.len() - 1]);
        let other = format!("clone of {} files", sizes[0]);
        rows.push(Row::against(what, seconds(*last), &other, seconds(*first), Goal::RatioAtMost(1.2)));
    }
    let files: u64 = sizes.iter().sum();
    rows.push(Row::alone(format!("resident memory with {files} files"), bytes(resident as f64), Goal::None));
    rows.push(Row::alone("the most it was", bytes(most as f64), Goal::None));
    Ok(rows)
}

/// The median time of a clone for each size of tree. Trees are on the disk before a clone is timed.
fn measure(
    base: &Path,
    sizes: &[u64],
    rounds: usize,
    make: impl Fn(&Path) -> Result<()>,
    clone: impl Fn(&Path, &Path) -> Result<()>,
) -> Result<Vec<Duration>> {
    let mut medians = Vec::new();
    for files in sizes {
        let tree = base.join(format!("tree-{files}"));
        make(&tree)?;
        create_files(&tree, *files, FILE_BYTES)?;
        rustix::fs::sync();
        let mut times = Vec::new();
        for round in 0..rounds {
            let to = base.join(format!("clone-{files}-{round}"));
            times.push(timed(|| clone(&tree, &to))?.0);
            rustix::fs::sync();
        }
        medians.push(median(times));
    }
    Ok(medians)
}
