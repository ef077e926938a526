//! One seed: a world from its beginning to the end of its last machine.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use offshoot_engine::object::ObjectStore;
use offshoot_engine::simulation::{self, FAILPOINTS};
use offshoot_engine::{
    Clock, Compression, Encryption, ErrorKind, Ino, Kind, OpenMode, PasswordCost, Pool, Result, Secret,
    Settings,
};
use offshoot_vfs::{AccessTime, Vfs, VfsSettings};

use crate::client::{Client, Focus};
use crate::clock::VirtualClock;
use crate::executor::{Executor, Machine, NETWORK, Step};
use crate::faults::Faults;
use crate::media::Media;
use crate::model::{Model, ROOT, walk};
use crate::random::{Chance, Random};
use crate::truth::{Stalls, Truth, Watch};

/// Machines that may try to open the pool one after the other. Who is refused so often is refused for ever.
const STARTS_MAX: u32 = 500;
/// Virtual time that a phase may take before somebody must be waiting in vain.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);
/// Steps in which at least some minutes of virtual time must pass, else somebody runs in circles.
const STEPS_MAX: u64 = 4_000_000;
/// Real time after which a phase is given up: a seed takes a fraction of a second. It is looked at after so many steps.
const REAL_TIME_MAX: Duration = Duration::from_secs(60);
const REAL_TIME_STEPS: u64 = 1000;

/// How a world is made, beside its seed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Machines that follow each other.
    pub machines: u64,
    /// Operations of each client on each machine.
    pub operations: u64,
    /// Die in this step of the world and nowhere else; every failpoint is a step of its own then.
    pub die_at_step: Option<u64>,
    /// Note more.
    pub is_verbose: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { machines: 5, operations: 120, die_at_step: None, is_verbose: false }
    }
}

/// What a run was.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub steps: u64,
    pub operations: u64,
    /// Deaths, also while opening.
    pub crashes: u64,
    /// Of these, at failpoints.
    pub at_failpoints: BTreeMap<&'static str, u64>,
    /// Writers that came back after their successor had started.
    pub zombies: u64,
    pub calls: u64,
    pub faults: u64,
    pub late: u64,
    pub lies: u64,
    /// Pools that were compared with the model whole.
    pub compared: u64,
    /// Virtual time, in milliseconds.
    pub virtual_millis: u64,
}

/// What went wrong, with what was done before.
#[derive(Debug)]
pub struct Failure {
    pub what: String,
    pub trace: Vec<String>,
}

/// Runs a seed.
///
/// # Errors
/// What differs from the model. Panics of the engine pass through.
pub fn run(seed: u64, plan: &Plan) -> std::result::Result<Report, Failure> {
    let mut world = World::new(seed, plan.clone());
    let outcome = world.live();
    simulation::observe(None);
    world.executor.clear();
    let counted = world.media.counted();
    let report = Report {
        steps: world.executor.steps,
        operations: world.truth.borrow().operations,
        calls: counted.calls,
        faults: counted.faults,
        late: counted.late,
        lies: counted.lies,
        virtual_millis: world.clock.elapsed().as_millis() as u64,
        ..world.report.clone()
    };
    let mut truth = world.truth.borrow_mut();
    match outcome.and_then(|()| truth.failure.take().map_or(Ok(()), Err)) {
        Ok(()) => Ok(report),
        Err(what) => Err(Failure { what, trace: std::mem::take(&mut truth.trace) }),
    }
}

/// How the time of a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its clients have done what they wanted.
    Done,
    /// It died in the middle of something.
    Died,
    /// It stood still between two steps: it may be dead, or not.
    Still,
    /// Its pool accepts nothing any more.
    Stopped,
}

/// What a machine is at when it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum During {
    Opening,
    Working,
    Closing,
}

impl During {
    /// When a failpoint is passed.
    fn of(failpoint: &str) -> Self {
        match failpoint.split_once('_') {
            Some(("open", _)) => Self::Opening,
            Some(("close", _)) => Self::Closing,
            _ => Self::Working,
        }
    }
}

struct World {
    plan: Plan,
    random: Random,
    clock: VirtualClock,
    executor: Executor,
    media: Media,
    faults: Faults,
    settings: Settings,
    truth: Rc<RefCell<Truth>>,
    watch: Rc<Watch>,
    machines: u32,
    report: Report,
    /// Machines that were left behind alive, with their pools.
    zombies: Vec<(Machine, Pool)>,
    /// Those of them that have come back.
    awake: Vec<Awake>,
    stands_still: bool,
    /// Objects that were put may be gone.
    puts_lie: bool,
}

/// A machine that was left behind and has come back.
struct Awake {
    machine: Machine,
    pool: Pool,
    /// The manifest that it had made when its successor started; it must make no other.
    manifest: u64,
    /// How the checkpoints ended that it has tried since.
    fenced: Rc<Cell<Option<ErrorKind>>>,
    /// Tasks that still try.
    trying: Rc<Cell<u32>>,
}

/// Encryption that is as good as any but for its password, which costs nothing, and its numbers, which the seed repeats.
fn cheap_encryption(seed: u64) -> Encryption {
    Encryption {
        secret: Secret::password("a password").expect("it is not empty"),
        cost: PasswordCost { memory_kib: 8, passes: 1, lanes: 1 },
        random: offshoot_engine::Random::seeded(seed),
    }
}

type Verdict<T = ()> = std::result::Result<T, String>;

impl World {
    fn new(seed: u64, plan: Plan) -> Self {
        let mut random = Random(seed ^ 0x6f66_6673_686f_6f74);
        let clock = VirtualClock::default();
        let faults = Faults::choose(&mut random);
        let puts_lie = faults.put_lies > 0;
        let log_in_store = seed.is_multiple_of(3);
        let media = Media::new(random.next(), &clock, faults.clone(), log_in_store);
        let settings = Settings {
            compression: *random.pick(&[Compression::Lz4, Compression::None, Compression::Zstd(1)]),
            memory_bytes: *random.pick(&[600 << 10, 4 << 20, 64 << 20]),
            flush_interval: Duration::from_millis(*random.pick(&[5, 100, 1000])),
            checkpoint_interval: Duration::from_millis(*random.pick(&[50, 500, 30_000])),
            checkpoint_log_bytes: *random.pick(&[64 << 10, 1 << 20, 256 << 20]),
            segment_bytes: *random.pick(&[16 << 10, 128 << 10, 4 << 20]),
            reserve_bytes: 0,
            garbage_nodes: *random.pick(&[20_000, 20_000, 100]),
            identity: [random.next(), random.next(), random.next(), random.next()],
            name_hash_mask: *random.pick(&[u64::MAX, u64::MAX, 0x3f, 0x0e]),
            realm_ids: if faults.few_realms {
                *random.pick(&[6, 12, 30])
            } else {
                Settings::default().realm_ids
            },
            // Without a draw, so that what a seed means stays the same.
            encryption: (seed % 4 == 3).then(|| cheap_encryption(seed)),
            ..Settings::default()
        };
        let truth = Rc::new(RefCell::new(Truth::new(clock.now())));
        let watch = Rc::new(Watch {
            truth: truth.clone(),
            running: Rc::new(Cell::new(NETWORK)),
            writer: Cell::new(NETWORK),
            plan: RefCell::new(None),
            stalls: RefCell::new(match plan.die_at_step {
                Some(_) => Stalls::Always,
                None => Stalls::OneIn(*random.pick(&[0, 2, 10]), Random(random.next())),
            }),
            has_died: Cell::new(false),
            died_at: Cell::new(""),
        });
        simulation::observe(Some(watch.clone()));
        truth.borrow_mut().is_verbose = plan.is_verbose;
        truth.borrow_mut().note(format!("seed {seed}: log in store {log_in_store}, {faults:?} {settings:?}"));
        let mut executor = Executor::new(random.next(), clock.clone(), watch.running.clone());
        executor.stop_at = plan.die_at_step;
        Self {
            plan,
            executor,
            random,
            clock,
            media,
            faults,
            settings,
            truth,
            watch,
            machines: 0,
            report: Report::default(),
            zombies: Vec::new(),
            awake: Vec::new(),
            stands_still: false,
            puts_lie,
        }
    }

    fn note(&self, line: impl AsRef<str>) {
        self.truth.borrow_mut().note(line);
    }

    fn live(&mut self) -> Verdict {
        for _ in 0..self.plan.machines {
            let Some((machine, pool)) = self.start()? else { return Ok(()) };
            if self.random.one_in(2) {
                self.wake_zombies();
            }
            let mut end = self.work(machine, &pool)?;
            if end == End::Done && !self.meet_zombies()? {
                end = End::Died;
            }
            self.leave(machine, pool, end)?;
        }
        self.empty()
    }

    // ---- starting ----

    /// Opens the pool on a new machine, which may die over it several times. `None` if a lie made the pool unreadable.
    fn start(&mut self) -> Verdict<Option<(Machine, Pool)>> {
        let last = self.machines + STARTS_MAX;
        loop {
            self.machines += 1;
            let machine = Machine(self.machines);
            self.watch.writer.set(machine);
            let dies = self.plan.die_at_step.is_none() && self.random.one_in(3);
            if dies {
                self.plan_death(40, During::Opening);
            }
            match self.open(machine)? {
                Some(Ok(pool)) => {
                    self.call_off_death();
                    if !self.compare_recovered(&pool, machine)? {
                        return Ok(None);
                    }
                    return Ok(Some((machine, pool)));
                }
                Some(Err(error)) => {
                    self.note(format!("cannot open: {error}"));
                    self.call_off_death();
                    let excused = match error.kind() {
                        ErrorKind::Store => self.faults.fail() || self.media.is_cut(),
                        ErrorKind::NoSpace => self.faults.no_space > 0,
                        // Another machine, or a late request of one, has been faster.
                        ErrorKind::Fenced | ErrorKind::Exists | ErrorKind::InUse => true,
                        ErrorKind::Corrupt => self.media.has_lied(),
                        _ => false,
                    };
                    if !excused || self.machines >= last {
                        return Err(format!("the pool cannot be opened: {error} ({:?})", error.kind()));
                    }
                    self.executor.kill(machine);
                    self.media.die();
                    if error.kind() == ErrorKind::Corrupt {
                        if self.settings.accept_loss {
                            return Ok(None);
                        }
                        self.settings.accept_loss = true;
                    }
                }
                None => {
                    self.note("died while opening");
                    self.die(machine);
                }
            }
        }
    }

    /// Opens the pool; `None` if the machine dies over it.
    fn open(&mut self, machine: Machine) -> Verdict<Option<Result<Pool>>> {
        let opened: Rc<RefCell<Option<Result<Pool>>>> = Rc::default();
        let (storage, settings, clock) =
            (self.media.storage(), self.settings.clone(), Arc::new(self.clock.clone()));
        let place = opened.clone();
        self.executor.spawn(machine, async move {
            let pool = Pool::open(storage, clock, settings, OpenMode::CreateIfMissing).await;
            *place.borrow_mut() = Some(pool);
        });
        let is_alive = self.go_on(|_| opened.borrow().is_some(), "opening")?;
        Ok(if is_alive { opened.borrow_mut().take() } else { None })
    }

    /// Compares what came back with what must have. False if a lie has made it unreadable.
    fn compare_recovered(&mut self, pool: &Pool, machine: Machine) -> Verdict<bool> {
        let sequence = self.truth.borrow_mut().recovered.take().expect("the engine has told");
        let model = {
            let mut truth = self.truth.borrow_mut();
            let (executed, durable) = (truth.sequence, truth.durable);
            truth.note(format!("recovered up to {sequence} of {executed}, {durable} durable"));
            if sequence > executed {
                return Err(format!("recovered up to {sequence}, and only {executed} were executed"));
            }
            if sequence < durable && !self.media.has_lied() {
                return Err(format!("recovered up to {sequence}, and {durable} was acknowledged as durable"));
            }
            truth.recover(sequence)
        };
        let model = if sequence == 0 { Model::new(self.birth(pool)?) } else { model };
        self.truth.borrow_mut().begin(model, sequence, machine);
        self.media.set_calm(true);
        self.watch.running.set(machine);
        let compared = self.compare(pool);
        self.watch.running.set(NETWORK);
        self.media.set_calm(false);
        match compared {
            Err(what) if self.puts_lie && self.media.has_lied() => {
                // An object is gone that the store has confirmed: its loss is told, and nothing else is read instead.
                let is_told = what.starts_with("cannot read") || what.starts_with("check found");
                if is_told { Ok(false) } else { Err(what) }
            }
            compared => compared.map(|()| true),
        }
    }

    /// When the root of a new pool was made.
    fn birth(&self, pool: &Pool) -> Verdict<offshoot_engine::Timestamp> {
        self.media.set_calm(true);
        let root = block_on(pool.attributes(Ino::ROOT)).map_err(|error| format!("cannot read: {error}"));
        self.media.set_calm(false);
        root.map(|root| root.btime)
    }

    /// Compares everything that can be seen with the model, and the pool with itself.
    fn compare(&mut self, pool: &Pool) -> Verdict {
        let seen = match walk::walk(pool, &mut self.random) {
            // There is no number for a clone in a clone: it can be seen when others are gone.
            Err(error) if error.kind() == ErrorKind::NoSpace && self.faults.few_realms => {
                if self.puts_lie && self.media.has_lied() {
                    return Err("cannot read all, and so not see what the lie has cost".to_owned());
                }
                return Ok(());
            }
            seen => seen.map_err(|error| format!("cannot read: {error}"))?,
        };
        let model = self.truth.borrow().model.clone();
        let pairs = walk::compare(&model, &seen)?;
        if !self.media.has_lied() {
            walk::compare_status(&model, &seen, pool);
        }
        let report = block_on(pool.check()).map_err(|error| format!("cannot read to check: {error}"))?;
        if !report.findings.is_empty() {
            return Err(format!("check found {:?}", report.findings));
        }
        let mut truth = self.truth.borrow_mut();
        pairs.into_iter().for_each(|(id, ino)| truth.learn(id, ino));
        self.report.compared += 1;
        truth.failure.take().map_or(Ok(()), Err)
    }

    // ---- working ----

    /// Lets background work and clients run on a machine until they are done or it dies.
    fn work(&mut self, machine: Machine, pool: &Pool) -> Verdict<End> {
        let vfs = Vfs::new(Clone::clone(pool), VfsSettings { access_time: AccessTime::None });
        let (flushing, checkpointing, fetching) =
            (Clone::clone(pool), Clone::clone(pool), Clone::clone(pool));
        self.executor.spawn(machine, async move { flushing.flush_in_background().await });
        self.executor.spawn(machine, async move { checkpointing.checkpoint_in_background().await });
        self.executor.spawn(machine, async move { fetching.fetch_in_background().await });
        let clients = 1 + self.random.below(4);
        let left = Rc::new(Cell::new(clients));
        let operations = 1 + self.random.below(2 * self.plan.operations);
        // Now and then all do the same.
        let focus = if self.random.one_in(3) { Some(*self.random.pick(&Focus::EACH)) } else { None };
        for client in 0..clients {
            let left = left.clone();
            let (seed, faults) = (self.random.next(), self.faults.clone());
            let vfs = vfs.open_session();
            let client = Client::new(client as u32, machine, vfs, self.truth.clone(), seed, faults, focus);
            let work = client.run(operations);
            self.executor.spawn(machine, async move {
                work.await;
                left.set(left.get() - 1);
            });
        }
        if self.plan.die_at_step.is_none() && !self.random.one_in(4) {
            // Soon, if another writer has come back: what it has done must show before a checkpoint makes it forgotten.
            let steps = if self.awake.is_empty() { 60 * operations * clients } else { 1_500 };
            self.plan_death(steps, During::Working);
        }
        let is_alive = self.go_on(|_| left.get() == 0, "working").map_err(|what| {
            self.media.set_calm(true);
            format!("{what}: {:?}", block_on(pool.status()))
        })?;
        let stands_still = self.stands_still;
        self.call_off_death();
        self.truth.borrow_mut().failure.take().map_or(Ok(()), Err)?;
        if !is_alive {
            return Ok(if stands_still { End::Still } else { End::Died });
        }
        self.media.set_calm(true);
        let stopped = block_on(pool.status()).stopped;
        self.media.set_calm(false);
        if let Some(why) = stopped {
            self.note(format!("stopped: {why}"));
            // A store that fails is asked again; nobody whom this writer has replaced can stop it.
            let is_excused = if self.media.log_in_store {
                self.faults.fail() || self.faults.late_arrivals || !self.awake.is_empty()
            } else {
                self.faults.sync_fails > 0
            };
            if !is_excused {
                return Err(format!("the pool has stopped without need: {why}"));
            }
            return Ok(End::Stopped);
        }
        Ok(End::Done)
    }

    /// Ends the time of a machine: it closes its pool, or dies, or stays behind alive.
    fn leave(&mut self, machine: Machine, pool: Pool, end: End) -> Verdict {
        let must_die = end == End::Still && self.plan.die_at_step.is_some();
        if end == End::Done && self.random.one_in(3) {
            self.close(machine, pool)?;
            self.die(machine);
        } else if matches!(end, End::Done | End::Still)
            && !must_die
            && self.random.one_in(2)
            && !self.faults.lie()
        {
            self.note("left behind alive");
            self.executor.freeze(machine);
            for Awake { machine, .. } in std::mem::take(&mut self.awake) {
                self.kill(machine);
            }
            self.zombies.push((machine, pool));
            self.media.forget_plans();
        } else {
            drop(pool);
            self.die(machine);
        }
        Ok(())
    }

    fn close(&mut self, machine: Machine, pool: Pool) -> Verdict {
        let closed: Rc<Cell<Option<bool>>> = Rc::default();
        let (place, closing) = (closed.clone(), Clone::clone(&pool));
        let executed = self.truth.borrow().sequence;
        if self.plan.die_at_step.is_none() && self.random.one_in(2) {
            self.plan_death(40, During::Closing);
        }
        self.executor.spawn(machine, async move {
            place.set(Some(closing.close().await.is_ok()));
        });
        let is_alive = self.go_on(|_| closed.get().is_some(), "closing")?;
        if !is_alive {
            self.note("died while closing");
        } else if closed.get() == Some(true) {
            self.note("closed");
            // A clean end is as good as a sync of everything before it.
            self.truth.borrow_mut().durable = executed;
            self.go_on(|world| !world.executor.is_busy(machine), "ending background work")?;
        } else if !self.faults.fail() && !self.faults.late_arrivals {
            return Err("the pool could not be closed".to_owned());
        }
        Ok(())
    }

    /// Machines that were left behind go on, while another one is the writer, and try to change the pool.
    fn wake_zombies(&mut self) {
        for (machine, pool) in std::mem::take(&mut self.zombies) {
            self.report.zombies += 1;
            self.note(format!("{machine:?} comes back"));
            self.media.set_calm(true);
            let manifest = block_on(pool.status()).manifest;
            self.media.set_calm(false);
            self.executor.thaw(machine);
            let awake =
                Awake { machine, manifest, pool, fenced: Rc::default(), trying: Rc::new(Cell::new(2)) };
            for makes_checkpoints in [false, true] {
                let seed = self.random.next();
                self.executor.spawn(machine, self.try_to_change(&awake, makes_checkpoints, seed));
            }
            self.awake.push(awake);
        }
    }

    /// What a machine that has come back does until it notices.
    fn try_to_change(
        &self,
        awake: &Awake,
        makes_checkpoints: bool,
        seed: u64,
    ) -> impl Future<Output = ()> + 'static {
        let (clock, truth, log_in_store) = (self.clock.clone(), self.truth.clone(), self.media.log_in_store);
        let (pool, fenced, trying) = (Clone::clone(&awake.pool), awake.fenced.clone(), awake.trying.clone());
        let notes = truth.clone();
        let note = move |what: &str, error: Option<&offshoot_engine::Error>| {
            notes.borrow_mut().note(format!("of the past: {what}: {error:?}"));
        };
        async move {
            let mut random = Random(seed);
            for _ in 0..if makes_checkpoints { 20 } else { 100 } {
                if makes_checkpoints {
                    let made = pool.checkpoint().await;
                    note("checkpoint", made.as_ref().err());
                    fenced.set(made.err().map(|error| error.kind()));
                } else {
                    let name = format!("of a zombie {}", random.below(100)).into_bytes();
                    let created = pool.create(Ino::ROOT, &name, crate::model::new(Kind::File)).await;
                    note("create", created.as_ref().err());
                    let is_created = created.is_ok();
                    if let Ok(file) = created {
                        let length = *random.pick(&[10, 5_000, 100_000]);
                        let written = pool.write(file.ino, 0, random.bytes(length).into(), false).await;
                        note("write", written.as_ref().err());
                    }
                    let synced = pool.sync().await;
                    note("sync", synced.as_ref().err());
                    if is_created && synced.is_ok() && log_in_store {
                        truth.borrow_mut().fail("a writer that was replaced has acknowledged what is lost");
                    }
                }
                if fenced.get() == Some(ErrorKind::Fenced) {
                    break;
                }
                let longest: &[u64] =
                    if makes_checkpoints { &[10, 1_000, 100_000, 1_000_000] } else { &[1, 10, 100, 10_000] };
                let pause = *random.pick(longest);
                clock.pause(Duration::from_micros(random.below(pause))).await;
            }
            trying.set(trying.get() - 1);
        }
    }

    /// Those who have come back must have noticed, in the end. False if the writer dies first.
    fn meet_zombies(&mut self) -> Verdict<bool> {
        self.wake_zombies();
        let are_over = |world: &Self| world.awake.iter().all(|awake| awake.trying.get() == 0);
        if !self.go_on(are_over, "machines that came back")? {
            return Ok(false);
        }
        for awake in std::mem::take(&mut self.awake) {
            let fenced = awake.fenced.get();
            if fenced != Some(ErrorKind::Fenced) && !self.faults.fail() {
                return Err(format!("a writer that was replaced noticed nothing: {fenced:?}"));
            }
            self.judge(&awake)?;
            self.kill(awake.machine);
        }
        Ok(true)
    }

    /// A writer that was replaced must not say that it has made a checkpoint.
    fn judge(&self, awake: &Awake) -> Verdict {
        self.media.set_calm(true);
        let manifest = block_on(awake.pool.status()).manifest;
        self.media.set_calm(false);
        if manifest == awake.manifest {
            return Ok(());
        }
        let Awake { machine, manifest: before, .. } = awake;
        Err(format!("{machine:?}, which was replaced, has gone from manifest {before} to {manifest}"))
    }

    // ---- dying ----

    /// Chooses where the machine dies: a step below `steps`, a failpoint, or a call to a medium.
    fn plan_death(&mut self, steps: u64, during: During) {
        match self.random.below(3) {
            0 => {
                let step = self.random.below(steps);
                self.watch_for_step(step);
            }
            1 => {
                let fit: Vec<&'static str> =
                    FAILPOINTS.iter().copied().filter(|name| During::of(name) == during).collect();
                let name = *self.random.pick(&fit);
                let is_often = during == During::Working;
                let before = if !is_often || self.random.one_in(2) { 0 } else { self.random.below(12) };
                *self.watch.plan.borrow_mut() = Some((name, before));
            }
            _ => {
                let calls = self.random.below(if during == During::Working { 200 } else { 12 });
                self.media.cut_after(calls, self.random.one_in(2));
            }
        }
    }

    fn watch_for_step(&mut self, step: u64) {
        self.executor.stop_at = Some(self.executor.steps + step);
    }

    fn call_off_death(&mut self) {
        if self.plan.die_at_step.is_none() {
            self.executor.stop_at = None;
        }
        *self.watch.plan.borrow_mut() = None;
        if !self.media.is_cut() {
            self.media.forget_plans();
        }
    }

    fn kill(&mut self, machine: Machine) {
        self.watch.running.set(NETWORK);
        self.executor.kill(machine);
    }

    fn die(&mut self, machine: Machine) {
        self.note(format!("{machine:?} dies"));
        self.report.crashes += 1;
        self.kill(machine);
        self.call_off_death();
        self.media.die();
        // Those left behind alive shared the disk, and die with it.
        for (machine, _) in std::mem::take(&mut self.zombies) {
            self.kill(machine);
            self.executor.thaw(machine);
        }
        for awake in std::mem::take(&mut self.awake) {
            self.kill(awake.machine);
            if let Err(what) = self.judge(&awake) {
                self.truth.borrow_mut().fail(what);
            }
        }
    }

    /// Lets everybody go on until `is_over`. False if the machine dies first.
    fn go_on(&mut self, is_over: impl Fn(&Self) -> bool, doing: &str) -> Verdict<bool> {
        let until = self.clock.elapsed() + PATIENCE;
        let mut mark = (self.executor.steps, self.clock.elapsed());
        self.stands_still = false;
        let begun = std::time::Instant::now();
        while !is_over(self) {
            if self.executor.step() == Step::Stuck {
                return Err(format!("{doing}: everybody waits for somebody else"));
            }
            self.media.deliver(self.clock.elapsed(), false);
            if self.faults.clock_jumps && self.random.one_in(500) {
                self.clock.shift_wall(self.random.below(7_200_000_000_000) as i64 - 3_600_000_000_000);
            }
            if self.watch.has_died.replace(false) {
                let name = self.watch.died_at.get();
                *self.report.at_failpoints.entry(name).or_default() += 1;
                self.note(format!("dies at {name}"));
                return Ok(false);
            }
            if self.media.is_cut() {
                self.note("dies in a call");
                return Ok(false);
            }
            if self.executor.stop_at.is_some_and(|step| self.executor.steps >= step) {
                self.executor.stop_at = None;
                self.note("stands still");
                self.stands_still = true;
                return Ok(false);
            }
            if self.executor.steps.is_multiple_of(REAL_TIME_STEPS) && begun.elapsed() > REAL_TIME_MAX {
                return Err(format!("{doing}: no end after a minute of real time"));
            }
            if self.executor.steps > mark.0 + STEPS_MAX {
                if self.clock.elapsed() < mark.1 + Duration::from_secs(100) {
                    return Err(format!("{doing}: somebody runs in circles"));
                }
                mark = (self.executor.steps, self.clock.elapsed());
            }
            if self.clock.elapsed() > until {
                return Err(format!("{doing}: no end after hours of virtual time"));
            }
            if self.truth.borrow().failure.is_some() {
                return Ok(true);
            }
        }
        Ok(true)
    }

    // ---- the end ----

    /// Removes everything; nothing may be left in the store.
    fn empty(&mut self) -> Verdict {
        for (machine, _) in std::mem::take(&mut self.zombies) {
            self.kill(machine);
        }
        self.media.deliver(self.clock.elapsed(), true);
        self.faults = Faults::default();
        self.media.set_calm(true);
        self.settings.realm_ids = Settings::default().realm_ids;
        self.plan.die_at_step.get_or_insert(u64::MAX);
        let Some((machine, pool)) = self.start()? else { return Ok(()) };
        if self.puts_lie && self.media.has_lied() {
            // What is gone cannot be freed.
            return Ok(());
        }
        self.media.set_calm(true);
        let failed = |what: &str, error: offshoot_engine::Error| format!("{what}: {error}");
        let mut model: Model = self.truth.borrow().model.clone();
        // The observer follows another model from here on.
        self.truth.borrow_mut().machine = Machine(u32::MAX);
        for (name, _) in model.node(ROOT).children.clone() {
            model.now = self.clock.now();
            block_on(pool.remove_tree(Ino::ROOT, &name)).map_err(|error| failed("remove", error))?;
            model.remove_tree(ROOT, &name).map_err(|kind| format!("remove: {kind:?}"))?;
        }
        for name in model.node(ROOT).xattrs.clone().into_keys() {
            model.now = self.clock.now();
            block_on(pool.remove_xattr(Ino::ROOT, &name)).map_err(|error| failed("remove", error))?;
            model.remove_xattr(ROOT, &name).map_err(|kind| format!("remove: {kind:?}"))?;
        }
        for _ in 0..5 {
            block_on(pool.gc()).map_err(|error| failed("collect", error))?;
        }
        self.truth.borrow_mut().model = model;
        self.compare(&pool)?;
        let status = block_on(pool.status());
        if (status.files, status.directories, status.logical_bytes) != (0, 1, 0) {
            return Err(format!("an empty pool has {status:?}"));
        }
        if status.realm_ids != 0 || status.garbage_queue != 0 {
            return Err(format!("an empty pool keeps {status:?}"));
        }
        let objects =
            block_on(self.media.stored().list("segments/")).map_err(|error| failed("list", error))?;
        let stored: u64 = objects.iter().map(|object| object.size).sum();
        if status.live_bytes > 12 << 10 || stored > 40 << 10 {
            return Err(format!("an empty pool keeps {stored} bytes in {objects:?}: {status:?}"));
        }
        self.kill(machine);
        Ok(())
    }
}
