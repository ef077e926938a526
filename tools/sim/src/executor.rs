//! One thread that runs all tasks of a world, in an order that the seed chooses.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::VirtualClock;
use crate::random::{Chance, Random};

/// Machines that tasks run on. A machine dies with all its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine(pub u32);

/// What goes on whatever machine dies: requests on their way to a store.
pub const NETWORK: Machine = Machine(0);

type TaskId = u64;

struct Task {
    machine: Machine,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

#[derive(Default)]
struct Ready(Mutex<Vec<TaskId>>);

struct TaskWaker {
    id: TaskId,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.0.lock();
        if !ready.contains(&self.id) {
            ready.push(self.id);
        }
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A task of this machine went on.
    Ran(Machine),
    /// Nobody could go on, and time passed to the next moment that somebody waits for.
    Waited,
    /// Nobody can go on, ever.
    Stuck,
}

/// The tasks of a world.
pub struct Executor {
    tasks: BTreeMap<TaskId, Task>,
    ready: Arc<Ready>,
    next: TaskId,
    random: Random,
    clock: VirtualClock,
    frozen: Vec<Machine>,
    /// The machine whose task runs.
    running: Rc<Cell<Machine>>,
    /// The step before which the world wants to be asked.
    pub stop_at: Option<u64>,
    /// Steps done.
    pub steps: u64,
}

impl Executor {
    pub fn new(seed: u64, clock: VirtualClock, running: Rc<Cell<Machine>>) -> Self {
        Self {
            tasks: BTreeMap::new(),
            ready: Arc::default(),
            next: 0,
            random: Random(seed),
            clock,
            frozen: Vec::new(),
            running,
            stop_at: None,
            steps: 0,
        }
    }

    /// Adds a task to a machine.
    pub fn spawn(&mut self, machine: Machine, future: impl Future<Output = ()> + 'static) {
        let id = self.next;
        self.next += 1;
        self.tasks.insert(id, Task { machine, future: Box::pin(future) });
        self.ready.0.lock().push(id);
    }

    /// Drops all tasks of a machine where they are.
    pub fn kill(&mut self, machine: Machine) {
        let dead: Vec<TaskId> =
            self.tasks.iter().filter(|(_, task)| task.machine == machine).map(|(id, _)| *id).collect();
        for id in dead {
            self.tasks.remove(&id);
        }
    }

    /// A frozen machine does not go on until it is thawed: a long pause of a virtual machine.
    pub fn freeze(&mut self, machine: Machine) {
        self.frozen.push(machine);
    }

    pub fn thaw(&mut self, machine: Machine) {
        self.frozen.retain(|frozen| *frozen != machine);
    }

    /// Whether the machine has tasks that have not come to an end.
    pub fn is_busy(&self, machine: Machine) -> bool {
        self.tasks.values().any(|task| task.machine == machine)
    }

    /// Lets one task go on to where it waits next. Time stands still meanwhile.
    pub fn step(&mut self) -> Step {
        self.steps += 1;
        let chosen = {
            let mut ready = self.ready.0.lock();
            ready.retain(|id| self.tasks.contains_key(id));
            let able: Vec<usize> = (0..ready.len())
                .filter(|at| !self.frozen.contains(&self.tasks[&ready[*at]].machine))
                .collect();
            if able.is_empty() { None } else { Some(ready.remove(*self.random.pick(&able))) }
        };
        let Some(id) = chosen else {
            return if self.clock.advance_to_next() { Step::Waited } else { Step::Stuck };
        };
        let mut task = self.tasks.remove(&id).expect("it was just looked at");
        let waker: Waker = Arc::new(TaskWaker { id, ready: self.ready.clone() }).into();
        let machine = task.machine;
        self.running.set(machine);
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending {
            self.tasks.insert(id, task);
        }
        self.running.set(NETWORK);
        self.clock.advance(Duration::from_nanos(self.random.below(20_000)));
        Step::Ran(machine)
    }

    /// Drops everything, machines and network.
    pub fn clear(&mut self) {
        self.tasks.clear();
    }
}
