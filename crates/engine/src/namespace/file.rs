//! Content and attributes of one inode.

use bytes::Bytes;

use super::change::{Change, Outcome};
use super::descend::attributes;
use super::operation::{AttributeChange, WriteData};
use super::{Interrupt, Place};
use crate::content::{self, Frames, WINDOW_BYTES};
use crate::kinds::FrameLink;
use crate::pool::AllocateMode;
use crate::record::{Content, FILE_BYTES_MAX, Inode, Totals};
use crate::simulation::mutant::{self, Mutant};
use crate::tree::Nodes;
use crate::{Attributes, Error, ErrorKind, Ino, Kind};

const SET_UID: u16 = 0o4000;
const SET_GID: u16 = 0o2000;
const GROUP_EXECUTE: u16 = 0o010;

impl Change<'_> {
    /// Changes one inode that must be writable; answers its attributes afterwards.
    fn change_inode(
        &mut self,
        ino: Ino,
        change: &mut dyn FnMut(&mut Inode, &dyn Nodes) -> Result<(), Interrupt>,
    ) -> Result<Attributes, Interrupt> {
        let trail = self.trail(ino)?;
        let (nodes, time) = (self.nodes, self.time);
        let mut after = None;
        self.change_at(&trail, &mut |inode, place: Place| {
            if place.read_only {
                return Err(ErrorKind::ReadOnly.into());
            }
            let (before, ctime) = (inode.allocated, inode.ctime);
            inode.ctime = time;
            if let Err(interrupt) = change(inode, nodes) {
                inode.ctime = ctime;
                return Err(interrupt);
            }
            let bytes = inode.allocated.wrapping_sub(before);
            after = Some(attributes(inode, place));
            Ok(Totals { bytes, ..Totals::default() })
        })?;
        Ok(after.expect("the change was made"))
    }

    pub(super) fn set_attributes(&mut self, ino: Ino, set: &AttributeChange) -> Result<Outcome, Interrupt> {
        let time = self.time;
        let mut fragmented = None;
        let after = self.change_inode(ino, &mut |inode, nodes| {
            if let Some(size) = set.size {
                check_file(inode)?;
                if size > FILE_BYTES_MAX {
                    return Err(ErrorKind::TooLarge.into());
                }
                if size < inode.size {
                    if !mutant::is_on(Mutant::KeepTruncatedBytes) {
                        content::truncate(&mut inode.content, size, nodes)?;
                    }
                    inode.allocated = content::allocated(&inode.content, nodes)?;
                    fragmented = (!size.is_multiple_of(WINDOW_BYTES)).then(|| (ino, size - 1, size));
                }
                inode.size = size;
                inode.mtime = time;
            }
            if let Some(mode) = set.mode {
                inode.mode = (mode & 0o7777) as u16;
            }
            inode.uid = set.uid.unwrap_or(inode.uid);
            inode.gid = set.gid.unwrap_or(inode.gid);
            inode.atime = set.atime.unwrap_or(inode.atime);
            inode.mtime = set.mtime.unwrap_or(inode.mtime);
            inode.ctime = set.ctime.unwrap_or(inode.ctime);
            Ok(())
        })?;
        self.fragmented = fragmented;
        Ok(Outcome::Attributes(Box::new(after)))
    }

    pub(super) fn write(
        &mut self,
        ino: Ino,
        offset: Option<u64>,
        data: &WriteData,
        clear_set_id: bool,
    ) -> Result<Outcome, Interrupt> {
        let time = self.time;
        let frames = Frames { gauge: self.gauge, interval: self.interval };
        let mut start = 0;
        let mut fragmented = None;
        let after = self.change_inode(ino, &mut |inode, nodes| {
            check_file(inode)?;
            start = offset.unwrap_or(inode.size);
            let end = check_end(start, data.length())?;
            if data.length() > 0 {
                content::write(&mut inode.content, start, data, &frames, nodes)?;
                inode.allocated = content::allocated(&inode.content, nodes)?;
                let is_fragmented = match data {
                    WriteData::Bytes(_) => content::is_fragmented(&inode.content, start, nodes),
                    WriteData::Frames(_) | WriteData::Stored(_) => cuts_window(start, end, inode.size),
                };
                fragmented = is_fragmented.then_some((ino, start, end));
                inode.size = inode.size.max(end);
            }
            inode.mtime = time;
            if clear_set_id {
                inode.mode &= !SET_UID;
                if inode.mode & GROUP_EXECUTE != 0 {
                    inode.mode &= !SET_GID;
                }
            }
            Ok(())
        })?;
        self.fragmented = fragmented;
        Ok(match offset {
            Some(_) => Outcome::Attributes(Box::new(after)),
            None => Outcome::Amount(start),
        })
    }

    /// Puts the data of a window into one frame. Changes neither times nor anything else that can be seen.
    pub(super) fn defragment(
        &mut self,
        ino: Ino,
        frame: &FrameLink,
        runs: &[(u64, u32)],
    ) -> Result<Outcome, Interrupt> {
        let trail = self.trail(ino)?;
        let (nodes, interval) = (self.nodes, self.interval);
        let frames = Frames { gauge: self.gauge, interval };
        self.change_at(&trail, &mut |inode, place: Place| {
            if place.read_only {
                return Err(ErrorKind::ReadOnly.into());
            }
            check_file(inode)?;
            if let FrameLink::Memory(frame) = frame {
                frame.join(interval);
            }
            if !content::regroup(&mut inode.content, frame, runs, &frames, nodes)? {
                let reason = "the file has other data and holes than those to be put together";
                return Err(Error::new(ErrorKind::Invalid, reason).into());
            }
            Ok(Totals::default())
        })?;
        Ok(Outcome::Done)
    }

    pub(super) fn allocate(
        &mut self,
        ino: Ino,
        offset: u64,
        length: u64,
        mode: AllocateMode,
    ) -> Result<Outcome, Interrupt> {
        let time = self.time;
        let mut fragmented = None;
        let after = self.change_inode(ino, &mut |inode, nodes| {
            check_file(inode)?;
            let end = check_end(offset, length)?;
            let keep_size = match mode {
                AllocateMode::Allocate { keep_size } => keep_size,
                AllocateMode::PunchHole => true,
                AllocateMode::ZeroRange { keep_size } => keep_size,
            };
            if !matches!(mode, AllocateMode::Allocate { .. }) {
                content::punch(&mut inode.content, offset, end, nodes)?;
                inode.allocated = content::allocated(&inode.content, nodes)?;
                let to = end.min(inode.size);
                fragmented = cuts_window(offset, end, inode.size).then_some((ino, offset, to));
            }
            if !keep_size {
                inode.size = inode.size.max(end);
            }
            inode.mtime = time;
            Ok(())
        })?;
        self.fragmented = fragmented;
        Ok(Outcome::Attributes(Box::new(after)))
    }

    pub(super) fn clone_range(
        &mut self,
        source: Ino,
        source_offset: u64,
        destination: Ino,
        destination_offset: u64,
        length: u64,
    ) -> Result<Outcome, Interrupt> {
        let trail = self.trail(source)?;
        let (from, nodes) = {
            let (inode, _) = self.found(&trail)?;
            check_file(&inode)?;
            (inode, self.nodes)
        };
        let length = length.min(from.size.saturating_sub(source_offset));
        let overlap = source_offset < destination_offset.saturating_add(length)
            && destination_offset < source_offset.saturating_add(length);
        if source == destination && overlap && length > 0 {
            return Err(Error::new(ErrorKind::Invalid, "the ranges overlap").into());
        }
        if length == 0 {
            return Ok(Outcome::Amount(0));
        }
        let source_end = source_offset + length;
        let whole = source_offset == 0 && destination_offset == 0 && length == from.size;
        let mut pieces = if whole || matches!(from.content, Content::Inline(_)) {
            Vec::new()
        } else {
            content::extents(&from.content, source_offset, source_end, usize::MAX, nodes)?
        };
        if mutant::is_on(Mutant::CloneRangeLosesPiece) {
            pieces.pop();
        }
        let time = self.time;
        let frames = Frames { gauge: self.gauge, interval: self.interval };
        self.change_inode(destination, &mut |inode, nodes| {
            check_file(inode)?;
            let end = check_end(destination_offset, length)?;
            // On a copy: a node that is missing at one step must leave nothing of the steps before it.
            let mut content = inode.content.clone();
            if whole && inode.size <= length {
                content = from.content.clone();
            } else if let Content::Inline(bytes) = &from.content {
                let first = source_offset.min(bytes.len() as u64) as usize;
                let last = source_end.min(bytes.len() as u64) as usize;
                content::punch(&mut content, destination_offset, end, nodes)?;
                if first < last {
                    let data = WriteData::Bytes(Bytes::copy_from_slice(&bytes[first..last]));
                    content::write(&mut content, destination_offset, &data, &frames, nodes)?;
                }
            } else {
                let pieces = if whole {
                    content::extents(&from.content, 0, source_end, usize::MAX, nodes)?
                } else {
                    pieces.clone()
                };
                let moved = pieces.into_iter().map(|(start, mut extent)| {
                    let first = start.max(source_offset);
                    let last = (start + u64::from(extent.length)).min(source_end);
                    extent.start += (first - start) as u32;
                    extent.length = (last - first) as u32;
                    (first - source_offset + destination_offset, extent)
                });
                content::replace(&mut content, destination_offset, end, moved.collect(), &frames, nodes)?;
            }
            inode.allocated = content::allocated(&content, nodes)?;
            inode.content = content;
            inode.size = inode.size.max(end);
            inode.mtime = time;
            Ok(())
        })?;
        Ok(Outcome::Amount(length))
    }
}

/// Whether replacing a range of a file of so many bytes leaves a part of a window in front of it or behind it.
fn cuts_window(from: u64, to: u64, size: u64) -> bool {
    let is_inside = |at: u64| at < size && !at.is_multiple_of(WINDOW_BYTES);
    is_inside(from) || is_inside(to)
}

fn check_file(inode: &Inode) -> Result<(), Error> {
    match inode.kind {
        Kind::File => Ok(()),
        Kind::Directory => Err(ErrorKind::IsDirectory.into()),
        _ => Err(Error::new(ErrorKind::Invalid, "only regular files have content")),
    }
}

fn check_end(offset: u64, length: u64) -> Result<u64, Error> {
    match offset.checked_add(length) {
        Some(end) if end <= FILE_BYTES_MAX => Ok(end),
        _ => Err(ErrorKind::TooLarge.into()),
    }
}
