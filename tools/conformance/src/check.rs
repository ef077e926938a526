//! The checks, one module for each part of the interface.
//!
//! A check is written with [`checks!`]: its documentation is what it expects, its body gives an outcome.

use crate::suite::Check;

/// Defines checks of one group and the table `CHECKS` of them.
macro_rules! checks {
    ($group:literal; $($(#[doc = $doc:literal])+ fn $name:ident($place:ident) $body:block)+) => {
        pub(crate) const CHECKS: &[crate::suite::Check] = &[$(crate::suite::Check {
            group: $group,
            name: stringify!($name),
            expects: concat!($($doc),+),
            run: $name,
        }),+];
        $($(#[doc = $doc])+
        fn $name($place: &crate::place::Place) -> crate::expect::Outcome {
            $body
            Ok(())
        })+
    };
}

macro_rules! groups {
    ($($group:ident),+ $(,)?) => {
        $(mod $group;)+

        /// Every check, in order.
        pub fn all() -> Vec<Check> {
            [$($group::CHECKS),+].concat()
        }
    };
}

groups![
    open, tmpfile, unlink, link, symlink, node, directory, rename, mode, owner, time, permission, inherit,
    acl, xattr, truncate, sparse, allocate, seek, io, map, direct, readdir, stat, statfs, sync, lock, copy,
    limits,
];
