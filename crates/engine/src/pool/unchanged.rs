//! Changes that were decided on the strength of what an inode was, and that are made only if it still is.
//!
//! Who may do what, and which bits a change of owner takes away, is known above the engine and follows from attributes that were read
//! before. [`Unchanged`] names those: if another change came between, nothing is done, and the caller decides anew. The log
//! has the operations alone, since only what was executed gets there.

use bytes::Bytes;

use super::{Guard, Pool, SetAttributes, XattrMode};
use crate::namespace::{Interrupt, Locations, Operation, State, View, check_xattr_size, xattr_list};
use crate::record::Inode;
use crate::tree::Nodes;
use crate::{Attributes, Ino, Result, Timestamp};

/// What must be as it was; `None` may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unchanged {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Change time.
    pub ctime: Option<Timestamp>,
    /// The name of an extended attribute, and its value if there is one.
    pub xattr: Option<(Vec<u8>, Option<Bytes>)>,
}

impl Unchanged {
    /// Whether an inode is like that.
    pub(super) fn holds(
        &self,
        ino: Ino,
        state: &State,
        locations: &Locations,
        nodes: &dyn Nodes,
    ) -> Result<bool, Interrupt> {
        let trail = locations.trail(ino)?;
        let (inode, _) = View { state, nodes, pin: None }.inode(&trail)?;
        if !self.is_met_by(&inode) {
            return Ok(false);
        }
        let Some((name, value)) = &self.xattr else { return Ok(true) };
        let list = xattr_list(&inode, nodes)?;
        let now = list.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_slice());
        Ok(now == value.as_deref())
    }

    fn is_met_by(&self, inode: &Inode) -> bool {
        self.mode.is_none_or(|mode| mode == u32::from(inode.mode))
            && self.uid.is_none_or(|uid| uid == inode.uid)
            && self.gid.is_none_or(|gid| gid == inode.gid)
            && self.ctime.is_none_or(|ctime| ctime == inode.ctime)
    }
}

impl Pool {
    /// As [`Pool::set_attributes`], if the inode is as it was; else nothing is done and the answer is `None`.
    ///
    /// # Errors
    /// As [`Pool::set_attributes`].
    pub async fn set_attributes_if(
        &self,
        ino: Ino,
        set: SetAttributes,
        unchanged: Unchanged,
    ) -> Result<Option<Attributes>> {
        let operation = self.setting(ino, set);
        let outcome = self.inner.execute_if(operation, &Guard::Unchanged { ino, unchanged }).await?;
        Ok(outcome.map(super::attributes))
    }

    /// As [`Pool::set_xattr`], if the inode is as it was; whether it was.
    ///
    /// # Errors
    /// As [`Pool::set_xattr`].
    pub async fn set_xattr_if(
        &self,
        ino: Ino,
        (name, value): (&[u8], &[u8]),
        how: XattrMode,
        mode: Option<u32>,
        unchanged: Unchanged,
    ) -> Result<bool> {
        check_xattr_size(name, value)?;
        let (name, value) = (name.to_vec(), value.to_vec());
        let operation = Operation::SetXattr { ino, name, value, how, mode };
        Ok(self.inner.execute_if(operation, &Guard::Unchanged { ino, unchanged }).await?.is_some())
    }
}
