//! Files that were written in small pieces are put together again.
//!
//! A *window* is 128 KiB of a file, at a multiple of that: as much as one frame holds. A window that is made of many frames,
//! or whose frames are mostly dead, is written anew as one frame. That is an operation like any other: it goes through the
//! log, and is executed only if the window still has exactly the extents that were read. It changes no byte, no hole,
//! no size and no time.
//!
//! What a window shares is told by the counts of the newest manifest ([`Base`]); what was cloned since then is remembered
//! in [`RecentClones`]. Where to look is in [`Fragments`]: writes and reads note what they meet. Nothing is
//! searched for, but by [`everything`], which is part of a collection that somebody asked for.

mod clones;
mod fragments;
mod rewrite;
mod rule;
mod walk;
mod window;

use std::sync::Arc;

use crate::checkpoint::{Done, checkpoint};
use crate::content::WINDOW_BYTES;
use crate::namespace::Trail;
use crate::pool::Inner;
use crate::record::{Content, Entry, Inode};
use crate::refcount::Counts;
use crate::report::DefragmentReport;
use crate::segment::Pinned;
use crate::usage::find_exclusive;
use crate::{Error, ErrorKind, Ino, Kind, Result};

pub(crate) use clones::RecentClones;
pub(crate) use fragments::Fragments;
use fragments::{Ranges, Suspect};
use rewrite::Rewriter;
pub(crate) use window::Piece;

/// Bytes that one step of the background writes anew. Steps are at least 200 ms apart.
const STEP_BYTES: u64 = 1 << 20;
/// Windows that one step of the background looks at.
const STEP_WINDOWS: u64 = 2048;
/// Space that is left alone beside twice the reserve: what is written anew frees its old place only later.
const ROOM_BYTES: u64 = 16 << 20;

/// The state as the newest manifest has it, where every count is known.
struct Base {
    root: Inode,
    counts: Counts,
    /// The checkpoint interval that ended with it.
    interval: u64,
    /// Keeps its items from being deleted.
    _pin: Arc<()>,
}

impl Base {
    /// `None` while operations of the log are part of no checkpoint yet.
    async fn take(inner: &Inner) -> Option<Base> {
        let checkpointer = inner.checkpointer.lock().await;
        let interval = checkpointer.counted?;
        let manifest = &checkpointer.manifest;
        let (root, counts) = (manifest.root.clone(), Counts::of_manifest(manifest));
        Some(Base { root, counts, interval, _pin: inner.pin() })
    }

    /// The inode at the end of a trail, if nothing else leads to anything on the way.
    async fn find(&self, inner: &Inner, trail: &Trail) -> Result<Option<Inode>> {
        if trail.orphan {
            return Ok(None);
        }
        let nodes = Pinned::new(&inner.items);
        let mut inode = self.root.clone();
        for key in &trail.keys {
            let entries = inode.directory().and_then(|directory| directory.entries.clone());
            match find_exclusive(inner, &entries, key, &self.counts, &nodes).await? {
                Some(Entry::Inode(next)) => inode = Arc::unwrap_or_clone(next),
                _ => return Ok(None),
            }
        }
        let Some(key) = &trail.side else { return Ok(Some(inode)) };
        let side = inode.directory().and_then(|directory| directory.realm.as_ref()?.side.clone());
        let found = find_exclusive(inner, &side, key, &self.counts, &nodes).await?;
        Ok(found.map(Arc::unwrap_or_clone))
    }
}

/// How far a search goes at one go.
enum Pace {
    /// A step of the background: so many bytes and windows.
    Step { bytes: u64, windows: u64 },
    /// To the end; whoever asked waits.
    Now,
}

/// One step in the background: looks at a part of what was noted.
pub(crate) async fn step(inner: &Inner) -> Result<()> {
    let quiet_before = {
        let mut fragments = inner.fragments.lock();
        let (now, interval) = (inner.clock.monotonic(), inner.settings.checkpoint_interval);
        fragments.begin_round(now, interval, inner.items.next_segment());
        if !fragments.is_due() {
            return Ok(());
        }
        fragments.quiet_before()
    };
    let Some(base) = Base::take(inner).await else { return Ok(()) };
    let pace = Pace::Step { bytes: STEP_BYTES, windows: STEP_WINDOWS };
    let mut rewriter = Rewriter::new(inner, base, pace, quiet_before);
    while rewriter.may_go_on().await? {
        let Some((ino, mut suspect)) = inner.fragments.lock().next_due() else { break };
        rewriter.begin_file();
        let result = known_file(&mut rewriter, ino, &mut suspect).await;
        let mut fragments = inner.fragments.lock();
        if !rewriter.busy.is_empty() {
            fragments.note_again(ino, suspect.trail.clone(), std::mem::take(&mut rewriter.busy));
        }
        if rewriter.was_interrupted() {
            fragments.go_on_with(ino, suspect);
        }
        drop(fragments);
        match result {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::warn!(%error, "a fragmented file cannot be read and is left alone");
            }
            other => other?,
        }
    }
    Ok(())
}

async fn known_file(rewriter: &mut Rewriter<'_>, ino: Ino, suspect: &mut Suspect) -> Result<()> {
    let found = rewriter.base.find(rewriter.inner, &suspect.trail).await?;
    match found.filter(|inode| inode.number == ino.number()) {
        Some(inode) => rewriter.file(Some(ino), &suspect.trail, &inode.content, &mut suspect.ranges).await,
        None => Ok(()),
    }
}

/// Puts the windows of one file together, now.
pub(crate) async fn one_file(inner: &Inner, ino: Ino) -> Result<DefragmentReport> {
    let trail = inner
        .view(|view, locations| {
            let trail = locations.trail(ino)?;
            match view.inode(&trail)?.0.kind {
                Kind::File => Ok(trail),
                Kind::Directory => Err(ErrorKind::IsDirectory.into()),
                _ => Err(Error::new(ErrorKind::Invalid, "only regular files have content").into()),
            }
        })
        .await?;
    checkpoint(inner, false).await?;
    let mut report = DefragmentReport::default();
    if let Some(base) = Base::take(inner).await
        && let Some(inode) = base.find(inner, &trail).await?
        && inode.number == ino.number()
    {
        let mut rewriter = Rewriter::new(inner, base, Pace::Now, u64::MAX);
        let mut ranges = Ranges::all();
        rewriter.file(Some(ino), &trail, &inode.content, &mut ranges).await?;
        report = rewriter.report;
    }
    Ok(report)
}

/// Puts the windows of all files together that are not shared, now. Also answers what the checkpoints did that this took.
pub(crate) async fn everything(inner: &Inner) -> Result<(DefragmentReport, Done)> {
    let made = checkpoint(inner, false).await?;
    let Some(base) = Base::take(inner).await else { return Ok((DefragmentReport::default(), made)) };
    let mut files = walk::Files::new(&base.root);
    let mut rewriter = Rewriter::new(inner, base, Pace::Now, u64::MAX);
    rewriter.made = made;
    while rewriter.may_go_on().await?
        && let Some((trail, content)) = files.next(inner, &rewriter.base.counts).await?
    {
        match rewriter.file(None, &trail, &content, &mut Ranges::all()).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::warn!(%error, "a fragmented file cannot be read and is left alone");
            }
            other => other?,
        }
    }
    Ok((rewriter.report, rewriter.made))
}

/// Whether a file's content can be in pieces at all.
fn has_extents(content: &Content) -> bool {
    matches!(content, Content::Extents(extents) if !extents.is_empty()) || matches!(content, Content::Tree(_))
}
