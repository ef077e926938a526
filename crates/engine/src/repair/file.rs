//! Files without what cannot be read.
//!
//! A hole would read as zeros that nobody wrote. So what is lost of a file gets extents that lead to [`Address::LOST`]: reading them
//! fails until they are overwritten, cut off or punched, as it failed before. What a lost node of the file's tree held is not
//! known, so everything between the extents that are known is lost, holes there included.

use std::ops::Range;

use super::rebuild::Rebuilder;
use crate::Result;
use crate::address::Address;
use crate::kinds::{Extent, FileTree, FrameLink};
use crate::record::{Content, EXTENTS_MAX, Inode};
use crate::tree::{self, Body, Link, Root};

/// Bytes that one extent marks as lost, at most.
const LOST_EXTENT_BYTES: u64 = 1 << 30;

/// One piece of a file.
enum Piece {
    Extent(u64, Extent),
    /// Whatever was behind this offset.
    Lost(u64),
}

impl Rebuilder<'_> {
    /// The content and allocated bytes of a file, if they have to be others.
    pub(super) async fn file(&mut self, inode: &Inode) -> Result<Option<(Content, u64)>> {
        let content = match &inode.content {
            Content::Extents(extents) => {
                if !extents.iter().any(|(_, extent)| self.is_bad(extent)) {
                    return Ok(None);
                }
                let mut marked = extents.clone();
                let mut bytes = 0;
                for (_, extent) in &mut marked {
                    if self.is_bad(extent) {
                        bytes += u64::from(extent.length);
                        mark(extent);
                    }
                }
                self.done.files_marked += 1;
                self.done.bytes_marked += bytes;
                Content::Extents(marked)
            }
            Content::Tree(link) => {
                let address = link.address().expect("what is rebuilt was stored");
                if self.is_sound(link).await? {
                    match self.node(link).await? {
                        Some(node) if node.weight == inode.allocated => return Ok(None),
                        Some(node) => return Ok(Some((inode.content.clone(), node.weight))),
                        None => {}
                    }
                }
                let known = self.files.get(&(address, inode.size)).cloned();
                match known {
                    Some(content) => content,
                    None => {
                        let content = self.marked(link, inode.size).await?;
                        self.files.insert((address, inode.size), content.clone());
                        content
                    }
                }
            }
            _ => return Ok(None),
        };
        let allocated = crate::content::allocated(&content, &self.nodes)
            .expect("a content that was just made is in memory");
        Ok(Some((content, allocated)))
    }

    fn is_bad(&self, extent: &Extent) -> bool {
        extent.frame.address().is_some_and(|address| !address.is_lost() && self.is_bad_frame(address))
    }

    /// Whether nothing has to be done in a file tree.
    async fn is_sound(&mut self, link: &Link<FileTree>) -> Result<bool> {
        let address = link.address().expect("what is rebuilt was stored");
        if let Some(known) = self.sound_files.get(&address) {
            return Ok(*known);
        }
        let is_sound = match self.node(link).await? {
            None => false,
            Some(node) => match &node.body {
                Body::Leaf(extents) => !extents.iter().any(|(_, extent)| self.is_bad(extent)),
                Body::Branch(children) => {
                    let mut all = true;
                    for child in children {
                        all &= Box::pin(self.is_sound(&child.link)).await?;
                        all &= match self.node(&child.link).await? {
                            Some(below) => below.weight == child.weight,
                            None => false,
                        };
                    }
                    all
                }
            },
        };
        self.sound_files.insert(address, is_sound);
        Ok(is_sound)
    }

    /// The content of a file tree of which something is lost.
    async fn marked(&mut self, root: &Link<FileTree>, size: u64) -> Result<Content> {
        let mut pieces = Vec::new();
        self.pieces(root, 0, &mut pieces).await?;
        let mut extents: Vec<(u64, Extent)> = Vec::new();
        let mut end = 0;
        let mut lost = 0;
        let mut pieces = pieces.into_iter().peekable();
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Extent(offset, mut extent) => {
                    if self.is_bad(&extent) {
                        lost += u64::from(extent.length);
                        mark(&mut extent);
                    }
                    end = offset + u64::from(extent.length);
                    extents.push((offset, extent));
                }
                Piece::Lost(from) => {
                    while pieces.next_if(|next| matches!(next, Piece::Lost(_))).is_some() {}
                    let to = match pieces.peek() {
                        Some(Piece::Extent(offset, _)) => *offset,
                        _ => size,
                    };
                    let range = from.max(end)..to;
                    lost += range.end.saturating_sub(range.start);
                    lose(range, &mut extents);
                }
            }
        }
        self.done.files_marked += 1;
        self.done.bytes_marked += lost;
        if extents.len() <= EXTENTS_MAX {
            return Ok(Content::Extents(extents));
        }
        let mut root: Root<FileTree> = None;
        for (offset, extent) in extents {
            tree::insert(&mut root, offset, extent, &self.nodes)
                .expect("a tree that is being made is in memory");
        }
        Ok(Content::Tree(root.expect("it has extents")))
    }

    /// All of a file, in order.
    async fn pieces(&self, link: &Link<FileTree>, from: u64, into: &mut Vec<Piece>) -> Result<()> {
        let Some(node) = self.node(link).await? else {
            into.push(Piece::Lost(from));
            return Ok(());
        };
        match &node.body {
            Body::Leaf(extents) => {
                into.extend(extents.iter().map(|(offset, extent)| Piece::Extent(*offset, extent.clone())));
            }
            Body::Branch(children) => {
                for (index, child) in children.iter().enumerate() {
                    let from = if index == 0 { from } else { child.key };
                    Box::pin(self.pieces(&child.link, from, into)).await?;
                }
            }
        }
        Ok(())
    }
}

/// Says of an extent that its bytes are lost.
fn mark(extent: &mut Extent) {
    extent.frame = FrameLink::Stored(Address::LOST);
    extent.start = 0;
}

/// Says of a range that its bytes are lost.
fn lose(range: Range<u64>, extents: &mut Vec<(u64, Extent)>) {
    let mut at = range.start;
    while at < range.end {
        let length = (range.end - at).min(LOST_EXTENT_BYTES);
        let frame = FrameLink::Stored(Address::LOST);
        extents.push((at, Extent { frame, start: 0, length: length as u32 }));
        at += length;
    }
}
