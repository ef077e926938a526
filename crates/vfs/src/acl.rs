//! POSIX access control lists: the stored form, evaluation, and how they and permission bits follow each other.
//!
//! The stored form is that of the Linux attributes `system.posix_acl_access` and `system.posix_acl_default`, version 2: a
//! 32-bit version, then entries of 16-bit tag, 16-bit permissions and 32-bit id, all little-endian. Source: `acl(5)` and
//! the Linux header `posix_acl_xattr.h`; evaluation follows the access check algorithm of `acl(5)`.

use crate::error::{Code, Error, Result};

/// Name of the attribute that holds the list that is checked.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// Name of the attribute that holds the list that new entries of a directory inherit.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const HEADER_BYTES: usize = 4;
const ENTRY_BYTES: usize = 8;
/// The id of entries that name nobody.
const NO_ID: u32 = u32::MAX;

const TAG_OWNER: u16 = 0x01;
const TAG_USER: u16 = 0x02;
const TAG_OWNING_GROUP: u16 = 0x04;
const TAG_GROUP: u16 = 0x08;
const TAG_MASK: u16 = 0x10;
const TAG_OTHER: u16 = 0x20;

/// Three permission bits: read 4, write 2, execute or search 1.
pub type Bits = u16;

/// One list that is valid: it has the three basic entries, and a mask if it names anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    owner: Bits,
    users: Vec<(u32, Bits)>,
    owning_group: Bits,
    groups: Vec<(u32, Bits)>,
    mask: Option<Bits>,
    other: Bits,
}

impl Acl {
    /// Reads the stored form; an empty list (a header alone) is `None`.
    ///
    /// # Errors
    /// `NotSupported` for another version; `Invalid` for anything that breaks the rules of `acl(5)`.
    pub fn decode(value: &[u8]) -> Result<Option<Acl>> {
        let invalid = |why: &'static str| Error::new(Code::Invalid, why);
        let Some((header, body)) = value.split_at_checked(HEADER_BYTES) else {
            return Err(invalid("access control list is shorter than its header"));
        };
        if u32::from_le_bytes([header[0], header[1], header[2], header[3]]) != VERSION {
            return Err(Error::new(Code::NotSupported, "access control list has an unknown version"));
        }
        if body.is_empty() {
            return Ok(None);
        }
        if body.len() % ENTRY_BYTES != 0 {
            return Err(invalid("access control list ends inside an entry"));
        }
        let (mut owner, mut owning_group, mut mask, mut other) = (None, None, None, None);
        let (mut users, mut groups) = (Vec::new(), Vec::new());
        let mut last_tag = 0;
        for entry in body.chunks_exact(ENTRY_BYTES) {
            let tag = u16::from_le_bytes([entry[0], entry[1]]);
            let bits = u16::from_le_bytes([entry[2], entry[3]]);
            let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            if bits & !0o7 != 0 {
                return Err(invalid("access control list grants unknown permissions"));
            }
            if tag < last_tag {
                return Err(invalid("entries of the access control list are out of order"));
            }
            last_tag = tag;
            let slot = match tag {
                TAG_OWNER => &mut owner,
                TAG_OWNING_GROUP => &mut owning_group,
                TAG_MASK => &mut mask,
                TAG_OTHER => &mut other,
                TAG_USER | TAG_GROUP => {
                    if id == NO_ID {
                        return Err(invalid("access control list names no valid id"));
                    }
                    if tag == TAG_USER { &mut users } else { &mut groups }.push((id, bits));
                    continue;
                }
                _ => return Err(invalid("access control list has an unknown entry")),
            };
            if slot.replace(bits).is_some() {
                return Err(invalid("access control list has a basic entry twice"));
            }
        }
        let (Some(owner), Some(owning_group), Some(other)) = (owner, owning_group, other) else {
            return Err(invalid("access control list lacks a basic entry"));
        };
        if mask.is_none() && !(users.is_empty() && groups.is_empty()) {
            return Err(invalid("access control list names somebody but has no mask"));
        }
        Ok(Some(Acl { owner, users, owning_group, groups, mask, other }))
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let entries = 4 + self.users.len() + self.groups.len();
        let mut value = Vec::with_capacity(HEADER_BYTES + entries * ENTRY_BYTES);
        value.extend_from_slice(&VERSION.to_le_bytes());
        let mut entry = |tag: u16, bits: Bits, id: u32| {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&bits.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        };
        entry(TAG_OWNER, self.owner, NO_ID);
        self.users.iter().for_each(|(id, bits)| entry(TAG_USER, *bits, *id));
        entry(TAG_OWNING_GROUP, self.owning_group, NO_ID);
        self.groups.iter().for_each(|(id, bits)| entry(TAG_GROUP, *bits, *id));
        if let Some(bits) = self.mask {
            entry(TAG_MASK, bits, NO_ID);
        }
        entry(TAG_OTHER, self.other, NO_ID);
        value
    }

    /// The list that says what the permission bits say.
    pub fn from_mode(mode: u32) -> Acl {
        Acl {
            owner: class(mode, 6),
            users: Vec::new(),
            owning_group: class(mode, 3),
            groups: Vec::new(),
            mask: None,
            other: class(mode, 0),
        }
    }

    /// Permission bits (0 to 0o777) that stand for this list; the group's are the mask if there is one.
    pub fn mode(&self) -> u32 {
        u32::from(self.owner) << 6
            | u32::from(self.mask.unwrap_or(self.owning_group)) << 3
            | u32::from(self.other)
    }

    /// Whether permission bits say all that this list says.
    pub fn is_equivalent_to_mode(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty() && self.mask.is_none()
    }

    /// Takes over permission bits, as `chmod` does: the group's go to the mask if there is one.
    pub fn set_mode(&mut self, mode: u32) {
        self.owner = class(mode, 6);
        match &mut self.mask {
            Some(mask) => *mask = class(mode, 3),
            None => self.owning_group = class(mode, 3),
        }
        self.other = class(mode, 0);
    }

    /// What a new inode gets that inherits this default list and was asked to be created with `mode`: its permission bits (other
    /// bits of `mode` are kept) and its list, where bits alone do not say it.
    pub fn inherit(&self, mode: u32) -> (u32, Option<Acl>) {
        let mut acl = self.clone();
        acl.owner &= class(mode, 6);
        match &mut acl.mask {
            Some(mask) => *mask &= class(mode, 3),
            None => acl.owning_group &= class(mode, 3),
        }
        acl.other &= class(mode, 0);
        let mode = (mode & !0o777) | acl.mode();
        let acl = (!acl.is_equivalent_to_mode()).then_some(acl);
        (mode, acl)
    }

    /// Whether somebody gets every bit of `wanted` on an inode of this owner and group.
    pub fn allows(
        &self,
        wanted: Bits,
        owner: u32,
        group: u32,
        uid: u32,
        is_member: impl Fn(u32) -> bool,
    ) -> bool {
        if uid == owner {
            return self.owner & wanted == wanted;
        }
        let mask = self.mask.unwrap_or(0o7);
        if let Some((_, bits)) = self.users.iter().find(|(id, _)| *id == uid) {
            return bits & mask & wanted == wanted;
        }
        let mut in_a_group = false;
        for (id, bits) in std::iter::once(&(group, self.owning_group)).chain(&self.groups) {
            if is_member(*id) {
                in_a_group = true;
                if bits & mask & wanted == wanted {
                    return true;
                }
            }
        }
        !in_a_group && self.other & wanted == wanted
    }
}

fn class(mode: u32, shift: u32) -> Bits {
    (mode >> shift & 0o7) as Bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for (tag, bits, id) in entries {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&bits.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        value
    }

    /// owner rw-, user 10 rwx, group r--, group 20 rw-, mask rw-, other ---
    fn sample() -> Acl {
        Acl {
            owner: 6,
            users: vec![(10, 7)],
            owning_group: 4,
            groups: vec![(20, 6)],
            mask: Some(6),
            other: 0,
        }
    }

    #[test]
    fn the_stored_form_is_the_one_of_linux() {
        let value =
            raw(&[(1, 6, NO_ID), (2, 7, 10), (4, 4, NO_ID), (8, 6, 20), (16, 6, NO_ID), (32, 0, NO_ID)]);
        assert_eq!(sample().encode(), value);
        assert_eq!(Acl::decode(&value).unwrap(), Some(sample()));
    }

    #[test]
    fn a_header_alone_is_no_list() {
        assert_eq!(Acl::decode(&VERSION.to_le_bytes()).unwrap(), None);
    }

    #[test]
    fn broken_lists_are_refused() {
        let good = sample().encode();
        assert_eq!(Acl::decode(&good[..3]).unwrap_err().code(), Code::Invalid);
        assert_eq!(Acl::decode(&good[..good.len() - 1]).unwrap_err().code(), Code::Invalid);
        assert_eq!(Acl::decode(&[1, 0, 0, 0]).unwrap_err().code(), Code::NotSupported);
        let broken: [&[(u16, u16, u32)]; 7] = [
            &[(1, 6, NO_ID), (4, 4, NO_ID)],
            &[(1, 6, NO_ID), (1, 6, NO_ID), (4, 4, NO_ID), (32, 0, NO_ID)],
            &[(4, 4, NO_ID), (1, 6, NO_ID), (32, 0, NO_ID)],
            &[(1, 8, NO_ID), (4, 4, NO_ID), (32, 0, NO_ID)],
            &[(1, 6, NO_ID), (2, 6, 10), (4, 4, NO_ID), (32, 0, NO_ID)],
            &[(1, 6, NO_ID), (2, 6, NO_ID), (4, 4, NO_ID), (16, 7, NO_ID), (32, 0, NO_ID)],
            &[(1, 6, NO_ID), (4, 4, NO_ID), (32, 0, NO_ID), (64, 0, NO_ID)],
        ];
        for entries in broken {
            assert_eq!(Acl::decode(&raw(entries)).unwrap_err().code(), Code::Invalid, "{entries:?}");
        }
    }

    #[test]
    fn the_first_matching_class_decides() {
        let acl = sample();
        let nobody = |_| false;
        assert!(acl.allows(6, 1, 2, 1, nobody));
        assert!(!acl.allows(1, 1, 2, 1, nobody), "the owner's entry is not masked and not widened");
        assert!(acl.allows(6, 1, 2, 10, nobody));
        assert!(!acl.allows(1, 1, 2, 10, nobody), "the mask takes execute from a named user");
        assert!(acl.allows(4, 1, 2, 99, |g| g == 2));
        assert!(!acl.allows(2, 1, 2, 99, |g| g == 2));
        assert!(acl.allows(2, 1, 2, 99, |g| g == 2 || g == 20), "any matching group may grant");
        assert!(!acl.allows(4, 1, 2, 99, nobody));
    }

    #[test]
    fn a_group_that_matches_keeps_out_of_other() {
        let acl = Acl { owning_group: 0, other: 7, ..sample() };
        assert!(!acl.allows(4, 1, 2, 99, |g| g == 2));
        assert!(acl.allows(4, 1, 2, 99, |_| false));
    }

    #[test]
    fn chmod_moves_the_mask_and_leaves_the_group() {
        let mut acl = sample();
        acl.set_mode(0o751);
        assert_eq!((acl.owner, acl.mask, acl.owning_group, acl.other), (7, Some(5), 4, 1));
        assert_eq!(acl.mode(), 0o751);
    }

    #[test]
    fn an_inherited_list_is_cut_by_the_mode_of_the_creation() {
        let (mode, acl) = sample().inherit(0o4644);
        assert_eq!(mode, 0o4640);
        let acl = acl.expect("names somebody");
        assert_eq!((acl.owner, acl.mask, acl.other), (6, Some(4), 0));
        assert_eq!(Acl::from_mode(0o700).inherit(0o777), (0o700, None));
    }

    fn any_acl() -> impl Strategy<Value = Acl> {
        let named = || proptest::collection::vec((0u32..1000, 0u16..8), 0..4);
        (0u16..8, named(), 0u16..8, named(), proptest::option::of(0u16..8), 0u16..8).prop_map(
            |(owner, users, owning_group, groups, mask, other)| {
                let mask = if users.is_empty() && groups.is_empty() { mask } else { mask.or(Some(7)) };
                Acl { owner, users, owning_group, groups, mask, other }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(acl in any_acl()) {
            prop_assert_eq!(Acl::decode(&acl.encode()).unwrap(), Some(acl));
        }

        #[test]
        fn decoding_never_panics(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Acl::decode(&value);
        }

        #[test]
        fn permission_bits_are_a_list_of_three(mode in 0u32..0o1000, uid in 1u32..4, member: bool, wanted in 0u16..8) {
            let shift = if uid == 1 { 6 } else if member { 3 } else { 0 };
            let by_bits = class(mode, shift) & wanted == wanted;
            prop_assert_eq!(Acl::from_mode(mode).allows(wanted, 1, 5, uid, |g| member && g == 5), by_bits);
        }

        #[test]
        fn inheriting_never_grants_more_than_asked(acl in any_acl(), mode in 0u32..0o1000) {
            let (got, _) = acl.inherit(mode);
            prop_assert_eq!(got & !mode, 0);
        }
    }
}
