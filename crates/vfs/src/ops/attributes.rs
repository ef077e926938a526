//! Attributes: stat, chmod, chown, utimens, truncate, and access times.

use bytes::Bytes;
use offshoot_engine::{Attributes, Ino, Kind, SetAttributes, SetTime, Timestamp, Unchanged, XattrMode};

use crate::acl::{self, Acl};
use crate::error::{Code, Error, Result};
use crate::handle::{Access, Handle};
use crate::permission::{self, Caller, WRITE};
use crate::vfs::{AccessTime, Vfs};
use crate::watch::Change as Told;

const DAY_NANOS: i128 = 86_400 * 1_000_000_000;
/// File capabilities; gone with every change of content or owner.
const CAPABILITIES: &[u8] = b"security.capability";

/// Attributes to change; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<SetTime>,
    /// Modification time.
    pub mtime: Option<SetTime>,
}

impl Vfs {
    /// What `stat` shows.
    ///
    /// # Errors
    /// `Stale`.
    pub async fn attributes(&self, ino: Ino) -> Result<Attributes> {
        Ok(self.pool().attributes(ino).await?)
    }

    /// Whether the caller gets every bit of `wanted` (`access(2)`).
    ///
    /// # Errors
    /// `Access`; `ReadOnly` for writing inside a read-only clone.
    pub async fn check_access(&self, caller: &Caller, ino: Ino, wanted: acl::Bits) -> Result<()> {
        let attributes = self.pool().attributes(ino).await?;
        if wanted & WRITE != 0 && attributes.read_only {
            return Err(Error::new(Code::ReadOnly, "inside a read-only clone"));
        }
        self.check(caller, &attributes, wanted).await
    }

    /// Changes attributes as `chmod`, `chown`, `utimensat` and `truncate` do. A handle that is open for writing allows a change of size
    /// whatever the mode says. A change of nothing is a `chown` that keeps both, which still ends set-id bits.
    ///
    /// # Errors
    /// `NotPermitted`, `Access`, `ReadOnly`, `TooLarge`, `NoSpace`; `IsDirectory` or `Invalid` for a size of what has none.
    pub async fn set_attributes(
        &self,
        caller: &Caller,
        ino: Ino,
        handle: Option<&Handle>,
        change: Change,
    ) -> Result<Attributes> {
        loop {
            let before = self.pool().attributes(ino).await?;
            // What was allowed and computed is true of what was read only: after another change it is decided anew.
            let Some(after) = self.set_attributes_of(caller, &before, handle, change).await? else {
                continue;
            };
            match change.size {
                Some(size) => self.changed(Told::Content { ino, offset: size.min(before.size), length: 0 }),
                None => self.changed(Told::Attributes { ino }),
            }
            return Ok(after);
        }
    }

    /// Changes attributes of an inode that was just looked at; `None` if it was changed since.
    async fn set_attributes_of(
        &self,
        caller: &Caller,
        before: &Attributes,
        handle: Option<&Handle>,
        change: Change,
    ) -> Result<Option<Attributes>> {
        let ino = before.ino;
        if before.read_only {
            return Err(Error::new(Code::ReadOnly, "inside a read-only clone"));
        }
        let value = self.list_value(before, acl::ACCESS).await?;
        let list = match &value {
            Some(value) => Acl::decode(value)?,
            None => None,
        };
        let mut unchanged = decided_by(before, value);
        permission::check_chown(caller, before, change.uid, change.gid)?;
        permission::check_times(caller, before, list.as_ref(), change.atime, change.mtime)?;
        if change.size.is_some() {
            let opened = handle.is_some_and(|handle| handle.access().contains(Access::WRITE));
            if !opened {
                permission::check(caller, before, list.as_ref(), WRITE)?;
            }
        }
        let mut mode = match change.mode {
            Some(mode) => Some(permission::changed_mode(caller, before, mode)?),
            None => None,
        };
        let chowned = change.uid.is_some() || change.gid.is_some();
        let emptied = change == Change::default() && !caller.is_superuser();
        let resized = change.size.is_some();
        if mode.is_none() && (chowned || emptied || (resized && !caller.is_superuser())) {
            mode = permission::without_set_id(before);
        }
        if let (Some(bits), Some(mut list)) = (mode, list) {
            // The list and the bits change in one step; what remains is set after them.
            list.set_mode(bits);
            let value = list.encode();
            let attribute = (acl::ACCESS, value.as_slice());
            if !self.pool().set_xattr_if(ino, attribute, XattrMode::Set, Some(bits), unchanged).await? {
                return Ok(None);
            }
            unchanged = decided_by(&Attributes { mode: bits, ..before.clone() }, Some(value.into()));
            mode = None;
        }
        if chowned || resized {
            self.drop_capabilities(before).await?;
        }
        let Change { uid, gid, size, atime, mtime, .. } = change;
        let set = SetAttributes { mode, uid, gid, size, atime, mtime, ctime: None };
        if set == SetAttributes::default() {
            unchanged = Unchanged::default();
        }
        Ok(self.pool().set_attributes_if(ino, set, unchanged).await?)
    }

    /// Sets the size of an open file.
    ///
    /// # Errors
    /// `BadHandle`, `ReadOnly`, `TooLarge`, `NoSpace`.
    pub async fn truncate(&self, caller: &Caller, handle: &Handle, size: u64) -> Result<Attributes> {
        handle.require(Access::WRITE)?;
        let change = Change { size: Some(size), mtime: Some(SetTime::Now), ..Change::default() };
        // The times are set on the strength of the handle, not of who holds it.
        let caller = Caller { privileged: true, ..caller.clone() };
        self.set_attributes(&caller, handle.ino(), Some(handle), change).await
    }

    /// Ends file capabilities, as a change of content or owner does.
    pub(crate) async fn drop_capabilities(&self, attributes: &Attributes) -> Result<()> {
        if !attributes.has_xattrs || attributes.kind != Kind::File {
            return Ok(());
        }
        if self.pool().xattr(attributes.ino, CAPABILITIES).await.is_err() {
            return Ok(());
        }
        match self.pool().remove_xattr(attributes.ino, CAPABILITIES).await.map_err(Error::from) {
            Err(error) if error.code() != Code::NoAttribute => Err(error),
            _ => Ok(()),
        }
    }

    /// Updates the access time after a read if the settings ask for it. A failure costs the access time only.
    pub(crate) async fn note_access(&self, ino: Ino) {
        if self.access_time() == AccessTime::None {
            return;
        }
        loop {
            let Ok(attributes) = self.pool().attributes(ino).await else { return };
            if attributes.read_only || !is_access_time_due(&attributes, self.pool().clock().now()) {
                return;
            }
            let ctime = Some(attributes.ctime);
            let set = SetAttributes { atime: Some(SetTime::Now), ctime, ..SetAttributes::default() };
            // A change that came between has a change time of its own, which stays.
            let unchanged = Unchanged { ctime, ..Unchanged::default() };
            match self.pool().set_attributes_if(ino, set, unchanged).await {
                Ok(None) => {}
                Ok(Some(_)) => return,
                Err(error) => {
                    tracing::debug!(ino = ino.0, %error, "access time not updated");
                    return;
                }
            }
        }
    }
}

/// What decides who may change attributes, and what becomes of the mode; `list` is the stored access control list.
pub(crate) fn decided_by(attributes: &Attributes, list: Option<Bytes>) -> Unchanged {
    let Attributes { mode, uid, gid, .. } = *attributes;
    let xattr = Some((acl::ACCESS.to_vec(), list));
    Unchanged { mode: Some(mode), uid: Some(uid), gid: Some(gid), xattr, ctime: None }
}

/// The rule of `relatime`: the access time moves if it is not after the last change, or a day old.
fn is_access_time_due(attributes: &Attributes, now: Timestamp) -> bool {
    let Attributes { atime, mtime, ctime, .. } = attributes;
    let age = now.nanos_since_epoch() - atime.nanos_since_epoch();
    atime <= mtime || atime <= ctime || age >= DAY_NANOS
}
