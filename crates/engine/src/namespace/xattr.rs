//! Extended attributes: a sorted list, in the inode while it is short, else in a frame.

use std::sync::Arc;

use super::change::{Change, Outcome};
use super::{Interrupt, Place};
use crate::format::codec::{Reader, Writer};
use crate::format::inode::{decode_xattrs, encode_xattrs, xattr_list_bytes};
use crate::frame::{FRAME_BYTES_MAX, Frame};
use crate::kinds::FrameLink;
use crate::pool::XattrMode;
use crate::record::{INLINE_XATTR_BYTES_MAX, Inode, Totals, XattrFrame, XattrList, Xattrs};
use crate::tree::Nodes;
use crate::{Error, ErrorKind, Ino, Result};

/// Bytes of the largest value.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Bytes of the longest name.
const NAME_BYTES_MAX: usize = 255;

/// Refuses what cannot be stored whatever else the inode has.
pub(crate) fn check_xattr_size(name: &[u8], value: &[u8]) -> Result<()> {
    if name.is_empty() || name.contains(&0) {
        return Err(Error::new(ErrorKind::Invalid, "an attribute's name is empty or contains NUL"));
    }
    if name.len() > NAME_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
        return Err(ErrorKind::AttributeTooLarge.into());
    }
    Ok(())
}

/// The list in a frame.
pub(crate) fn decode_frame(bytes: &[u8]) -> Result<XattrList> {
    let mut from = Reader::new(bytes);
    let list = decode_xattrs(&mut from)?;
    from.end()?;
    Ok(list)
}

/// The list of an inode.
pub(crate) fn list(inode: &Inode, nodes: &dyn Nodes) -> std::result::Result<XattrList, Interrupt> {
    match &inode.xattrs {
        Xattrs::None => Ok(XattrList::new()),
        Xattrs::Inline(list) => Ok((**list).clone()),
        Xattrs::Frame(held) => match &held.frame {
            FrameLink::Memory(frame) => match frame.with(decode_frame) {
                Some(list) => Ok(list?),
                None => stored_list(frame.address().expect("a frame without bytes is stored"), nodes),
            },
            FrameLink::Stored(address) => stored_list(*address, nodes),
        },
    }
}

impl Change<'_> {
    pub(super) fn set_xattr(
        &mut self,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        how: XattrMode,
        mode: Option<u32>,
    ) -> Result<Outcome, Interrupt> {
        self.change_xattrs(ino, mode, &mut |list| {
            match (list.binary_search_by(|(present, _)| present.as_slice().cmp(name)), how) {
                (Ok(_), XattrMode::Create) => return Err(ErrorKind::Exists.into()),
                (Err(_), XattrMode::Replace) => return Err(ErrorKind::NoAttribute.into()),
                (Ok(index), _) => list[index].1 = value.to_vec(),
                (Err(index), _) => list.insert(index, (name.to_vec(), value.to_vec())),
            }
            Ok(())
        })
    }

    pub(super) fn remove_xattr(&mut self, ino: Ino, name: &[u8]) -> Result<Outcome, Interrupt> {
        self.change_xattrs(ino, None, &mut |list| {
            let index = list
                .binary_search_by(|(present, _)| present.as_slice().cmp(name))
                .map_err(|_| Error::from(ErrorKind::NoAttribute))?;
            list.remove(index);
            Ok(())
        })
    }

    fn change_xattrs(
        &mut self,
        ino: Ino,
        mode: Option<u32>,
        change: &mut dyn FnMut(&mut XattrList) -> Result<()>,
    ) -> Result<Outcome, Interrupt> {
        let trail = self.trail(ino)?;
        let (nodes, time) = (self.nodes, self.time);
        let (gauge, interval) = (self.gauge, self.interval);
        self.change_at(&trail, &mut |inode, place: Place| {
            if place.read_only {
                return Err(ErrorKind::ReadOnly.into());
            }
            let mut list = list(inode, nodes)?;
            change(&mut list)?;
            let bytes = xattr_list_bytes(&list);
            inode.xattrs = if list.is_empty() {
                Xattrs::None
            } else if bytes <= INLINE_XATTR_BYTES_MAX {
                Xattrs::Inline(Arc::new(list))
            } else {
                let mut out = Writer::with_capacity(bytes);
                encode_xattrs(&list, &mut out);
                if out.bytes.len() > FRAME_BYTES_MAX {
                    return Err(ErrorKind::AttributeTooLarge.into());
                }
                let length = out.bytes.len() as u32;
                let frame = FrameLink::Memory(Arc::new(Frame::open(out.bytes, interval, gauge)));
                Xattrs::Frame(Box::new(XattrFrame { frame, length }))
            };
            if let Some(mode) = mode {
                inode.mode = (mode & 0o7777) as u16;
            }
            inode.ctime = time;
            Ok(Totals::default())
        })?;
        Ok(Outcome::Done)
    }
}

fn stored_list(
    address: crate::address::Address,
    nodes: &dyn Nodes,
) -> std::result::Result<XattrList, Interrupt> {
    match nodes.frame(address) {
        Some(bytes) => Ok(decode_frame(&bytes)?),
        None => Err(crate::tree::Missing { address, kind: crate::address::ItemKind::Frame }.into()),
    }
}
