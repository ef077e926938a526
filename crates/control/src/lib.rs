//! The management plane: what can be asked of a running pool beside its data.
//!
//! [`Service`] does the work over the POSIX layer; [`rest`] serves it as HTTP/JSON on a Unix socket and on TCP;
//! [`Client`] is the typed other side, and the command line its first user. The words on the wire are in [`wire`] and
//! belong to version 1 of the API: fields are added, never changed. Data of files goes through the protocol servers;
//! the few reads here serve restores to a local directory.

pub mod address;
pub mod client;
pub mod job;
pub mod path;
pub mod problem;
pub mod rest;
pub mod retention;
pub mod service;
pub mod time;
pub mod wire;

pub use address::Address;
pub use client::{Client, ClientError};
pub use path::PoolPath;
pub use problem::{Kind, Problem};
pub use service::Service;
