//! What has to be unchanged for an operation that was prepared without the lock.

use crate::content;
use crate::defragment::{Piece, RecentClones};
use crate::kinds::{DirectoryTree, EntryKey};
use crate::namespace::{Found, Interrupt, Location, Locations, State, View, Where};
use crate::pool::{Inner, Unchanged};

use crate::segment::Pinned;
use crate::tree::{Nodes, Root};
use crate::{Ino, Result};

/// A condition of an operation.
pub(crate) enum Guard {
    /// A directory must have the name and the entries that it had, down to the last one.
    Entries { ino: Ino, parent: Ino, key: EntryKey, entries: Root<DirectoryTree> },
    /// A name must lead to nothing below which files have names that count elsewhere too.
    NoLinks { parent: Ino, key: EntryKey },
    /// A file must have exactly these extents between two offsets, and must not have been cloned since the interval whose counts were
    /// looked at.
    Window { ino: Ino, from: u64, to: u64, pieces: Vec<Piece>, counted: u64 },
    /// An inode must have these attributes.
    Unchanged { ino: Ino, unchanged: Unchanged },
}

impl Guard {
    /// Whether the state is as it was.
    pub(super) fn holds(
        &self,
        state: &State,
        locations: &Locations,
        clones: &RecentClones,
        nodes: &dyn Nodes,
    ) -> Result<bool, Interrupt> {
        match self {
            Self::Entries { ino, parent, key, entries } => {
                let has_name = |location: &Location| {
                    location.parent == *parent && matches!(&location.place, Where::Name(now) if now == key)
                };
                if !locations.get(*ino).is_some_and(has_name) {
                    return Ok(false);
                }
                let Ok(trail) = locations.trail(*ino) else { return Ok(false) };
                let (inode, _) = View { state, nodes, pin: None }.inode(&trail)?;
                Ok(match (inode.directory().map(|d| &d.entries), entries) {
                    (Some(Some(now)), Some(then)) => now.same(then),
                    (Some(now), then) => now.is_none() && then.is_none(),
                    (None, _) => false,
                })
            }
            Self::NoLinks { parent, key } => {
                let view = View { state, nodes, pin: None };
                let found = locations
                    .trail(*parent)
                    .map_err(Interrupt::from)
                    .and_then(|trail| view.inode(&trail))
                    .and_then(|(directory, _)| view.entry(&directory, key));
                match found {
                    Ok(Found::Inode(inode)) => {
                        Ok(inode.is_realm_root() || inode.directory().is_none() || inode.totals().links == 0)
                    }
                    // The operation itself says what is wrong.
                    Ok(Found::Linked(_)) | Err(Interrupt::Error(_)) => Ok(true),
                    Err(interrupt) => Err(interrupt),
                }
            }
            Self::Window { ino, from, to, pieces, counted } => {
                let trail = locations.trail(*ino)?;
                if clones.may_share(*ino, trail.side.is_some(), *counted, locations) {
                    return Ok(false);
                }
                let (inode, _) = View { state, nodes, pin: None }.inode(&trail)?;
                let now = content::extents(&inode.content, *from, *to, pieces.len() + 1, nodes)?;
                let same = now.len() == pieces.len()
                    && now.iter().zip(pieces).all(|((offset, extent), then)| {
                        Piece::of(*offset, extent, *from, *to).as_ref() == Some(then)
                    });
                Ok(same)
            }
            Self::Unchanged { ino, unchanged } => unchanged.holds(*ino, state, locations, nodes),
        }
    }
}

impl Inner {
    /// Whether a condition holds now. It may be otherwise by the time that an operation is executed; this spares work that would be in vain.
    pub(crate) async fn holds(&self, guard: &Guard) -> Result<bool> {
        let nodes = Pinned::new(&self.items);
        loop {
            let (held, _pin) = {
                let core = self.core.read();
                let pin = Self::pin_of(&core);
                let held = guard.holds(&core.state, &self.locations.lock(), &core.clones, &nodes);
                (held, pin)
            };
            match held {
                Ok(holds) => return Ok(holds),
                Err(Interrupt::Missing(missing)) => nodes.fetch(missing).await?,
                Err(Interrupt::Error(error)) => return Err(error),
                Err(Interrupt::Alias(_) | Interrupt::Changed | Interrupt::NoRealm | Interrupt::Paused) => {
                    return Ok(false);
                }
            }
        }
    }
}
