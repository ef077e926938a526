//! The typed client of the API, over a Unix socket or TCP.
//!
//! One connection is kept and used for one request after the other; it is made again when the server closed it. The client adds
//! no policy: no retries of what may have been done, no timeouts (a check may take hours).

use std::io;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::address::{self, Address};
use crate::path::PoolPath;
use crate::problem::{Kind, Problem, ProblemDocument};
use crate::rest::{SOURCE_HEADER, query_value, source_header};
use crate::wire;

/// Longest path and query of a request, in bytes: what the libraries on both sides take, with room for headers.
const TARGET_BYTES_MAX: usize = 60_000;

/// A client of one server.
pub struct Client {
    address: Address,
    token: Option<HeaderValue>,
    source: std::sync::Mutex<Option<HeaderValue>>,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

/// Why a request got no answer, or not the wanted one.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens at the address.
    #[error("no server answers at {address}: {source}")]
    NoServer {
        /// Where it was looked for.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The server refused or failed.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// The connection broke before the answer was complete; the request may have been carried out.
    #[error("the server at {address} broke off its answer: {reason}")]
    Broken {
        /// The server.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The answer is none of this API.
    #[error("{address} answers, but not as an Offshoot server of this version: {reason}")]
    Strange {
        /// The server.
        address: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

type Result<T> = std::result::Result<T, ClientError>;

impl Client {
    /// A client of the server at `address`; `token` is for TCP. Connects with the first request.
    ///
    /// # Errors
    /// `Strange` if the token cannot be sent.
    pub fn new(address: Address, token: Option<&str>) -> Result<Self> {
        let token = token
            .map(|token| {
                let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim()))?;
                value.set_sensitive(true);
                Ok::<_, hyper::header::InvalidHeaderValue>(value)
            })
            .transpose()
            .map_err(|error| ClientError::Strange {
                address: "the token".into(),
                reason: error.to_string(),
            })?;
        Ok(Self { address, token, source: std::sync::Mutex::default(), connection: Mutex::new(None) })
    }

    /// The address of the server.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// From now on the server refuses requests if its mounts have another source than this: paths were found below it.
    pub fn expect_source(&self, source: &[u8]) {
        let value = HeaderValue::try_from(source_header(source)).ok();
        *self.source.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = value;
    }

    /// State of the server and its pool.
    ///
    /// # Errors
    /// See [`ClientError`]; so for all requests.
    pub async fn status(&self) -> Result<wire::StatusBody> {
        self.get("/api/v1/status", &[]).await
    }

    /// Makes a clone.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn clone_tree(&self, request: &wire::CloneRequest) -> Result<wire::Cloned> {
        self.post("/api/v1/clone", request).await
    }

    /// Makes a snapshot.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn snapshot(&self, request: &wire::SnapshotRequest) -> Result<wire::Snapshot> {
        self.post("/api/v1/snapshots", request).await
    }

    /// Lists snapshots, of one path or all.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn snapshots(&self, path: Option<&PoolPath>) -> Result<wire::SnapshotList> {
        let query: Vec<_> = path.map(|path| ("path", path.as_bytes())).into_iter().collect();
        self.get("/api/v1/snapshots", &query).await
    }

    /// Deletes snapshots.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete_snapshots(&self, names: &[Vec<u8>]) -> Result<wire::Removed> {
        let query: Vec<_> = names.iter().map(|name| ("name", name.as_slice())).collect();
        self.delete("/api/v1/snapshots", &query).await
    }

    /// Deletes the snapshots that no rule keeps.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn prune(&self, request: &wire::PruneRequest) -> Result<wire::Pruned> {
        self.post("/api/v1/snapshots/prune", request).await
    }

    /// Clones something out of a snapshot.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn restore(&self, request: &wire::RestoreRequest) -> Result<wire::Cloned> {
        self.post("/api/v1/restore", request).await
    }

    /// What is known of a path, with its space in the store if `usage`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn info(&self, path: &PoolPath, usage: bool) -> Result<wire::InfoBody> {
        let usage = if usage { "true" } else { "false" };
        self.get("/api/v1/info", &[("path", path.as_bytes()), ("usage", usage.as_bytes())]).await
    }

    /// Space of a tree.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn usage(&self, path: &PoolPath) -> Result<wire::PathUsage> {
        self.get("/api/v1/usage", &[("path", path.as_bytes())]).await
    }

    /// A page of a directory after the cookie `after`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn entries(&self, path: &PoolPath, after: u64) -> Result<wire::EntryList> {
        let after = after.to_string();
        let query = [("path", path.as_bytes()), ("after", after.as_bytes()), ("limit", b"10000")];
        self.get("/api/v1/entries", &query).await
    }

    /// The entry of a path itself.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn entry(&self, path: &PoolPath) -> Result<wire::EntryList> {
        self.get("/api/v1/entries", &[("path", path.as_bytes()), ("itself", b"true")]).await
    }

    /// Removes a file or directory.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove(&self, path: &PoolPath, recursive: bool) -> Result<wire::Removed> {
        let recursive = if recursive { "true" } else { "false" };
        self.delete("/api/v1/entries", &[("path", path.as_bytes()), ("recursive", recursive.as_bytes())])
            .await
    }

    /// Ranges of a file that hold data, from `after` on.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn extents(&self, path: &PoolPath, after: u64) -> Result<wire::ExtentList> {
        let after = after.to_string();
        self.get("/api/v1/extents", &[("path", path.as_bytes()), ("after", after.as_bytes())]).await
    }

    /// Extended attributes of a file.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn xattrs(&self, path: &PoolPath) -> Result<wire::XattrList> {
        self.get("/api/v1/xattrs", &[("path", path.as_bytes())]).await
    }

    /// Bytes of a file, as they come.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn content(&self, path: &PoolPath, offset: u64, length: u64) -> Result<Pieces> {
        let (offset, length) = (offset.to_string(), length.to_string());
        let query = [("path", path.as_bytes()), ("offset", offset.as_bytes()), ("length", length.as_bytes())];
        let response = self.send(Method::GET, &target("/api/v1/content", &query), None).await?;
        Ok(Pieces { body: response.into_body(), address: self.address.to_string() })
    }

    /// Compares two trees; the lines come one after the other.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn diff(&self, first: &PoolPath, second: &PoolPath) -> Result<Lines> {
        self.lines("/api/v1/diff", &[("first", first.as_bytes()), ("second", second.as_bytes())]).await
    }

    /// Starts a job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn start(&self, request: &wire::JobRequest) -> Result<wire::Job> {
        self.post("/api/v1/jobs", request).await
    }

    /// A job as it goes on, one [`wire::Job`] a line, until it has ended.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn progress(&self, id: u64) -> Result<Lines> {
        self.lines(&format!("/api/v1/jobs/{id}/progress"), &[]).await
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cancel(&self, id: u64) -> Result<wire::Job> {
        self.delete(&format!("/api/v1/jobs/{id}"), &[]).await
    }

    /// What opens the pool.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn keys(&self) -> Result<wire::KeyList> {
        self.get("/api/v1/keys", &[]).await
    }

    /// Changes what opens the pool.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn change_keys(&self, request: &wire::KeyRequest) -> Result<wire::KeyList> {
        self.post("/api/v1/keys", request).await
    }

    /// Mounts the pool.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn mount(&self, request: &wire::MountRequest) -> Result<wire::MountBody> {
        self.post("/api/v1/mounts", request).await
    }

    /// Unmounts.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn unmount(&self, mount_point: &[u8], lazy: bool) -> Result<wire::Nothing> {
        let lazy = if lazy { "true" } else { "false" };
        self.delete("/api/v1/mounts", &[("mount_point", mount_point), ("lazy", lazy.as_bytes())]).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &[u8])]) -> Result<T> {
        self.json(Method::GET, &target(path, query), None).await
    }

    async fn delete<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &[u8])]) -> Result<T> {
        self.json(Method::DELETE, &target(path, query), None).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|error| self.strange(error))?;
        self.json(Method::POST, path, Some(body)).await
    }

    async fn lines(&self, path: &str, query: &[(&str, &[u8])]) -> Result<Lines> {
        let response = self.send(Method::GET, &target(path, query), None).await?;
        let pieces = Pieces { body: response.into_body(), address: self.address.to_string() };
        Ok(Lines { pieces, rest: BytesMut::new() })
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T> {
        let response = self.send(method, target, body).await?;
        let body = response.into_body().collect().await.map_err(|error| self.broken(error))?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| self.strange(error))
    }

    /// Sends a request; an answer that is a problem becomes an error.
    async fn send(&self, method: Method, target: &str, body: Option<Vec<u8>>) -> Result<Response<Incoming>> {
        if target.len() > TARGET_BYTES_MAX {
            let words = format!(
                "the path is too long for the API, which takes {TARGET_BYTES_MAX} bytes, of which one that is no \
                 letter or digit may need three"
            );
            return Err(Problem::new(Kind::BadRequest, words).into());
        }
        let mut request = Request::builder().method(method).uri(target).header(HOST, "offshoot");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        if let Some(source) = &*self.source.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            request = request.header(SOURCE_HEADER, source);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request =
            request.body(Full::from(body.unwrap_or_default())).map_err(|error| self.strange(error))?;
        let mut sender = self.connected().await?;
        let (asked, began) = (format!("{} {}", request.method(), request.uri()), std::time::Instant::now());
        let response = sender.send_request(request).await.map_err(|error| self.broken(error))?;
        tracing::debug!(asked, status = response.status().as_u16(), took = ?began.elapsed(), "answered");
        *self.connection.lock().await = Some(sender);
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| self.broken(error))?.to_bytes();
        let document: ProblemDocument = serde_json::from_slice(&body)
            .map_err(|_| self.strange(format!("status {status} without a problem document")))?;
        Err(Problem::from(document).into())
    }

    /// The kept connection, or a new one.
    async fn connected(&self) -> Result<SendRequest<Full<Bytes>>> {
        if let Some(mut sender) = self.connection.lock().await.take()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let no_server = |source| ClientError::NoServer { address: self.address.to_string(), source };
        match &self.address {
            Address::Unix(path) => self.handshake(address::connect(path).await.map_err(no_server)?).await,
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(no_server)?;
                let _ = stream.set_nodelay(true);
                self.handshake(stream).await
            }
        }
    }

    async fn handshake<S>(&self, stream: S) -> Result<SendRequest<Full<Bytes>>>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn broken(&self, error: impl std::error::Error) -> ClientError {
        ClientError::Broken { address: self.address.to_string(), reason: crate::problem::with_causes(&error) }
    }

    fn strange(&self, reason: impl ToString) -> ClientError {
        ClientError::Strange { address: self.address.to_string(), reason: reason.to_string() }
    }
}

/// A body as it comes.
pub struct Pieces {
    body: Incoming,
    address: String,
}

impl Pieces {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// `Broken` if the server gave up in the middle.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| ClientError::Broken {
                address: self.address.clone(),
                reason: crate::problem::with_causes(&error),
            })?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

/// An answer of one JSON value a line.
pub struct Lines {
    pieces: Pieces,
    rest: BytesMut,
}

impl Lines {
    /// The next value; `None` at the end.
    ///
    /// # Errors
    /// `Broken`, and `Strange` for a line that does not fit.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(end + 1);
                return serde_json::from_slice(&line).map(Some).map_err(|error| ClientError::Strange {
                    address: self.pieces.address.clone(),
                    reason: error.to_string(),
                });
            }
            match self.pieces.next().await? {
                Some(piece) => self.rest.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}

fn target(path: &str, query: &[(&str, &[u8])]) -> String {
    let mut target = path.to_owned();
    for (index, (name, value)) in query.iter().enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        target.push_str(&query_value(value));
    }
    target
}
