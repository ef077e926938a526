//! The engine's store over a bucket: attempts, deadlines, and what became of puts.
//!
//! A put is made with the condition that the name is free. If the answer to an attempt is lost, the next one may find the name
//! taken by the first; and the network may repeat a request. So each put carries a random number beside its bytes, and who finds
//! the name taken looks whose number is there. Nobody else's object is ever taken for one's own, not even one of the same bytes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, ObjectStore as Client, ObjectStoreExt, PutMode, PutOptions,
    PutPayload,
};
use offshoot_engine::object::{ObjectInfo, ObjectStore, Space};
use offshoot_engine::{Error, ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::connect::{ConnectError, connect};
use crate::failure::{self, Call, Verdict, judge};
use crate::metrics::Counters;
use crate::pace::Pace;
use crate::patience::{Patience, Trial};
use crate::swift::Swift;
use crate::{BucketSettings, BucketUrl};

/// Name under which a put's number stands beside the object.
const NUMBER: Attribute = Attribute::Metadata(std::borrow::Cow::Borrowed("put"));
/// Reads up to this size are asked for again when they are late.
const SWIFT_BYTES_MAX: u64 = 1 << 20;
/// How long somebody who waits at a terminal is kept waiting for a server that does not answer.
const IMPATIENT: Patience = Patience { request: Duration::from_secs(10), total: Duration::from_secs(10) };

/// An [`ObjectStore`] in a bucket. Calls may be waited for on any thread.
#[derive(Clone)]
pub struct BucketStore {
    inner: Arc<Inner>,
    runtime: Handle,
}

struct Inner {
    client: Arc<dyn Client>,
    url: BucketUrl,
    patience: Patience,
    permits: Semaphore,
    upload: Pace,
    download: Pace,
    swift: Swift,
    counters: Arc<Counters>,
}

/// Why an attempt failed.
enum Failed {
    /// The bucket or the way to it.
    Bucket(object_store::Error),
    /// The answer is not what was asked for, though it claims to be.
    Short(String),
    /// It took too long.
    Late(Duration),
}

impl From<object_store::Error> for Failed {
    fn from(error: object_store::Error) -> Self {
        Self::Bucket(error)
    }
}

impl BucketStore {
    /// Makes a client. Asks nothing of the bucket yet. Requests run on `runtime`, which has to outlive their use.
    ///
    /// # Errors
    /// If the options do not fit.
    pub fn new(settings: &BucketSettings, runtime: Handle) -> Result<Self, ConnectError> {
        Ok(Self::over(connect(settings)?, settings, runtime))
    }

    /// A store over a client that there is already.
    pub(crate) fn over(client: Arc<dyn Client>, settings: &BucketSettings, runtime: Handle) -> Self {
        let inner = Inner {
            client,
            url: settings.url.clone(),
            patience: Patience { request: settings.request_timeout, total: settings.retry_timeout },
            permits: Semaphore::new(settings.requests_max),
            upload: Pace::new(settings.upload_bytes_per_second),
            download: Pace::new(settings.download_bytes_per_second),
            swift: Swift::default(),
            counters: Arc::default(),
        };
        Self { inner: Arc::new(inner), runtime }
    }

    /// The same bucket for somebody who waits at a terminal: gives up after ten seconds.
    ///
    /// # Errors
    /// If the options do not fit.
    pub fn impatient(settings: &BucketSettings, runtime: Handle) -> Result<Self, ConnectError> {
        let settings = BucketSettings {
            request_timeout: IMPATIENT.request,
            retry_timeout: IMPATIENT.total,
            ..settings.clone()
        };
        Self::new(&settings, runtime)
    }

    /// Where it is.
    pub fn url(&self) -> &BucketUrl {
        &self.inner.url
    }

    /// Runs a call on the runtime, so that its timers and sockets work whoever waits.
    async fn run<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.runtime.spawn(work(Arc::clone(&self.inner))).await.unwrap_or_else(|broken| {
            Err(Error::with_source(
                ErrorKind::Store,
                "a request to the bucket broke off: the server is ending",
                broken,
            ))
        })
    }
}

impl Inner {
    fn path(&self, name: &str) -> Result<Path> {
        let whole = match (self.url.prefix.as_str(), name) {
            ("", name) => name.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, name) => format!("{prefix}/{name}"),
        };
        Path::parse(&whole).map_err(|error| {
            Error::with_source(ErrorKind::Invalid, format!("{name:?} is no object name"), error)
        })
    }

    /// One attempt: waits for its turn, and not longer than a deadline after that.
    async fn attempt<T>(
        &self,
        deadline: Duration,
        work: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, Failed> {
        let _permit = self.permits.acquire().await.expect("the permits are never closed");
        in_time(deadline, work).await
    }

    fn judge(&self, call: Call, failed: &Failed) -> Verdict {
        match failed {
            Failed::Bucket(error) => judge(call, &self.url, error),
            Failed::Short(words) => Verdict::Again { words: words.clone(), slow_down: false },
            Failed::Late(deadline) => Verdict::Again {
                words: format!("there was no answer for {} seconds", deadline.as_secs()),
                slow_down: false,
            },
        }
    }

    /// Waits before another attempt; the error of the call if there is none.
    async fn again(
        &self,
        trial: &mut Trial,
        call: Call,
        name: &str,
        words: &str,
        slow_down: bool,
    ) -> Result<()> {
        if slow_down {
            self.counters.bucket_slow_downs.add(1);
        }
        if trial.again().await {
            tracing::debug!(?call, name, words, failed = trial.failed, "a request is made again");
            self.counters.bucket_retries.add(1);
            return Ok(());
        }
        let words = format!("{words}; given up after {} attempts", trial.failed);
        Err(self.given_up(ErrorKind::Store, call, name, &words))
    }

    fn given_up(&self, kind: ErrorKind, call: Call, name: &str, words: &str) -> Error {
        self.counters.bucket_failures.add(1);
        failure::error(kind, call, name, &self.url, words)
    }

    async fn put(&self, name: &str, parts: Vec<Bytes>) -> Result<()> {
        let path = self.path(name)?;
        let payload: PutPayload = parts.into_iter().collect();
        let bytes = payload.content_length() as u64;
        let number = format!("{:016x}{:016x}", random(), random());
        let mut trial = Trial::new(self.patience);
        let mut deadline = self.patience.deadline(bytes);
        loop {
            self.upload.pass(bytes).await;
            self.counters.bucket_puts.add(1);
            self.counters.bucket_put_bytes.add(bytes);
            let mut attributes = Attributes::new();
            attributes.insert(NUMBER, number.clone().into());
            let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
            let put = async { Ok(self.client.put_opts(&path, payload.clone(), options).await?) };
            let Err(failed) = self.attempt(deadline, put).await else { return Ok(()) };
            if matches!(failed, Failed::Late(_)) {
                // The way may be slow and not broken; nothing would ever get through with the same deadline again.
                deadline *= 4;
            }
            match self.judge(Call::Put, &failed) {
                Verdict::Exists if self.is_own(&path, name, &number, &mut trial).await? => {
                    self.counters.bucket_puts_found.add(1);
                    return Ok(());
                }
                Verdict::Exists => {
                    let words = format!("there is an object {name} in {} already", self.url);
                    return Err(Error::new(ErrorKind::Exists, words));
                }
                Verdict::Again { words, slow_down } => {
                    self.again(&mut trial, Call::Put, name, &words, slow_down).await?;
                }
                Verdict::Final { kind, words } => return Err(self.given_up(kind, Call::Put, name, &words)),
                Verdict::Missing | Verdict::PastEnd => {
                    return Err(self.given_up(
                        ErrorKind::Store,
                        Call::Put,
                        name,
                        "the server's answer makes no sense",
                    ));
                }
            }
        }
    }

    /// Whether the object under a name is the one of the put with this number.
    async fn is_own(&self, path: &Path, name: &str, number: &str, trial: &mut Trial) -> Result<bool> {
        loop {
            self.counters.bucket_gets.add(1);
            let options = GetOptions { head: true, ..GetOptions::default() };
            let head = async { Ok(self.client.get_opts(path, options).await?) };
            let failed = match self.attempt(self.patience.request, head).await {
                Ok(found) => {
                    return Ok(found.attributes.get(&NUMBER).is_some_and(|there| **there == *number));
                }
                Err(failed) => failed,
            };
            match self.judge(Call::Get, &failed) {
                Verdict::Missing => return Ok(false),
                Verdict::Again { words, slow_down } => {
                    self.again(trial, Call::Put, name, &words, slow_down).await?
                }
                Verdict::Final { kind, words } => return Err(self.given_up(kind, Call::Put, name, &words)),
                Verdict::Exists | Verdict::PastEnd => {
                    return Err(self.given_up(
                        ErrorKind::Store,
                        Call::Put,
                        name,
                        "the server's answer makes no sense",
                    ));
                }
            }
        }
    }

    /// Reads a range, or everything, and the size of the whole object.
    async fn get(&self, name: &str, range: Option<GetRange>) -> Result<(Bytes, u64)> {
        let path = self.path(name)?;
        let is_swift =
            matches!(&range, Some(GetRange::Bounded(range)) if range.end - range.start <= SWIFT_BYTES_MAX);
        let mut trial = Trial::new(self.patience);
        loop {
            let once = || self.get_once(&path, range.clone());
            let read = if is_swift { self.swift.read(&self.counters, once).await } else { once().await };
            let failed = match read {
                Ok(read) => return Ok(read),
                Err(failed) => failed,
            };
            match self.judge(Call::Get, &failed) {
                Verdict::Missing => {
                    let words = format!("there is no object {name} in {}", self.url);
                    return Err(Error::new(ErrorKind::NotFound, words));
                }
                Verdict::PastEnd => return Ok((Bytes::new(), 0)),
                Verdict::Again { words, slow_down } => {
                    self.again(&mut trial, Call::Get, name, &words, slow_down).await?;
                }
                Verdict::Final { kind, words } => return Err(self.given_up(kind, Call::Get, name, &words)),
                Verdict::Exists => {
                    return Err(self.given_up(
                        ErrorKind::Store,
                        Call::Get,
                        name,
                        "the server's answer makes no sense",
                    ));
                }
            }
        }
    }

    /// One attempt of a read. What comes may take as long as it likes, as long as it comes.
    async fn get_once(&self, path: &Path, range: Option<GetRange>) -> Result<(Bytes, u64), Failed> {
        let _permit = self.permits.acquire().await.expect("the permits are never closed");
        self.counters.bucket_gets.add(1);
        let patience = self.patience.request;
        let options = GetOptions { range, ..GetOptions::default() };
        let answer = in_time(patience, async { Ok(self.client.get_opts(path, options).await?) }).await?;
        let (promised, size) = (answer.range.end - answer.range.start, answer.meta.size);
        let mut stream = answer.into_stream();
        let mut chunks = Vec::new();
        let mut length = 0;
        while let Some(chunk) = in_time(patience, async { Ok(stream.try_next().await?) }).await? {
            length += chunk.len() as u64;
            self.counters.bucket_got_bytes.add(chunk.len() as u64);
            self.download.pass(chunk.len() as u64).await;
            chunks.push(chunk);
        }
        if length != promised {
            return Err(Failed::Short(format!("{length} of {promised} bytes came")));
        }
        let bytes = match chunks.len() {
            1 => chunks.remove(0),
            _ => chunks.concat().into(),
        };
        Ok((bytes, size))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        // The bucket knows whole directories only.
        let directory = self.path(prefix.rsplit_once('/').map_or("", |(directory, _)| directory))?;
        let root = if self.url.prefix.is_empty() { String::new() } else { format!("{}/", self.url.prefix) };
        let mut trial = Trial::new(self.patience);
        loop {
            self.counters.bucket_lists.add(1);
            let listed = self.list_once(&directory).await;
            let failed = match listed {
                Ok(found) => {
                    let relative = found.into_iter().filter_map(|(key, size)| {
                        let name = key.strip_prefix(&root)?;
                        name.starts_with(prefix).then(|| ObjectInfo { name: name.to_owned(), size })
                    });
                    let mut objects: Vec<_> = relative.collect();
                    self.counters.bucket_lists.add((objects.len() / 1000) as u64);
                    objects.sort_unstable_by(|a, b| a.name.cmp(&b.name));
                    return Ok(objects);
                }
                Err(failed) => failed,
            };
            match self.judge(Call::List, &failed) {
                Verdict::Again { words, slow_down } => {
                    self.again(&mut trial, Call::List, prefix, &words, slow_down).await?;
                }
                Verdict::Final { kind, words } => {
                    return Err(self.given_up(kind, Call::List, prefix, &words));
                }
                Verdict::Missing | Verdict::Exists | Verdict::PastEnd => {
                    return Err(self.given_up(
                        ErrorKind::Store,
                        Call::List,
                        prefix,
                        "the server's answer makes no sense",
                    ));
                }
            }
        }
    }

    /// Keys and sizes. Each page may take as long as a request.
    async fn list_once(&self, directory: &Path) -> Result<Vec<(String, u64)>, Failed> {
        let directory = (!directory.as_ref().is_empty()).then_some(directory);
        let mut stream = self.client.list(directory);
        let mut found = Vec::new();
        loop {
            let next = async { Ok(stream.try_next().await?) };
            match self.attempt(self.patience.request, next).await? {
                Some(object) => found.push((object.location.to_string(), object.size)),
                None => return Ok(found),
            }
        }
    }

    async fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        let mut trial = Trial::new(self.patience);
        loop {
            self.counters.bucket_deletes.add(1);
            let delete = async { Ok(self.client.delete(&path).await?) };
            let Err(failed) = self.attempt(self.patience.request, delete).await else { return Ok(()) };
            match self.judge(Call::Delete, &failed) {
                Verdict::Missing => return Ok(()),
                Verdict::Again { words, slow_down } => {
                    self.again(&mut trial, Call::Delete, name, &words, slow_down).await?;
                }
                Verdict::Final { kind, words } => {
                    return Err(self.given_up(kind, Call::Delete, name, &words));
                }
                Verdict::Exists | Verdict::PastEnd => {
                    let words = "the server's answer makes no sense";
                    return Err(self.given_up(ErrorKind::Store, Call::Delete, name, words));
                }
            }
        }
    }
}

async fn in_time<T>(deadline: Duration, work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    tokio::time::timeout(deadline, work).await.unwrap_or(Err(Failed::Late(deadline)))
}

/// A number that no other process draws.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // Each of these is seeded anew from the system's randomness.
    std::hash::RandomState::new().build_hasher().finish()
}

#[async_trait]
impl ObjectStore for BucketStore {
    async fn put(&self, name: &str, parts: Vec<Bytes>) -> Result<()> {
        let name = name.to_owned();
        self.run(|inner| async move { inner.put(&name, parts).await }).await
    }

    async fn get(&self, name: &str, offset: u64, length: u64) -> Result<Bytes> {
        if length == 0 {
            return self.size(name).await.map(|_| Bytes::new());
        }
        let name = name.to_owned();
        let range = match (offset, offset.checked_add(length)) {
            (0, Some(u64::MAX) | None) => None,
            (_, Some(u64::MAX) | None) => Some(GetRange::Offset(offset)),
            (_, Some(end)) => Some(GetRange::Bounded(offset..end)),
        };
        self.run(|inner| async move { inner.get(&name, range).await }).await.map(|(bytes, _)| bytes)
    }

    /// Reads a byte: a question for the size alone has no words when the bucket is missing.
    async fn size(&self, name: &str) -> Result<u64> {
        let name = name.to_owned();
        self.run(|inner| async move { inner.get(&name, Some(GetRange::Bounded(0..1))).await })
            .await
            .map(|(_, size)| size)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let prefix = prefix.to_owned();
        self.run(|inner| async move { inner.list(&prefix).await }).await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.run(|inner| async move { inner.delete(&name).await }).await
    }

    async fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }

    fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.inner.counters.all()
    }

    fn is_remote(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
