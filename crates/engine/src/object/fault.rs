//! A store that fails when told to. For tests and simulation only; nothing in a real pool uses it.
//!
//! Failures are scripted (the nth call of a kind), seeded (one call in n), or a power cut: from some call on every call
//! fails until power is back. A [`PowerSwitch`] can be shared with a [`MemoryLog`](crate::log::MemoryLog), so that both media of a
//! pool go dark at the same call. Objects at rest can be damaged; that goes through the wrapped store's own calls.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fastrand::Rng;

use super::{ObjectInfo, ObjectStore, Space};
use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result};

/// Kinds of calls to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`ObjectStore::put`].
    Put,
    /// [`ObjectStore::get`].
    Get,
    /// [`ObjectStore::size`].
    Size,
    /// [`ObjectStore::list`].
    List,
    /// [`ObjectStore::delete`].
    Delete,
    /// [`ObjectStore::space`].
    Space,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done and the call answers with this error.
    Refused(ErrorKind),
    /// The call is carried out, but answers with this error, as when a connection breaks before the answer.
    AnswerLost(ErrorKind),
}

/// For tests: the power of one or more simulated media. Clones are the same switch.
#[derive(Clone, Debug, Default)]
pub struct PowerSwitch(Arc<Mutex<Power>>);

#[derive(Debug, Default)]
struct Power {
    calls: u64,
    is_cut: bool,
    /// Calls left before the cut, and if the last of them is carried out.
    planned: Option<(u64, bool)>,
}

/// What power means for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supply {
    /// Carry it out.
    On,
    /// Carry it out, then answer that power is gone.
    GoneAfter,
    /// Do nothing.
    Gone,
}

impl PowerSwitch {
    /// A switch that is on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts power now.
    pub fn cut(&self) {
        self.0.lock().is_cut = true;
    }

    /// Lets `calls` more calls through and cuts power during the next one, which is carried out without an answer if
    /// `carried_out`, or not at all.
    pub fn cut_after(&self, calls: u64, carried_out: bool) {
        self.0.lock().planned = Some((calls, carried_out));
    }

    /// Gives power back and forgets a planned cut.
    pub fn restore(&self) {
        let mut power = self.0.lock();
        power.is_cut = false;
        power.planned = None;
    }

    /// True after a cut.
    pub fn is_cut(&self) -> bool {
        self.0.lock().is_cut
    }

    /// Calls made to all media on this switch while it was on.
    pub fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// Counts one call and tells if it has power.
    pub(crate) fn draw(&self) -> Supply {
        let mut power = self.0.lock();
        if power.is_cut {
            return Supply::Gone;
        }
        power.calls += 1;
        match power.planned {
            Some((0, carried_out)) => {
                power.is_cut = true;
                power.planned = None;
                if carried_out { Supply::GoneAfter } else { Supply::Gone }
            }
            Some((left, carried_out)) => {
                power.planned = Some((left - 1, carried_out));
                Supply::On
            }
            None => Supply::On,
        }
    }

    /// What a medium without power answers.
    pub(crate) fn error() -> Error {
        Error::new(ErrorKind::Store, "the medium has no power (simulated)")
    }
}

/// For tests: a store that fails as scripted and otherwise does what the store `S` does.
pub struct FaultStore<S> {
    inner: S,
    power: PowerSwitch,
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    /// Kind, how many such calls are left until the one that fails, and how.
    planned: Vec<(Call, u64, Fault)>,
    /// One call in so many fails.
    random: Option<(Rng, u64)>,
}

impl<S: ObjectStore> FaultStore<S> {
    /// Wraps a store; nothing fails yet.
    pub fn new(inner: S) -> Self {
        Self::with_power(inner, PowerSwitch::new())
    }

    /// The same with a switch that other media share.
    pub fn with_power(inner: S, power: PowerSwitch) -> Self {
        Self { inner, power, script: Mutex::default() }
    }

    /// The wrapped store, where nothing fails.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The switch of this store.
    pub fn power(&self) -> &PowerSwitch {
        &self.power
    }

    /// Lets the `nth` call of a kind from now on fail once; 1 is the next.
    pub fn fail_nth(&self, call: Call, nth: u64, fault: Fault) {
        assert!(nth > 0, "the next call is number 1");
        self.script.lock().planned.push((call, nth, fault));
    }

    /// Lets one call in `one_in` fail with [`ErrorKind::Store`], chosen by the seed; half of them lose only the answer. 0
    /// ends it.
    pub fn fail_randomly(&self, seed: u64, one_in: u64) {
        self.script.lock().random = (one_in > 0).then(|| (Rng::with_seed(seed), one_in));
    }

    /// Flips one bit of a stored object; bit 0 is the lowest of the first byte.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if the object has no such bit.
    pub async fn flip_bit(&self, name: &str, bit: u64) -> Result<()> {
        self.damage(name, |bytes| {
            let length = bytes.len();
            let byte = bytes.get_mut((bit / 8) as usize).ok_or_else(|| {
                Error::new(
                    ErrorKind::Invalid,
                    format!("object {name} has no bit {bit}: it is {length} bytes long"),
                )
            })?;
            *byte ^= 1 << (bit % 8);
            Ok(())
        })
        .await
    }

    /// Cuts a stored object off at `length` bytes.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if the object is shorter.
    pub async fn truncate(&self, name: &str, length: u64) -> Result<()> {
        self.damage(name, |bytes| {
            if length > bytes.len() as u64 {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("object {name} is shorter than {length} bytes"),
                ));
            }
            bytes.truncate(length as usize);
            Ok(())
        })
        .await
    }

    async fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> Result<()> + Send) -> Result<()> {
        let size = self.inner.size(name).await?;
        let mut bytes = self.inner.get(name, 0, size).await?.to_vec();
        change(&mut bytes)?;
        self.inner.delete(name).await?;
        self.inner.put(name, vec![Bytes::from(bytes)]).await
    }

    /// Decides about one call: an error to answer at once, or one to answer after the call was carried out, or none.
    fn enter(&self, call: Call) -> Result<Option<Error>> {
        match self.power.draw() {
            Supply::Gone => return Err(PowerSwitch::error()),
            Supply::GoneAfter => return Ok(Some(PowerSwitch::error())),
            Supply::On => {}
        }
        match self.script.lock().next(call) {
            Some(Fault::Refused(kind)) => Err(Error::new(kind, format!("{call:?} was refused (simulated)"))),
            Some(Fault::AnswerLost(kind)) => {
                Ok(Some(Error::new(kind, format!("the answer to {call:?} was lost (simulated)"))))
            }
            None => Ok(None),
        }
    }
}

impl Script {
    fn next(&mut self, call: Call) -> Option<Fault> {
        let mut due = None;
        self.planned.retain_mut(|(kind, left, fault)| {
            if *kind != call {
                return true;
            }
            *left -= 1;
            if *left > 0 {
                return true;
            }
            due = Some(*fault);
            false
        });
        let chance = self.random.as_mut().and_then(|(random, one_in)| {
            (random.u64(..*one_in) == 0).then(|| match random.u8(..2) {
                0 => Fault::Refused(ErrorKind::Store),
                _ => Fault::AnswerLost(ErrorKind::Store),
            })
        });
        due.or(chance)
    }
}

fn answer<T>(done: Result<T>, lost: Option<Error>) -> Result<T> {
    match lost {
        Some(error) => Err(error),
        None => done,
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for FaultStore<S> {
    async fn put(&self, name: &str, parts: Vec<Bytes>) -> Result<()> {
        let lost = self.enter(Call::Put)?;
        answer(self.inner.put(name, parts).await, lost)
    }

    async fn get(&self, name: &str, offset: u64, length: u64) -> Result<Bytes> {
        let lost = self.enter(Call::Get)?;
        answer(self.inner.get(name, offset, length).await, lost)
    }

    async fn size(&self, name: &str) -> Result<u64> {
        let lost = self.enter(Call::Size)?;
        answer(self.inner.size(name).await, lost)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let lost = self.enter(Call::List)?;
        answer(self.inner.list(prefix).await, lost)
    }

    async fn delete(&self, name: &str) -> Result<()> {
        let lost = self.enter(Call::Delete)?;
        answer(self.inner.delete(name).await, lost)
    }

    async fn space(&self) -> Result<Option<Space>> {
        let lost = self.enter(Call::Space)?;
        answer(self.inner.space().await, lost)
    }

    fn is_remote(&self) -> bool {
        self.inner.is_remote()
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::object::{LocalStore, MemoryStore};

    fn put<S: ObjectStore>(store: &S, name: &str) -> Result<()> {
        block_on(store.put(name, vec![Bytes::from_static(b"some bytes")]))
    }

    fn names<S: ObjectStore>(store: &S) -> Vec<String> {
        block_on(store.list("")).unwrap().into_iter().map(|o| o.name).collect()
    }

    #[test]
    fn the_nth_call_of_a_kind_fails_once() {
        let store = FaultStore::new(MemoryStore::new());
        store.fail_nth(Call::Put, 2, Fault::Refused(ErrorKind::NoSpace));
        store.fail_nth(Call::Put, 3, Fault::AnswerLost(ErrorKind::Store));
        store.fail_nth(Call::Get, 1, Fault::Refused(ErrorKind::Store));
        put(&store, "1").unwrap();
        assert_eq!(put(&store, "2").unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(put(&store, "3").unwrap_err().kind(), ErrorKind::Store);
        put(&store, "4").unwrap();
        assert_eq!(names(&store), ["1", "3", "4"]);
        assert_eq!(block_on(store.get("1", 0, 4)).unwrap_err().kind(), ErrorKind::Store);
        assert_eq!(block_on(store.get("1", 0, 4)).unwrap(), "some");
        assert_eq!(block_on(store.size("1")).unwrap(), 10);
    }

    #[test]
    fn every_kind_of_call_can_fail() {
        let store = FaultStore::new(MemoryStore::new());
        for call in [Call::Size, Call::List, Call::Delete, Call::Space] {
            store.fail_nth(call, 1, Fault::Refused(ErrorKind::Store));
        }
        put(&store, "1").unwrap();
        assert!(block_on(store.size("1")).is_err());
        assert!(block_on(store.list("")).is_err());
        assert!(block_on(store.delete("1")).is_err());
        assert!(block_on(store.space()).is_err());
        assert_eq!(names(&store), ["1"]);
    }

    #[test]
    fn a_seed_chooses_the_same_calls_again() {
        let run = |seed| {
            let store = FaultStore::new(MemoryStore::new());
            store.fail_randomly(seed, 4);
            let failed: Vec<bool> = (0..200).map(|n| put(&store, &format!("{n}")).is_err()).collect();
            store.fail_randomly(seed, 0);
            (failed, names(&store))
        };
        let (failed, stored) = run(1);
        assert_eq!((failed.clone(), stored.clone()), run(1));
        assert_ne!(failed, run(2).0);
        let failures = failed.iter().filter(|f| **f).count();
        assert!((20..=80).contains(&failures), "{failures} of 200 failed");
        // Some failed only in the answer.
        assert!(stored.len() > 200 - failures && stored.len() < 200);
    }

    #[test]
    fn a_power_cut_fails_every_call_until_power_is_back() {
        for carried_out in [false, true] {
            let power = PowerSwitch::new();
            let store = FaultStore::with_power(MemoryStore::new(), power.clone());
            power.cut_after(2, carried_out);
            put(&store, "1").unwrap();
            put(&store, "2").unwrap();
            assert!(!power.is_cut());
            assert!(put(&store, "3").is_err());
            assert!(power.is_cut());
            assert!(put(&store, "4").is_err());
            assert!(block_on(store.get("1", 0, 1)).is_err());
            assert_eq!(power.calls(), 3);
            power.restore();
            assert_eq!(names(&store).len(), if carried_out { 3 } else { 2 });
            power.cut();
            assert!(block_on(store.list("")).is_err());
        }
    }

    #[test]
    fn objects_at_rest_are_damaged_as_told() {
        let directory = tempfile::tempdir().unwrap();
        let local = LocalStore::open(directory.path().to_owned()).unwrap();
        damage(FaultStore::new(local));
        damage(FaultStore::new(MemoryStore::new()));
    }

    fn damage<S: ObjectStore>(store: FaultStore<S>) {
        put(&store, "a").unwrap();
        // Read before, so that nothing may be kept of the sound bytes.
        assert_eq!(block_on(store.get("a", 0, 100)).unwrap(), "some bytes");
        block_on(store.flip_bit("a", 8)).unwrap();
        assert_eq!(block_on(store.get("a", 0, 100)).unwrap(), "snme bytes");
        block_on(store.truncate("a", 3)).unwrap();
        assert_eq!(block_on(store.get("a", 0, 100)).unwrap(), "snm");
        assert_eq!(block_on(store.flip_bit("a", 24)).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(block_on(store.truncate("a", 4)).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(block_on(store.flip_bit("b", 0)).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(block_on(store.size("a")).unwrap(), 3);
    }
}
