//! [`Error`]: a POSIX code with the engine's error that caused it.
//!
//! The translation from the engine's kinds is exhaustive, without a catch-all arm: a new kind does not compile until
//! someone has decided what a POSIX program should see.

use std::borrow::Cow;

use offshoot_engine::ErrorKind;

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $errno:ident),+ $(,)?) => {
        /// What a POSIX program sees.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $name),+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$name),+];

            /// The Linux error number, positive.
            pub fn errno(self) -> i32 {
                match self { $(Code::$name => libc::$errno),+ }
            }

            /// The name of the error number, such as `ENOENT`.
            pub fn name(self) -> &'static str {
                match self { $(Code::$name => stringify!($errno)),+ }
            }
        }
    };
}

codes! {
    /// The caller is not the owner, or not privileged.
    NotPermitted = EPERM,
    /// No such name.
    NoEntry = ENOENT,
    /// The store failed or what it holds is corrupt.
    Io = EIO,
    /// Nothing to find at or after the offset of a seek.
    NoData = ENXIO,
    /// The handle is closed or was not opened for this.
    BadHandle = EBADF,
    /// The permission bits or the access control list deny it.
    Access = EACCES,
    /// In use.
    Busy = EBUSY,
    /// The name is taken.
    Exists = EEXIST,
    /// A move or link from one clone into another.
    CrossClone = EXDEV,
    /// A directory was needed.
    NotDirectory = ENOTDIR,
    /// Something other than a directory was needed.
    IsDirectory = EISDIR,
    /// The argument makes no sense.
    Invalid = EINVAL,
    /// The file would be too large.
    TooLarge = EFBIG,
    /// No space left.
    NoSpace = ENOSPC,
    /// Inside a read-only clone.
    ReadOnly = EROFS,
    /// Too many names of one file.
    TooManyLinks = EMLINK,
    /// A value does not fit: an attribute's name is empty or too long, a buffer too small.
    Range = ERANGE,
    /// A name is longer than 255 bytes.
    NameTooLong = ENAMETOOLONG,
    /// The directory has entries.
    NotEmpty = ENOTEMPTY,
    /// Too many symbolic links, or one where none may be followed.
    Loop = ELOOP,
    /// No such extended attribute.
    NoAttribute = ENODATA,
    /// The value of an extended attribute is larger than 64 KiB.
    AttributeTooLarge = E2BIG,
    /// Not possible here.
    NotSupported = EOPNOTSUPP,
    /// The inode is gone.
    Stale = ESTALE,
}

/// What failed, as a POSIX program sees it, with words for a person and the cause.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    code: Code,
    message: Cow<'static, str>,
    source: Option<offshoot_engine::Error>,
}

impl Error {
    /// An error of this layer.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), source: None }
    }

    /// What a POSIX program sees.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The Linux error number, positive.
    pub fn errno(&self) -> i32 {
        self.code.errno()
    }

    /// The engine's error that caused it.
    pub fn engine(&self) -> Option<&offshoot_engine::Error> {
        self.source.as_ref()
    }
}

impl From<offshoot_engine::Error> for Error {
    fn from(source: offshoot_engine::Error) -> Self {
        let kind = source.kind();
        let code = code_of(kind);
        let message = match (source.message(), stopped(kind)) {
            ("", _) => Cow::Borrowed(kind.words()),
            (words, Some(why)) => Cow::Owned(format!("{why}: {words}")),
            (words, None) => Cow::Owned(words.to_owned()),
        };
        Self { code, message, source: Some(source) }
    }
}

/// A program sees `EIO` for all of these; the message says which.
fn stopped(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Fenced | ErrorKind::Closed => Some(kind.words()),
        _ => None,
    }
}

fn code_of(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::NotFound => Code::NoEntry,
        ErrorKind::Exists => Code::Exists,
        ErrorKind::NotDirectory => Code::NotDirectory,
        ErrorKind::IsDirectory => Code::IsDirectory,
        ErrorKind::NotEmpty => Code::NotEmpty,
        ErrorKind::ReadOnly => Code::ReadOnly,
        ErrorKind::CrossRealm => Code::CrossClone,
        ErrorKind::Stale => Code::Stale,
        ErrorKind::Invalid => Code::Invalid,
        ErrorKind::NameTooLong => Code::NameTooLong,
        ErrorKind::TooLarge => Code::TooLarge,
        ErrorKind::NoAttribute => Code::NoAttribute,
        // A single value over the limit is refused with E2BIG before the engine sees it; what is left is the total.
        ErrorKind::AttributeTooLarge => Code::NoSpace,
        ErrorKind::TooManyLinks => Code::TooManyLinks,
        ErrorKind::NoSpace => Code::NoSpace,
        ErrorKind::InUse => Code::Busy,
        ErrorKind::Corrupt
        | ErrorKind::NoPool
        | ErrorKind::PoolExists
        | ErrorKind::WrongPassword
        | ErrorKind::NewerFormat
        | ErrorKind::Fenced
        | ErrorKind::Store
        | ErrorKind::Closed => Code::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_error_number_of_its_own() {
        let mut numbers: Vec<i32> = Code::ALL.iter().map(|code| code.errno()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), Code::ALL.len());
        assert!(numbers.iter().all(|number| *number > 0));
    }

    #[test]
    fn a_fenced_pool_is_an_io_error_that_says_so() {
        let error = Error::from(offshoot_engine::Error::new(ErrorKind::Fenced, "write /a"));
        assert_eq!(error.errno(), libc::EIO);
        assert_eq!(error.to_string(), "another writer has taken over the pool: write /a");
        assert!(error.engine().is_some());
    }

    #[test]
    fn a_kind_without_words_still_says_what_happened() {
        let error = Error::from(offshoot_engine::Error::from(ErrorKind::CrossRealm));
        assert_eq!(error.code(), Code::CrossClone);
        assert_eq!(error.code().name(), "EXDEV");
        assert_eq!(error.to_string(), "would cross from one clone into another");
    }
}
