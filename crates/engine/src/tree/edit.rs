//! Changing a tree.
//!
//! Each function makes the path to what it changes its own on the way down. A [`Missing`] node on that way leaves the
//! tree equal in meaning; what is above the missing node has merely been copied.

use std::sync::Arc;

use super::node::{Body, Branch, Link, Node, Root, Tree};
use super::{Missing, NODE_BYTES_MAX, NODE_BYTES_MIN, Nodes};

/// Puts an entry in place of what has its key; gives that back.
pub(crate) fn insert<K: Tree>(
    root: &mut Root<K>,
    key: K::Key,
    value: K::Value,
    nodes: &dyn Nodes,
) -> Result<Option<K::Value>, Missing> {
    let mut old = None;
    let mut value = Some(value);
    edit(root, &key, nodes, &mut |slot| {
        let value = value.take().expect("a slot is edited once");
        match slot {
            Slot::Taken(present) => old = Some(std::mem::replace(present, value)),
            Slot::Free(free) => *free = Some(value),
        }
        Ok(())
    })?;
    Ok(old)
}

/// Changes the value of `key` in place if it is there. An error of `change` is passed on; `change` must not have changed the value then.
pub(crate) fn update<K: Tree, R, E: From<Missing>>(
    root: &mut Root<K>,
    key: &K::Key,
    nodes: &dyn Nodes,
    change: impl FnOnce(&mut K::Value) -> Result<R, E>,
) -> Result<Option<R>, E> {
    let mut change = Some(change);
    let mut result = None;
    edit(root, key, nodes, &mut |slot| {
        if let Slot::Taken(present) = slot {
            result = Some((change.take().expect("a slot is edited once"))(present)?);
        }
        Ok::<_, E>(())
    })?;
    Ok(result)
}

/// Brings the path to `key` into memory, so that a following change of it misses nothing.
pub(crate) fn pull<K: Tree>(root: &mut Root<K>, key: &K::Key, nodes: &dyn Nodes) -> Result<(), Missing> {
    let Some(mut link) = root.as_mut() else { return Ok(()) };
    loop {
        match &mut link.own(nodes)?.body {
            Body::Leaf(_) => return Ok(()),
            Body::Branch(children) => {
                let index = children.child_of(key);
                link = &mut children.change(index).link;
            }
        }
    }
}

/// As [`pull`], and if the leaf has a single entry also the leaf beside it: when that entry is removed the leaf goes, and a key of its
/// range is then put there.
pub(crate) fn pull_beside<K: Tree>(
    root: &mut Root<K>,
    key: &K::Key,
    nodes: &dyn Nodes,
) -> Result<(), Missing> {
    /// Returns whether the node would go with the entry.
    fn go<K: Tree>(link: &mut Link<K>, key: &K::Key, nodes: &dyn Nodes) -> Result<bool, Missing> {
        match &mut link.own(nodes)?.body {
            Body::Leaf(entries) => Ok(entries.len() <= 1),
            Body::Branch(children) => {
                let index = children.child_of(key);
                if !go(&mut children.change(index).link, key, nodes)? {
                    return Ok(false);
                }
                let beside = if index > 0 { index - 1 } else { index + 1 };
                if beside == children.len() {
                    return Ok(true);
                }
                pull_edge(&mut children.change(beside).link, beside < index, nodes)?;
                Ok(false)
            }
        }
    }
    /// The last leaf, or the first.
    fn pull_edge<K: Tree>(mut link: &mut Link<K>, last: bool, nodes: &dyn Nodes) -> Result<(), Missing> {
        loop {
            match &mut link.own(nodes)?.body {
                Body::Leaf(_) => return Ok(()),
                Body::Branch(children) => {
                    let index = if last { children.len() - 1 } else { 0 };
                    link = &mut children.change(index).link;
                }
            }
        }
    }
    match root {
        Some(link) => go(link, key, nodes).map(|_| ()),
        None => Ok(()),
    }
}

/// Removes an entry and gives its value back.
pub(crate) fn remove<K: Tree>(
    root: &mut Root<K>,
    key: &K::Key,
    nodes: &dyn Nodes,
) -> Result<Option<K::Value>, Missing> {
    fn go<K: Tree>(node: &mut Node<K>, key: &K::Key, nodes: &dyn Nodes) -> Result<Option<K::Value>, Missing> {
        match &mut node.body {
            Body::Leaf(entries) => match entries.find(key) {
                Ok(index) => {
                    let (key, value) = entries.remove(index);
                    node.bytes -= K::entry_bytes(&key, &value);
                    node.weight = node.weight.wrapping_sub(K::weight(&value));
                    Ok(Some(value))
                }
                Err(_) => Ok(None),
            },
            Body::Branch(children) => {
                let index = children.child_of(key);
                let child = children.change(index);
                let removed = go(child.link.own(nodes)?, key, nodes)?;
                if let Some(value) = &removed {
                    let weight = K::weight(value);
                    child.weight = child.weight.wrapping_sub(weight);
                    node.weight = node.weight.wrapping_sub(weight);
                    tidy(node, index, nodes);
                }
                Ok(removed)
            }
        }
    }
    let Some(link) = root.as_mut() else { return Ok(None) };
    let removed = go(link.own(nodes)?, key, nodes)?;
    shrink(root, nodes);
    Ok(removed)
}

/// Removes all entries with `from <= key < to`; subtrees that lie wholly inside are dropped without a look.
pub(crate) fn remove_range<K: Tree>(
    root: &mut Root<K>,
    from: &K::Key,
    to: &K::Key,
    nodes: &dyn Nodes,
) -> Result<(), Missing> {
    /// A bound that is `None` lies outside of the node. Only the paths to the bounds are gone down, and those have been pulled.
    fn go<K: Tree>(
        node: &mut Node<K>,
        from: Option<&K::Key>,
        to: Option<&K::Key>,
        nodes: &dyn Nodes,
    ) -> Result<(), Missing> {
        match &mut node.body {
            Body::Leaf(entries) => {
                let start = from.map_or(0, |from| entries.lower_bound(from));
                let end = to.map_or(entries.len(), |to| entries.lower_bound(to)).max(start);
                entries.remove_range(start..end);
            }
            Body::Branch(children) => {
                // Children that hold a bound, and so may hold keys outside of the range.
                let first = from.map(|from| children.child_of(from));
                let last = to.map(|to| children.child_of(to));
                if let Some(first) = first {
                    let to = to.filter(|_| last == Some(first));
                    let child = children.change(first);
                    go(child.link.own(nodes)?, from, to, nodes)?;
                    child.weight = owned(&child.link).weight;
                }
                if let Some(last) = last.filter(|_| last != first) {
                    let child = children.change(last);
                    go(child.link.own(nodes)?, None, to, nodes)?;
                    child.weight = owned(&child.link).weight;
                }
                let (start, end) = (first.map_or(0, |first| first + 1), last.unwrap_or(children.len()));
                if start < end {
                    children.remove_range(start..end);
                }
                children.retain(|child| !child_is_empty(child));
                node.measure();
                // What lost most of its entries joins a neighbour.
                let first = first.unwrap_or(0);
                for index in [first + 1, first] {
                    if let Body::Branch(children) = &node.body
                        && matches!(children.get(index), Some(Branch { link: Link::Memory(_), .. }))
                    {
                        tidy(node, index, nodes);
                    }
                }
            }
        }
        node.measure();
        Ok(())
    }
    if from >= to {
        return Ok(());
    }
    pull(root, from, nodes)?;
    pull(root, to, nodes)?;
    let Some(link) = root.as_mut() else { return Ok(()) };
    go(link.own(nodes)?, Some(from), Some(to), nodes)?;
    shrink(root, nodes);
    Ok(())
}

/// A place in a leaf.
enum Slot<'a, V> {
    Taken(&'a mut V),
    Free(&'a mut Option<V>),
}

/// A node that was split off, to be put after the one it came from.
type Split<K> = Option<Branch<K>>;

fn edit<K: Tree, E: From<Missing>>(
    root: &mut Root<K>,
    key: &K::Key,
    nodes: &dyn Nodes,
    change: &mut dyn FnMut(Slot<'_, K::Value>) -> Result<(), E>,
) -> Result<(), E> {
    let Some(link) = root.as_mut() else {
        let mut free = None;
        change(Slot::Free(&mut free))?;
        if let Some(value) = free {
            let entries = vec![(key.clone(), value)];
            *root = Some(Link::Memory(Arc::new(Node::new(Body::Leaf(entries.into()), nodes))));
        }
        return Ok(());
    };
    let node = link.own(nodes)?;
    let (_, split) = edit_node(node, key, nodes, change)?;
    if let Some(right) = split {
        let weight = node.weight;
        let first = lowest(node);
        let left = Branch { key: first, link: root.take().expect("the root was just edited"), weight };
        *root = Some(Link::Memory(Arc::new(Node::new(Body::Branch(vec![left, right].into()), nodes))));
    }
    Ok(())
}

/// Returns the change of the weight, and a node split off.
fn edit_node<K: Tree, E: From<Missing>>(
    node: &mut Node<K>,
    key: &K::Key,
    nodes: &dyn Nodes,
    change: &mut dyn FnMut(Slot<'_, K::Value>) -> Result<(), E>,
) -> Result<(u64, Split<K>), E> {
    let delta = match &mut node.body {
        Body::Leaf(entries) => match entries.find(key) {
            Ok(index) => {
                let value = &mut entries.change(index).1;
                let (bytes, weight) = (K::entry_bytes(key, value), K::weight(value));
                change(Slot::Taken(value))?;
                node.bytes = node.bytes + K::entry_bytes(key, value) - bytes;
                K::weight(value).wrapping_sub(weight)
            }
            Err(index) => {
                let mut free = None;
                change(Slot::Free(&mut free))?;
                let Some(value) = free else { return Ok((0, None)) };
                node.bytes += K::entry_bytes(key, &value);
                let weight = K::weight(&value);
                entries.insert(index, (key.clone(), value));
                weight
            }
        },
        Body::Branch(children) => {
            let index = children.child_of(key);
            let child = children.change(index);
            let (delta, split) = edit_node(child.link.own(nodes)?, key, nodes, change)?;
            child.weight = child.weight.wrapping_add(delta);
            if let Some(right) = split {
                child.weight = child.weight.wrapping_sub(right.weight);
                node.bytes += Node::<K>::branch_bytes(&right.key);
                children.insert(index + 1, right);
            }
            // Not before the child is changed: what misses a node leaves all as it was, the size of this one too.
            if *key < children[index].key {
                // Only before the first child. Its key stays a lower bound, else a node split off from it could sort before it.
                node.bytes = node.bytes + K::key_bytes(key) - K::key_bytes(&children[index].key);
                children.lower(key.clone());
            }
            delta
        }
    };
    node.weight = node.weight.wrapping_add(delta);
    let split = if node.bytes > NODE_BYTES_MAX { split(node, nodes) } else { None };
    Ok((delta, split))
}

/// Moves the upper half out. Appending at the end leaves the lower node nearly full instead.
fn split<K: Tree>(node: &mut Node<K>, nodes: &dyn Nodes) -> Split<K> {
    let (key, body) = match &mut node.body {
        Body::Leaf(entries) => {
            if entries.len() < 2 {
                return None;
            }
            let at = half(entries.iter().map(|(k, v)| K::entry_bytes(k, v)), node.bytes, entries.len());
            let upper = entries.split_off(at);
            (upper[0].0.clone(), Body::Leaf(upper))
        }
        Body::Branch(children) => {
            if children.len() < 4 {
                return None;
            }
            let at =
                half(children.iter().map(|c| Node::<K>::branch_bytes(&c.key)), node.bytes, children.len());
            let upper = children.split_off(at);
            (upper[0].key.clone(), Body::Branch(upper))
        }
    };
    node.measure();
    let right = Node::new(body, nodes);
    Some(Branch { key, weight: right.weight, link: Link::Memory(Arc::new(right)) })
}

/// The index, at least 1, where half of the bytes are passed.
fn half(sizes: impl Iterator<Item = usize>, total: usize, count: usize) -> usize {
    let mut sum = 0;
    for (index, size) in sizes.enumerate() {
        sum += size;
        if sum * 2 >= total {
            return (index + 1).clamp(1, count - 1);
        }
    }
    count / 2
}

fn lowest<K: Tree>(node: &Node<K>) -> K::Key {
    match &node.body {
        Body::Leaf(entries) => entries[0].0.clone(),
        Body::Branch(children) => children[0].key.clone(),
    }
}

fn owned<K: Tree>(link: &Link<K>) -> &Node<K> {
    match link {
        Link::Memory(node) => node,
        Link::Stored(_) => unreachable!("the link was owned just before"),
    }
}

fn child_is_empty<K: Tree>(child: &Branch<K>) -> bool {
    match &child.link {
        Link::Memory(node) => node_is_empty(node),
        Link::Stored(_) => false,
    }
}

fn node_is_empty<K: Tree>(node: &Node<K>) -> bool {
    match &node.body {
        Body::Leaf(entries) => entries.is_empty(),
        Body::Branch(children) => children.is_empty(),
    }
}

/// After a removal below child `index`: drops it if it is empty, merges it with a neighbour if it is small.
fn tidy<K: Tree>(node: &mut Node<K>, index: usize, nodes: &dyn Nodes) {
    let Body::Branch(children) = &mut node.body else { return };
    if child_is_empty(&children[index]) {
        let gone = children.remove(index);
        node.bytes -= Node::<K>::branch_bytes(&gone.key);
        return;
    }
    if owned(&children[index].link).bytes >= NODE_BYTES_MIN {
        return;
    }
    // A neighbour that is not in memory is left alone: merging is thrift, not duty.
    for left in [index.checked_sub(1), Some(index)].into_iter().flatten() {
        if left + 1 >= children.len() {
            continue;
        }
        let Ok(upper_node) = children[left + 1].link.node(nodes) else { continue };
        let Ok(lower_bytes) = children[left].link.node(nodes).map(|lower| lower.bytes) else { continue };
        if lower_bytes + upper_node.bytes > NODE_BYTES_MAX * 3 / 4 {
            continue;
        }
        let Ok(lower_node) = children.change(left).link.own(nodes) else { continue };
        match (&mut lower_node.body, &upper_node.body) {
            (Body::Leaf(a), Body::Leaf(b)) => a.append_copies(b),
            (Body::Branch(a), Body::Branch(b)) => a.append_copies(b),
            // All leaves of a tree have the same depth, unless it is damaged.
            _ => continue,
        }
        lower_node.measure();
        let upper = children.remove(left + 1);
        let lower = children.change(left);
        lower.weight = lower.weight.wrapping_add(upper.weight);
        node.bytes -= Node::<K>::branch_bytes(&upper.key);
        return;
    }
}

/// Drops an empty root, and levels with a single child whose node is at hand.
fn shrink<K: Tree>(root: &mut Root<K>, nodes: &dyn Nodes) {
    while let Some(link) = root {
        let Ok(node) = link.node(nodes) else { return };
        match &node.body {
            _ if node_is_empty(&node) => *root = None,
            // Only to a node that is at hand: what follows in the same operation may need it.
            Body::Branch(children) if children.len() == 1 && children[0].link.node(nodes).is_ok() => {
                *root = Some(children[0].link.clone());
            }
            _ => return,
        }
    }
}
