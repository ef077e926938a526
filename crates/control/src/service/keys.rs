//! What opens the pool.

use super::{Identity, Service};
use crate::problem::{Kind, Problem};
use crate::wire;

impl Service {
    /// The ways to open the pool.
    pub fn keys(&self) -> wire::KeyList {
        self.pool().into()
    }

    /// Changes them; answers with what there is then.
    ///
    /// # Errors
    /// `Permission`, `BadRequest`, and those of [`offshoot_engine::Pool::change_keys`].
    pub async fn change_keys(
        &self,
        caller: &Identity,
        request: wire::KeyRequest,
    ) -> Result<wire::KeyList, Problem> {
        if !caller.administrator {
            let words = "to change what opens the pool needs root or the server's own user";
            return Err(Problem::new(Kind::Permission, words));
        }
        self.pool().change_keys(request.change()?).await?;
        Ok(self.keys())
    }
}
