//! A connection to a store on which chosen calls go wrong in the ways of a network: they are repeated, their answers are lost, or they
//! wait until they are let go.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::object::{Call, FaultStore, MemoryStore, ObjectInfo, ObjectStore, Space};
use offshoot_engine::{Clock, Error, ErrorKind, OpenMode, Pool, Result, Storage};
use parking_lot::Mutex;

use crate::world::World;

/// Takes a future as far as it gets now.
pub fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is carried out, and its answer never comes.
    AnswerLost,
    /// It is carried out twice, and the second answer comes.
    Repeated,
    /// It waits for [`Wire::let_go`] before anything is done.
    Held,
    /// Nothing is done.
    Refused,
}

/// The connection.
pub struct Wire {
    objects: Arc<FaultStore<MemoryStore>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Kind of call, how its name begins, what happens to it, and to how many such calls.
    plans: Vec<(Call, &'static str, Trouble, usize)>,
    /// How the name of the put begins after which the next get is held.
    hold_get_after: Option<&'static str>,
    /// A held call may go on.
    is_free: bool,
    waiting: Option<Waker>,
    /// How often trouble came.
    troubles: usize,
    /// Names that were put, and names that were deleted.
    puts: Vec<String>,
    deletes: Vec<String>,
}

impl Wire {
    pub fn to(world: &World) -> Arc<Self> {
        Arc::new(Self { objects: world.objects.clone(), state: Mutex::default() })
    }

    /// Opens the pool of a world over this connection.
    pub fn open(self: &Arc<Self>, world: &World) -> Pool {
        let storage = Storage { objects: self.clone(), log: world.log.clone() };
        let clock: Arc<dyn Clock> = world.clock.clone();
        block_on(Pool::open(storage, clock, world.settings.clone(), OpenMode::CreateIfMissing)).unwrap()
    }

    /// Plans trouble for the next `count` calls of a kind on names that begin so.
    pub fn plan(&self, call: Call, prefix: &'static str, trouble: Trouble, count: usize) {
        self.state.lock().plans.push((call, prefix, trouble, count));
    }

    /// Holds the next get of a segment that comes after an object was put whose name begins so.
    pub fn hold_get_after_put(&self, prefix: &'static str) {
        self.state.lock().hold_get_after = Some(prefix);
    }

    /// Lets the held call go on.
    pub fn let_go(&self) {
        let mut state = self.state.lock();
        state.is_free = true;
        state.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// How many calls met with trouble.
    pub fn troubles(&self) -> usize {
        self.state.lock().troubles
    }

    /// Names that were put, each as often as that was tried.
    pub fn puts(&self) -> Vec<String> {
        self.state.lock().puts.clone()
    }

    /// Carries all deletions of names that begin so out once more.
    pub fn repeat_deletes(&self, prefix: &str) {
        let deletes = self.state.lock().deletes.clone();
        for name in deletes.iter().filter(|name| name.starts_with(prefix)) {
            block_on(self.objects.delete(name)).unwrap();
        }
    }

    fn trouble(&self, call: Call, name: &str) -> Option<Trouble> {
        let mut state = self.state.lock();
        let found =
            state.plans.iter_mut().find(|plan| plan.0 == call && name.starts_with(plan.1) && plan.3 > 0);
        let trouble = found.map(|plan| {
            plan.3 -= 1;
            plan.2
        });
        state.troubles += usize::from(trouble.is_some());
        trouble
    }

    async fn wait(&self) {
        futures::future::poll_fn(|context| {
            let mut state = self.state.lock();
            if state.is_free {
                return Poll::Ready(());
            }
            state.waiting = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Store, "no answer came (simulated)")
}

#[async_trait]
impl ObjectStore for Wire {
    async fn put(&self, name: &str, parts: Vec<Bytes>) -> Result<()> {
        self.state.lock().puts.push(name.to_owned());
        let trouble = self.trouble(Call::Put, name);
        match trouble {
            Some(Trouble::Refused) => return Err(lost()),
            Some(Trouble::Held) => self.wait().await,
            _ => {}
        }
        let mut answer = self.objects.put(name, parts.clone()).await;
        match trouble {
            Some(Trouble::Repeated) => answer = self.objects.put(name, parts).await,
            Some(Trouble::AnswerLost) => answer = Err(lost()),
            _ => {}
        }
        let mut state = self.state.lock();
        if state.hold_get_after.is_some_and(|prefix| name.starts_with(prefix)) {
            state.hold_get_after = None;
            state.plans.push((Call::Get, "segments/", Trouble::Held, 1));
        }
        answer
    }

    async fn get(&self, name: &str, offset: u64, length: u64) -> Result<Bytes> {
        match self.trouble(Call::Get, name) {
            Some(Trouble::Held) => self.wait().await,
            other => assert_eq!(other, None, "a get is only ever held"),
        }
        self.objects.get(name, offset, length).await
    }

    async fn size(&self, name: &str) -> Result<u64> {
        self.objects.size(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.objects.list(prefix).await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.state.lock().deletes.push(name.to_owned());
        self.objects.delete(name).await
    }

    async fn space(&self) -> Result<Option<Space>> {
        self.objects.space().await
    }
}
