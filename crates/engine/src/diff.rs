//! stub
use crate::*; use crate::pool::Inner; use crate::report::*;
pub(crate) async fn diff(_: &Inner, _: Ino, _: Ino, _: &mut (dyn FnMut(Difference) -> bool + Send)) -> Result<()> { todo!() }
