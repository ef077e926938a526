//! One B+tree for everything: directories, files, side trees, realm aliases, reference counts.
//!
//! Nodes are shared by reference count and copied on their first change, so copying a root is cloning a tree. A link
//! leads to a node in memory or to the address of a stored one. Functions that change a tree pull every node they
//! need into memory first and stop with [`Missing`] before anything has changed in meaning; the caller
//! fetches the node without holding any lock and calls again.

mod edit;
mod node;
mod page;
mod scan;

pub(crate) use edit::{insert, pull, pull_beside, remove, remove_range, update};
pub(crate) use node::{
    Addresses, AnyNode, Body, Branch, ChangedMark, ChangedNodes, Link, Node, Root, Tree, Visitor, VisitorMut,
    decode_address,
};
pub(crate) use scan::{find, last_before, scan, scan_weighty, total_weight};

use crate::address::{Address, ItemKind};

/// A node is not in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    pub(crate) address: Address,
    pub(crate) kind: ItemKind,
}

/// Finds stored nodes that are in memory.
pub(crate) trait Nodes {
    fn get(&self, address: Address) -> Option<AnyNode>;
    /// The bytes of a stored frame, if they are in memory.
    fn frame(&self, address: Address) -> Option<bytes::Bytes>;
    /// Tells what will be asked for if nothing stops whoever asks, after a node was missing.
    fn wish(&self, wishes: &mut dyn Iterator<Item = Missing>) {
        let _ = wishes;
    }
    /// Counts a node that is changed.
    fn changed(&self) -> Option<ChangedMark> {
        None
    }
}

/// Encoded size from which a node is split, in bytes.
pub(crate) const NODE_BYTES_MAX: usize = 8192;
/// Encoded size below which a node is merged with a neighbour that is at hand.
pub(crate) const NODE_BYTES_MIN: usize = 2048;

/// Goes one level deeper into nested directories: with more stack if little is left.
pub(crate) fn with_stack<R>(deeper: impl FnOnce() -> R) -> R {
    const LEAST_BYTES: usize = 128 << 10;
    const MORE_BYTES: usize = 4 << 20;
    stacker::maybe_grow(LEAST_BYTES, MORE_BYTES, deeper)
}

#[cfg(test)]
mod tests;
