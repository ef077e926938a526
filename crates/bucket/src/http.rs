//! The one place that sees HTTP: turns a refusal of the server into an error with its code and words.
//!
//! The crate below has types of its own for that, which nobody outside can name. A server's answer says more than a status:
//! which code, which region is the right one, what time it is there. Nothing of a request is kept, since its url and
//! headers may hold secrets.

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::{ClientOptions, HeaderMap};

/// Hosts that give out credentials. What they refuse is understood by those who ask them.
const CREDENTIAL_HOSTS: [&str; 4] =
    ["169.254.169.254", "169.254.170.2", "169.254.170.23", "metadata.google.internal"];
/// What is read of the words of a server, in bytes.
const WORDS_BYTES_MAX: usize = 500;

/// A server has answered, and not with what was asked for.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the server answered {status} {code}: {message}")]
pub(crate) struct Refused {
    pub(crate) status: u16,
    /// Such as `NoSuchBucket`; empty if the answer has none.
    pub(crate) code: String,
    /// The server's own words.
    pub(crate) message: String,
    /// Where the bucket is, if the server says so.
    pub(crate) region: Option<String>,
    /// The time at the server.
    pub(crate) date: Option<String>,
}

/// Makes clients whose refusals are [`Refused`].
#[derive(Debug, Default)]
pub(crate) struct Connector(ReqwestConnector);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service(self.0.connect(options)?)))
    }
}

#[derive(Debug)]
struct Service(HttpClient);

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_for_credentials = request.uri().host().is_some_and(|host| CREDENTIAL_HOSTS.contains(&host));
        let answer = self.0.execute(request).await?;
        let status = answer.status().as_u16();
        if status < 300 || is_for_credentials {
            return Ok(answer);
        }
        let (parts, body) = answer.into_parts();
        // Without its words a refusal is a refusal all the same.
        let text = body.bytes().await.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        Err(HttpError::new(HttpErrorKind::Unknown, Refused::of(status, &parts.headers, &text)))
    }
}

impl Refused {
    fn of(status: u16, headers: &HeaderMap, body: &str) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let code = element(body, "Code").map(str::to_owned).or_else(|| header("x-ms-error-code"));
        let message = element(body, "Message").unwrap_or_else(|| body.trim());
        let region = element(body, "Region").map(str::to_owned).or_else(|| header("x-amz-bucket-region"));
        let end = message.char_indices().map(|(at, _)| at).find(|at| *at >= WORDS_BYTES_MAX);
        Self {
            status,
            code: code.unwrap_or_default(),
            message: message[..end.unwrap_or(message.len())].replace(['\r', '\n'], " "),
            region,
            date: header("date"),
        }
    }
}

/// The text of the first XML element with this name.
fn element<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_words_and_region_are_taken_from_an_answer() {
        let body = "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>It\nis not there</Message>\
                    <Region>eu-west-1</Region></Error>";
        let refused = Refused::of(404, &HeaderMap::new(), body);
        assert_eq!((refused.code.as_str(), refused.message.as_str()), ("NoSuchBucket", "It is not there"));
        assert_eq!(refused.region.as_deref(), Some("eu-west-1"));
    }

    #[test]
    fn any_answer_can_be_told() {
        for body in ["", "<Code>", "plain words", "<Error></Error>", &"ü".repeat(1000)] {
            let refused = Refused::of(500, &HeaderMap::new(), body);
            assert!(refused.message.len() <= WORDS_BYTES_MAX + 4, "{body}");
        }
    }
}
