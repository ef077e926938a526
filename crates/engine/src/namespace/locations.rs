//! Where known inodes are: number -> (directory, name).
//!
//! A number becomes known when a call returns it and is forgotten when its references are given back. The parents of
//! a known inode stay known, so the way from the root can always be told.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::ORPHANS;
use crate::kinds::EntryKey;
use crate::record::SideKey;
use crate::{Attributes, Error, ErrorKind, Ino, Result};

/// The place of an inode in its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// Under a name.
    Name(EntryKey),
    /// In the side tree of the parent, which is the root of a realm.
    Side(SideKey),
}

/// What a known inode takes in memory with its place in the map, in bytes, about.
pub const KNOWN_INODE_BYTES: u64 = 150;

/// What is known of one inode.
#[derive(Debug)]
pub(crate) struct Location {
    pub(crate) parent: Ino,
    pub(crate) place: Where,
    /// Whether it is the root of a realm.
    pub(crate) realm_root: bool,
    /// References that callers hold.
    references: u64,
    /// Times that it is held open.
    pub(crate) holds: u32,
    /// Known inodes whose parent this is.
    children: u32,
    /// The log file in which this location has been written down.
    pub(crate) logged_in: u64,
    /// Set once it is removed: what it was last.
    pub(crate) gone: Option<Box<Attributes>>,
}

impl Location {
    /// Whether somebody has it open, or may open it without a name.
    pub(crate) fn is_reachable(&self) -> bool {
        self.references > 0 || self.holds > 0
    }
}

/// The way from the root, or from the directory of orphans, to an inode.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    pub(crate) orphan: bool,
    pub(crate) keys: SmallVec<[EntryKey; 6]>,
    pub(crate) side: Option<SideKey>,
}

/// All known inodes.
#[derive(Debug, Default)]
pub(crate) struct Locations {
    /// Boxed, because a map keeps a good part of its places free.
    map: FxHashMap<Ino, Box<Location>>,
    /// How many there are by realm id, without those of 0.
    realms: FxHashMap<u32, u32>,
    /// In a replay, which gives no references back: all of a realm id.
    replayed: Option<FxHashMap<u32, Vec<Ino>>>,
}

impl Locations {
    /// For a replay.
    pub(crate) fn of_replay() -> Self {
        Self { replayed: Some(FxHashMap::default()), ..Self::default() }
    }

    /// Whether a number with this realm id is known.
    pub(crate) fn knows_realm(&self, id: u32) -> bool {
        self.realms.contains_key(&id)
    }

    /// Drops what a replay still knows of a realm id that is free now.
    pub(crate) fn forget_realm(&mut self, id: u32) {
        let Some(all) = self.replayed.as_mut().and_then(|realms| realms.remove(&id)) else { return };
        for ino in all {
            self.map.remove(&ino);
        }
        self.realms.remove(&id);
    }

    fn count(&mut self, ino: Ino) {
        if ino.realm() == 0 {
            return;
        }
        *self.realms.entry(ino.realm()).or_default() += 1;
        if let Some(realms) = &mut self.replayed {
            realms.entry(ino.realm()).or_default().push(ino);
        }
    }

    fn discount(&mut self, ino: Ino) {
        if let Some(count) = self.realms.get_mut(&ino.realm()) {
            *count -= 1;
            if *count == 0 {
                self.realms.remove(&ino.realm());
            }
        }
    }

    pub(crate) fn get(&self, ino: Ino) -> Option<&Location> {
        self.map.get(&ino).map(|location| &**location)
    }

    pub(crate) fn get_mut(&mut self, ino: Ino) -> Option<&mut Location> {
        self.map.get_mut(&ino).map(|location| &mut **location)
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Directory and name of a known inode that nobody holds open; none if it was removed or has several names.
    pub(crate) fn idle_name(&self, ino: Ino) -> Option<(Ino, Vec<u8>)> {
        let location =
            self.map.get(&ino).filter(|location| location.holds == 0 && location.gone.is_none())?;
        match &location.place {
            Where::Name(key) if location.parent != ORPHANS => Some((location.parent, key.name.to_vec())),
            Where::Name(_) | Where::Side(_) => None,
        }
    }

    /// Counts one reference to an inode that was just found at `place` in `parent`.
    pub(crate) fn remember(&mut self, ino: Ino, parent: Ino, place: Where, realm_root: bool) {
        if ino == Ino::ROOT {
            return;
        }
        if let Some(location) = self.map.get_mut(&ino) {
            location.references += 1;
            return;
        }
        let location = Location {
            parent,
            place,
            realm_root,
            references: 1,
            holds: 0,
            children: 0,
            logged_in: 0,
            gone: None,
        };
        self.map.insert(ino, Box::new(location));
        self.count(ino);
        if let Some(parent) = self.map.get_mut(&parent) {
            parent.children += 1;
        }
    }

    /// Gives references back. Returns whether the inode was removed before and nobody can reach it any more.
    #[must_use]
    pub(crate) fn forget(&mut self, ino: Ino, count: u64) -> bool {
        let Some(location) = self.map.get_mut(&ino) else { return false };
        location.references = location.references.saturating_sub(count);
        let lost = location.parent == ORPHANS && !location.is_reachable();
        self.drop_unused(ino);
        lost
    }

    /// Counts or gives back a hold; returns how many remain.
    pub(crate) fn hold(&mut self, ino: Ino, change: i32) -> Result<u32> {
        if ino == Ino::ROOT {
            return Ok(1);
        }
        let location = self.map.get_mut(&ino).ok_or_else(|| stale(ino))?;
        if change > 0 && location.gone.is_some() && location.parent != ORPHANS {
            return Err(stale(ino));
        }
        location.holds = location.holds.checked_add_signed(change).expect("each release follows a hold");
        let holds = location.holds;
        if holds == 0 {
            self.drop_unused(ino);
        }
        Ok(holds)
    }

    fn drop_unused(&mut self, mut ino: Ino) {
        while let Some(location) = self.map.get(&ino) {
            if location.references > 0 || location.holds > 0 || location.children > 0 {
                return;
            }
            let parent = location.parent;
            self.map.remove(&ino);
            self.discount(ino);
            let Some(up) = self.map.get_mut(&parent) else { return };
            up.children -= 1;
            ino = parent;
        }
    }

    /// Notes that a known inode is now at another place. Unknown inodes need no note.
    pub(crate) fn moved(&mut self, ino: Ino, parent: Ino, place: Where) {
        let Some(location) = self.map.get_mut(&ino) else { return };
        location.place = place;
        let old = std::mem::replace(&mut location.parent, parent);
        if old != parent {
            if let Some(up) = self.map.get_mut(&parent) {
                up.children += 1;
            }
            if let Some(up) = self.map.get_mut(&old) {
                up.children -= 1;
            }
            self.drop_unused(old);
        }
    }

    /// Notes that a known inode was removed.
    pub(crate) fn removed(&mut self, ino: Ino, attributes: Attributes) {
        if let Some(location) = self.map.get_mut(&ino) {
            location.gone = Some(Box::new(attributes));
        }
    }

    /// The way to a known inode that still exists.
    pub(crate) fn trail(&self, ino: Ino) -> Result<Trail> {
        let mut trail = Trail::default();
        let mut at = ino;
        loop {
            if at == Ino::ROOT {
                break;
            }
            if at == ORPHANS {
                trail.orphan = true;
                break;
            }
            let location = self.map.get(&at).ok_or_else(|| stale(ino))?;
            if location.gone.is_some() && location.parent != ORPHANS {
                return Err(stale(ino));
            }
            match &location.place {
                Where::Name(key) => trail.keys.push(key.clone()),
                Where::Side(key) => trail.side = Some(*key),
            }
            at = location.parent;
        }
        trail.keys.reverse();
        Ok(trail)
    }

    /// The way to a known directory in which a name is looked for or changed. One that was removed, also with a tree around it,
    /// has no names any more.
    pub(crate) fn directory_trail(&self, directory: Ino) -> Result<Trail> {
        self.trail(directory).map_err(|error| match error.kind() {
            ErrorKind::Stale if self.map.contains_key(&directory) => {
                Error::new(ErrorKind::NotFound, "the directory has been removed")
            }
            _ => error,
        })
    }

    /// The root of the realm that the content of a known directory belongs to.
    pub(crate) fn realm_root(&self, directory: Ino) -> Result<Ino> {
        let mut at = directory;
        loop {
            if at == Ino::ROOT || at == ORPHANS {
                return Ok(at);
            }
            let location = self.map.get(&at).ok_or_else(|| stale(directory))?;
            if location.realm_root {
                return Ok(at);
            }
            at = location.parent;
        }
    }

    /// Whether `ino` is `ancestor` or lies below it.
    pub(crate) fn is_within(&self, ino: Ino, ancestor: Ino) -> bool {
        let mut at = ino;
        loop {
            if at == ancestor {
                return true;
            }
            match self.map.get(&at) {
                Some(location) if at != Ino::ROOT => at = location.parent,
                _ => return false,
            }
        }
    }

    /// Whether `ino` or any known inode below it is held open.
    pub(crate) fn any_held_within(&self, ino: Ino) -> bool {
        if ino != Ino::ROOT {
            // The parents of what is known are known: most often there is nothing below to look through all for.
            match self.map.get(&ino) {
                None => return false,
                Some(location) if location.children == 0 => return location.holds > 0,
                Some(_) => {}
            }
        }
        self.map.iter().any(|(known, location)| location.holds > 0 && self.is_within(*known, ino))
    }

    /// Whether an inode that was removed has to stay: it, or something below it, can still be reached.
    pub(crate) fn is_needed(&self, orphan: Ino) -> bool {
        self.get(orphan).is_some_and(Location::is_reachable) || self.any_held_within(orphan)
    }

    /// The removed inode, `ino` itself or above it, that lies among the orphans.
    pub(crate) fn orphan_above(&self, ino: Ino) -> Option<Ino> {
        let mut at = ino;
        loop {
            if at == Ino::ROOT {
                return None;
            }
            let location = self.map.get(&at)?;
            if location.parent == ORPHANS {
                return Some(at);
            }
            at = location.parent;
        }
    }

    /// Puts an inode where a log says that it is.
    pub(crate) fn place(&mut self, ino: Ino, parent: Ino, place: Where, realm_root: bool) {
        self.remember(ino, parent, place.clone(), realm_root);
        self.moved(ino, parent, place);
        if let Some(location) = self.map.get_mut(&ino) {
            location.realm_root = realm_root;
            location.gone = None;
        }
    }

    /// Known inodes whose way still has to be written to log file `log`, outermost first.
    pub(crate) fn take_unlogged(&mut self, ino: Ino, log: u64) -> SmallVec<[(Ino, Ino, Where, bool); 4]> {
        let mut found = SmallVec::new();
        let mut at = ino;
        while at != Ino::ROOT && at != ORPHANS {
            let Some(location) = self.map.get_mut(&at) else { break };
            if location.logged_in == log {
                break;
            }
            location.logged_in = log;
            found.push((at, location.parent, location.place.clone(), location.realm_root));
            at = location.parent;
        }
        found.reverse();
        found
    }
}

pub(crate) fn stale(ino: Ino) -> Error {
    Error::new(ErrorKind::Stale, format!("inode {} no longer exists", ino.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Where {
        Where::Name(EntryKey { hash: 5, name: name.as_bytes().into() })
    }

    #[test]
    fn only_what_nobody_holds_has_an_idle_name() {
        let (a, b) = (Ino(16), Ino(17));
        let mut known = Locations::default();
        known.remember(a, Ino::ROOT, name("a"), false);
        known.remember(b, a, Where::Side(SideKey { foreign: None, number: 5 }), false);
        assert_eq!(known.idle_name(a), Some((Ino::ROOT, b"a".to_vec())));
        assert_eq!(known.idle_name(b), None);
        assert_eq!(known.idle_name(Ino(99)), None);
        known.hold(a, 1).unwrap();
        assert_eq!(known.idle_name(a), None);
        known.hold(a, -1).unwrap();
        known.moved(a, ORPHANS, name("a"));
        assert_eq!(known.idle_name(a), None);
    }

    #[test]
    fn what_is_held_is_found_at_any_depth() {
        let (a, b, c, d) = (Ino(16), Ino(17), Ino(18), Ino(19));
        let mut known = Locations::default();
        known.remember(a, Ino::ROOT, name("a"), false);
        known.remember(b, a, name("b"), false);
        known.remember(c, b, name("c"), false);
        known.remember(d, Ino::ROOT, name("d"), false);
        assert!([Ino::ROOT, a, b, c, d, Ino(99)].iter().all(|ino| !known.any_held_within(*ino)));
        known.hold(c, 1).unwrap();
        assert!([Ino::ROOT, a, b, c].iter().all(|ino| known.any_held_within(*ino)));
        assert!(!known.any_held_within(d));
        known.hold(c, -1).unwrap();
        assert!(!known.any_held_within(a));
    }
}
