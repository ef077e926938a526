//! What a clone or a restore would do, for `--dry-run`: nothing is changed, only looked at.

use offshoot_control::wire::{InfoBody, PathText};
use offshoot_control::{Client, Kind, PoolPath};
use offshoot_engine::ErrorKind;
use serde::Serialize;

use super::du::contents;
use crate::failure::{Failure, Outcome};
use crate::output::size;

/// How it would be done.
pub(super) struct Plan {
    pub(super) parents: bool,
    pub(super) replace: bool,
    /// What it is called: `clone`, `restore`.
    pub(super) verb: &'static str,
}

/// What would happen.
#[derive(Serialize)]
pub(super) struct Outlook {
    dry_run: bool,
    source: PathText,
    destination: PathText,
    /// What is at the destination, with its space.
    replaced: Option<InfoBody>,
    #[serde(skip)]
    verb: &'static str,
}

impl Plan {
    /// Looks at both sides. Fails as the change itself would.
    pub(super) async fn outlook(
        &self,
        client: &Client,
        source: &PoolPath,
        destination: &PoolPath,
    ) -> Outcome<Outlook> {
        let tried = format!("cannot {} {source} to {destination}", self.verb);
        let exists = |words: &str| {
            let kind = Kind::Engine(ErrorKind::Exists).name();
            Failure { kind, ..Failure::new(format!("{tried}: {words}")) }
        };
        if destination.is_root() {
            return Err(exists(
                "the root of the pool exists and cannot be replaced; name the clone, as in /copy",
            ));
        }
        let found = self.look(client, source, false).await?;
        found.ok_or_else(|| missing(format!("{tried}: {source} does not exist")))?;
        let replaced = self.look(client, destination, true).await?;
        if replaced.is_some() && !self.replace {
            return Err(exists(&format!("{destination} exists already")));
        }
        if replaced.is_some() && source.below(destination).is_some() {
            return Err(Failure::new(format!("{tried}: the source lies in what would be replaced")));
        }
        if let Some((parent, _)) = destination.split()
            && replaced.is_none()
            && !self.parents
            && self.look(client, &parent, false).await?.is_none()
        {
            return Err(missing(format!("{tried}: the directory {parent} does not exist")));
        }
        Ok(Outlook {
            dry_run: true,
            source: source.into(),
            destination: destination.into(),
            replaced,
            verb: self.verb,
        })
    }

    async fn look(&self, client: &Client, path: &PoolPath, usage: bool) -> Outcome<Option<InfoBody>> {
        match client.info(path, usage).await.map_err(Failure::from) {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is(Kind::Engine(ErrorKind::NotFound)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

fn missing(message: String) -> Failure {
    Failure { kind: Kind::Engine(ErrorKind::NotFound).name(), ..Failure::new(message) }
}

impl Outlook {
    /// In words.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("Would {} {} to {}\n", self.verb, self.source, self.destination);
        if let Some(old) = &self.replaced {
            let holds = contents(old.files, old.directories);
            text.push_str(&format!("Would replace {} ({holds}, {}", old.path, size(old.logical_bytes)));
            if let Some(usage) = &old.usage {
                text.push_str(&format!("; {} of the store is its alone", size(usage.exclusive_bytes)));
            }
            text.push_str(")\n");
        }
        text
    }
}
