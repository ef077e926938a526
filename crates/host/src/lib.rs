//! What Offshoot does to this machine, and what it asks of it: mounts, who uses them, and servers that cannot end.
//!
//! Nothing here knows of pools, sockets or the terminal; it reads `/proc` and asks the kernel.

pub mod dying;
pub mod holder;
pub mod mount;

pub use holder::{Holder, holders};
pub use mount::{FuseDevice, Located, Mount, MountError, fuse_device};
