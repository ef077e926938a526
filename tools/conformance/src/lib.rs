//! What Linux programs may expect of a mounted file system, as small named checks.
//!
//! Each check works in an empty directory of its own below the directory under test, proves one thing, and says what it expected if it
//! fails. A check is skipped, with a reason, only where the file system refuses a whole feature that POSIX leaves open. The
//! suite knows nothing of Offshoot: it was proven against ext4, and its yardstick is what the kernel's manuals promise.
//!
//! Start reading at [`suite::run`]; the checks are below [`check`].

pub mod check;
mod expect;
mod memory;
mod place;
mod process;
pub mod suite;
mod sys;

pub use suite::{Report, Selection, run};
