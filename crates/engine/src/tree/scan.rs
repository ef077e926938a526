//! Reading a tree.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::node::{Body, Branch, Link, Node, Root, Tree};
use super::{Missing, Nodes};

/// Nodes that are asked for before they are missed.
const WISHES_MAX: usize = 32;

/// The leaf that holds `key` and its index there.
pub(crate) fn find<K: Tree>(
    root: &Root<K>,
    key: &K::Key,
    nodes: &dyn Nodes,
) -> Result<Option<(Arc<Node<K>>, usize)>, Missing> {
    let Some(mut link) = root.as_ref() else { return Ok(None) };
    // Nodes in memory are passed without a count of who refers to them.
    let mut node = loop {
        let Link::Memory(node) = link else { break link.node(nodes)? };
        match &node.body {
            Body::Leaf(entries) => return Ok(entries.find(key).ok().map(|index| (node.clone(), index))),
            Body::Branch(children) => link = &children[children.child_of(key)].link,
        }
    };
    loop {
        node = match &node.body {
            Body::Leaf(entries) => return Ok(entries.find(key).ok().map(|index| (node, index))),
            Body::Branch(children) => children[children.child_of(key)].link.node(nodes)?,
        };
    }
}

/// If the first of these children is what is missing, those behind it will be missed next.
fn wish_beside<K: Tree>(missing: Missing, children: &[Branch<K>], nodes: &dyn Nodes) -> Missing {
    if let [first, behind @ ..] = children
        && first.link.address() == Some(missing.address)
    {
        let stored = behind.iter().filter_map(|child| match child.link {
            Link::Stored(address) => Some(Missing { address, kind: K::KIND }),
            Link::Memory(_) => None,
        });
        nodes.wish(&mut stored.take(WISHES_MAX));
    }
    missing
}

/// Shows entries from `from` on, ascending, until `each` breaks.
pub(crate) fn scan<K: Tree, B>(
    root: &Root<K>,
    from: &K::Key,
    nodes: &dyn Nodes,
    each: &mut dyn FnMut(&K::Key, &K::Value) -> ControlFlow<B>,
) -> Result<Option<B>, Missing> {
    fn go<K: Tree, B>(
        link: &Link<K>,
        from: &K::Key,
        nodes: &dyn Nodes,
        each: &mut dyn FnMut(&K::Key, &K::Value) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Missing> {
        let node = link.node(nodes)?;
        match &node.body {
            Body::Leaf(entries) => {
                for (key, value) in &entries[entries.lower_bound(from)..] {
                    if let ControlFlow::Break(b) = each(key, value) {
                        return Ok(ControlFlow::Break(b));
                    }
                }
            }
            Body::Branch(children) => {
                for (index, child) in children.iter().enumerate().skip(children.child_of(from)) {
                    match go(&child.link, from, nodes, each) {
                        Ok(ControlFlow::Continue(())) => {}
                        Err(missing) => return Err(wish_beside(missing, &children[index..], nodes)),
                        broken => return broken,
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
    let Some(link) = root else { return Ok(None) };
    Ok(match go(link, from, nodes, each)? {
        ControlFlow::Break(b) => Some(b),
        ControlFlow::Continue(()) => None,
    })
}

/// Shows entries that weigh something, ascending, until `each` breaks. Reads only what leads to them.
pub(crate) fn scan_weighty<K: Tree, B>(
    root: &Root<K>,
    nodes: &dyn Nodes,
    each: &mut dyn FnMut(&K::Key, &K::Value) -> ControlFlow<B>,
) -> Result<Option<B>, Missing> {
    fn go<K: Tree, B>(
        link: &Link<K>,
        nodes: &dyn Nodes,
        each: &mut dyn FnMut(&K::Key, &K::Value) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Missing> {
        let node = link.node(nodes)?;
        match &node.body {
            Body::Leaf(entries) => {
                for (key, value) in entries.iter().filter(|(_, value)| K::weight(value) > 0) {
                    if let ControlFlow::Break(b) = each(key, value) {
                        return Ok(ControlFlow::Break(b));
                    }
                }
            }
            Body::Branch(children) => {
                for (index, child) in children.iter().enumerate().filter(|(_, child)| child.weight > 0) {
                    match go(&child.link, nodes, each) {
                        Ok(ControlFlow::Continue(())) => {}
                        Err(missing) => return Err(wish_beside(missing, &children[index..], nodes)),
                        broken => return broken,
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
    let Some(link) = root else { return Ok(None) };
    Ok(match go(link, nodes, each)? {
        ControlFlow::Break(b) => Some(b),
        ControlFlow::Continue(()) => None,
    })
}

/// The last entry whose key is at most `key`.
pub(crate) fn last_before<K: Tree>(
    root: &Root<K>,
    key: &K::Key,
    nodes: &dyn Nodes,
) -> Result<Option<(K::Key, K::Value)>, Missing> {
    fn go<K: Tree>(
        link: &Link<K>,
        key: &K::Key,
        nodes: &dyn Nodes,
    ) -> Result<Option<(K::Key, K::Value)>, Missing> {
        let node = link.node(nodes)?;
        match &node.body {
            Body::Leaf(entries) => {
                let end = entries.upper_bound(key);
                Ok(end.checked_sub(1).map(|index| entries[index].clone()))
            }
            Body::Branch(children) => {
                for child in children[..=children.child_of(key)].iter().rev() {
                    if let Some(found) = go(&child.link, key, nodes)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
        }
    }
    match root {
        Some(link) => go(link, key, nodes),
        None => Ok(None),
    }
}

/// Sum of the weights of all entries.
pub(crate) fn total_weight<K: Tree>(root: &Root<K>, nodes: &dyn Nodes) -> Result<u64, Missing> {
    root.as_ref().map_or(Ok(0), |link| Ok(link.node(nodes)?.weight))
}
