//! A client: works on the pool through the POSIX layer and the engine, beside others, and compares every answer.
//!
//! What it changes is compared with the model at the moment the engine executes it. What it only looks at may show any state between
//! the question and the answer.

mod acts;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use offshoot_engine::{Attributes, ErrorKind, Ino};
use offshoot_vfs::{Caller, Code, Error, Handle, Vfs};

use crate::executor::Machine;
use crate::faults::Faults;
use crate::model::{Answer, Id, Model, ROOT, walk};
use crate::random::{Chance, Random};
use crate::truth::{ClientId, Effect, Truth, is_of_media};

/// All clients are root: permissions have tests of their own.
static CALLER: LazyLock<Caller> = LazyLock::new(Caller::root);

/// Why an operation did not come to an end.
#[derive(Debug)]
pub enum Stop {
    /// The pool accepts nothing any more, or the machine is not the writer any more.
    Gone,
    /// Something went wrong with this operation alone, or somebody else was faster.
    Skip,
}

pub type Outcome<T = ()> = Result<T, Stop>;

/// What a client knows of a node.
struct Known {
    ino: Ino,
    references: u64,
    handles: Vec<Handle>,
}

/// One client on one machine.
pub struct Client {
    id: ClientId,
    machine: Machine,
    vfs: Vfs,
    truth: Rc<RefCell<Truth>>,
    random: Random,
    faults: Faults,
    known: BTreeMap<Id, Known>,
    focus: Focus,
    /// Most nodes that the model may have.
    nodes_max: usize,
}

/// What a client does more than other things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    All,
    Names,
    Content,
    Sync,
    /// Names of files that have several, and removals beside them.
    Links,
    /// Clones that come and go.
    Clones,
}

impl Focus {
    /// What a client on its own chooses from.
    pub const EACH: [Self; 7] =
        [Self::All, Self::All, Self::Names, Self::Content, Self::Sync, Self::Links, Self::Clones];
}

impl Client {
    pub fn new(
        id: ClientId,
        machine: Machine,
        vfs: Vfs,
        truth: Rc<RefCell<Truth>>,
        seed: u64,
        faults: Faults,
        focus: Option<Focus>,
    ) -> Self {
        let mut random = Random(seed);
        let focus = focus.unwrap_or_else(|| *random.pick(&Focus::EACH));
        let nodes_max = *random.pick(&[40, 150, 400]);
        Self { id, machine, vfs, truth, random, faults, known: BTreeMap::new(), focus, nodes_max }
    }

    /// Does `count` operations, or fewer if the pool goes away.
    pub fn run(mut self, count: u64) -> impl Future<Output = ()> {
        let (id, truth) = (self.id, self.truth.clone());
        let work = async move {
            for _ in 0..count {
                match self.act().await {
                    Ok(()) | Err(Stop::Skip) => {}
                    Err(Stop::Gone) => break,
                }
                if self.is_zombie() || self.truth.borrow().failure.is_some() {
                    break;
                }
            }
            if !self.is_zombie() {
                self.let_go().await;
            }
        };
        Tagged { id, truth, work: Box::pin(work) }
    }

    /// Whether another machine has taken over.
    fn is_zombie(&self) -> bool {
        self.truth.borrow().machine != self.machine
    }

    fn note(&self, line: impl AsRef<str>) {
        self.truth.borrow_mut().note(format!("client {}: {}", self.id, line.as_ref()));
    }

    fn fail(&self, what: impl AsRef<str>) {
        self.truth.borrow_mut().fail(format!("client {}: {}", self.id, what.as_ref()));
    }

    // ---- asking ----

    /// Asks for a change and compares the answer: the pool's value and the model's, if both succeeded.
    async fn change<T>(
        &mut self,
        what: String,
        effect: impl Fn(&mut Model) -> Answer<u64> + 'static,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Outcome<(T, u64)> {
        let effect: Effect = Rc::new(effect);
        let first = self.truth.borrow_mut().ask(self.id, effect.clone());
        let got = call.await;
        if self.is_zombie() {
            return Err(Stop::Skip);
        }
        let done = self.truth.borrow_mut().answered(self.id);
        match (got, done) {
            (Ok(got), Some(Ok(want))) => {
                self.note(what);
                Ok((got, want))
            }
            // The model has refused what the engine did; that is noted already.
            (_, Some(Err(_))) => Err(Stop::Gone),
            (Ok(got), None) => {
                // Nothing was executed because there was nothing to do.
                let same = self.truth.borrow().any_since(first, |model| {
                    let mut after = model.clone();
                    effect(&mut after).is_ok()
                });
                if !same {
                    self.fail(format!("{what}: succeeded without doing anything"));
                }
                self.note(format!("{what}: nothing to do"));
                Ok((got, 0))
            }
            (Err(error), Some(Ok(_))) => {
                // Executed, and what came afterwards failed.
                if !error.engine().is_some_and(|engine| is_of_media(engine.kind())) {
                    self.fail(format!("{what}: was executed and answered {error}"));
                }
                self.excuse(&what, &error)?;
                Err(Stop::Skip)
            }
            (Err(error), None) => {
                self.refused(&what, first, &error, |model| effect(&mut model.clone()).err())?;
                Err(Stop::Skip)
            }
        }
    }

    /// An error must be the one that the model gives in some state since the question.
    fn refused(
        &self,
        what: &str,
        first: usize,
        error: &Error,
        want: impl Fn(&Model) -> Option<ErrorKind>,
    ) -> Outcome {
        let code = error.code();
        let fits =
            self.truth.borrow().any_since(first, |model| want(model).is_some_and(|kind| is_same(code, kind)));
        self.note(format!("{what}: {code:?}"));
        if fits { Ok(()) } else { self.excuse(what, error) }
    }

    /// An error that nothing in the model explains: a medium may be to blame.
    fn excuse(&self, what: &str, error: &Error) -> Outcome {
        let Some(kind) = error.engine().map(offshoot_engine::Error::kind) else {
            self.fail(format!("{what}: answered {error}"));
            return Err(Stop::Gone);
        };
        match kind {
            ErrorKind::Closed | ErrorKind::Fenced => Err(Stop::Gone),
            ErrorKind::Store if self.faults.fail() => Err(Stop::Skip),
            ErrorKind::NoSpace if self.faults.no_space > 0 || self.faults.few_realms => Err(Stop::Skip),
            ErrorKind::Store => Err(Stop::Gone),
            _ => {
                self.fail(format!("{what}: answered {error} ({kind:?})"));
                Err(Stop::Gone)
            }
        }
    }

    /// Looks at something, and compares with the states since the question.
    async fn look<T>(
        &mut self,
        what: &str,
        call: impl Future<Output = Result<T, Error>>,
        fits: impl Fn(&Model, &T) -> Result<(), String>,
        refuses: impl Fn(&Model) -> Option<ErrorKind>,
    ) -> Outcome<T> {
        let first = self.truth.borrow().versions.len() - 1;
        let got = call.await;
        if self.is_zombie() {
            return Err(Stop::Skip);
        }
        match got {
            Ok(got) => {
                if !self.truth.borrow().any_since(first, |model| fits(model, &got).is_ok()) {
                    let why = fits(&self.truth.borrow().model, &got).err().unwrap_or_default();
                    self.fail(format!("{what}: {why}"));
                }
                Ok(got)
            }
            Err(error) => {
                self.refused(what, first, &error, refuses)?;
                Err(Stop::Skip)
            }
        }
    }

    // ---- numbers ----

    /// The number of a node, looked up on the way from the root unless it is known; another node may have come to its place.
    async fn acquire(&mut self, id: Id) -> Outcome<(Id, Ino)> {
        if id == ROOT {
            return Ok((ROOT, Ino::ROOT));
        }
        if let Some(known) = self.known.get(&id) {
            return Ok((id, known.ino));
        }
        let place = {
            let truth = self.truth.borrow();
            truth.model.below(ROOT).into_iter().find_map(|directory| {
                let children = &truth.model.node(directory).children;
                children.iter().find(|(_, child)| **child == id).map(|(name, _)| (directory, name.clone()))
            })
        };
        let (directory, name) = place.ok_or(Stop::Skip)?;
        let (directory, parent) = Box::pin(self.acquire(directory)).await?;
        self.lookup(directory, parent, &name).await
    }

    /// Looks a name up and counts a reference.
    async fn lookup(&mut self, directory: Id, parent: Ino, name: &[u8]) -> Outcome<(Id, Ino)> {
        let first = self.truth.borrow().versions.len() - 1;
        let vfs = self.vfs.clone();
        let got = vfs.lookup(&CALLER, parent, name).await;
        if self.is_zombie() {
            return Err(Stop::Skip);
        }
        let what = format!("lookup {} in {directory}", acts::show(name));
        let attributes = match got {
            Ok(attributes) => attributes,
            Err(error) => {
                self.refused(&what, first, &error, |model| model.lookup(directory, name).err())?;
                return Err(Stop::Skip);
            }
        };
        let candidates = self.candidates(first, directory, name, &attributes);
        let mut truth = self.truth.borrow_mut();
        match candidates[..] {
            [id] if truth.model.nodes.contains_key(&id) => {
                truth.learn(id, attributes.ino);
                truth.refer(id);
                drop(truth);
                self.keep(id, attributes.ino);
                Ok((id, attributes.ino))
            }
            [] => {
                let wanted = truth.model.lookup(directory, name);
                let why = match wanted {
                    Ok(id) => format!(
                        "node {id} with number {:?}: {:?}",
                        truth.ino_of(id),
                        walk::same_attributes(&truth.model, id, &attributes)
                    ),
                    Err(kind) => format!("{kind:?}"),
                };
                let known = truth.id_of(attributes.ino);
                truth.fail(format!(
                    "client {}: {what}: found node {known:?} {attributes:?}, which was never there; it should be {why}",
                    self.id
                ));
                Err(Stop::Gone)
            }
            // It cannot be told which of them it is.
            _ => {
                drop(truth);
                self.vfs.forget(attributes.ino, 1);
                Err(Stop::Skip)
            }
        }
    }

    /// The nodes that a lookup since version `first` may have found.
    fn candidates(&self, first: usize, directory: Id, name: &[u8], attributes: &Attributes) -> Vec<Id> {
        let truth = self.truth.borrow();
        let known = truth.id_of(attributes.ino);
        let mut found: Vec<Id> = Vec::new();
        let models = truth.versions[first..].iter().map(|version| &version.model).chain([&truth.model]);
        for model in models {
            let Ok(id) = model.lookup(directory, name) else { continue };
            let fits = walk::same_attributes(model, id, attributes).is_ok()
                && known.is_none_or(|known| known == id)
                && truth.ino_of(id).is_none_or(|ino| ino == attributes.ino);
            if fits && !found.contains(&id) {
                found.push(id);
            }
        }
        found
    }

    /// Remembers a number of which the pool has counted a reference.
    fn keep(&mut self, id: Id, ino: Ino) {
        if id != ROOT {
            self.known.entry(id).or_insert(Known { ino, references: 0, handles: Vec::new() }).references += 1;
        }
    }

    /// What an operation has returned with a reference: the model knows of the reference already.
    fn returned(&mut self, what: &str, id: Id, attributes: &Attributes) {
        let mut truth = self.truth.borrow_mut();
        truth.expect_attributes(what, id, attributes);
        truth.learn(id, attributes.ino);
        truth.refer(id);
        drop(truth);
        self.keep(id, attributes.ino);
    }

    fn forget(&mut self, id: Id, count: u64) {
        let known = self.known.get_mut(&id).expect("it is known");
        known.references -= count;
        let (ino, is_unused) = (known.ino, known.references == 0 && known.handles.is_empty());
        if count > 0 {
            self.vfs.forget(ino, count);
            self.truth.borrow_mut().forget(id, count);
        }
        if is_unused {
            self.known.remove(&id);
        }
    }

    /// Closes and forgets everything.
    async fn let_go(&mut self) {
        let all: Vec<Id> = self.known.keys().copied().collect();
        for id in all {
            while let Some(handle) = self.known.get_mut(&id).and_then(|known| known.handles.pop()) {
                self.truth.borrow_mut().model.release(id);
                if self.vfs.close(&handle).await.is_err() || self.is_zombie() {
                    return;
                }
            }
            let references = self.known[&id].references;
            self.forget(id, references);
            self.known.remove(&id);
        }
    }
}

/// Whether a POSIX code is what the engine's kind becomes.
fn is_same(code: Code, kind: ErrorKind) -> bool {
    let wanted = Error::from(offshoot_engine::Error::from(kind)).code();
    match kind {
        // A directory that was removed with a tree around it is stale to those who look first.
        ErrorKind::NotFound => code == wanted || code == Code::Stale,
        ErrorKind::Stale => code == wanted || code == Code::NoEntry,
        // The POSIX layer has its own words for this.
        ErrorKind::IsDirectory => code == wanted || code == Code::NotPermitted,
        _ => code == wanted,
    }
}

/// Tells the truth whose operation it is that the engine executes.
struct Tagged {
    id: ClientId,
    truth: Rc<RefCell<Truth>>,
    work: Pin<Box<dyn Future<Output = ()>>>,
}

impl Future for Tagged {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.truth.borrow_mut().client = Some(self.id);
        let polled = self.work.as_mut().poll(context);
        self.truth.borrow_mut().client = None;
        polled
    }
}
