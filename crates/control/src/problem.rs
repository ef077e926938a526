//! What can go wrong in the management plane, and how it looks on the wire: an RFC 9457 problem document.
//!
//! A problem's `kind` is one of the engine's error kinds in snake case, or one of the few that only this plane has. Programs
//! decide by `kind`; `detail` is for people and may change.

use std::fmt;

use offshoot_engine::ErrorKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong, coarse enough to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An error of the engine.
    Engine(ErrorKind),
    /// The caller may not do this.
    Permission,
    /// No or a wrong bearer token.
    Unauthorized,
    /// The request itself cannot be understood.
    BadRequest,
    /// There is nothing at this address of the API.
    NoSuchEndpoint,
    /// The address does not know this method.
    MethodNotAllowed,
    /// The body is larger than any request needs.
    BodyTooLarge,
    /// The path was found below the mount of another pool.
    WrongPool,
    /// Something is in use: a mount that should go, or all places for jobs.
    Busy,
    /// This machine or this server cannot do that.
    Unsupported,
    /// The job was cancelled.
    Cancelled,
    /// A mistake of ours.
    Internal,
}

/// All kinds, to find one by its name.
const ALL: [Kind; 35] = [
    Kind::Engine(ErrorKind::NotFound),
    Kind::Engine(ErrorKind::Exists),
    Kind::Engine(ErrorKind::NotDirectory),
    Kind::Engine(ErrorKind::IsDirectory),
    Kind::Engine(ErrorKind::NotEmpty),
    Kind::Engine(ErrorKind::ReadOnly),
    Kind::Engine(ErrorKind::CrossRealm),
    Kind::Engine(ErrorKind::Stale),
    Kind::Engine(ErrorKind::Invalid),
    Kind::Engine(ErrorKind::NameTooLong),
    Kind::Engine(ErrorKind::TooLarge),
    Kind::Engine(ErrorKind::NoAttribute),
    Kind::Engine(ErrorKind::AttributeTooLarge),
    Kind::Engine(ErrorKind::TooManyLinks),
    Kind::Engine(ErrorKind::NoSpace),
    Kind::Engine(ErrorKind::Corrupt),
    Kind::Engine(ErrorKind::NoPool),
    Kind::Engine(ErrorKind::PoolExists),
    Kind::Engine(ErrorKind::WrongPassword),
    Kind::Engine(ErrorKind::NewerFormat),
    Kind::Engine(ErrorKind::InUse),
    Kind::Engine(ErrorKind::Fenced),
    Kind::Engine(ErrorKind::Store),
    Kind::Engine(ErrorKind::Closed),
    Kind::Permission,
    Kind::Unauthorized,
    Kind::BadRequest,
    Kind::NoSuchEndpoint,
    Kind::MethodNotAllowed,
    Kind::BodyTooLarge,
    Kind::WrongPool,
    Kind::Busy,
    Kind::Unsupported,
    Kind::Cancelled,
    Kind::Internal,
];

impl Kind {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        self.row().1
    }

    /// The kind of a name on the wire; a name from a newer server is `Internal`.
    pub fn from_name(name: &str) -> Self {
        ALL.into_iter().find(|kind| kind.name() == name).unwrap_or(Self::Internal)
    }

    /// A few words for a person.
    pub fn words(self) -> &'static str {
        match self {
            Self::Engine(kind) => kind.words(),
            Self::Permission => "not permitted",
            Self::Unauthorized => "a valid token is needed",
            Self::BadRequest => "the request is not understood",
            Self::NoSuchEndpoint => "no such endpoint",
            Self::MethodNotAllowed => "method not allowed",
            Self::BodyTooLarge => "the request is too large",
            Self::WrongPool => "another pool",
            Self::Busy => "in use",
            Self::Unsupported => "not possible here",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal error",
        }
    }

    fn row(self) -> (&'static str, u16) {
        match self {
            Self::Engine(kind) => match kind {
                ErrorKind::NotFound => ("not_found", 404),
                ErrorKind::Exists => ("exists", 409),
                ErrorKind::NotDirectory => ("not_directory", 409),
                ErrorKind::IsDirectory => ("is_directory", 409),
                ErrorKind::NotEmpty => ("not_empty", 409),
                ErrorKind::ReadOnly => ("read_only", 409),
                ErrorKind::CrossRealm => ("cross_realm", 409),
                ErrorKind::Stale => ("stale", 404),
                ErrorKind::Invalid => ("invalid", 400),
                ErrorKind::NameTooLong => ("name_too_long", 400),
                ErrorKind::TooLarge => ("too_large", 400),
                ErrorKind::NoAttribute => ("no_attribute", 404),
                ErrorKind::AttributeTooLarge => ("attribute_too_large", 400),
                ErrorKind::TooManyLinks => ("too_many_links", 409),
                ErrorKind::NoSpace => ("no_space", 507),
                ErrorKind::Corrupt => ("corrupt", 500),
                ErrorKind::NoPool => ("no_pool", 404),
                ErrorKind::PoolExists => ("pool_exists", 409),
                ErrorKind::WrongPassword => ("wrong_password", 403),
                ErrorKind::NewerFormat => ("newer_format", 500),
                ErrorKind::InUse => ("in_use", 409),
                ErrorKind::Fenced => ("fenced", 503),
                ErrorKind::Store => ("store", 502),
                ErrorKind::Closed => ("closed", 503),
            },
            Self::Permission => ("permission", 403),
            Self::Unauthorized => ("unauthorized", 401),
            Self::BadRequest => ("bad_request", 400),
            Self::NoSuchEndpoint => ("no_such_endpoint", 404),
            Self::MethodNotAllowed => ("method_not_allowed", 405),
            Self::BodyTooLarge => ("body_too_large", 413),
            Self::WrongPool => ("wrong_pool", 409),
            Self::Busy => ("busy", 409),
            Self::Unsupported => ("unsupported", 501),
            Self::Cancelled => ("cancelled", 409),
            Self::Internal => ("internal", 500),
        }
    }
}

/// An error with its kind and a message that names the thing, what failed and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// What went wrong.
    pub kind: Kind,
    /// A sentence for a person.
    pub detail: String,
}

impl Problem {
    /// A problem of `kind` that says `detail`.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// The same with what was tried in front: `cannot clone /a to /b: /b exists already`.
    pub fn while_trying(self, tried: impl fmt::Display) -> Self {
        Self { detail: format!("cannot {tried}: {}", self.detail), ..self }
    }

    /// The document.
    pub fn document(&self) -> ProblemDocument {
        ProblemDocument {
            kind: self.kind.name().to_owned(),
            r#type: format!("urn:offshoot:problem:{}", self.kind.name()),
            title: self.kind.words().to_owned(),
            status: self.kind.status(),
            detail: self.detail.clone(),
        }
    }
}

impl From<offshoot_engine::Error> for Problem {
    fn from(error: offshoot_engine::Error) -> Self {
        Self::new(Kind::Engine(error.kind()), with_causes(&error))
    }
}

/// An error and all its causes in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !words.ends_with(&next) {
            words = format!("{words}: {next}");
        }
        cause = error.source();
    }
    words
}

/// A problem on the wire (RFC 9457 with the extension member `kind`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProblemDocument {
    /// `urn:offshoot:problem:` and the kind.
    pub r#type: String,
    /// The kind in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, for a person.
    pub detail: String,
    /// What happened, for a program.
    pub kind: String,
}

impl From<ProblemDocument> for Problem {
    fn from(document: ProblemDocument) -> Self {
        Self { kind: Kind::from_name(&document.kind), detail: document.detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire() {
        for kind in ALL {
            let problem = Problem::new(kind, "words");
            let json = serde_json::to_string(&problem.document()).unwrap();
            let read: ProblemDocument = serde_json::from_str(&json).unwrap();
            assert!((400..600).contains(&read.status));
            assert_eq!(Problem::from(read), problem);
        }
    }

    #[test]
    fn a_message_says_what_was_tried_and_why_it_failed() {
        let cause = std::io::Error::other("disk on fire");
        let error = offshoot_engine::Error::io("segment 7 cannot be read", cause);
        let problem = Problem::from(error).while_trying("read /x");
        assert_eq!(problem.detail, "cannot read /x: segment 7 cannot be read: disk on fire");
        assert_eq!(problem.kind, Kind::Engine(ErrorKind::Store));
    }
}
