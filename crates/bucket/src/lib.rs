//! A pool's objects in a bucket: the engine's `ObjectStore` over Amazon S3 and what speaks its language, Google Cloud
//! Storage and Azure Blob Storage.
//!
//! The protocols are those of the crate `object_store`. What is decided here: whether a failure is tried again, what became
//! of a put whose answer was lost, how long anything may take, and what the user is told. The engine knows none of it,
//! and nothing here knows what is in an object.
//!
//! Requests run on the threads of a tokio runtime that the caller owns; whoever waits for them may be on any thread.

// Its features are chosen in the manifest: TLS without a cryptography of its own. `connect` installs that of `rustls`.
use reqwest as _;

mod connect;
mod failure;
mod http;
mod metrics;
mod pace;
mod patience;
mod probe;
mod settings;
mod store;
mod swift;
mod url;

pub use connect::{ConnectError, check_option, environment_prefix};
pub use metrics::Counters;
pub use probe::{Depth, Finding, Report};
pub use settings::{BucketSettings, Options};
pub use store::BucketStore;
pub use url::{BucketUrl, Provider, UrlError};
