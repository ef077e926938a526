//! What pools should be, and how one is compared with it.

mod bytes;
mod node;
mod tree;
pub mod walk;

pub use bytes::Sparse;
pub use node::{Node, Set, new};
pub use tree::{Answer, Id, Mode, Model, ORPHANS, ROOT, SIZE_MAX};
