//! The engine's public error: a kind that tells the caller what to do, and words for a person.

use std::fmt;

/// What went wrong, coarse enough to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The named thing does not exist.
    NotFound,
    /// The destination exists already.
    Exists,
    /// A directory was needed, something else was found.
    NotDirectory,
    /// Something other than a directory was needed.
    IsDirectory,
    /// The directory has entries.
    NotEmpty,
    /// The thing lies in a read-only clone.
    ReadOnly,
    /// The move or link would cross from one clone into another.
    CrossRealm,
    /// The inode number names nothing any more.
    Stale,
    /// The argument cannot be honoured (a loop in a rename, a negative size, ...).
    Invalid,
    /// A name is longer than 255 bytes.
    NameTooLong,
    /// A file would grow beyond the largest size.
    TooLarge,
    /// No such extended attribute.
    NoAttribute,
    /// An extended attribute does not fit.
    AttributeTooLarge,
    /// A file has as many names as it can have.
    TooManyLinks,
    /// The pool, or the disk below it, is full.
    NoSpace,
    /// Stored bytes are not what was written.
    Corrupt,
    /// There is no pool at the given place.
    NoPool,
    /// A pool exists where a new one should be made.
    PoolExists,
    /// The pool is encrypted, and no password or key was given, or another.
    WrongPassword,
    /// The pool was written by a newer program.
    NewerFormat,
    /// Another live writer has the pool.
    InUse,
    /// Another writer took over the pool; this one has stopped.
    Fenced,
    /// The store answered with an error; trying again may help.
    Store,
    /// The pool has been closed.
    Closed,
}

/// An error with its kind, a message that names the thing, and the cause if there is one.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>,
}

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    /// The same with the error that caused it.
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: Some(std::sync::Arc::new(source)) }))
    }

    /// An I/O error of the store below: a full disk is [`ErrorKind::NoSpace`], all else [`ErrorKind::Store`].
    pub fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
            _ => ErrorKind::Store,
        };
        Self::with_source(kind, doing, source)
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The words, without the cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind, String::new())
    }
}

impl ErrorKind {
    /// A few words for a person.
    pub fn words(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::Exists => "exists already",
            Self::NotDirectory => "not a directory",
            Self::IsDirectory => "is a directory",
            Self::NotEmpty => "directory is not empty",
            Self::ReadOnly => "inside a read-only clone",
            Self::CrossRealm => "would cross from one clone into another",
            Self::Stale => "no longer exists",
            Self::Invalid => "invalid argument",
            Self::NameTooLong => "name is longer than 255 bytes",
            Self::TooLarge => "file would be too large",
            Self::NoAttribute => "no such attribute",
            Self::AttributeTooLarge => "attribute does not fit",
            Self::TooManyLinks => "too many links",
            Self::NoSpace => "no space left",
            Self::Corrupt => "stored data is corrupt",
            Self::NoPool => "no pool here",
            Self::PoolExists => "a pool exists here already",
            Self::WrongPassword => "the password or key does not open the pool",
            Self::NewerFormat => "the pool was written by a newer version",
            Self::InUse => "the pool is in use by another writer",
            Self::Fenced => "another writer has taken over the pool",
            Self::Store => "the store failed",
            Self::Closed => "the pool is closed",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.message.is_empty() {
            f.write_str(self.0.kind.words())
        } else {
            f.write_str(&self.0.message)
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.message)?;
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|s| s.as_ref() as &(dyn std::error::Error + 'static))
    }
}
