//! The table of endpoints: what each takes and answers, and which one a request means.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use hyper::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use super::answer::Answer;
use crate::Service;
use crate::path::PoolPath;
use crate::problem::{Kind, Problem};
use crate::service::Identity;

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anyone, on TCP without a token too.
    Open,
    /// Anyone who is known; permissions of files decide.
    Known,
    /// Root and the server's own user.
    Administrator,
}

/// What a query parameter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// A path in the pool; any byte may be percent-encoded.
    Path,
    /// Text.
    Text,
    /// An exact integer.
    Integer,
    /// `true` or `false`.
    Flag,
}

/// A query parameter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) holds: Holds,
    pub(super) required: bool,
    pub(super) repeated: bool,
    pub(super) meaning: &'static str,
}

/// What an endpoint answers when all goes well.
#[derive(Clone, Copy)]
pub(super) enum Answers {
    Json(fn(&mut SchemaGenerator) -> Schema),
    Lines(fn(&mut SchemaGenerator) -> Schema),
    Bytes,
    Text,
}

/// A request that has found its endpoint.
pub(super) struct Call {
    pub(super) service: Arc<Service>,
    pub(super) caller: Identity,
    pub(super) parameters: Parameters,
    pub(super) body: Bytes,
    /// The number in place of `{id}`.
    pub(super) id: u64,
}

/// Does the work of an endpoint. The engine may block the thread, so this runs on one that may be blocked, and stays there.
pub(super) type Handler = fn(Call) -> LocalBoxFuture<'static, Result<Answer, Problem>>;

/// An endpoint.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) parameters: Vec<Parameter>,
    pub(super) request: Option<fn(&mut SchemaGenerator) -> Schema>,
    pub(super) status: u16,
    pub(super) answers: Answers,
    pub(super) handler: Handler,
}

impl Route {
    /// An endpoint that takes nothing, for callers that are known.
    pub(super) fn new(
        method: Method,
        path: &'static str,
        summary: &'static str,
        answers: Answers,
        handler: Handler,
    ) -> Self {
        Self {
            method,
            path,
            summary,
            access: Access::Known,
            parameters: Vec::new(),
            request: None,
            status: 200,
            answers,
            handler,
        }
    }

    /// Sets who may call it.
    pub(super) fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Sets the status of a good answer.
    pub(super) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// Takes a body.
    pub(super) fn takes<T: JsonSchema>(self) -> Self {
        Self { request: Some(|generator| generator.subschema_for::<T>()), ..self }
    }

    /// Needs a parameter.
    pub(super) fn needs(mut self, name: &'static str, holds: Holds, meaning: &'static str) -> Self {
        self.parameters.push(Parameter { name, holds, required: true, repeated: false, meaning });
        self
    }

    /// Takes a parameter.
    pub(super) fn may(mut self, name: &'static str, holds: Holds, meaning: &'static str) -> Self {
        self.parameters.push(Parameter { name, holds, required: false, repeated: false, meaning });
        self
    }

    /// Needs a parameter once or more often.
    pub(super) fn needs_some(mut self, name: &'static str, holds: Holds, meaning: &'static str) -> Self {
        self.parameters.push(Parameter { name, holds, required: true, repeated: true, meaning });
        self
    }

    /// Reads a query: unknown, missing and doubled parameters are refused.
    pub(super) fn read_parameters(&self, query: &str) -> Result<Parameters, Problem> {
        let refuse = |words: String| Problem::new(Kind::BadRequest, words);
        let mut given: Vec<(&'static str, Vec<u8>)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(parameter) = self.parameters.iter().find(|parameter| parameter.name == name) else {
                let known: Vec<_> = self.parameters.iter().map(|parameter| parameter.name).collect();
                let known = if known.is_empty() {
                    "it takes none".into()
                } else {
                    format!("known: {}", known.join(", "))
                };
                return Err(refuse(format!(
                    "{name:?} is no parameter of {} {} ({known})",
                    self.method, self.path
                )));
            };
            if !parameter.repeated && given.iter().any(|(other, _)| *other == parameter.name) {
                return Err(refuse(format!("the parameter {name:?} is given twice")));
            }
            let value = percent_decode(value.as_bytes())
                .ok_or_else(|| refuse(format!("the value of {name:?} is not percent-encoded")))?;
            given.push((parameter.name, value));
        }
        let absent = |parameter: &&Parameter| !given.iter().any(|(name, _)| *name == parameter.name);
        if let Some(missing) = self.parameters.iter().filter(|parameter| parameter.required).find(absent) {
            return Err(refuse(format!("the parameter {:?} is missing: {}", missing.name, missing.meaning)));
        }
        Ok(Parameters(given))
    }
}

/// The parameters of a request.
pub(super) struct Parameters(Vec<(&'static str, Vec<u8>)>);

impl Parameters {
    /// A parameter's bytes.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// All values of a repeated parameter.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value.as_slice())
    }

    /// A path that may be absent.
    pub(super) fn path_if_given(&self, name: &str) -> Result<Option<PoolPath>, Problem> {
        self.bytes(name)
            .map(|bytes| {
                PoolPath::parse(bytes).map_err(|error| Problem::new(Kind::BadRequest, error.to_string()))
            })
            .transpose()
    }

    /// A path that the table says is required.
    pub(super) fn path(&self, name: &str) -> Result<PoolPath, Problem> {
        self.path_if_given(name)?
            .ok_or_else(|| Problem::new(Kind::BadRequest, format!("the parameter {name:?} is missing")))
    }

    /// An integer that may be absent.
    pub(super) fn integer(&self, name: &str) -> Result<Option<u64>, Problem> {
        self.value(name, "a whole number", |text| text.parse().ok())
    }

    /// A flag, false if absent.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        let read = |text: &str| match text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        Ok(self.value(name, "true or false", read)?.unwrap_or(false))
    }

    /// A flag that may be absent.
    pub(super) fn flag_or(&self, name: &str, default: bool) -> Result<bool, Problem> {
        if self.bytes(name).is_some() { self.flag(name) } else { Ok(default) }
    }

    fn value<T>(
        &self,
        name: &str,
        wanted: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(bytes) = self.bytes(name) else { return Ok(None) };
        let value = std::str::from_utf8(bytes).ok().and_then(read);
        let refuse = || Problem::new(Kind::BadRequest, format!("the parameter {name:?} needs {wanted}"));
        value.map(Some).ok_or_else(refuse)
    }
}

impl Call {
    /// Reads the body.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Problem::new(Kind::BadRequest, format!("the body does not fit: {error}")))
    }
}

/// All endpoints.
pub(super) struct Routes(pub(super) Vec<Route>);

/// The endpoint of a request.
pub(super) struct Found<'a> {
    pub(super) route: &'a Route,
    pub(super) id: u64,
}

/// Why a request has no endpoint.
#[derive(Debug)]
pub(super) struct Missed {
    pub(super) problem: Problem,
    /// Methods that its path knows; none if there is nothing at its path.
    pub(super) allowed: Vec<Method>,
}

impl Routes {
    /// Finds the endpoint of a request. Whatever can be got has a head.
    pub(super) fn find(&self, method: &Method, path: &str) -> Result<Found<'_>, Missed> {
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        let mut allowed = Vec::new();
        for route in &self.0 {
            let Some(id) = fits(route.path, path) else { continue };
            if route.method == *wanted {
                return Ok(Found { route, id });
            }
            allowed.push(route.method.clone());
            if route.method == Method::GET {
                allowed.push(Method::HEAD);
            }
        }
        let problem = if allowed.is_empty() {
            Problem::new(Kind::NoSuchEndpoint, format!("there is nothing at {path}; see /api/openapi.json"))
        } else {
            let known: Vec<_> = allowed.iter().map(Method::as_str).collect();
            let words = format!("{path} does not know the method {method}, but {}", known.join(", "));
            Problem::new(Kind::MethodNotAllowed, words)
        };
        Err(Missed { problem, allowed })
    }
}

/// The number in place of `{id}`, or 0 where the pattern has none; `None` if `path` does not fit.
fn fits(pattern: &str, path: &str) -> Option<u64> {
    let mut id = 0;
    let mut parts = path.split('/');
    for wanted in pattern.split('/') {
        let part = parts.next()?;
        if wanted == "{id}" {
            id = part.parse().ok()?;
        } else if wanted != part {
            return None;
        }
    }
    parts.next().is_none().then_some(id)
}

/// RFC 3986: everything but unreserved characters and `/` becomes `%XX`.
pub(super) fn percent_encode(bytes: &[u8]) -> String {
    let mut result = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            result.push(char::from(byte));
        } else {
            result.push_str(&format!("%{byte:02X}"));
        }
    }
    result
}

/// Undoes [`percent_encode`]; `None` if a `%` is not followed by two hexadecimal digits.
pub(super) fn percent_decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut result = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(&byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|digit| char::from(*digit).to_digit(16));
            result.push((digit()? << 4 | digit()?) as u8);
        } else {
            result.push(byte);
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        Route::new(Method::GET, "/api/v1/x", "nothing", Answers::Text, |_| {
            Box::pin(async { Ok(Answer::text("text/plain", String::new())) })
        })
        .needs("path", Holds::Path, "what")
        .may("limit", Holds::Integer, "how many")
        .may("deep", Holds::Flag, "all of it")
    }

    #[test]
    fn parameters_are_read_and_strangers_refused() {
        let given =
            route().read_parameters("path=/a%2Fb%FF&limit=7&deep=true").map_err(|p| p.detail).unwrap();
        assert_eq!(given.path("path").unwrap().as_bytes(), b"/a/b\xff");
        assert_eq!((given.integer("limit"), given.flag("deep")), (Ok(Some(7)), Ok(true)));
        for (query, word) in [
            ("path=/a&depth=1", "depth"),
            ("limit=1", "missing"),
            ("path=/a&path=/b", "twice"),
            ("path=%zz", "percent"),
        ] {
            let problem = route().read_parameters(query).err().unwrap();
            assert_eq!(problem.kind, Kind::BadRequest);
            assert!(problem.detail.contains(word), "{problem}");
        }
        let odd = route().read_parameters("path=a&limit=x&deep=1").map_err(|p| p.detail).unwrap();
        assert!(odd.path("path").is_err() && odd.integer("limit").is_err() && odd.flag("deep").is_err());
    }

    #[test]
    fn an_endpoint_is_found_by_path_and_method() {
        assert_eq!(fits("/api/v1/jobs/{id}", "/api/v1/jobs/12"), Some(12));
        assert_eq!(fits("/api/v1/jobs/{id}", "/api/v1/jobs/x"), None);
        assert_eq!(fits("/api/v1/jobs/{id}", "/api/v1/jobs"), None);
        assert_eq!(fits("/api/v1/jobs", "/api/v1/jobs/"), None);
        let routes = Routes(vec![route()]);
        assert!(routes.find(&Method::GET, "/api/v1/x").is_ok());
        assert!(routes.find(&Method::HEAD, "/api/v1/x").is_ok());
        let missed = routes.find(&Method::PUT, "/api/v1/x").err().unwrap();
        assert_eq!(missed.problem.kind, Kind::MethodNotAllowed);
        assert_eq!(missed.allowed, [Method::GET, Method::HEAD]);
        let missed = routes.find(&Method::GET, "/api/v1/y").err().unwrap();
        assert_eq!((missed.problem.kind, missed.allowed.len()), (Kind::NoSuchEndpoint, 0));
    }

    #[test]
    fn any_byte_survives_a_query() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(percent_decode(percent_encode(&all).as_bytes()), Some(all));
        assert_eq!(percent_decode(b"%4"), None);
    }
}
