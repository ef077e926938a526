//! The media of a world: an object store behind a network, and a disk with the log.
//!
//! They outlive machines. A call to the store takes virtual time before and after it is carried out, so that calls overtake each
//! other; one whose machine dies in between may still arrive. Calls to the log block, as those of a disk do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use offshoot_engine::Storage;
use offshoot_engine::log::{self, BlockingLog, MemoryLog, ObjectLog};
use offshoot_engine::object::{MemoryStore, ObjectInfo, ObjectStore, Space};
use offshoot_engine::{Error, ErrorKind, Result};
use parking_lot::Mutex;

use crate::clock::VirtualClock;
use crate::faults::Faults;
use crate::random::{Chance, Random};

/// Both media. Clones are the same.
#[derive(Clone)]
pub struct Media {
    pub objects: Arc<SimulatedStore>,
    log: Arc<SimulatedLog>,
    /// The log is among the objects.
    pub log_in_store: bool,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    random: Random,
    faults: Faults,
    /// Nothing takes time and nothing goes wrong.
    calm: bool,
    power: Power,
    late: Vec<(Duration, Request)>,
    /// What a put has promised and will not keep.
    vanishing: Option<String>,
    /// Pools take the store for one behind a network, or for one at hand.
    is_remote: bool,
    count: Counted,
}

/// Power of the machine that runs.
#[derive(Default)]
struct Power {
    is_cut: bool,
    /// Calls left before the cut, and if the last is carried out.
    planned: Option<(u64, bool)>,
}

/// What happened to calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub calls: u64,
    pub faults: u64,
    pub late: u64,
    pub lies: u64,
}

#[derive(Clone)]
enum Request {
    Put(String, Vec<Bytes>),
    Delete(String),
}

/// What becomes of a call to the store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Normal,
    Refused(ErrorKind),
    AnswerLost,
    Late,
    Repeated,
}

impl Media {
    pub fn new(seed: u64, clock: &VirtualClock, faults: Faults, log_in_store: bool) -> Self {
        let shared = Arc::new(Mutex::new(Shared {
            random: Random(seed),
            faults,
            calm: false,
            power: Power::default(),
            late: Vec::new(),
            vanishing: None,
            is_remote: seed.count_ones() % 2 == 1,
            count: Counted::default(),
        }));
        let inner = Arc::new(MemoryStore::new());
        let objects = Arc::new(SimulatedStore { inner, shared: shared.clone(), clock: clock.clone() });
        let log = Arc::new(SimulatedLog {
            inner: MemoryLog::new(),
            shared: shared.clone(),
            doomed: Mutex::default(),
        });
        Self { objects, log, log_in_store, shared }
    }

    /// What a pool is opened on.
    pub fn storage(&self) -> Storage {
        let log: Arc<dyn log::LogStore> = if self.log_in_store {
            Arc::new(ObjectLog::new(self.objects.clone(), self.shared.lock().random.next()))
        } else {
            self.log.clone()
        };
        Storage { objects: self.objects.clone(), log }
    }

    /// While it is calm nothing takes time and nothing goes wrong.
    pub fn set_calm(&self, calm: bool) {
        self.shared.lock().calm = calm;
    }

    /// Lets `calls` more calls through and cuts power in the next one.
    pub fn cut_after(&self, calls: u64, carried_out: bool) {
        self.shared.lock().power.planned = Some((calls, carried_out));
    }

    pub fn is_cut(&self) -> bool {
        self.shared.lock().power.is_cut
    }

    pub fn counted(&self) -> Counted {
        self.shared.lock().count
    }

    /// Whether a medium has said what is not true.
    pub fn has_lied(&self) -> bool {
        self.shared.lock().count.lies > 0
    }

    /// The machine has died: the disk keeps what it must, and any part of the rest. Power comes back.
    pub fn die(&self) {
        let (seed, vanished) = {
            let mut shared = self.shared.lock();
            shared.power = Power::default();
            (shared.random.next(), shared.vanishing.take())
        };
        self.log.die(seed);
        if let Some(name) = vanished {
            futures::executor::block_on(self.objects.inner.delete(&name)).expect("a memory store deletes");
        }
    }

    /// Another machine takes over while the first one still lives: its plans and its power are not the new one's.
    pub fn forget_plans(&self) {
        self.shared.lock().power = Power::default();
    }

    /// Carries out what arrives late and is due.
    pub fn deliver(&self, now: Duration, all: bool) {
        let due: Vec<Request> = {
            let mut shared = self.shared.lock();
            if shared.late.is_empty() {
                return;
            }
            let (due, waiting) =
                std::mem::take(&mut shared.late).into_iter().partition(|(at, _)| all || *at <= now);
            shared.late = waiting;
            due.into_iter().map(|(_, request)| request).collect()
        };
        for request in due {
            self.shared.lock().count.late += 1;
            // Nobody waits for the answer.
            let _ = futures::executor::block_on(async {
                match request {
                    Request::Put(name, parts) => self.objects.inner.put(&name, parts).await,
                    Request::Delete(name) => self.objects.inner.delete(&name).await,
                }
            });
        }
    }

    /// The store as it is, for looking at.
    pub fn stored(&self) -> &MemoryStore {
        &self.objects.inner
    }
}

impl Shared {
    /// Draws power for one call: an error if there is none, true if the call is the last.
    fn draw(&mut self) -> Result<bool> {
        if self.calm {
            return Ok(false);
        }
        if self.power.is_cut {
            return Err(no_power());
        }
        self.count.calls += 1;
        match self.power.planned {
            Some((0, carried_out)) => {
                self.power = Power { is_cut: true, planned: None };
                if carried_out { Ok(true) } else { Err(no_power()) }
            }
            Some((left, carried_out)) => {
                self.power.planned = Some((left - 1, carried_out));
                Ok(false)
            }
            None => Ok(false),
        }
    }

    fn happens(&mut self, one_in: u64) -> bool {
        if one_in == 0 || self.calm || !self.random.one_in(one_in) {
            return false;
        }
        self.count.faults += 1;
        true
    }

    fn fate(&mut self, writes: bool, allocates: bool) -> Fate {
        let Faults { refused, answer_lost, carried_out_late, repeated, no_space, .. } = self.faults;
        if self.happens(refused) {
            Fate::Refused(ErrorKind::Store)
        } else if self.happens(answer_lost) {
            Fate::AnswerLost
        } else if writes && self.happens(carried_out_late) {
            Fate::Late
        } else if writes && self.happens(repeated) {
            Fate::Repeated
        } else if allocates && self.happens(no_space) {
            Fate::Refused(ErrorKind::NoSpace)
        } else {
            Fate::Normal
        }
    }

    fn delay(&mut self) -> Duration {
        let usual = self.faults.delay_micros;
        if self.calm || usual == 0 {
            return Duration::ZERO;
        }
        let long = if self.random.one_in(200) { 200 } else { 1 };
        Duration::from_micros(self.random.below(usual * long))
    }
}

fn no_power() -> Error {
    Error::new(ErrorKind::Store, "the machine has no power (simulated)")
}

fn failed(kind: ErrorKind) -> Error {
    Error::new(kind, "the call failed (simulated)")
}

/// The object store of a world.
pub struct SimulatedStore {
    inner: Arc<MemoryStore>,
    shared: Arc<Mutex<Shared>>,
    clock: VirtualClock,
}

/// A request on its way. If its machine dies before it has arrived, it may arrive all the same.
struct OnItsWay<'a> {
    store: &'a SimulatedStore,
    request: Option<Request>,
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        let Some(request) = self.request.take() else { return };
        let mut shared = self.store.shared.lock();
        if shared.faults.late_arrivals && !shared.calm && shared.random.one_in(2) {
            self.store.arrives_late(&mut shared, request);
        }
    }
}

impl SimulatedStore {
    fn arrives_late(&self, shared: &mut Shared, request: Request) {
        let longest = *shared.random.pick(&[1_000, 100_000, 10_000_000]);
        let at = self.clock.elapsed() + Duration::from_micros(shared.random.below(longest));
        shared.late.push((at, request));
    }

    async fn pause(&self) {
        let delay = self.shared.lock().delay();
        if !delay.is_zero() {
            self.clock.pause(delay).await;
        }
    }

    async fn carry_out(&self, request: Request) -> Result<()> {
        let (is_last, fate) = {
            let mut shared = self.shared.lock();
            let is_last = shared.draw()?;
            (is_last, shared.fate(true, matches!(request, Request::Put(..))))
        };
        let mut on_its_way = OnItsWay { store: self, request: Some(request) };
        self.pause().await;
        let request = on_its_way.request.take().expect("nobody else takes it");
        match fate {
            Fate::Refused(kind) => return Err(failed(kind)),
            Fate::Late => {
                let mut shared = self.shared.lock();
                self.arrives_late(&mut shared, request);
                return Err(failed(ErrorKind::Store));
            }
            _ => {}
        }
        let mut answer = self.apply(request.clone()).await;
        if fate == Fate::Repeated {
            answer = self.apply(request).await;
        }
        if is_last {
            return Err(no_power());
        }
        self.pause().await;
        if fate == Fate::AnswerLost { Err(failed(ErrorKind::Store)) } else { answer }
    }

    async fn apply(&self, request: Request) -> Result<()> {
        match request {
            Request::Put(name, parts) => {
                self.inner.put(&name, parts).await?;
                let mut shared = self.shared.lock();
                let lies = shared.faults.put_lies;
                if shared.count.lies == 0 && shared.happens(lies) {
                    shared.count.lies += 1;
                    shared.vanishing = Some(name);
                }
                Ok(())
            }
            Request::Delete(name) => self.inner.delete(&name).await,
        }
    }

    async fn look<T>(&self, look: impl Future<Output = Result<T>>) -> Result<T> {
        let (is_last, fate) = {
            let mut shared = self.shared.lock();
            let is_last = shared.draw()?;
            (is_last, shared.fate(false, false))
        };
        self.pause().await;
        if is_last {
            return Err(no_power());
        }
        match fate {
            Fate::Normal => look.await,
            Fate::Refused(kind) => Err(failed(kind)),
            _ => Err(failed(ErrorKind::Store)),
        }
    }
}

#[async_trait]
impl ObjectStore for SimulatedStore {
    async fn put(&self, name: &str, parts: Vec<Bytes>) -> Result<()> {
        self.carry_out(Request::Put(name.to_owned(), parts)).await
    }

    async fn get(&self, name: &str, offset: u64, length: u64) -> Result<Bytes> {
        self.look(self.inner.get(name, offset, length)).await
    }

    async fn size(&self, name: &str) -> Result<u64> {
        self.look(self.inner.size(name)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.look(self.inner.list(prefix)).await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.carry_out(Request::Delete(name.to_owned())).await
    }

    async fn space(&self) -> Result<Option<Space>> {
        self.look(self.inner.space()).await
    }

    fn is_remote(&self) -> bool {
        self.shared.lock().is_remote
    }
}

/// The log of a world.
pub struct SimulatedLog {
    inner: MemoryLog,
    shared: Arc<Mutex<Shared>>,
    /// Files of which a sync has failed: what it should have written may be gone.
    doomed: Mutex<Vec<u64>>,
}

impl SimulatedLog {
    fn die(&self, seed: u64) {
        self.doomed.lock().clear();
        self.inner.crash(seed);
    }

    fn call<T>(&self, call: impl FnOnce(&MemoryLog) -> Result<T>) -> Result<T> {
        let is_last = self.shared.lock().draw()?;
        let answer = call(&self.inner);
        if is_last { Err(no_power()) } else { answer }
    }
}

impl BlockingLog for SimulatedLog {
    fn list(&self) -> Result<Vec<u64>> {
        self.call(MemoryLog::list)
    }

    fn create(&self, number: u64) -> Result<()> {
        let refused = {
            let mut shared = self.shared.lock();
            let rate = shared.faults.no_space;
            shared.happens(rate)
        };
        if refused {
            return Err(failed(ErrorKind::NoSpace));
        }
        self.call(|log| log.create(number))
    }

    fn append(&self, number: u64, offset: u64, parts: &[Bytes]) -> Result<()> {
        let (no_space, some) = {
            let mut shared = self.shared.lock();
            let rate = shared.faults.no_space;
            (shared.happens(rate), shared.random.below(3))
        };
        if no_space {
            // A part may have been written before space ran out.
            if some > 0 {
                self.call(|log| log.append(number, offset, &parts[..1]))?;
            }
            return Err(failed(ErrorKind::NoSpace));
        }
        self.call(|log| log.append(number, offset, parts))
    }

    fn sync(&self, number: u64) -> Result<()> {
        let (fails, lies) = {
            let mut shared = self.shared.lock();
            let Faults { sync_fails, sync_lies, .. } = shared.faults;
            let fails = shared.happens(sync_fails);
            let lies = !fails && shared.count.lies == 0 && shared.happens(sync_lies);
            shared.count.lies += u64::from(lies);
            (fails, lies)
        };
        if fails {
            self.doomed.lock().push(number);
            return Err(failed(ErrorKind::Store));
        }
        if lies || self.doomed.lock().contains(&number) {
            return self.call(|_| Ok(()));
        }
        self.call(|log| log.sync(number))
    }

    fn read(&self, number: u64) -> Result<Bytes> {
        self.call(|log| log.read(number))
    }

    fn keep_copy(&self, number: u64) -> Result<()> {
        self.call(|log| log.keep_copy(number))
    }

    fn delete(&self, number: u64) -> Result<()> {
        self.call(|log| log.delete(number))
    }
}
