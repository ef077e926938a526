//! How a command fails: an exit code, what happened, and what to do next.

use std::fmt;

use offshoot_control::{ClientError, Kind, Problem};
use offshoot_engine::ErrorKind;

/// Exit codes that programs may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was tried and failed.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// There is no such pool, or no server that has it.
    NoPool = 10,
    /// Another writer has the pool.
    InUse = 11,
    /// The pool is encrypted, and no password or key was given, or another.
    WrongPassword = 12,
    /// The user interrupted it.
    Interrupted = 130,
}

/// Why a command ends without having done its work.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// For programs: the kind of the problem.
    pub(crate) kind: &'static str,
    /// What was tried on what, and why it failed.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) advice: Option<String>,
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, kind: "failed", message: message.into(), advice: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, kind: "usage", message: message.into(), advice: None }
    }

    pub(crate) fn no_pool(message: impl Into<String>) -> Self {
        Self { exit: Exit::NoPool, kind: "no_pool", message: message.into(), advice: None }
    }

    pub(crate) fn in_use(message: impl Into<String>) -> Self {
        Self { exit: Exit::InUse, kind: "in_use", message: message.into(), advice: None }
    }

    pub(crate) fn interrupted() -> Self {
        Self { exit: Exit::Interrupted, kind: "interrupted", message: "interrupted".into(), advice: None }
    }

    /// Says what to do next.
    pub(crate) fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// The same, unless there is advice already.
    pub(crate) fn or_advise(self, advice: impl FnOnce() -> Option<String>) -> Self {
        let advice = self.advice.or_else(advice);
        Self { advice, ..self }
    }

    /// True if the problem is of this kind.
    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.kind == kind.name()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let exit = match problem.kind {
            Kind::Engine(ErrorKind::NoPool) | Kind::WrongPool => Exit::NoPool,
            Kind::Engine(ErrorKind::InUse | ErrorKind::Fenced) => Exit::InUse,
            Kind::Engine(ErrorKind::WrongPassword) => Exit::WrongPassword,
            _ => Exit::Failed,
        };
        let advice = match problem.kind {
            // Numbers that are used up come back by no removal.
            Kind::Engine(ErrorKind::NoSpace) if problem.detail.contains("have been used") => {
                Some("make a new pool, and copy into it with `cp -a`".into())
            }
            Kind::Engine(ErrorKind::NoSpace) => Some(
                "remove what is not needed, make room on the disk below the pool, or raise storage.capacity_gb if it is \
                 set; then try again"
                    .into(),
            ),
            Kind::Engine(ErrorKind::Fenced) => {
                Some("another server has taken over this pool; stop one of the two".into())
            }
            // What cannot be opened says itself what to do; there is no server to scrub.
            Kind::Engine(ErrorKind::Corrupt) if problem.detail.contains("--accept-loss") => None,
            Kind::Engine(ErrorKind::Corrupt) => Some("`offshoot scrub` names every file that is hit".into()),
            Kind::Engine(ErrorKind::NewerFormat) => {
                Some("use the newer version of offshoot that wrote it".into())
            }
            Kind::Unauthorized => {
                Some("name a file with the token by --token-file or OFFSHOOT_TOKEN_FILE".into())
            }
            _ => None,
        };
        Self { exit, kind: problem.kind.name(), message: problem.detail, advice }
    }
}

impl From<offshoot_engine::Error> for Failure {
    fn from(error: offshoot_engine::Error) -> Self {
        Problem::from(error).into()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Problem(problem) => problem.into(),
            ClientError::NoServer { .. } => Self::no_pool(error.to_string())
                .advise("start one with `offshoot up` or `offshoot run`, or name another with --server"),
            ClientError::Broken { .. } | ClientError::Strange { .. } => Self::new(error.to_string()),
        }
    }
}

impl From<crate::settings::SettingsError> for Failure {
    fn from(error: crate::settings::SettingsError) -> Self {
        Self { exit: Exit::Usage, kind: "settings", message: error.to_string(), advice: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pool_is_told_with_what_was_tried_and_what_to_do() {
        let full = |words| {
            let error = offshoot_engine::Error::new(ErrorKind::NoSpace, words);
            Failure::from(Problem::from(error).while_trying("take the snapshot \"s\" of /a"))
        };
        let failure = full("the pool is full");
        assert_eq!(failure.message, "cannot take the snapshot \"s\" of /a: the pool is full");
        assert!(failure.advice.unwrap().starts_with("remove what is not needed, make room"));
        let failure = full("all 2^24 clone numbers of this pool have been used");
        assert!(failure.advice.unwrap().starts_with("make a new pool"));
    }

    #[test]
    fn exit_codes_follow_the_kind() {
        let exit = |kind| Failure::from(Problem::new(kind, "x")).exit as i32;
        assert_eq!(exit(Kind::Engine(ErrorKind::NotFound)), 1);
        assert_eq!(exit(Kind::Engine(ErrorKind::NoPool)), 10);
        assert_eq!(exit(Kind::WrongPool), 10);
        assert_eq!(exit(Kind::Engine(ErrorKind::Fenced)), 11);
        assert_eq!(exit(Kind::Engine(ErrorKind::InUse)), 11);
        assert_eq!(exit(Kind::Engine(ErrorKind::WrongPassword)), 12);
    }
}
