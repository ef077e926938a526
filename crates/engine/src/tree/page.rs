//! What one node holds: items in the order of their keys, and a search that touches little memory.
//!
//! A directory of many entries does not fit the processor's caches, and neither do the keys of one leaf lie close together. So the
//! page of a tree whose keys have a [`Tree::rank`] keeps the ranks by themselves; a key is looked at only where its rank is met.

use std::marker::PhantomData;
use std::ops::{Deref, Range};

use super::node::{Branch, Tree};

/// Places that a page takes in advance when it grows. Pages are many and most are not full: doubling would leave much unused.
const GROWTH: usize = 8;
/// Ranks up to which all are compared: their memory is fetched at once then, not one piece after the other.
const COMPARED_MAX: usize = 64;

/// What has a key in a tree.
pub(crate) trait Item<K: Tree> {
    fn key(&self) -> &K::Key;
}

impl<K: Tree> Item<K> for (K::Key, K::Value) {
    fn key(&self) -> &K::Key {
        &self.0
    }
}

impl<K: Tree> Item<K> for Branch<K> {
    fn key(&self) -> &K::Key {
        &self.key
    }
}

/// Items in ascending order of their keys. To be read, it is a slice.
pub(crate) struct Page<K: Tree, T> {
    items: Vec<T>,
    /// The rank of each item, or nothing for a tree without ranks.
    ranks: Vec<u64>,
    of: PhantomData<fn() -> K>,
}

impl<K: Tree, T> Deref for Page<K, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<'a, K: Tree, T> IntoIterator for &'a Page<K, T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<K: Tree, T: Clone> Clone for Page<K, T> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone(), ranks: self.ranks.clone(), of: PhantomData }
    }
}

impl<K: Tree, T: Item<K>> From<Vec<T>> for Page<K, T> {
    fn from(items: Vec<T>) -> Self {
        let mut page = Self { items, ranks: Vec::new(), of: PhantomData };
        page.rank();
        page
    }
}

impl<K: Tree, T: Item<K>> Page<K, T> {
    fn rank(&mut self) {
        self.ranks.clear();
        if K::RANKED {
            self.ranks.reserve_exact(self.items.len());
            self.ranks.extend(self.items.iter().map(|item| K::rank(item.key())));
        }
    }

    /// The index of the item with this key, or where it would be.
    pub(crate) fn find(&self, key: &K::Key) -> Result<usize, usize> {
        if !K::RANKED {
            return self.items.binary_search_by(|item| item.key().cmp(key));
        }
        let rank = K::rank(key);
        let mut at = if self.ranks.len() <= COMPARED_MAX {
            self.ranks.iter().map(|present| usize::from(*present < rank)).sum()
        } else {
            self.ranks.partition_point(|present| *present < rank)
        };
        while self.ranks.get(at) == Some(&rank) {
            match self.items[at].key().cmp(key) {
                std::cmp::Ordering::Less => at += 1,
                std::cmp::Ordering::Equal => return Ok(at),
                std::cmp::Ordering::Greater => break,
            }
        }
        Err(at)
    }

    /// The index of the first item whose key is not lower.
    pub(crate) fn lower_bound(&self, key: &K::Key) -> usize {
        self.find(key).unwrap_or_else(|at| at)
    }

    /// The index of the first item whose key is higher.
    pub(crate) fn upper_bound(&self, key: &K::Key) -> usize {
        self.find(key).map_or_else(|at| at, |at| at + 1)
    }

    pub(crate) fn insert(&mut self, at: usize, item: T) {
        if self.items.len() == self.items.capacity() {
            self.items.reserve_exact(GROWTH);
        }
        if K::RANKED {
            if self.ranks.len() == self.ranks.capacity() {
                self.ranks.reserve_exact(GROWTH);
            }
            self.ranks.insert(at, K::rank(item.key()));
        }
        self.items.insert(at, item);
    }

    pub(crate) fn remove(&mut self, at: usize) -> T {
        if K::RANKED {
            self.ranks.remove(at);
        }
        self.items.remove(at)
    }

    pub(crate) fn remove_range(&mut self, range: Range<usize>) {
        if K::RANKED {
            self.ranks.drain(range.clone());
        }
        self.items.drain(range);
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.items.retain(keep);
        self.rank();
    }

    /// Takes the items from `at` on out.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        let upper = self.items.split_off(at);
        self.items.shrink_to(at + GROWTH);
        self.ranks.truncate(at);
        self.ranks.shrink_to(at + GROWTH);
        upper.into()
    }

    /// Appends copies of items that are all higher.
    pub(crate) fn append_copies(&mut self, higher: &[T])
    where
        T: Clone,
    {
        self.items.extend_from_slice(higher);
        self.rank();
    }

    /// An item to be changed, but for its key.
    pub(crate) fn change(&mut self, at: usize) -> &mut T {
        &mut self.items[at]
    }

    /// All items to be changed, but for their keys.
    pub(crate) fn change_all(&mut self) -> impl Iterator<Item = &mut T> {
        self.items.iter_mut()
    }
}

impl<K: Tree> Page<K, Branch<K>> {
    /// The child that covers `key`.
    pub(crate) fn child_of(&self, key: &K::Key) -> usize {
        self.upper_bound(key).saturating_sub(1)
    }

    /// Lowers the key of the first child.
    pub(crate) fn lower(&mut self, key: K::Key) {
        if K::RANKED {
            self.ranks[0] = K::rank(&key);
        }
        self.items[0].key = key;
    }
}
