//! Node ids: the numbers by which the kernel names inodes to this server and finds them in its tables.
//!
//! A node id is the inode number with the lower 40 bits scrambled by the realm. The plain number would do for us, but Linux
//! (`hash` in `fs/inode.c`) takes the place of an inode in its table from the lower bits of the node id alone. What one clone
//! inherits has the same lower bits in all its siblings, so one file in ten thousand clones would be one chain of ten thousand inodes.
//! Programs see the plain inode number.

use offshoot_engine::Ino;

const NUMBER_BITS: u32 = 40;
/// 2^64 divided by the golden ratio, and odd: its multiples are spread evenly.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The node id of an inode. That of the root is 1, as the kernel wants it, and 0 is none.
pub(super) fn of(ino: Ino) -> u64 {
    scramble(ino.0)
}

/// The inode of a node id.
pub(super) fn ino(node: u64) -> Ino {
    Ino(scramble(node))
}

/// Its own inverse, since the realm stays.
fn scramble(number: u64) -> u64 {
    let realm = number >> NUMBER_BITS;
    number ^ (realm.wrapping_mul(SPREAD) >> (64 - NUMBER_BITS))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_inode_has_a_node_id_of_its_own() {
        assert_eq!(of(Ino::ROOT), 1);
        for ino in [1, 2, 16, 1 << 39, 1 << 40 | 16, 5 << 40, u64::MAX].map(Ino) {
            assert_eq!(super::ino(of(ino)), ino);
            assert_ne!(of(ino), 0);
        }
    }

    /// A file in many clones was one chain in the kernel's table of inodes: a stat in the ten thousandth clone took a
    /// millisecond.
    #[test]
    fn one_file_in_many_clones_is_spread_over_the_kernels_table() {
        let places: HashSet<u64> = (0..10_000).map(|realm| of(Ino::new(realm, 77)) & 0xffff).collect();
        assert!(places.len() > 8_000, "{} places", places.len());
    }
}
