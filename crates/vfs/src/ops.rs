//! The operations, one file for each family; all are methods of [`crate::Vfs`].

pub(crate) mod attributes;
pub(crate) mod clone;
pub(crate) mod content;
pub(crate) mod create;
pub(crate) mod directory;
pub(crate) mod info;
pub(crate) mod remove;
pub(crate) mod rename;
pub(crate) mod space;
pub(crate) mod xattr;
