//! Stores of pools by their urls: a directory of this machine or a prefix in a bucket, and behind a fork the store of its parent.
//!
//! Nothing here opens a pool. The objects of one can be looked at, copied and forked while a server has it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use offshoot_bucket::{BucketSettings, BucketStore, BucketUrl, ConnectError, Depth};
use offshoot_engine::ErrorKind;
use offshoot_engine::fork::{ForkStore, parent_of};
use offshoot_engine::object::{LocalStore, ObjectStore};
use tokio::runtime::{Handle, Runtime};

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::settings::{Bucket, Place, Settings};

/// Directory of objects below a pool's directory.
pub(crate) const OBJECTS: &str = "pool";
/// Parents of parents of parents: more is a ring.
const GENERATIONS_MAX: u32 = 64;

/// Where the objects of a pool are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// Below a directory of this machine.
    Directory(PathBuf),
    Bucket(BucketUrl),
}

impl Site {
    /// Reads a url, or the path of a directory.
    ///
    /// # Errors
    /// In words, if it is neither.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let path = match text.split_once("://") {
            Some(("file", path)) if path.starts_with('/') => path,
            Some(("file", _)) => {
                return Err("a file:// url has an absolute path, as in file:///srv/pool".into());
            }
            Some(_) => {
                return text
                    .parse()
                    .map(Self::Bucket)
                    .map_err(|error: offshoot_bucket::UrlError| error.to_string());
            }
            None if text == "memory:" => {
                return Err("a pool in memory is nowhere else than in its server".into());
            }
            None => text,
        };
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        // As the parent of a fork is found again from anywhere.
        Ok(Self::Directory(std::fs::canonicalize(&path).unwrap_or(path)))
    }

    /// The url that names it.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Directory(directory) => format!("file://{}", directory.display()),
            Self::Bucket(url) => url.to_string(),
        }
    }
}

/// Opens stores. Requests to buckets run on a runtime.
#[derive(Clone)]
pub(crate) struct Stores {
    runtime: Handle,
    /// How the bucket of a settings file is talked to; others of the same provider are talked to in the same way.
    known: Option<Box<Bucket>>,
}

impl Stores {
    /// For a command: with what the settings file of `-c` says about its bucket, if there is one.
    pub(crate) fn of_command(context: &Context, runtime: &Runtime) -> Outcome<Self> {
        let settings = context.server.config.as_deref().map(Settings::load).transpose()?;
        Ok(Self::beside(settings.as_ref().map(|settings| &settings.storage.place), runtime.handle().clone()))
    }

    /// For the server of `place`.
    pub(crate) fn beside(place: Option<&Place>, runtime: Handle) -> Self {
        let known = match place {
            Some(Place::Bucket(bucket)) => Some(bucket.clone()),
            _ => None,
        };
        Self { runtime, known }
    }

    /// Waits for work until it ends or the user presses Ctrl-C; then it is dropped.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        self.runtime.block_on(async {
            tokio::select! {
                outcome = work => outcome,
                _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
            }
        })
    }

    fn bucket(&self, url: &BucketUrl) -> BucketSettings {
        let known = self.known.as_ref().filter(|known| known.bucket.url.provider == url.provider);
        let bucket = known.map_or_else(
            || Bucket::new(url.clone(), Path::new("")),
            |known| {
                let bucket = BucketSettings { url: url.clone(), ..known.bucket.clone() };
                Bucket { bucket, ..(**known).clone() }
            },
        );
        bucket.with_environment()
    }

    /// The objects at a place, without those of a parent.
    ///
    /// # Errors
    /// If options do not fit, or a directory cannot be read.
    pub(crate) fn own(&self, site: &Site) -> Outcome<Arc<dyn ObjectStore>> {
        match site {
            Site::Directory(directory) => Ok(Arc::new(LocalStore::open(directory.join(OBJECTS))?)),
            Site::Bucket(url) => {
                let store = BucketStore::new(&self.bucket(url), self.runtime.clone());
                Ok(Arc::new(store.map_err(refused)?))
            }
        }
    }

    /// The objects of a pool whose own are `own`: with those of its parent, if it is a fork.
    ///
    /// # Errors
    /// Those of the stores; if a parent cannot be found.
    pub(crate) fn whole(&self, own: Arc<dyn ObjectStore>, url: &str) -> Outcome<Arc<dyn ObjectStore>> {
        self.runtime.block_on(self.with_parents(own, url.to_owned(), 0))
    }

    fn with_parents(
        &self,
        own: Arc<dyn ObjectStore>,
        url: String,
        generation: u32,
    ) -> BoxFuture<'_, Outcome<Arc<dyn ObjectStore>>> {
        Box::pin(async move {
            let Some(known) = parent_of(&*own).await? else { return Ok(own) };
            let location = known.location.clone();
            let lost = |why: &str| {
                Failure::no_pool(format!("the pool at {url} is a fork of the one at {location}, {why}"))
            };
            if generation == GENERATIONS_MAX {
                return Err(lost("and so on: there are too many generations"));
            }
            let site =
                Site::read(&location).map_err(|why| lost(&format!("which is no place of a pool: {why}")))?;
            let parent = self.own(&site)?;
            let parent = self.with_parents(parent, location.clone(), generation + 1).await?;
            // Without it every read fails, and nobody would know why.
            match offshoot_engine::fork::is_kept(&*parent, known.id).await {
                Ok(true) => Ok(Arc::new(ForkStore::open(own, parent, known).await?) as Arc<dyn ObjectStore>),
                Ok(false) => Err(lost(
                    "which does not keep what it needs any more: it was let go, or the parent is not there",
                )),
                Err(error) => Err(Failure {
                    message: lost(&format!("which cannot be reached: {error}")).message,
                    ..Failure::from(error)
                }),
            }
        })
    }

    /// The objects of the pool at a place.
    ///
    /// # Errors
    /// As [`Stores::whole`]; `NoPool` if there is none.
    pub(crate) fn existing(&self, site: &Site) -> Outcome<Arc<dyn ObjectStore>> {
        let own = self.own(site)?;
        if self.runtime.block_on(own.list("manifests/"))?.is_empty() {
            return Err(Failure::no_pool(format!("there is no pool at {}", site.url())));
        }
        self.whole(own, &site.url())
    }

    /// The store of a place where a pool is to be made; a bucket is tested first.
    ///
    /// # Errors
    /// If the bucket is not fit, or the directory cannot be made.
    pub(crate) fn new_one(&self, site: &Site) -> Outcome<Arc<dyn ObjectStore>> {
        match site {
            Site::Directory(directory) => {
                make_private(&directory.join(OBJECTS)).map_err(|error| {
                    Failure::new(format!("the directory {} cannot be made: {error}", directory.display()))
                })?;
            }
            Site::Bucket(url) => {
                let store =
                    BucketStore::impatient(&self.bucket(url), self.runtime.clone()).map_err(refused)?;
                self.runtime.block_on(store.require_fit(Depth::Whole))?;
            }
        }
        self.own(site)
    }
}

/// What requests of a command run on.
pub(crate) fn runtime() -> Outcome<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("the runtime cannot start: {error}")))
}

fn refused(error: ConnectError) -> Failure {
    Failure::usage(error.to_string())
}

/// A directory that only its owner can enter: what is in it is the data of everybody.
pub(crate) fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// What a failure of the engine means for who names places.
pub(crate) fn at(url: &str, error: offshoot_engine::Error) -> Failure {
    let is_taken = error.kind() == ErrorKind::PoolExists;
    let failure = Failure::from(error);
    let message = format!("{url}: {}", failure.message);
    let failure = Failure { message, ..failure };
    if is_taken { failure.advise("name another prefix or directory, or empty this one") } else { failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_a_url_or_a_directory() {
        assert_eq!(Site::read("s3://b/p").unwrap().url(), "s3://b/p");
        assert_eq!(Site::read("file:///no/such").unwrap().url(), "file:///no/such");
        assert_eq!(Site::read("/no/such").unwrap(), Site::Directory("/no/such".into()));
        assert!(matches!(Site::read("no/such").unwrap(), Site::Directory(path) if path.is_absolute()));
        for (text, word) in
            [("file://x", "absolute"), ("memory:", "memory"), ("ftp://x", "s3://"), ("s3:///x", "bucket")]
        {
            let error = Site::read(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
