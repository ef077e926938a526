//! How a check says what it expects.
//!
//! Every function gives a [`Failure`] that carries the line of the check, so that a check needs no words of its own for each step.

use std::fmt::Debug;
use std::panic::Location;

use crate::sys;

/// Why a check did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The file system does something else than expected.
    Failed(String),
    /// The file system lacks the whole feature.
    Skipped(String),
}

/// What a check gives.
pub(crate) type Outcome = Result<(), Failure>;

#[track_caller]
fn at_caller(message: &str) -> Failure {
    let place = Location::caller();
    let file = place.file().rsplit('/').next().unwrap_or_default();
    Failure::Failed(format!("{file}:{}: {message}", place.line()))
}

impl From<sys::Error> for Failure {
    #[track_caller]
    fn from(error: sys::Error) -> Failure {
        at_caller(&format!("{error}, expected success"))
    }
}

/// Fails with `message`.
#[track_caller]
pub(crate) fn fail(message: &str) -> Outcome {
    Err(at_caller(message))
}

/// Leaves the check out because of `reason`.
pub(crate) fn skip(reason: &str) -> Outcome {
    Err(Failure::Skipped(reason.to_owned()))
}

/// Expects two values to be equal.
#[track_caller]
pub(crate) fn equal<T: PartialEq + Debug>(got: T, want: T) -> Outcome {
    if got == want { Ok(()) } else { Err(at_caller(&format!("got {got:?}, expected {want:?}"))) }
}

/// Expects two runs of bytes to be equal and names the first that is not.
#[track_caller]
pub(crate) fn equal_bytes(got: &[u8], want: &[u8]) -> Outcome {
    if got == want {
        return Ok(());
    }
    if got.len() != want.len() {
        return Err(at_caller(&format!("got {} bytes, expected {}", got.len(), want.len())));
    }
    let at = got.iter().zip(want).position(|(a, b)| a != b).unwrap_or(0);
    let wrong = got.iter().zip(want).filter(|(a, b)| a != b).count();
    Err(at_caller(&format!(
        "byte {at} is {:#04x}, expected {:#04x}; {wrong} bytes differ",
        got[at], want[at]
    )))
}

/// Expects something to hold, described by `what`.
#[track_caller]
pub(crate) fn holds(condition: bool, what: &str) -> Outcome {
    if condition { Ok(()) } else { Err(at_caller(&format!("expected that {what}"))) }
}

/// Expects a call to be refused with one error number.
#[track_caller]
pub(crate) fn refused<T>(result: sys::Result<T>, errno: i32) -> Outcome {
    refused_with(result, &[errno])
}

/// Expects a call to be refused with one of some error numbers.
#[track_caller]
pub(crate) fn refused_with<T>(result: sys::Result<T>, errnos: &[i32]) -> Outcome {
    let wanted = errnos.iter().map(|e| sys::errno_name(*e)).collect::<Vec<_>>().join(" or ");
    match result {
        Ok(_) => Err(at_caller(&format!("the call succeeded, expected {wanted}"))),
        Err(error) if errnos.contains(&error.errno) => Ok(()),
        Err(error) => Err(at_caller(&format!("{error}, expected {wanted}"))),
    }
}

/// The value of a call; skips the check with `reason` if it is refused with one of `errnos`.
#[track_caller]
pub(crate) fn or_skip<T>(result: sys::Result<T>, errnos: &[i32], reason: &str) -> Result<T, Failure> {
    match result {
        Ok(value) => Ok(value),
        Err(error) if errnos.contains(&error.errno) => Err(Failure::Skipped(format!("{reason} ({error})"))),
        Err(error) => Err(at_caller(&format!("{error}, expected success"))),
    }
}
