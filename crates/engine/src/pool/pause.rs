//! Standing still: changes wait, reads go on.

use super::Inner;
use crate::Result;

/// Changes wait until this is dropped.
pub(crate) struct Pause<'a>(&'a Inner);

impl Inner {
    /// Lets changes wait from now on.
    ///
    /// # Errors
    /// That for which the pool has stopped.
    pub(crate) fn pause(&self) -> Result<Pause<'_>> {
        let mut core = self.core.write();
        if let Some(error) = &core.stopped {
            return Err(error.clone());
        }
        core.paused = true;
        Ok(Pause(self))
    }

    pub(super) async fn wait_until_resumed(&self) {
        let resumed = self.resumed.notified();
        if self.core.read().paused {
            resumed.await;
        }
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.0.core.write().paused = false;
        self.0.resumed.notify_waiters();
    }
}
