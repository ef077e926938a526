//! The storage engine of Offshoot.
//!
//! A pool is a persistent tree of trees, and a clone is a copied pointer. This crate owns bytes, trees,
//! clones, durability and space; it deliberately knows nothing of permissions, sockets, wall clocks or the
//! environment. Everything that touches time or storage comes in through [`Clock`], [`object::ObjectStore`]
//! and [`log::LogStore`], so that a seed can replay a run.
//!
//! Start reading at [`Pool`].

mod address;
mod check;
mod checkpoint;
pub mod clock;
mod content;
pub mod copy;
mod damage;
mod defragment;
mod descent;
mod diff;
mod disk_cache;
mod encryption;
pub mod error;
pub mod fork;
mod format;
mod frame;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gc;
pub mod inode;
mod kinds;
pub mod log;
pub mod metrics;
mod namespace;
pub mod object;
mod pool;
mod record;
mod recovery;
mod refcount;
mod repair;
pub mod report;
mod segment;
pub mod settings;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
#[cfg(not(feature = "simulation"))]
#[allow(unreachable_pub, reason = "it is reached where the feature is on")]
mod simulation;
mod sync;
mod tree;
mod usage;

pub use clock::{Clock, SystemClock, Timestamp};
pub use disk_cache::DiskCacheSettings;
pub use encryption::{Encryption, KeyChange, KeySlot, PasswordCost, Random, Secret, SlotKind};
pub use error::{Error, ErrorKind, Result};
pub use inode::{Attributes, Ino, Kind};
pub use namespace::KNOWN_INODE_BYTES;
pub use pool::{
    AllocateMode, CloneOptions, DirectoryItem, NewInode, OpenMode, Pool, RenameMode, SeekTarget,
    SetAttributes, SetTime, Storage, Unchanged, XattrMode,
};
pub use settings::{Compression, Settings};
