//! The pool against a model: random operations, crashes and reopenings, everything visible compared.
//!
//! A failure prints the last operations. Where the chance comes from is not decided here: `model_seeds` takes it from seeds, the
//! fuzzer from its input.

#[path = "model/actions.rs"]
mod actions;

use std::collections::{BTreeMap, HashMap};

use futures::executor::block_on;
use offshoot_engine::{Attributes, Compression, ErrorKind, Ino, Pool, Result, Settings};

use sim::model::walk::{self, Seen};
use sim::model::{Answer, Id, Model, ROOT};

use crate::world::{Chance, Random, World, cheap_encryption};

/// Why a call did not come to an end.
#[derive(Debug)]
pub enum Stop {
    /// Power went.
    PowerCut,
    /// All realm ids were in use.
    NoRealm,
}

pub type Outcome<T = ()> = std::result::Result<T, Stop>;

/// A node that the pool was asked about and has not been told to forget.
struct Handle {
    ino: Ino,
    references: u64,
}

/// One pool, the model beside it, and what the test knows of both.
pub struct Run {
    world: World,
    pool: Option<Pool>,
    model: Model,
    random: Random,
    focus: actions::Focus,
    handles: BTreeMap<Id, Handle>,
    /// The number of each node, and the operation whose survival of a power cut tells that the number has survived it too.
    learned: HashMap<Id, (Ino, u64)>,
    /// Operations that succeeded.
    done: u64,
    /// The model after each operation since the last sync, that one included.
    unsynced: Vec<(u64, Model)>,
    /// A power cut is planned.
    armed: bool,
    /// Windows that were put together.
    rewritten: u64,
    trace: Vec<String>,
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.trace.len().saturating_sub(60);
            for line in &self.trace[from..] {
                eprintln!("{line}");
            }
        }
    }
}

impl Run {
    /// A new pool; `random` chooses everything, but for the `seed` of its name hashes.
    pub fn new(seed: u64, mut random: Random) -> Self {
        let small = random.one_in(2);
        let mut settings = Settings {
            reserve_bytes: 0,
            memory_bytes: if small { 600 << 10 } else { 64 << 20 },
            segment_bytes: *random.pick(&[16 << 10, 128 << 10, 4 << 20]),
            compression: *random.pick(&[Compression::Lz4, Compression::None, Compression::Zstd(1)]),
            // Few enough that ids are used again and again.
            realm_ids: *random.pick(&[24, 40, 64, 1 << 24]),
            ..Settings::default()
        };
        // With few bits many names share a hash.
        let mask = *random.pick(&[u64::MAX, u64::MAX, 0x3f, 0x0e]);
        // One in three worlds is encrypted.
        let is_encrypted = seed % 3 == 1;
        if is_encrypted {
            settings.encryption = Some(cheap_encryption("a password", seed));
            settings.identity = [seed, !seed, seed, !seed];
            settings.name_hash_mask = mask;
        }
        let mut world = World::with(settings);
        world.remote = seed.count_ones() % 2 == 1;
        let root = offshoot_engine::Clock::now(&*world.clock);
        if !is_encrypted {
            world.set_hash(seed, mask);
        }
        let pool = world.open();
        let model = Model::new(root);
        let mut run = Self {
            unsynced: vec![(0, model.clone())],
            pool: Some(pool),
            model,
            focus: *random.pick(&[actions::Focus::All, actions::Focus::Names, actions::Focus::Content]),
            random,
            handles: BTreeMap::new(),
            learned: HashMap::from([(ROOT, (Ino::ROOT, 0))]),
            done: 0,
            armed: false,
            rewritten: 0,
            trace: Vec::new(),
            world,
        };
        run.trace(format!("seed {seed}: {:?}, {:?}, hash mask {mask:#x}", run.focus, run.world.settings));
        run
    }

    fn pool(&self) -> Pool {
        Clone::clone(self.pool.as_ref().expect("the pool is open"))
    }

    fn trace(&mut self, line: String) {
        self.trace.push(format!("{:5}  {line}", self.done));
    }

    /// Compares an answer with the model's; both values if both succeeded.
    fn agree<T, U>(
        &mut self,
        what: impl Fn() -> String,
        got: Result<T>,
        want: Answer<U>,
    ) -> Outcome<Option<(T, U)>> {
        let what = what();
        self.trace(format!("{what}: {:?}", want.as_ref().err()));
        match (got, want) {
            (Ok(got), Ok(want)) => {
                self.done += 1;
                self.unsynced.push((self.done, self.model.clone()));
                Ok(Some((got, want)))
            }
            (Err(error), Err(want)) if error.kind() == want => Ok(None),
            (Err(error), _) if error.kind() == ErrorKind::Store && self.world.power.is_cut() => {
                Err(Stop::PowerCut)
            }
            (Err(error), _) if error.kind() == ErrorKind::NoSpace => Err(Stop::NoRealm),
            (got, want) => panic!("{what}: {:?}, should be {:?}", got.err(), want.err()),
        }
    }

    fn agree_attributes(
        &mut self,
        what: impl Fn() -> String,
        id: Id,
        got: Result<Attributes>,
        want: Answer,
    ) -> Outcome {
        if let Some((attributes, ())) = self.agree(&what, got, want)? {
            walk::same_attributes(&self.model, id, &attributes)
                .unwrap_or_else(|error| panic!("{}: {error}", what()));
            self.learn_at(id, attributes.ino, self.done);
        }
        Ok(())
    }

    // ---- numbers and references ----

    fn learn_at(&mut self, id: Id, ino: Ino, done: u64) {
        let known = self.learned.entry(id).or_insert((ino, done)).0;
        assert_eq!(known, ino, "the number of node {id} changed");
    }

    /// Notes the number of a node that was looked at; it must never change. (The look may have given a realm its number, in a
    /// record of the log that only the next operation is sure to follow.)
    fn learn(&mut self, id: Id, ino: Ino) {
        self.learn_at(id, ino, self.done + 1);
    }

    /// Counts a reference.
    fn count(&mut self, id: Id, ino: Ino) {
        if id != ROOT {
            self.handles.entry(id).or_insert(Handle { ino, references: 0 }).references += 1;
            self.model.known.insert(id);
        }
    }

    /// Notes what an operation returned with a reference.
    fn learn_returned(&mut self, id: Id, attributes: &Attributes) {
        walk::same_attributes(&self.model, id, attributes)
            .unwrap_or_else(|error| panic!("node {id}: {error}"));
        self.learn_at(id, attributes.ino, self.done);
        self.count(id, attributes.ino);
    }

    /// The number of a node that has a name or is known; looks it up on the way from the root.
    fn acquire(&mut self, id: Id) -> Outcome<Ino> {
        if id == ROOT {
            return Ok(Ino::ROOT);
        }
        if let Some(handle) = self.handles.get(&id) {
            return Ok(handle.ino);
        }
        let place = self.model.below(ROOT).into_iter().find_map(|directory| {
            let children = &self.model.node(directory).children;
            children.iter().find(|(_, child)| **child == id).map(|(name, _)| (directory, name.clone()))
        });
        let (directory, name) = place.expect("the node has a name");
        let parent = self.acquire(directory)?;
        let found = block_on(self.pool().lookup(parent, &name))?;
        walk::same_attributes(&self.model, id, &found)
            .unwrap_or_else(|error| panic!("lookup of {id}: {error}"));
        self.learn(id, found.ino);
        self.count(id, found.ino);
        Ok(found.ino)
    }

    fn drop_handle_if_unused(&mut self, id: Id) {
        if self.handles.get(&id).is_some_and(|handle| handle.references == 0)
            && !self.model.holds.contains_key(&id)
        {
            self.handles.remove(&id);
        }
    }

    // ---- durability ----

    fn synced(&mut self) {
        self.unsynced = vec![(self.done, self.model.clone())];
    }

    fn sync(&mut self) -> Outcome {
        let got = block_on(self.pool().sync());
        self.agree(|| "sync".to_owned(), got, Ok(()))?;
        self.synced();
        Ok(())
    }

    fn checkpoint(&mut self) -> Outcome {
        let got = block_on(self.pool().checkpoint());
        self.agree(|| "checkpoint".to_owned(), got, Ok(()))?;
        self.synced();
        Ok(())
    }

    fn gc(&mut self) -> Outcome {
        let got = block_on(self.pool().gc());
        self.model.collect();
        self.agree(|| "collect garbage".to_owned(), got, Ok(()))?;
        self.synced();
        Ok(())
    }

    /// Takes the pool down and up again: cleanly, or by a power cut.
    fn reopen(&mut self, clean: bool) {
        if clean {
            self.trace("close".to_owned());
            if block_on(self.pool().close()).is_ok() {
                self.synced();
            } else {
                assert!(self.world.power.is_cut());
            }
        } else {
            self.trace("power cut".to_owned());
        }
        self.pool = None;
        self.world.power.cut();
        self.world.log.crash(self.random.next());
        self.world.power.restore();
        if self.random.one_in(3) {
            self.world.power.cut_after(self.random.below(12), self.random.one_in(2));
        }
        let pool = match self.world.try_open() {
            Ok(pool) if !self.world.power.is_cut() => pool,
            result => {
                self.trace(format!("power cut while opening: {:?}", result.err()));
                assert!(self.world.power.is_cut(), "only a power cut may keep a pool from opening");
                self.world.log.crash(self.random.next());
                self.world.power.restore();
                self.world.open()
            }
        };
        self.world.power.restore();
        self.armed = false;
        self.handles.clear();
        self.pool = Some(pool);
        let seen = loop {
            match walk::walk(&self.pool(), &mut self.random) {
                Ok(seen) => break seen,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
                    self.more_realms();
                }
            }
        };
        let mut differences = Vec::new();
        let states = std::mem::take(&mut self.unsynced);
        for (done, mut model) in states {
            model.reopen();
            let pairs = match walk::compare(&model, &seen) {
                Ok(pairs) => pairs,
                Err(difference) => {
                    differences.push(format!("after {done}: {difference}"));
                    continue;
                }
            };
            self.trace(format!("reopened in the state after {done}"));
            self.learned.retain(|_, (_, learned_at)| *learned_at <= done);
            model.next = self.model.next;
            model.now = self.model.now;
            self.model = model;
            pairs.into_iter().for_each(|(id, ino)| self.learn(id, ino));
            self.finish_compare(&seen);
            self.synced();
            return;
        }
        panic!("the pool came back in none of the states since the last sync:\n{}", differences.join("\n"));
    }

    /// More realms are needed at one time than there are: opens the pool with more.
    fn add_realms(&mut self) {
        self.trace("all realm ids are in use".to_owned());
        let status = block_on(self.pool().status());
        assert_eq!(status.realm_ids, status.realm_ids_max, "a realm id was refused and some are free");
        self.world.settings.realm_ids += 8;
        self.reopen(false);
    }

    /// As [`Run::add_realms`], in the middle of opening.
    fn more_realms(&mut self) {
        self.world.settings.realm_ids += 8;
        block_on(self.pool().close()).expect("power is on");
        self.pool = Some(self.world.open());
    }

    // ---- comparing ----

    fn compare(&mut self) -> Outcome {
        let seen = walk::walk(&self.pool(), &mut self.random)?;
        let pairs = walk::compare(&self.model, &seen).unwrap_or_else(|difference| panic!("{difference}"));
        let shown: HashMap<Ino, Id> = pairs.iter().map(|(id, ino)| (*ino, *id)).collect();
        for (id, handle) in &self.handles {
            let other = shown.get(&handle.ino).filter(|shown| *shown != id);
            // A tree that was removed while something in it is open has its own state of files with names elsewhere too.
            assert!(
                other.is_none() || self.model.is_orphan(*id) && self.model.node(*id).linked,
                "node {id} is known by the number {:#x}, and {other:?} has it",
                handle.ino.0
            );
        }
        pairs.into_iter().for_each(|(id, ino)| self.learn(id, ino));
        if self.armed {
            return Ok(());
        }
        self.finish_compare(&seen);
        Ok(())
    }

    fn finish_compare(&mut self, seen: &Seen) {
        walk::compare_status(&self.model, seen, &self.pool());
        let report = block_on(self.pool().check()).expect("power is on");
        assert_eq!(report.findings, [], "the pool is not sound");
    }

    /// Known inodes, removed ones too, must still show what they should.
    fn compare_handles(&mut self) -> Outcome {
        let known: Vec<_> = self.handles.iter().map(|(id, handle)| (*id, handle.ino)).collect();
        for (id, ino) in known {
            let shown = self.model.node(id).gone || self.model.alive(id).is_ok();
            let got = block_on(self.pool().attributes(ino));
            let want = if shown { Ok(()) } else { Err(ErrorKind::Stale) };
            self.agree_attributes(|| format!("attributes of {id}"), id, got, want)?;
            if let Some(path) = self.model.path(id) {
                assert_eq!(block_on(self.pool().path(ino))?, path, "path of {id}");
                let parent = self.model.node(id).parent;
                assert_eq!(self.learned[&parent].0, self.pool().parent(ino)?, "parent of {id}");
            }
            if self.model.alive(id).is_ok() && self.model.node(id).kind == offshoot_engine::Kind::File {
                let content = walk::content(&self.pool(), ino, self.model.node(id).size)?;
                assert!(content == self.model.node(id).content, "content of {id}");
            }
        }
        Ok(())
    }

    /// Windows of files that were put together so far.
    pub fn rewritten(&self) -> u64 {
        self.rewritten
    }

    /// Removes everything; nothing may be left in the store.
    pub fn empty(&mut self) {
        self.world.settings.realm_ids = 1 << 24;
        self.reopen(true);
        for (name, _) in self.model.node(ROOT).children.clone() {
            self.world.clock.step();
            self.model.now = offshoot_engine::Clock::now(&*self.world.clock);
            let got = block_on(self.pool().remove_tree(Ino::ROOT, &name));
            let want = self.model.remove_tree(ROOT, &name);
            self.agree(|| format!("remove {}", actions::show(&name)), got, want).expect("power is on");
        }
        for name in self.model.node(ROOT).xattrs.clone().into_keys() {
            block_on(self.pool().remove_xattr(Ino::ROOT, &name)).expect("power is on");
            self.model.remove_xattr(ROOT, &name).expect("it is there");
        }
        for _ in 0..5 {
            self.gc().expect("power is on");
        }
        self.compare().expect("power is on");
        let status = block_on(self.pool().status());
        assert_eq!((status.files, status.directories, status.logical_bytes), (0, 1, 0), "{status:?}");
        let report = block_on(self.pool().check()).expect("power is on");
        assert_eq!(status.realm_ids, 0, "realm ids in use");
        assert!(status.live_bytes < 12 << 10 && report.frames == 0, "{status:?} {report:?}");
        assert_eq!(status.garbage_queue, 0, "{status:?}");
        let (stored, names) = (walk::stored_bytes(&self.world.objects), self.world.object_names("segments/"));
        assert_eq!(stored, status.stored_bytes, "{names:?}");
        assert!(stored < 32 << 10, "{stored} bytes are left in the store: {names:?}, {status:?}");
    }

    /// Does so many things, as long as chance goes on.
    pub fn steps(&mut self, count: u64) {
        for _ in 0..count {
            if self.random.is_used_up() {
                return;
            }
            self.world.clock.step();
            self.model.now = offshoot_engine::Clock::now(&*self.world.clock);
            let outcome = match self.random.below(400) {
                0..=2 => {
                    self.reopen(true);
                    Ok(())
                }
                3..=6 => Err(Stop::PowerCut),
                7..=10 => {
                    self.armed = true;
                    self.world.power.cut_after(self.random.below(30), self.random.one_in(2));
                    Ok(())
                }
                11..=22 => self.compare(),
                _ => self.act(),
            };
            match outcome {
                Ok(()) => {}
                Err(Stop::PowerCut) => self.reopen(false),
                Err(Stop::NoRealm) => self.add_realms(),
            }
        }
    }
}
