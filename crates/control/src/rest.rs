//! The API as HTTP/1.1 with JSON, on a Unix socket and, with a bearer token, on TCP.
//!
//! On the socket the kernel says who calls, and the caller's user decides what is allowed. On TCP whoever has the token is taken
//! for an administrator, so it is off unless configured, and it speaks plain HTTP: a proxy in front of it ends TLS.
//! All endpoints stand in one table ([`endpoint`]), from which requests are routed and the OpenAPI document is made.
//! Bodies, headers, connections and the time to send a request are bounded. What is no HTTP, and a head that is too large, is
//! answered by the HTTP library before it comes here: with a status and without a problem document.

mod answer;
mod endpoint;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod metrics;
mod openapi;
mod peer;
mod places;
mod route;
mod token;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{oneshot, watch};
use tracing::Instrument;

use crate::Service;
use crate::problem::{Kind, Problem};
use crate::service::Identity;
use answer::Answer;
pub use answer::Body;
pub use places::CONNECTIONS_MAX;
use places::Places;
use route::{Access, Call, Found, Handler, Missed, Routes};
pub use token::Token;

/// Largest body of a request.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// A client has to send its request's head within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A client has to send its request's body within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Who finds no place is told so within this time, or is cut.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections that are still busy at stop get this time to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// A request with this header is refused if the server's mounts have another source: the path in it was found below
/// a mount of another pool.
pub const SOURCE_HEADER: &str = "offshoot-source";

/// Serves a [`Service`] to any number of listeners. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    service: Arc<Service>,
    routes: Arc<Routes>,
}

/// How the other side of a connection is known.
#[derive(Clone)]
enum Gate {
    /// By the kernel.
    Peer(Identity),
    /// By a token in each request.
    Token(Arc<Token>),
}

impl Gate {
    /// Who is there, where that is known before the first request.
    fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Peer(identity) => Some(identity),
            Self::Token(_) => None,
        }
    }
}

/// Where connections come from.
enum Listener {
    /// With the user who runs the server.
    Unix(UnixListener, u32),
    Tcp(TcpListener, Arc<Token>),
}

/// A connection of any kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Listener {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Gate)> {
        match self {
            Self::Unix(listener, owner) => {
                let (stream, _) = listener.accept().await?;
                let gate = Gate::Peer(peer::identity(&stream, *owner)?);
                Ok((Box::new(stream), gate))
            }
            Self::Tcp(listener, token) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Gate::Token(Arc::clone(token))))
            }
        }
    }
}

impl Server {
    /// A server of `service`.
    pub fn new(service: Arc<Service>) -> Self {
        Self { service, routes: Arc::new(endpoint::routes()) }
    }

    /// Answers on a Unix socket until `stop` becomes true.
    pub async fn serve_unix(&self, listener: UnixListener, stop: watch::Receiver<bool>) {
        self.serve(Listener::Unix(listener, self.service.owner()), stop).await;
    }

    /// Answers on TCP to requests that carry `token` until `stop` becomes true.
    pub async fn serve_tcp(&self, listener: TcpListener, token: Token, stop: watch::Receiver<bool>) {
        self.serve(Listener::Tcp(listener, Arc::new(token)), stop).await;
    }

    async fn serve(&self, listener: Listener, mut stop: watch::Receiver<bool>) {
        let places = Places::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = told(&mut stop) => break,
            };
            match accepted {
                Ok((stream, gate)) => {
                    let Some(place) = places.take(gate.identity()) else {
                        refuse(stream).await;
                        continue;
                    };
                    let connection = self.clone().connection(stream, gate, stop.clone());
                    tokio::spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    // Out of descriptors, for one: give the others time to end.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        if tokio::time::timeout(STOP_TIMEOUT, places.all_free()).await.is_err() {
            tracing::warn!("connections that did not end in time are cut");
        }
    }

    async fn connection(self, stream: Box<dyn Stream>, gate: Gate, mut stop: watch::Receiver<bool>) {
        let service = service_fn(|request| {
            let (server, gate) = (self.clone(), gate.clone());
            async move { Ok::<_, std::convert::Infallible>(server.answer(request, &gate).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(64 << 10)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = told(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    }

    async fn answer(&self, request: Request<Incoming>, gate: &Gate) -> Response<Body> {
        let span = tracing::debug_span!("request", method = %request.method(), path = request.uri().path());
        async {
            let answer = self.handle(request, gate).await.unwrap_or_else(|problem| {
                if problem.kind.status() >= 500 {
                    tracing::warn!(kind = problem.kind.name(), "{problem}");
                } else {
                    tracing::debug!(kind = problem.kind.name(), "{problem}");
                }
                Answer::problem(&problem)
            });
            answer.into_response()
        }
        .instrument(span)
        .await
    }

    async fn handle(&self, request: Request<Incoming>, gate: &Gate) -> Result<Answer, Problem> {
        let (head, body) = request.into_parts();
        let caller = match gate {
            Gate::Peer(identity) => Some(identity.clone()),
            Gate::Token(token) => {
                token.matches(head.headers.get(AUTHORIZATION)).then(Identity::administrator)
            }
        };
        let found = self.routes.find(&head.method, head.uri.path());
        let open = matches!(&found, Ok(found) if found.route.access == Access::Open);
        let Some(caller) = caller.or_else(|| open.then(Identity::nobody)) else {
            let words = "this address needs the header `Authorization: Bearer TOKEN` with the server's token";
            return Err(Problem::new(Kind::Unauthorized, words));
        };
        let Found { route, id } = match found {
            Ok(found) => found,
            Err(Missed { problem, allowed }) => {
                tracing::debug!(kind = problem.kind.name(), "{problem}");
                return Ok(Answer::problem(&problem).allow(allowed));
            }
        };
        if route.access == Access::Administrator && !caller.administrator {
            let what = route.summary.to_lowercase();
            let words = format!("only root or the server's own user may do this: {what}");
            return Err(Problem::new(Kind::Permission, words));
        }
        self.check_source(&head.headers)?;
        let parameters = route.read_parameters(head.uri.query().unwrap_or_default())?;
        let body = read_body(body).await?;
        if !body.is_empty() && route.request.is_none() {
            return Err(Problem::new(Kind::BadRequest, "this request takes no body"));
        }
        let call = Call { service: Arc::clone(&self.service), caller, parameters, body, id };
        // The body of an answer to HEAD is made like that to GET, for its length, and not sent.
        run(route.handler, call, matches!(head.method, Method::GET | Method::HEAD)).await
    }

    fn check_source(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(wanted) = headers.get(SOURCE_HEADER) else { return Ok(()) };
        let source = route::percent_encode(self.service.source().as_bytes());
        if wanted.as_bytes() == source.as_bytes() {
            return Ok(());
        }
        let wanted = String::from_utf8_lossy(&route::percent_decode(wanted.as_bytes()).unwrap_or_default())
            .into_owned();
        Err(Problem::new(
            Kind::WrongPool,
            format!(
                "the path lies below a mount of {wanted}, but this server has {}; name the other server with --server",
                self.service.source()
            ),
        ))
    }
}

/// Tells somebody who has no place, and hangs up. A new connection takes these few bytes without waiting.
async fn refuse(mut stream: Box<dyn Stream>) {
    let problem = Problem::new(
        Kind::Busy,
        "the server has as many connections as it takes from one user, or in all; close some and try again",
    );
    let body = serde_json::to_string(&problem.document()).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        crate::problem::MEDIA_TYPE,
        body.len()
    );
    let told = tokio::time::timeout(REFUSAL_TIMEOUT, stream.write_all(answer.as_bytes())).await;
    tracing::debug!(told = told.is_ok(), "a connection was refused: all places are taken");
}

/// Waits until `stop` becomes true or nobody can set it any more.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The value of [`SOURCE_HEADER`] for a mount's source.
pub fn source_header(source: &[u8]) -> String {
    route::percent_encode(source)
}

/// Percent-encodes bytes for a query.
pub fn query_value(bytes: &[u8]) -> String {
    route::percent_encode(bytes)
}

/// Runs a handler on a thread that may be blocked. If whoever asks goes away, a question is given up; a change is carried out to its end.
async fn run(handler: Handler, call: Call, is_question: bool) -> Result<Answer, Problem> {
    let (waiting, gone) = oneshot::channel::<()>();
    let span = tracing::Span::current();
    let running = tokio::task::spawn_blocking(move || {
        let work = handler(call).instrument(span);
        tokio::runtime::Handle::current().block_on(async move {
            tokio::select! {
                answer = work => answer,
                _ = gone, if is_question => Err(Problem::new(Kind::Cancelled, "nobody waits for the answer any more")),
            }
        })
    });
    let answer = running.await;
    drop(waiting);
    answer.unwrap_or_else(|_| {
        Err(Problem::new(Kind::Internal, "the request broke off; the server's log says more"))
    })
}

async fn read_body(body: Incoming) -> Result<Bytes, Problem> {
    let whole = Limited::new(body, BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIMEOUT, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Problem::new(
            Kind::BodyTooLarge,
            format!("a request has at most {BODY_BYTES_MAX} bytes of body"),
        )),
        Ok(Err(error)) => Err(Problem::new(Kind::BadRequest, format!("the body cannot be read: {error}"))),
        Err(_) => Err(Problem::new(Kind::BadRequest, "the body did not arrive in time")),
    }
}
