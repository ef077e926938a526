//! stub
use crate::*; use crate::pool::Inner; use crate::report::*;
pub(crate) async fn usage(_: &Inner, _: Ino) -> Result<Usage> { todo!() }
