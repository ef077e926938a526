//! What pools should be, and how one is compared with it.

mod bytes;
mod tree;
pub mod walk;

pub use bytes::Sparse;
pub use tree::{Answer, Id, Mode, Model, Node, ORPHANS, ROOT, SIZE_MAX, Set, new};
