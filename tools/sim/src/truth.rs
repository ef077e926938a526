//! What is known about the pool of a world: the model after each operation, what is durable, and who knows which number.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use offshoot_engine::simulation::{Fate, Observer};
use offshoot_engine::{Attributes, ErrorKind, Ino, Timestamp};

use crate::executor::Machine;
use crate::model::{Answer, Id, Model, ROOT, walk};
use crate::random::{Chance, Random};

/// What an operation does to the model; its value is a node, an offset or a length, or 0.
pub type Effect = Rc<dyn Fn(&mut Model) -> Answer<u64>>;

/// Names a client of the machine that runs.
pub type ClientId = u32;

/// The model after the operation of this sequence.
pub struct Version {
    pub sequence: u64,
    pub model: Model,
}

/// Shared by the clients, the observer of the engine and the world.
pub struct Truth {
    pub model: Model,
    /// All states since the pool was opened, that one included.
    pub versions: Vec<Version>,
    /// Sequence of the last operation that was executed.
    pub sequence: u64,
    /// Sequence up to which everything was acknowledged as durable.
    pub durable: u64,
    /// Operations that clients have asked for.
    asked: BTreeMap<ClientId, Effect>,
    /// What they gave in the model when they were executed.
    done: BTreeMap<ClientId, Answer<u64>>,
    /// Directories that clients are removing just now.
    pub removing: Vec<Id>,
    references: BTreeMap<Id, u64>,
    ids: HashMap<Ino, Id>,
    learned: HashMap<Id, (Ino, u64)>,
    /// The machine whose pool this is about.
    pub machine: Machine,
    /// The client that runs.
    pub client: Option<ClientId>,
    /// Sequence in which a pool was recovered.
    pub recovered: Option<u64>,
    pub trace: Vec<String>,
    pub operations: u64,
    pub failure: Option<String>,
    pub is_verbose: bool,
}

impl Truth {
    pub fn new(root: Timestamp) -> Self {
        let model = Model::new(root);
        Self {
            versions: vec![Version { sequence: 0, model: model.clone() }],
            model,
            sequence: 0,
            durable: 0,
            asked: BTreeMap::new(),
            done: BTreeMap::new(),
            removing: Vec::new(),
            references: BTreeMap::new(),
            ids: HashMap::from([(Ino::ROOT, ROOT)]),
            learned: HashMap::from([(ROOT, (Ino::ROOT, 0))]),
            machine: Machine(0),
            client: None,
            recovered: None,
            trace: Vec::new(),
            operations: 0,
            failure: None,
            is_verbose: false,
        }
    }

    /// Notes what is wrong; the first time counts.
    pub fn fail(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.note(format!("FAILURE: {what}"));
        self.failure.get_or_insert(what);
    }

    /// Notes what only somebody who looks at this seed wants to know.
    pub fn explain(&mut self, line: impl FnOnce() -> String) {
        if self.is_verbose {
            self.note(line());
        }
    }

    pub fn note(&mut self, line: impl AsRef<str>) {
        self.trace.push(format!("{:6}  {}", self.sequence, line.as_ref()));
    }

    // ---- operations ----

    /// A client asks for an operation. Returns the first version that its answer may come from.
    pub fn ask(&mut self, client: ClientId, effect: Effect) -> usize {
        self.asked.insert(client, effect);
        self.done.remove(&client);
        self.versions.len() - 1
    }

    /// The operation was answered: what it gave in the model, if it was executed.
    pub fn answered(&mut self, client: ClientId) -> Option<Answer<u64>> {
        self.asked.remove(&client);
        self.done.remove(&client)
    }

    fn executed(&mut self, sequence: u64, time: Timestamp, is_seen: bool) {
        if sequence != self.sequence + 1 {
            self.fail(format!("operation {sequence} was executed after {}", self.sequence));
        }
        self.sequence = sequence;
        let how = if is_seen { "executed" } else { "behind the scenes" };
        self.explain(|| format!("{how} at {}.{:09}", time.secs, time.nanos));
        if !is_seen {
            return;
        }
        self.operations += 1;
        let effect = self.client.and_then(|client| self.asked.remove(&client));
        let (Some(client), Some(effect)) = (self.client, effect) else {
            return self.fail(format!("operation {sequence} was executed and nobody has asked for it"));
        };
        self.model.now = time;
        let answer = effect(&mut self.model);
        if let Err(kind) = answer {
            self.fail(format!("operation {sequence} was executed and should have been refused: {kind:?}"));
        }
        self.done.insert(client, answer);
        self.versions.push(Version { sequence, model: self.model.clone() });
    }

    /// Whether a version from `first` on gives an answer that the test accepts, before or after orphans that nobody needs have gone.
    pub fn any_since(&self, first: usize, accepts: impl Fn(&Model) -> bool) -> bool {
        let models =
            || self.versions[first..].iter().rev().map(|version| &version.model).chain([&self.model]);
        models().any(&accepts)
            || models().any(|model| {
                let mut later = model.clone();
                later.collect();
                accepts(&later)
            })
    }

    // ---- numbers ----

    /// What a number is known to belong to.
    pub fn id_of(&self, ino: Ino) -> Option<Id> {
        let id = *self.ids.get(&ino)?;
        let model = &self.model;
        let is_there = model.nodes.contains_key(&id) && model.alive(id).is_ok() && !model.is_doomed(id);
        is_there.then_some(id)
    }

    pub fn ino_of(&self, id: Id) -> Option<Ino> {
        self.learned.get(&id).map(|(ino, _)| *ino)
    }

    /// Notes the number of a node. It must never change.
    pub fn learn(&mut self, id: Id, ino: Ino) {
        let at = self.sequence;
        let known = self.learned.entry(id).or_insert((ino, at)).0;
        if known != ino {
            self.fail(format!("the number of node {id} was {:#x} and is {:#x}", known.0, ino.0));
        }
        self.ids.insert(ino, id);
    }

    /// Counts a reference that the pool has counted.
    pub fn refer(&mut self, id: Id) {
        if id != ROOT {
            *self.references.entry(id).or_default() += 1;
            self.model.known.insert(id);
        }
    }

    /// Takes references back.
    pub fn forget(&mut self, id: Id, count: u64) {
        let references = self.references.get_mut(&id).expect("it is referred to");
        *references -= count;
        if *references == 0 {
            self.references.remove(&id);
            self.model.forget(id);
        }
    }

    /// Checks attributes against the current model.
    pub fn expect_attributes(&mut self, what: &str, id: Id, attributes: &Attributes) {
        if let Err(difference) = walk::same_attributes(&self.model, id, attributes) {
            self.fail(format!("{what}: {difference}"));
        }
    }

    // ---- deaths ----

    /// The version in which the pool has to be after it was recovered with everything up to `sequence`.
    pub fn recover(&mut self, sequence: u64) -> Model {
        let version = self.versions.iter().rev().find(|version| version.sequence <= sequence);
        let version = version.unwrap_or(&self.versions[0]);
        let mut model = version.model.clone();
        model.next = self.model.next;
        model.reopen();
        model
    }

    /// The pool is the model's as of `sequence` and nobody knows any number of it.
    pub fn begin(&mut self, model: Model, sequence: u64, machine: Machine) {
        self.learned.retain(|_, (_, at)| *at <= sequence);
        self.ids = self.learned.iter().map(|(id, (ino, _))| (*ino, *id)).collect();
        self.references.clear();
        self.asked.clear();
        self.done.clear();
        self.removing.clear();
        self.versions = vec![Version { sequence, model: model.clone() }];
        self.model = model;
        self.sequence = sequence;
        self.durable = sequence;
        self.machine = machine;
        self.client = None;
    }
}

/// Where the machine that runs now is to die, if at a failpoint: the name, and how many times it is passed before.
pub type FailpointPlan = Option<(&'static str, u64)>;

/// How often who comes to a failpoint lets others go on first.
pub enum Stalls {
    /// Always, once: every failpoint is a step of its own.
    Always,
    /// Once in so many times, for a while; 0 is never.
    OneIn(u64, Random),
}

impl Stalls {
    fn turns(&mut self) -> u32 {
        match self {
            Self::Always => 1,
            Self::OneIn(0, _) => 0,
            Self::OneIn(rate, random) => {
                if random.one_in(*rate) {
                    1 + random.below(60) as u32
                } else {
                    0
                }
            }
        }
    }
}

/// Watches the engine on behalf of a world.
pub struct Watch {
    pub truth: Rc<RefCell<Truth>>,
    /// The machine whose task runs now.
    pub running: Rc<Cell<Machine>>,
    /// The machine that is the writer, or on its way there: no other one dies at failpoints.
    pub writer: Cell<Machine>,
    pub plan: RefCell<FailpointPlan>,
    pub stalls: RefCell<Stalls>,
    pub has_died: Cell<bool>,
    /// The failpoint at which a machine died last.
    pub died_at: Cell<&'static str>,
}

impl Observer for Watch {
    fn executed(&self, sequence: u64, time: Timestamp, is_seen: bool) {
        let mut truth = self.truth.borrow_mut();
        if self.running.get() == truth.machine {
            truth.executed(sequence, time, is_seen);
        }
    }

    fn recovered(&self, sequence: u64) {
        self.truth.borrow_mut().recovered = Some(sequence);
    }

    fn reached(&self, failpoint: &'static str) -> Fate {
        self.truth.borrow_mut().explain(|| format!("{:?} passes {failpoint}", self.running.get()));
        let mut plan = self.plan.borrow_mut();
        let is_writer = self.running.get() == self.writer.get();
        match &mut *plan {
            Some((name, 0)) if is_writer && *name == failpoint => {
                *plan = None;
                self.has_died.set(true);
                self.died_at.set(failpoint);
                return Fate::Dies;
            }
            Some((name, left)) if is_writer && *name == failpoint => *left -= 1,
            _ => {}
        }
        Fate::Waits(self.stalls.borrow_mut().turns())
    }
}

/// Whether an error may come from a medium or a machine that failed, and not from what was asked for.
pub fn is_of_media(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Store | ErrorKind::Fenced | ErrorKind::Closed)
}
