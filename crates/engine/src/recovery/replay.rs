//! Replaying the log, and telling damage from the end.
//!
//! A power cut tears what was not synced, at the end of the log: that is no error. Everything that was synced must be there. The
//! manifest and every batch say up to which operation everything was durable when they were written, and the manifest names
//! the files that there were, so what is missing shows by what follows it.

use std::sync::Arc;

use crate::format::check_version;
use crate::format::manifest::Manifest;
use crate::frame::DirtyGauge;
use crate::log::LogStore;
use crate::log::batch::{self, Key};
use crate::log::record::Record;
use crate::namespace::{Change, Ending, Interrupt, Locations, NameHasher, REALM_IDS, State};
use crate::segment::{Items, Pinned};
use crate::{Error, ErrorKind, Result};

/// The log cannot be replayed to its end.
#[derive(Debug)]
pub(super) struct LogDamage {
    /// The file, and where in it the replay ended.
    file: u64,
    offset: u64,
    why: String,
    /// The last operation that could be replayed.
    reached: u64,
    /// The last operation that is known to have been made durable or can be read.
    last: u64,
    /// Operations that stand in the log behind the damage.
    following: u64,
}

impl LogDamage {
    /// What is damaged and what is lost with it.
    pub(super) fn words(&self) -> String {
        let Self { file, offset, why, reached, last, following } = self;
        let lost = match last.saturating_sub(*reached) {
            0 => "no later operation is known of".to_owned(),
            1 => format!("operation {last} is lost without what is damaged"),
            _ => format!("operations {} to {last} are lost without what is damaged", reached + 1),
        };
        format!(
            "the log is damaged behind byte {offset} of log file {file:016x}: {why}. The log can be replayed up to operation {reached}; \
             {lost}, and {following} operations still stand in the log behind it"
        )
    }
}

/// Where in the log something is wrong, and what.
struct Stop {
    file: u64,
    offset: u64,
    why: String,
}

/// What a replay works on.
pub(super) struct Replay<'a> {
    pub(super) state: &'a mut State,
    pub(super) log_store: &'a dyn LogStore,
    pub(super) logs: &'a [u64],
    pub(super) manifest: &'a Manifest,
    pub(super) items: &'a Items,
    pub(super) hasher: NameHasher,
    pub(super) gauge: &'a Arc<DirtyGauge>,
}

impl Replay<'_> {
    /// Brings the state up to the end of the log, or to what cannot be replayed.
    ///
    /// # Errors
    /// `Store`, if the log or a segment cannot be reached; damage is no error.
    pub(super) async fn run(mut self) -> Result<Option<LogDamage>> {
        let Some(Stop { file, offset, why }) = self.find_stop().await? else { return Ok(None) };
        let reached = self.state.sequence;
        let (mut last, mut following) = (self.manifest.durable, 0);
        let key = self.key();
        for number in self.logs.iter().copied().filter(|number| *number >= file) {
            let bytes = self.log_store.read(number).await?;
            let mut content = batch::read(&key, &bytes, number);
            if number < self.manifest.newest_log {
                content.leave_out_behind(self.manifest.durable);
            }
            let whole = content.batches.iter().map(|batch| batch.head);
            for head in whole.chain(content.behind) {
                last = last.max(head.durable).max(head.last());
                following += head.last().saturating_sub(reached).min(u64::from(head.operations));
            }
        }
        Ok(Some(LogDamage { file, offset, why, reached, last, following }))
    }

    fn key(&self) -> Key {
        Key::new(&self.manifest.pool_id, self.manifest.hash_key).encrypted(self.items.keys())
    }

    async fn find_stop(&mut self) -> Result<Option<Stop>> {
        let mut locations = Locations::of_replay();
        let key = self.key();
        let first = self.manifest.log;
        let newest = self.manifest.newest_log.max(self.logs.last().copied().unwrap_or(0));
        // Where the log ended that was read last.
        let mut end = (first, 0);
        for number in first..=newest {
            if self.logs.binary_search(&number).is_err() {
                let why = "the file is missing".to_owned();
                return Ok(Some(Stop { file: number, offset: 0, why }));
            }
            let file = self.log_store.read(number).await?;
            let mut content = batch::read(&key, &file, number);
            if number < self.manifest.newest_log {
                content.leave_out_behind(self.manifest.durable);
            }
            for batch in &content.batches {
                let head = batch.head;
                let place = format!("a batch of log file {number:016x}");
                check_version(head.version, self.items.format_version(), &place)?;
                let reached = self.state.sequence;
                if head.durable > reached || (head.operations > 0 && head.sequence > reached + 1) {
                    let why = format!(
                        "it ends there, and log file {number:016x} goes on behind operation {}",
                        head.durable.max(head.sequence.saturating_sub(1))
                    );
                    return Ok(Some(Stop { file: end.0, offset: end.1, why }));
                }
                if head.operations > 0 && head.last() <= reached {
                    continue;
                }
                match self.replay(batch, &mut locations).await {
                    Err(error) if error.kind() == ErrorKind::Corrupt => {
                        return Ok(Some(Stop { file: number, offset: batch.offset, why: error.to_string() }));
                    }
                    replayed => replayed?,
                }
                end = (number, batch.offset);
            }
            // An empty file is not where anything was lost.
            if content.end > 0 {
                end = (number, content.end);
            }
            let durable = content.behind.iter().map(|head| head.durable).max().unwrap_or(0);
            if durable > self.state.sequence {
                let why = "a batch there is damaged, and one behind it was written when that was durable"
                    .to_owned();
                return Ok(Some(Stop { file: number, offset: content.end, why }));
            }
        }
        if self.manifest.durable > self.state.sequence {
            let why = format!(
                "it ends there, and the manifest says that operation {} was durable",
                self.manifest.durable
            );
            return Ok(Some(Stop { file: end.0, offset: end.1, why }));
        }
        Ok(None)
    }

    async fn replay(&mut self, batch: &batch::Batch<'_>, locations: &mut Locations) -> Result<()> {
        for record in batch.records()? {
            self.apply(record, locations).await?;
        }
        Ok(())
    }

    async fn apply(&mut self, record: Record, locations: &mut Locations) -> Result<()> {
        let Self { state, items, hasher, gauge, .. } = self;
        let (time, operation) = match record {
            Record::Locate { ino, parent, place, realm_root } => {
                locations.place(ino, parent, place, realm_root);
                return Ok(());
            }
            Record::Operation(time, operation) => (time, operation),
        };
        // Also if the segment of a frame is lost: an address must never lead to anything else.
        for address in operation.stored_frames() {
            items.set_next_segment(items.next_segment().max(address.segment().0 + 1));
        }
        let nodes = Pinned::new(items);
        loop {
            let mut change = Change {
                state,
                locations,
                nodes: &nodes,
                hasher: *hasher,
                gauge,
                interval: 0,
                time,
                replay: true,
                // What is left when the replay is over is found then.
                ending: &mut Ending::default(),
                realm_ids: REALM_IDS,
                fragmented: None,
            };
            match change.apply(&operation) {
                Ok(_) => return Ok(()),
                Err(Interrupt::Missing(missing)) => nodes.fetch(missing).await?,
                Err(Interrupt::Error(error)) => {
                    return Err(Error::with_source(
                        ErrorKind::Corrupt,
                        format!("operation {} does not fit the state: {error}", state.sequence + 1),
                        error,
                    ));
                }
                Err(Interrupt::Changed | Interrupt::NoRealm | Interrupt::Paused) => {
                    return Err(Error::new(
                        ErrorKind::Corrupt,
                        format!("operation {} does not fit the realms of the state", state.sequence + 1),
                    ));
                }
                Err(Interrupt::Alias(key)) => {
                    return Err(Error::new(
                        ErrorKind::Corrupt,
                        format!("operation {} meets {key:?} without an alias", state.sequence + 1),
                    ));
                }
            }
        }
    }
}
