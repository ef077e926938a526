//! What an endpoint answers, and how it becomes an HTTP response.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::problem::{self, Kind, Problem};

/// An answer.
pub(super) struct Answer {
    status: StatusCode,
    media_type: &'static str,
    body: Body,
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
        Ok(Self { status, media_type: "application/json", body: Body::Whole(Some(body.into())) })
    }

    /// 200 with text.
    pub(super) fn text(media_type: &'static str, text: String) -> Self {
        Self { status: StatusCode::OK, media_type, body: Body::Whole(Some(text.into())) }
    }

    /// 200 with one JSON value a line.
    pub(super) fn lines(lines: mpsc::Receiver<Result<Bytes, Problem>>) -> Self {
        Self { status: StatusCode::OK, media_type: "application/x-ndjson", body: Body::Stream(lines) }
    }

    /// 200 with raw bytes.
    pub(super) fn bytes(pieces: mpsc::Receiver<Result<Bytes, Problem>>) -> Self {
        Self { status: StatusCode::OK, media_type: "application/octet-stream", body: Body::Stream(pieces) }
    }

    /// A problem document.
    pub(super) fn problem(problem: &Problem) -> Self {
        let status = StatusCode::from_u16(problem.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&problem.document()).unwrap_or_default();
        Self { status, media_type: problem::MEDIA_TYPE, body: Body::Whole(Some(body.into())) }
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
