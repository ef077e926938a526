//! A file's content: bytes in the inode, a few extents, or a tree of extents.
//!
//! Extents are split, never read: writing into cold data costs no read. All functions leave the content as it was
//! when a node is missing.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::address::ItemKind;
use crate::frame::{DirtyGauge, FRAME_BYTES_MAX, Frame};
use crate::kinds::{Extent, FileTree, FrameLink};
use crate::namespace::WriteData;
use crate::record::{Content, EXTENTS_MAX, INLINE_BYTES_MAX};
use crate::tree::{self, Body, Link, Missing, Node, Nodes, Root};

/// What one frame holds at most, at a multiple of that in the file.
pub(crate) const WINDOW_BYTES: u64 = FRAME_BYTES_MAX as u64;
/// Extents that a window may have without being fragmented.
pub(crate) const PIECES_MAX: usize = 8;

/// What making new frames needs.
pub(crate) struct Frames<'a> {
    pub(crate) gauge: &'a Arc<DirtyGauge>,
    pub(crate) interval: u64,
}

fn tree_root(content: &Content) -> Root<FileTree> {
    match content {
        Content::Tree(link) => Some(link.clone()),
        _ => None,
    }
}

/// Runs a change on the tree of a content that has one. An emptied tree becomes an empty list.
fn with_root<R>(content: &mut Content, change: impl FnOnce(&mut Root<FileTree>) -> R) -> R {
    let Content::Tree(_) = content else { unreachable!("only called on trees") };
    let Content::Tree(link) = std::mem::replace(content, Content::Extents(Vec::new())) else {
        unreachable!()
    };
    let mut root = Some(link);
    let result = change(&mut root);
    if let Some(link) = root {
        *content = Content::Tree(link);
    }
    result
}

/// Bytes that are not holes.
pub(crate) fn allocated(content: &Content, nodes: &dyn Nodes) -> Result<u64, Missing> {
    Ok(match content {
        Content::None | Content::Directory(_) => 0,
        Content::Inline(bytes) => bytes.len() as u64,
        Content::Extents(extents) => extents.iter().map(|(_, extent)| u64::from(extent.length)).sum(),
        Content::Tree(_) => tree::total_weight(&tree_root(content), nodes)?,
    })
}

/// The extents that overlap `from..to`, uncut, ascending; at most `limit`.
pub(crate) fn extents(
    content: &Content,
    from: u64,
    to: u64,
    limit: usize,
    nodes: &dyn Nodes,
) -> Result<Vec<(u64, Extent)>, Missing> {
    let mut found = Vec::new();
    let mut take = |offset: u64, extent: &Extent| {
        if offset >= to || found.len() == limit {
            return ControlFlow::Break(());
        }
        if offset + u64::from(extent.length) > from {
            found.push((offset, extent.clone()));
        }
        ControlFlow::Continue(())
    };
    match content {
        Content::Extents(extents) => {
            for (offset, extent) in extents {
                if take(*offset, extent).is_break() {
                    break;
                }
            }
        }
        Content::Tree(_) => {
            let root = tree_root(content);
            let start = tree::last_before(&root, &from, nodes)?.map_or(from, |(offset, _)| offset);
            tree::scan(&root, &start, nodes, &mut |offset, extent| take(*offset, extent))?;
        }
        Content::None | Content::Inline(_) | Content::Directory(_) => {}
    }
    Ok(found)
}

/// The frames of extents that are in the store, or on their way there.
pub(crate) fn stored_frames(extents: &[(u64, Extent)]) -> Vec<Missing> {
    let address = |(_, extent): &(u64, Extent)| match &extent.frame {
        FrameLink::Stored(address) => Some(*address),
        FrameLink::Memory(frame) => frame.address(),
    };
    extents.iter().filter_map(address).map(|address| Missing { address, kind: ItemKind::Frame }).collect()
}

/// Makes `from..to` a hole.
pub(crate) fn punch(content: &mut Content, from: u64, to: u64, nodes: &dyn Nodes) -> Result<(), Missing> {
    if from >= to {
        return Ok(());
    }
    match content {
        Content::None | Content::Directory(_) => {}
        Content::Inline(bytes) => {
            let length = bytes.len() as u64;
            if from < length {
                if to >= length {
                    *bytes = bytes[..from as usize].into();
                } else {
                    bytes[from as usize..to as usize].fill(0);
                }
            }
        }
        Content::Extents(extents) => {
            let mut kept = Vec::with_capacity(extents.len() + 1);
            for (offset, extent) in extents.drain(..) {
                let (head, tail) = cut(offset, &extent, from, to);
                kept.extend(head);
                kept.extend(tail);
            }
            *extents = kept;
        }
        Content::Tree(_) => with_root(content, |root| punch_tree(root, from, to, None, nodes))?,
    }
    Ok(())
}

/// What remains of an extent before and after `from..to`; an extent outside comes back whole, once.
fn cut(offset: u64, extent: &Extent, from: u64, to: u64) -> (Option<(u64, Extent)>, Option<(u64, Extent)>) {
    let end = offset + u64::from(extent.length);
    if end <= from || offset >= to {
        return (Some((offset, extent.clone())), None);
    }
    let head = (offset < from).then(|| (offset, Extent { length: (from - offset) as u32, ..extent.clone() }));
    let tail = (end > to).then(|| {
        let skipped = (to - offset) as u32;
        (
            to,
            Extent {
                frame: extent.frame.clone(),
                start: extent.start + skipped,
                length: extent.length - skipped,
            },
        )
    });
    (head, tail)
}

/// Makes `from..to` a hole, but for `first` at its start. What stays is put before anything is taken away: taking may drop a leaf, and a
/// key of its range would then belong to one that is not in memory.
fn punch_tree(
    root: &mut Root<FileTree>,
    from: u64,
    to: u64,
    first: Option<Extent>,
    nodes: &dyn Nodes,
) -> Result<(), Missing> {
    let left = tree::last_before(root, &from, nodes)?.filter(|(offset, _)| *offset < from);
    let right = tree::last_before(root, &(to - 1), nodes)?;
    if let Some((offset, _)) = &left {
        tree::pull(root, offset, nodes)?;
    }
    tree::pull(root, &from, nodes)?;
    tree::pull(root, &to, nodes)?;
    if let Some((offset, extent)) = right.and_then(|(offset, extent)| cut(offset, &extent, from, to).1) {
        tree::insert(root, offset, extent, nodes)?;
    }
    if let Some((offset, extent)) = left {
        let (head, _) = cut(offset, &extent, from, to);
        if let Some((offset, extent)) = head {
            tree::insert(root, offset, extent, nodes)?;
        }
    }
    let start = match first {
        Some(extent) => {
            tree::insert(root, from, extent, nodes)?;
            from + 1
        }
        None => from,
    };
    tree::remove_range(root, &start, &to, nodes)
}

/// Puts an extent into a hole.
fn put(content: &mut Content, offset: u64, extent: Extent, nodes: &dyn Nodes) -> Result<(), Missing> {
    match content {
        Content::Extents(extents) => {
            let index = extents.partition_point(|(present, _)| *present < offset);
            extents.insert(index, (offset, extent));
            if extents.len() > EXTENTS_MAX {
                let entries = std::mem::take(extents);
                *content =
                    Content::Tree(Link::Memory(Arc::new(Node::new(Body::Leaf(entries.into()), nodes))));
            }
        }
        Content::Tree(_) => {
            with_root(content, |root| tree::insert(root, offset, extent, nodes))?;
        }
        Content::None | Content::Inline(_) | Content::Directory(_) => {
            unreachable!("extents go into lists and trees")
        }
    }
    Ok(())
}

/// Puts extents, ascending and without overlap, into a range that is punched first.
pub(crate) fn replace(
    content: &mut Content,
    from: u64,
    to: u64,
    extents: Vec<(u64, Extent)>,
    frames: &Frames<'_>,
    nodes: &dyn Nodes,
) -> Result<(), Missing> {
    spill(content, frames);
    let is_one_step = match &extents[..] {
        [] => true,
        [(offset, _)] => *offset == from,
        _ => false,
    };
    if is_one_step || !matches!(content, Content::Tree(_)) {
        return replace_in_steps(content, from, to, extents, nodes);
    }
    // A node that is missing at one step must leave nothing of the steps before it.
    let mut changed = content.clone();
    replace_in_steps(&mut changed, from, to, extents, nodes)?;
    *content = changed;
    Ok(())
}

fn replace_in_steps(
    content: &mut Content,
    from: u64,
    to: u64,
    extents: Vec<(u64, Extent)>,
    nodes: &dyn Nodes,
) -> Result<(), Missing> {
    let mut extents = extents.into_iter().peekable();
    match (&content, extents.next_if(|(offset, _)| matches!(content, Content::Tree(_)) && *offset == from)) {
        (Content::Tree(_), Some((_, first))) => {
            with_root(content, |root| punch_tree(root, from, to, Some(first), nodes))?;
        }
        _ => punch(content, from, to, nodes)?,
    }
    for (offset, extent) in extents {
        put(content, offset, extent, nodes)?;
    }
    Ok(())
}

/// Moves bytes that are in the inode to a frame.
fn spill(content: &mut Content, frames: &Frames<'_>) {
    if let Content::Inline(bytes) = content {
        let extents = if bytes.is_empty() {
            Vec::new()
        } else {
            let frame = Frame::open(bytes.to_vec(), frames.interval, frames.gauge);
            let length = frame.length();
            vec![(0, Extent { frame: FrameLink::Memory(Arc::new(frame)), start: 0, length })]
        };
        *content = Content::Extents(extents);
    }
}

/// Writes at `offset`.
pub(crate) fn write(
    content: &mut Content,
    offset: u64,
    data: &WriteData,
    frames: &Frames<'_>,
    nodes: &dyn Nodes,
) -> Result<(), Missing> {
    let end = offset + data.length();
    match data {
        WriteData::Bytes(bytes) => {
            if let Content::Inline(present) = content
                && end <= INLINE_BYTES_MAX as u64
            {
                let mut copy = Vec::with_capacity(end as usize);
                copy.extend_from_slice(present);
                copy.resize(copy.len().max(end as usize), 0);
                copy[offset as usize..end as usize].copy_from_slice(bytes);
                *present = copy.into();
                return Ok(());
            }
            spill(content, frames);
            if write_in_place(content, offset, bytes, nodes)? {
                return Ok(());
            }
            let mut pieces = Vec::new();
            let mut at = offset;
            for chunk in chunks(offset, bytes) {
                let frame =
                    FrameLink::Memory(Arc::new(Frame::open(chunk.to_vec(), frames.interval, frames.gauge)));
                pieces.push((at, Extent { frame, start: 0, length: chunk.len() as u32 }));
                at += chunk.len() as u64;
            }
            replace(content, offset, end, pieces, frames, nodes)
        }
        WriteData::Frames(list) => {
            list.iter().for_each(|frame| frame.join(frames.interval));
            let links = list.iter().map(|frame| (FrameLink::Memory(frame.clone()), frame.length()));
            replace(content, offset, end, lay(offset, links), frames, nodes)
        }
        WriteData::Stored(list) => {
            let links = list.iter().map(|(address, length)| (FrameLink::Stored(*address), *length));
            replace(content, offset, end, lay(offset, links), frames, nodes)
        }
    }
}

fn lay(offset: u64, frames: impl Iterator<Item = (FrameLink, u32)>) -> Vec<(u64, Extent)> {
    let mut at = offset;
    frames
        .map(|(frame, length)| {
            let here = at;
            at += u64::from(length);
            (here, Extent { frame, start: 0, length })
        })
        .collect()
}

/// Cuts bytes at multiples of the largest frame in the file.
pub(crate) fn chunks(offset: u64, bytes: &Bytes) -> Vec<Bytes> {
    let mut rest = bytes.clone();
    let mut at = offset;
    let mut chunks = Vec::with_capacity(bytes.len() / FRAME_BYTES_MAX + 2);
    while !rest.is_empty() {
        let room = FRAME_BYTES_MAX - (at % FRAME_BYTES_MAX as u64) as usize;
        let chunk = rest.split_to(room.min(rest.len()));
        at += chunk.len() as u64;
        chunks.push(chunk);
    }
    chunks
}

/// Writes into a frame that is only in memory and belongs to this file alone, or lengthens one; false if there is none.
fn write_in_place(
    content: &mut Content,
    offset: u64,
    bytes: &Bytes,
    nodes: &dyn Nodes,
) -> Result<bool, Missing> {
    let end = offset + bytes.len() as u64;
    let attempt = |start: u64, extent: &mut Extent, free_to: u64| -> bool {
        let extent_end = start + u64::from(extent.length);
        let inside = end <= extent_end;
        let FrameLink::Memory(frame) = &mut extent.frame else { return false };
        let lengthens =
            extent_end == offset && extent.start + extent.length == frame.length() && end <= free_to;
        if !inside && !lengthens {
            return false;
        }
        let Some(frame) = Arc::get_mut(frame) else { return false };
        let at = extent.start as usize + (offset - start) as usize;
        if !frame.overwrite(at, bytes) {
            return false;
        }
        if lengthens {
            extent.length += bytes.len() as u32;
        }
        true
    };
    match content {
        Content::Extents(extents) => {
            let after = extents.partition_point(|(start, _)| *start <= offset);
            let Some(index) = after.checked_sub(1) else { return Ok(false) };
            let free_to = extents.get(after).map_or(u64::MAX, |(start, _)| *start);
            let (start, extent) = &mut extents[index];
            Ok(attempt(*start, extent, free_to))
        }
        Content::Tree(_) => {
            let root = tree_root(content);
            let Some((start, extent)) = tree::last_before(&root, &offset, nodes)? else { return Ok(false) };
            let extent_end = start + u64::from(extent.length);
            let in_memory = matches!(&extent.frame, FrameLink::Memory(frame) if frame.address().is_none());
            if !in_memory || extent_end < offset {
                return Ok(false);
            }
            let next = tree::scan(&root, &(start + 1), nodes, &mut |next, _| ControlFlow::Break(*next))?;
            // The tree must be the only owner of the frame.
            drop((root, extent));
            let done = with_root(content, |root| {
                tree::update(root, &start, nodes, |extent| {
                    Ok::<_, Missing>(attempt(start, extent, next.unwrap_or(u64::MAX)))
                })
            })?;
            Ok(done.unwrap_or(false))
        }
        Content::None | Content::Inline(_) | Content::Directory(_) => Ok(false),
    }
}

/// Whether there are many extents around `offset`; asks only what is in memory, and only one leaf.
pub(crate) fn is_fragmented(content: &Content, offset: u64, nodes: &dyn Nodes) -> bool {
    let Content::Tree(link) = content else { return false };
    let from = offset - offset % WINDOW_BYTES;
    let mut next = link.node(nodes);
    while let Ok(node) = next {
        next = match &node.body {
            Body::Branch(children) => children[children.child_of(&offset)].link.node(nodes),
            Body::Leaf(entries) => {
                let end = entries.lower_bound(&from.saturating_add(WINDOW_BYTES));
                return end - entries.lower_bound(&from) > PIECES_MAX;
            }
        };
    }
    false
}

/// Makes one frame of what lies between the first and the end of the last run; `runs` are offset and length of the data between holes,
/// and the frame has their bytes one after the other. False, and nothing changed, if there are other runs than these.
pub(crate) fn regroup(
    content: &mut Content,
    frame: &FrameLink,
    runs: &[(u64, u32)],
    frames: &Frames<'_>,
    nodes: &dyn Nodes,
) -> Result<bool, Missing> {
    let (Some((from, _)), Some((last, length))) = (runs.first(), runs.last()) else { return Ok(false) };
    let (from, to) = (*from, last.saturating_add(u64::from(*length)));
    if data_runs(content, from, to, nodes)? != runs {
        return Ok(false);
    }
    let mut start = 0u32;
    let mut extents = Vec::with_capacity(runs.len());
    for (offset, length) in runs {
        extents.push((*offset, Extent { frame: frame.clone(), start, length: *length }));
        start = start.saturating_add(*length);
    }
    replace(content, from, to, extents, frames, nodes)?;
    if let Content::Tree(Link::Memory(node)) = content
        && let Body::Leaf(entries) = &node.body
        && entries.len() <= EXTENTS_MAX
    {
        *content = Content::Extents(entries.to_vec());
    }
    Ok(true)
}

/// Offset and length of the data between holes, cut to a range.
fn data_runs(content: &Content, from: u64, to: u64, nodes: &dyn Nodes) -> Result<Vec<(u64, u32)>, Missing> {
    let mut runs: Vec<(u64, u32)> = Vec::new();
    for (offset, extent) in extents(content, from, to, usize::MAX, nodes)? {
        let first = offset.max(from);
        let length = ((offset + u64::from(extent.length)).min(to) - first) as u32;
        match runs.last_mut() {
            Some((start, before)) if *start + u64::from(*before) == first => {
                *before = before.saturating_add(length);
            }
            _ => runs.push((first, length)),
        }
    }
    Ok(runs)
}

/// Cuts the content off at `size`.
pub(crate) fn truncate(content: &mut Content, size: u64, nodes: &dyn Nodes) -> Result<(), Missing> {
    if size == 0 && !matches!(content, Content::None | Content::Directory(_)) {
        *content = Content::Inline(Box::default());
        return Ok(());
    }
    punch(content, size, u64::MAX, nodes)
}

/// The first offset from `offset` on, below `size`, that holds data.
pub(crate) fn next_data(
    content: &Content,
    offset: u64,
    size: u64,
    nodes: &dyn Nodes,
) -> Result<Option<u64>, Missing> {
    if let Content::Inline(bytes) = content {
        return Ok((offset < bytes.len() as u64).then_some(offset));
    }
    let found = extents(content, offset, size, 1, nodes)?;
    Ok(found.first().map(|(start, _)| (*start).max(offset)))
}

/// The first offset from `offset` on that lies in a hole; `size` at the latest.
pub(crate) fn next_hole(
    content: &Content,
    offset: u64,
    size: u64,
    nodes: &dyn Nodes,
) -> Result<u64, Missing> {
    if let Content::Inline(bytes) = content {
        return Ok(offset.max(bytes.len() as u64).min(size));
    }
    let mut at = offset;
    loop {
        let found = extents(content, at, size, 256, nodes)?;
        let full = found.len() == 256;
        for (start, extent) in found {
            if start > at {
                return Ok(at);
            }
            at = start + u64::from(extent.length);
        }
        if at >= size || !full {
            return Ok(at.min(size));
        }
    }
}
