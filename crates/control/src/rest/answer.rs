//! What an endpoint answers, and how it becomes an HTTP response.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::problem::{self, Kind, Problem};

/// An answer.
pub(super) struct Answer {
    status: StatusCode,
    media_type: &'static str,
    body: Body,
    /// Methods to name in `Allow`.
    allowed: Vec<Method>,
}

/// The body of a response: whole, or piece by piece. A stream that ends with an error cuts the connection, so that no
/// client takes it for complete.
pub enum Body {
    /// All of it.
    Whole(Option<Bytes>),
    /// As it comes.
    Stream(mpsc::Receiver<Result<Bytes, Problem>>),
}

impl Answer {
    /// 200 with JSON.
    pub(super) fn json(value: &impl Serialize) -> Result<Self, Problem> {
        Self::json_with(StatusCode::OK, value)
    }

    /// JSON with another status.
    pub(super) fn json_with(status: StatusCode, value: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(value).map_err(|error| {
            Problem::new(Kind::Internal, format!("an answer cannot be written as JSON: {error}"))
        })?;
        Ok(Self::new(status, "application/json", Body::Whole(Some(body.into()))))
    }

    /// 200 with text.
    pub(super) fn text(media_type: &'static str, text: String) -> Self {
        Self::new(StatusCode::OK, media_type, Body::Whole(Some(text.into())))
    }

    /// 200 with one JSON value a line.
    pub(super) fn lines(lines: mpsc::Receiver<Result<Bytes, Problem>>) -> Self {
        Self::new(StatusCode::OK, "application/x-ndjson", Body::Stream(lines))
    }

    /// 200 with raw bytes.
    pub(super) fn bytes(pieces: mpsc::Receiver<Result<Bytes, Problem>>) -> Self {
        Self::new(StatusCode::OK, "application/octet-stream", Body::Stream(pieces))
    }

    /// A problem document.
    pub(super) fn problem(problem: &Problem) -> Self {
        let status = StatusCode::from_u16(problem.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&problem.document()).unwrap_or_default();
        Self::new(status, problem::MEDIA_TYPE, Body::Whole(Some(body.into())))
    }

    /// Names the methods that would do (RFC 9110 section 15.5.6).
    pub(super) fn allow(self, allowed: Vec<Method>) -> Self {
        Self { allowed, ..self }
    }

    fn new(status: StatusCode, media_type: &'static str, body: Body) -> Self {
        Self { status, media_type, body, allowed: Vec::new() }
    }

    /// The response.
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let allowed: Vec<_> = self.allowed.iter().map(Method::as_str).collect();
        if let Some(allowed) = HeaderValue::try_from(allowed.join(", ")).ok().filter(|_| !allowed.is_empty())
        {
            headers.insert(ALLOW, allowed);
        }
        response
    }
}

/// One line of NDJSON.
pub(super) fn line(value: &impl Serialize) -> Result<Bytes, Problem> {
    let mut line = serde_json::to_vec(value).map_err(|error| {
        Problem::new(Kind::Internal, format!("a line cannot be written as JSON: {error}"))
    })?;
    line.push(b'\n');
    Ok(line.into())
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Problem;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Problem>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(pieces) => {
                pieces.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
