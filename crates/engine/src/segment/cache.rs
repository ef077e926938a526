//! Nodes and frames in memory.

use std::hash::Hash;

use bytes::Bytes;
use quick_cache::sync::DefaultLifecycle;
use quick_cache::{OptionsBuilder, Weighter};
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::fetch::Fetched;
use super::items::Items;
use crate::Result;
use crate::address::{Address, ItemKind};
use crate::sync::Mutex;
use crate::tree::{AnyNode, ChangedMark, Missing, Nodes};

/// What a cached entry takes beside its bytes: key, counts, list heads.
const OVERHEAD_BYTES: u64 = 160;

/// Parts of a cache that are locked apart.
const SHARDS: usize = 16;

pub(super) type Cache<K, V, W> = quick_cache::sync::Cache<K, V, W, FxBuildHasher>;

/// A cache of so many bytes, for entries of about `each`. What it evicts depends on nothing but what it is asked: neither on the machine nor
/// on chance, so that a seed replays a run.
pub(super) fn cache<K: Eq + Hash, V: Clone, W: Weighter<K, V> + Clone>(
    bytes: u64,
    each: u64,
    weighter: W,
) -> Cache<K, V, W> {
    let options = OptionsBuilder::new()
        .shards(SHARDS)
        .estimated_items_capacity((bytes / each).clamp(64, 4 << 20) as usize)
        .weight_capacity(bytes)
        .build()
        .expect("both capacities are given");
    Cache::with_options(options, weighter, FxBuildHasher, DefaultLifecycle::default())
}

#[derive(Clone)]
pub(super) struct NodeWeight;

impl<K> Weighter<K, AnyNode> for NodeWeight {
    fn weight(&self, _: &K, node: &AnyNode) -> u64 {
        // A decoded page takes about twice its encoded bytes.
        2 * node.bytes() as u64 + OVERHEAD_BYTES
    }
}

#[derive(Clone)]
pub(super) struct FrameWeight;

impl<K> Weighter<K, Bytes> for FrameWeight {
    fn weight(&self, _: &K, frame: &Bytes) -> u64 {
        frame.len() as u64 + OVERHEAD_BYTES
    }
}

/// The nodes that one operation works with: what it has seen once stays until it is over, whatever the cache does.
pub(crate) struct Pinned<'a> {
    items: &'a Items,
    nodes: Mutex<FxHashMap<Address, AnyNode>>,
    frames: Mutex<FxHashMap<Address, Bytes>>,
    /// What is likely to be missed after what is missing.
    wishes: Mutex<Vec<Missing>>,
}

impl<'a> Pinned<'a> {
    pub(crate) fn new(items: &'a Items) -> Self {
        Self { items, nodes: Mutex::default(), frames: Mutex::default(), wishes: Mutex::default() }
    }

    /// Fetches what was missing, and with it what will be.
    pub(crate) async fn fetch(&self, missing: Missing) -> Result<()> {
        let wishes = std::mem::take(&mut *self.wishes.lock());
        if self.items.is_remote() {
            let wanted: Vec<Missing> = std::iter::once(missing).chain(wishes).collect();
            self.keep(self.items.bring(&wanted).await);
            let has = if missing.kind == ItemKind::Frame {
                self.frames.lock().contains_key(&missing.address)
            } else {
                self.nodes.lock().contains_key(&missing.address)
            };
            if has {
                return Ok(());
            }
        }
        if missing.kind == ItemKind::Frame {
            let frame = self.items.frame(missing.address).await?;
            self.frames.lock().insert(missing.address, frame);
        } else {
            let node = self.items.node(missing).await?;
            self.nodes.lock().insert(missing.address, node);
        }
        Ok(())
    }

    fn keep(&self, found: Vec<(Address, Fetched)>) {
        for (address, item) in found {
            match item {
                Fetched::Node(node) => drop(self.nodes.lock().insert(address, node)),
                Fetched::Frame(frame) => drop(self.frames.lock().insert(address, frame)),
            }
        }
    }
}

impl Nodes for Pinned<'_> {
    fn get(&self, address: Address) -> Option<AnyNode> {
        let mut nodes = self.nodes.lock();
        if let Some(node) = nodes.get(&address) {
            return Some(node.clone());
        }
        let node = self.items.cached_node(address)?;
        nodes.insert(address, node.clone());
        Some(node)
    }

    fn changed(&self) -> Option<ChangedMark> {
        Some(self.items.changed_nodes().mark())
    }

    fn frame(&self, address: Address) -> Option<Bytes> {
        self.frames.lock().get(&address).cloned()
    }

    fn wish(&self, wishes: &mut dyn Iterator<Item = Missing>) {
        if self.items.is_remote() {
            *self.wishes.lock() = wishes.collect();
        }
    }
}
