//! stub
use crate::*; use crate::pool::Inner; use crate::report::*;
pub(crate) async fn check(_: &Inner) -> Result<CheckReport> { todo!() }
pub(crate) async fn scrub(_: &Inner) -> Result<CheckReport> { todo!() }
