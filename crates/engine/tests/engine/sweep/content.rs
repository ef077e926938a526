//! What a pool holds, path by path.

use std::collections::BTreeMap;

use futures::executor::block_on;
use offshoot_engine::{Error, ErrorKind, Ino, Kind, Pool};

/// What one path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    pub kind: Kind,
    pub mode: u32,
    pub size: u64,
    pub nlink: u32,
    /// Data, or the target of a symbolic link.
    pub data: Vec<u8>,
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of a directory.
    pub names: Vec<Vec<u8>>,
}

pub type Contents = BTreeMap<Vec<u8>, Thing>;

/// Looks at one path.
pub fn look(pool: &Pool, path: &[u8]) -> Result<Thing, Error> {
    let mut ino = Ino::ROOT;
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        ino = block_on(pool.lookup(ino, name))?.ino;
    }
    let found = block_on(pool.attributes(ino))?;
    let mut thing = Thing {
        kind: found.kind,
        mode: found.mode,
        size: found.size,
        nlink: found.nlink,
        data: Vec::new(),
        attributes: BTreeMap::new(),
        names: Vec::new(),
    };
    for name in block_on(pool.xattrs(ino))? {
        let value = block_on(pool.xattr(ino, &name))?.to_vec();
        thing.attributes.insert(name, value);
    }
    match found.kind {
        Kind::File => block_on(pool.read(ino, 0, 4 << 20, &mut thing.data))?,
        Kind::Symlink => thing.data = block_on(pool.read_link(ino))?.to_vec(),
        Kind::Directory => thing.names = names(pool, ino)?,
        _ => {}
    }
    Ok(thing)
}

fn names(pool: &Pool, ino: Ino) -> Result<Vec<Vec<u8>>, Error> {
    let (mut names, mut cookie) = (Vec::new(), 0);
    loop {
        let more = block_on(pool.read_dir(ino, cookie, 100, false))?;
        let Some(last) = more.last() else { break };
        cookie = last.cookie;
        names.extend(more.into_iter().map(|item| item.name));
    }
    names.sort();
    Ok(names)
}

/// Everything in a sound pool.
pub fn contents(pool: &Pool) -> Contents {
    let mut all = Contents::new();
    let mut paths = vec![Vec::new()];
    while let Some(path) = paths.pop() {
        let thing =
            look(pool, &path).unwrap_or_else(|error| panic!("{}: {error:?}", String::from_utf8_lossy(&path)));
        paths.extend(thing.names.iter().map(|name| [&path[..], b"/", name].concat()));
        all.insert(path, thing);
    }
    all
}

/// What can be seen of some paths of a damaged pool.
pub type Seen = BTreeMap<Vec<u8>, Result<Thing, Error>>;

pub fn see(pool: &Pool, paths: &Contents) -> Seen {
    paths.keys().map(|path| (path.clone(), look(pool, path))).collect()
}

/// Compares what is seen with what should be there: what is not damaged must be the same. The first difference, in words.
pub fn difference(seen: &Seen, expected: &Contents) -> Option<String> {
    seen.iter().find_map(|(path, thing)| {
        let words = match (thing, &expected[path]) {
            (Ok(thing), expected) if thing == expected => return None,
            (Err(error), _) if error.kind() == ErrorKind::Corrupt => return None,
            (Ok(thing), expected) if thing.data != expected.data => "other bytes".to_owned(),
            (Ok(thing), expected) => format!("{thing:?} instead of {expected:?}"),
            (Err(error), _) => format!("{error:?}"),
        };
        Some(format!("{}: {words}", String::from_utf8_lossy(path)))
    })
}
