//! POSIX semantics over the Offshoot engine.
//!
//! [`Vfs`] is what every protocol server and the control plane talk to. It adds to the engine who may do what
//! ([`permission`], [`acl`]), open handles with their flags ([`Handle`]), paths ([`Reference`]), extended attribute
//! namespaces and word of changes to those who cache ([`Watcher`]). It knows no protocol, keeps no cache, and takes time
//! from the pool's clock. Operations that name an inode take its number; the rules for how long a number is known are those
//! of [`offshoot_engine::Pool`].

pub mod acl;
pub mod error;
mod handle;
mod ops;
mod path;
pub mod permission;
mod vfs;
mod watch;

pub use error::{Code, Error};
pub use handle::{Access, Handle};
pub use ops::attributes::Change as AttributeChange;
pub use ops::clone::ClonePath;
pub use ops::create::Create;
pub use ops::info::info_document;
pub use ops::space::Space;
pub use ops::xattr::{CLONE_ATTRIBUTE, INFO_ATTRIBUTE};
pub use path::Reference;
pub use permission::Caller;
pub use vfs::{AccessTime, SessionId, Vfs, VfsSettings};
pub use watch::{Change, FlushRequest, Flusher, Watcher};
