//! [`Places`]: how many connections there may be, in all and of one user.
//!
//! Everybody may connect to the socket, so nobody may take all of it: some places are kept for administrators, and of the rest one
//! user gets a part.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::service::Identity;

/// Connections at the same time, on each listener.
pub const CONNECTIONS_MAX: usize = 512;
/// Of these, kept for root and the server's own user.
const RESERVED: usize = 64;
/// Connections of one other user.
const USER_MAX: usize = 64;

/// The places of one listener.
pub(super) struct Places {
    all: Arc<Semaphore>,
    users: Arc<Mutex<Users>>,
}

/// Who is not an administrator.
#[derive(Default)]
struct Users {
    total: usize,
    each: HashMap<u32, usize>,
}

/// A place that is taken, until it is dropped.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    user: Option<(u32, Arc<Mutex<Users>>)>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(CONNECTIONS_MAX)), users: Arc::default() }
    }

    /// A place for a caller whom the kernel has named, or for one who is not known yet.
    pub(super) fn take(&self, caller: Option<&Identity>) -> Option<Place> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let user = match caller {
            Some(identity) if !identity.administrator => {
                let mut users = self.users.lock();
                if users.total >= CONNECTIONS_MAX - RESERVED {
                    return None;
                }
                let own = users.each.entry(identity.uid).or_default();
                if *own >= USER_MAX {
                    return None;
                }
                *own += 1;
                users.total += 1;
                Some((identity.uid, Arc::clone(&self.users)))
            }
            _ => None,
        };
        Some(Place { _permit: permit, user })
    }

    /// Returns when no place is taken any more.
    pub(super) async fn all_free(&self) {
        // The semaphore is never closed.
        let _ = self.all.acquire_many(CONNECTIONS_MAX as u32).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((uid, users)) = self.user.take() else { return };
        let mut users = users.lock();
        users.total -= 1;
        if let Some(own) = users.each.get_mut(&uid) {
            *own -= 1;
            if *own == 0 {
                users.each.remove(&uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uid: u32) -> Identity {
        Identity { uid, gid: uid, groups: Vec::new(), administrator: uid == 0 }
    }

    /// One user with many connections that sent half a request kept everybody out, root included.
    #[test]
    fn no_user_takes_the_places_of_others() {
        let places = Places::new();
        let mut taken: Vec<Place> = (0..USER_MAX).map(|_| places.take(Some(&caller(7))).unwrap()).collect();
        assert!(places.take(Some(&caller(7))).is_none());
        assert!(places.take(Some(&caller(8))).is_some());
        taken.pop();
        taken.push(places.take(Some(&caller(7))).unwrap());
        for uid in 100.. {
            match places.take(Some(&caller(uid))) {
                Some(place) => taken.push(place),
                None => break,
            }
        }
        assert_eq!(taken.len(), CONNECTIONS_MAX - RESERVED);
        let own: Vec<Place> = (0..RESERVED).map(|_| places.take(Some(&caller(0))).unwrap()).collect();
        assert!(places.take(Some(&caller(0))).is_none() && places.take(None).is_none());
        drop((taken, own));
        assert!(places.users.lock().each.is_empty());
        assert_eq!(places.users.lock().total, 0);
    }
}
