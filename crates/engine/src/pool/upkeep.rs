//! What removals leave to the background: dropping orphans, taking removed trees apart, freeing realm ids.

use super::inner::Inner;
use crate::namespace::{Operation, Outcome};
use crate::record::Realm;
use crate::simulation::mutant::{self, Mutant};
use crate::{Error, ErrorKind, Ino, Result};

/// Entries of a removed directory, or aliases of a realm, that one operation takes: tens of microseconds under the lock.
const STEP_ENTRIES: u32 = 32;
/// Operations after which the background looks after the log again.
const STEPS_AT_ONCE: usize = 2_000;

impl Inner {
    /// Frees what was removed and can no longer be reached.
    pub(crate) async fn drop_unreachable(&self) -> Result<()> {
        loop {
            let Some(ino) = self.unreachable.lock().pop() else { return Ok(()) };
            // It may have been found again by a number that somebody still knew.
            if self.locations.lock().is_needed(ino) {
                continue;
            }
            match self.drop_orphan(ino).await {
                // The next open drops it.
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::error!(?ino, %error, "what was removed cannot be freed before the next start");
                }
                Err(error) => {
                    self.unreachable.lock().push(ino);
                    return Err(error);
                }
                Ok(()) => {}
            }
        }
    }

    pub(super) async fn drop_orphan(&self, ino: Ino) -> Result<()> {
        match self.execute(Operation::DropOrphan { ino }).await {
            Err(error) if error.kind() == ErrorKind::Stale => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Does some of what removals have left; answers whether it came to anything, and so may have more to do.
    pub(crate) async fn end_some(&self) -> Result<bool> {
        self.drop_unreachable().await?;
        let mut steps = 0;
        while steps < STEPS_AT_ONCE {
            let Some(ino) = self.core.write().ending.apart.pop() else { break };
            steps += 1;
            match self.execute(Operation::TakeApart { ino, entries: STEP_ENTRIES }).await {
                Ok(Outcome::Amount(1)) => {}
                Err(error) if error.kind() == ErrorKind::Stale => {}
                Ok(_) => self.core.write().ending.apart.push(ino),
                Err(error) if error.kind() == ErrorKind::Corrupt => self.drop_unread(ino, &error).await?,
                Err(error) => {
                    self.core.write().ending.apart.push(ino);
                    return Err(error);
                }
            }
        }
        let ended = self.freeable(STEPS_AT_ONCE);
        for realm in ended {
            match self.free_realm(realm).await {
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::error!(?realm, %error, "the number of a removed clone cannot be used again");
                    self.core.write().ending.realms.remove(&realm.uid);
                }
                freed => steps += usize::from(freed?),
            }
        }
        // What was taken may have been the last that kept something else.
        Ok(steps > 0)
    }

    /// Drops a removed directory that cannot be taken apart. What it leads to is freed as far as it can be read.
    async fn drop_unread(&self, ino: Ino, error: &Error) -> Result<()> {
        tracing::error!(?ino, %error, "a removed directory is damaged; numbers of clones below it are not used again");
        match self.execute(Operation::TakeApart { ino, entries: 0 }).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::error!(?ino, %error, "what was removed cannot be freed before the next start");
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Stale => Ok(()),
            dropped => dropped.map(|_| ()),
        }
    }

    /// Does all of what removals have left, as far as nobody knows what was removed any more.
    pub(crate) async fn end_all(&self) -> Result<()> {
        while self.end_some().await? {}
        Ok(())
    }

    /// Realms that have ended and that no known inode shows.
    fn freeable(&self, limit: usize) -> Vec<Realm> {
        let core = self.core.read();
        let locations = self.locations.lock();
        if !core.ending.copies.is_empty() {
            return Vec::new();
        }
        let ended = core
            .ending
            .realms
            .iter()
            .filter(|(_, id)| !locations.knows_realm(**id) || mutant::is_on(Mutant::ReuseRealmEarly));
        ended.map(|(uid, id)| Realm { id: *id, uid: *uid }).take(limit).collect()
    }

    /// Takes the id of a realm that has ended back; false if something still shows it.
    async fn free_realm(&self, realm: Realm) -> Result<bool> {
        loop {
            let operation = Operation::FreeRealm { realm, aliases: STEP_ENTRIES };
            match self.carry_out(&operation, None).await? {
                Some(Outcome::Amount(0)) => {}
                Some(_) => return Ok(true),
                None => return Ok(false),
            }
        }
    }

    /// Realm ids that are not free.
    pub(crate) async fn realm_ids(&self) -> Result<u64> {
        let (given, realms, _pin) = {
            let core = self.core.read();
            (core.state.next_realm.id - 1, core.state.realms.clone(), Self::pin_of(&core))
        };
        let free = match &realms {
            Some(link) => self.node(link).await?.weight & u64::from(u32::MAX),
            None => 0,
        };
        Ok(u64::from(given) - free)
    }

    /// The error of who needs a realm id when there is none.
    pub(super) fn no_realm(&self) -> Error {
        let ids = self.settings.realm_ids - 1;
        Error::new(
            ErrorKind::NoSpace,
            format!(
                "all {ids} clone numbers are in use: remove clones of directories that are not needed, \
                 and close what is open in removed ones"
            ),
        )
    }
}
