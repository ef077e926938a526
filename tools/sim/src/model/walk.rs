//! Everything that can be seen of a pool, and its comparison with the model.

use std::collections::{BTreeMap, HashMap};

use futures::executor::block_on;
use offshoot_engine::object::ObjectStore;
use offshoot_engine::{Attributes, Ino, Kind, Pool, Result, SeekTarget};

use super::bytes::{BLOCK, Sparse};
use super::node::Node;
use super::tree::{Id, Model, ROOT};
use crate::random::Chance;

/// Files up to this size are read whole; of larger ones what is not in holes.
const WHOLE_BYTES_MAX: u64 = 1 << 20;

/// One inode with everything below it.
pub struct Seen {
    pub attributes: Attributes,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub target: Vec<u8>,
    pub content: Sparse,
    pub children: BTreeMap<Vec<u8>, Seen>,
}

/// Reads a whole tree, checking on the way that all ways of looking at it agree.
pub fn walk(pool: &Pool, random: &mut impl Chance) -> Result<Seen> {
    let attributes = block_on(pool.attributes(Ino::ROOT))?;
    see(pool, attributes, random)
}

fn see(pool: &Pool, attributes: Attributes, random: &mut impl Chance) -> Result<Seen> {
    let ino = attributes.ino;
    let again = block_on(pool.attributes(ino))?;
    if again != attributes {
        let path = String::from_utf8_lossy(&block_on(pool.path(ino))?).into_owned();
        panic!("number {:#x} ({path}) shows {again:?} and was listed as {attributes:?}", ino.0);
    }
    let mut xattrs = BTreeMap::new();
    for name in block_on(pool.xattrs(ino))? {
        let value = block_on(pool.xattr(ino, &name))?.to_vec();
        xattrs.insert(name, value);
    }
    let mut seen = Seen {
        xattrs,
        target: Vec::new(),
        content: Sparse::default(),
        children: BTreeMap::new(),
        attributes,
    };
    match seen.attributes.kind {
        Kind::Directory => seen.children = entries(pool, ino, random)?,
        Kind::File => seen.content = content(pool, ino, seen.attributes.size)?,
        Kind::Symlink => seen.target = block_on(pool.read_link(ino))?.to_vec(),
        _ => {}
    }
    Ok(seen)
}

fn entries(pool: &Pool, directory: Ino, random: &mut impl Chance) -> Result<BTreeMap<Vec<u8>, Seen>> {
    let mut found = BTreeMap::new();
    let mut cookie = 0;
    loop {
        let limit = random.below(40) as usize + 1;
        let items = block_on(pool.read_dir(directory, cookie, limit, true))?;
        if items.is_empty() {
            return Ok(found);
        }
        for item in items {
            assert!(item.cookie >= 3 && item.cookie < 1 << 63 && item.cookie >= cookie, "cookies ascend");
            cookie = item.cookie;
            let ino = item.attributes.ino;
            if random.one_in(8) {
                assert_eq!(
                    block_on(pool.lookup(directory, &item.name))?,
                    item.attributes,
                    "lookup and readdir"
                );
                pool.forget(ino, 1);
            }
            let seen = see(pool, item.attributes, random);
            pool.forget(ino, 1);
            assert!(found.insert(item.name, seen?).is_none(), "each name once");
        }
    }
}

/// Reads a file through its extents; what it calls holes must read as zeros.
pub fn content(pool: &Pool, ino: Ino, size: u64) -> Result<Sparse> {
    let mut content = Sparse::default();
    let read = |from: u64, to: u64| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        block_on(pool.read(ino, from, (to - from) as usize, &mut bytes))?;
        assert_eq!(bytes.len() as u64, to.min(size).saturating_sub(from), "length of a read");
        Ok(bytes)
    };
    let mut at = 0;
    while let Some(data) = block_on(pool.seek(ino, at, SeekTarget::Data))? {
        let hole = block_on(pool.seek(ino, data, SeekTarget::Hole))?.expect("data has an end");
        assert!(at <= data && data < hole && hole <= size, "data from {data} to {hole} of {size}");
        content.write(data, &read(data, hole)?);
        at = hole;
    }
    if size <= WHOLE_BYTES_MAX {
        let mut whole = Sparse::default();
        whole.write(0, &read(0, size)?);
        assert!(whole == content, "holes read as zeros");
    }
    Ok(content)
}

/// A node of the model and the number that it was seen with.
pub type Pairs = Vec<(Id, Ino)>;

/// Compares a walk with the model: the nodes with their numbers, or the first difference.
pub fn compare(model: &Model, seen: &Seen) -> Result<Pairs, String> {
    let mut pairs = Pairs::new();
    compare_at(model, ROOT, seen, "", &mut pairs)?;
    let mut by_ino: HashMap<Ino, Id> = HashMap::new();
    let mut by_id: HashMap<Id, Ino> = HashMap::new();
    for (id, ino) in &pairs {
        if *by_ino.entry(*ino).or_insert(*id) != *id {
            return Err(format!("two files have the number {:#x}", ino.0));
        }
        if *by_id.entry(*id).or_insert(*ino) != *ino {
            return Err(format!(
                "the names of one file show the numbers {:#x} and {:#x}",
                ino.0, by_id[id].0
            ));
        }
    }
    Ok(pairs)
}

fn compare_at(model: &Model, id: Id, seen: &Seen, path: &str, pairs: &mut Pairs) -> Result<(), String> {
    let node = model.node(id);
    same_attributes(model, id, &seen.attributes).map_err(|what| format!("{path:?}: {what}"))?;
    let differs = |what: &str| Err(format!("{path:?}: {what} differ"));
    if seen.xattrs != node.xattrs {
        return differs("extended attributes");
    }
    if seen.target != node.target {
        return differs("targets");
    }
    if seen.content != node.content {
        return Err(format!(
            "{path:?} (node {id}): content differs: {}",
            first_difference(node, &seen.content)
        ));
    }
    if !seen.children.keys().eq(node.children.keys()) {
        let show = |names: Vec<&Vec<u8>>| {
            names.iter().map(|n| String::from_utf8_lossy(n).into_owned()).collect::<Vec<_>>()
        };
        let missing = node.children.keys().filter(|name| !seen.children.contains_key(*name)).collect();
        let surplus = seen.children.keys().filter(|name| !node.children.contains_key(*name)).collect();
        return Err(format!("{path:?}: missing {:?}, surplus {:?}", show(missing), show(surplus)));
    }
    pairs.push((id, seen.attributes.ino));
    for (name, child) in &node.children {
        let path = format!("{path}/{}", String::from_utf8_lossy(name));
        compare_at(model, *child, &seen.children[name], &path, pairs)?;
    }
    Ok(())
}

fn first_difference(node: &Node, seen: &Sparse) -> String {
    let blocks = |sparse: &Sparse| sparse.part(0, i64::MAX as u64).into_iter().collect::<BTreeMap<_, _>>();
    let (want, got) = (blocks(&node.content), blocks(seen));
    let zeros = vec![0; BLOCK as usize];
    for block in want.keys().chain(got.keys()) {
        let (want, got) = (want.get(block).unwrap_or(&zeros), got.get(block).unwrap_or(&zeros));
        if let Some(at) = want.iter().zip(got).position(|(a, b)| a != b) {
            return format!("byte {} is {} and should be {}", block + at as u64, got[at], want[at]);
        }
    }
    "in length only".to_owned()
}

/// Compares what `stat` shows.
pub fn same_attributes(model: &Model, id: Id, seen: &Attributes) -> Result<(), String> {
    let node = model.node(id);
    let directory = node.kind == Kind::Directory;
    let want = Attributes {
        ino: seen.ino,
        kind: node.kind,
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        nlink: model.nlink(id),
        size: if directory { node.children.len() as u64 } else { node.size },
        allocated: seen.allocated,
        rdev: node.rdev,
        atime: node.atime,
        mtime: node.mtime,
        ctime: node.ctime,
        btime: node.btime,
        read_only: model.is_read_only(id),
        clone_root: directory && (node.clone_root || id == ROOT),
        has_xattrs: !node.xattrs.is_empty(),
    };
    if want == *seen { Ok(()) } else { Err(format!("attributes are {seen:?} and should be {want:?}")) }
}

/// Compares totals with a walk.
pub fn compare_status(model: &Model, seen: &Seen, pool: &Pool) {
    fn add(model: &Model, id: Id, seen: &Seen, sums: &mut (u64, u64, u64)) {
        if seen.attributes.kind == Kind::Directory {
            sums.1 += 1;
        } else {
            sums.0 += 1;
            sums.2 += if model.node(id).linked { 0 } else { seen.attributes.allocated };
        }
        for (name, child) in &model.node(id).children {
            add(model, *child, &seen.children[name], sums);
        }
    }
    let mut sums = (0, 0, 0);
    add(model, ROOT, seen, &mut sums);
    let status = block_on(pool.status());
    assert_eq!((status.files, status.directories, status.logical_bytes), sums, "totals in status");
    assert!(status.live_bytes <= status.stored_bytes, "{status:?}");
}

/// Bytes of all segments in the store, for comparison with what the pool says.
pub fn stored_bytes(objects: &dyn ObjectStore) -> u64 {
    block_on(objects.list("segments/"))
        .expect("a store in memory lists")
        .iter()
        .map(|object| object.size)
        .sum()
}
