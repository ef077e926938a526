//! What a failure means: whether it is tried again, and what the user is told.

use std::error::Error as StdError;

use object_store::client::HttpError;
use offshoot_engine::{Error, ErrorKind};

use crate::http::Refused;
use crate::{BucketUrl, Provider};

/// What was asked of the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Put,
    Get,
    List,
    Delete,
}

/// What a failure means.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The name is taken.
    Exists,
    /// There is no such object.
    Missing,
    /// The object ends before the range begins.
    PastEnd,
    /// It may go well the next time; it may also have been carried out.
    Again { words: String, slow_down: bool },
    /// It will not go well by itself.
    Final { kind: ErrorKind, words: String },
}

impl Call {
    /// As in "cannot put x into ...".
    fn words(self, name: &str, url: &BucketUrl) -> String {
        match self {
            Self::Put => format!("cannot put the object {name} into {url}"),
            Self::Get => format!("cannot read the object {name} of {url}"),
            Self::List => format!("cannot list {name} of {url}"),
            Self::Delete => format!("cannot delete the object {name} of {url}"),
        }
    }

    /// What the bucket's owner has to allow for it.
    fn permission(self, provider: Provider) -> &'static str {
        match (provider, self) {
            (Provider::S3, Self::Put) => "s3:PutObject",
            (Provider::S3, Self::Get) => "s3:GetObject, and s3:ListBucket",
            (Provider::S3, Self::List) => "s3:ListBucket",
            (Provider::S3, Self::Delete) => "s3:DeleteObject",
            (Provider::Google, _) => "the role Storage Object User",
            (Provider::Azure, _) => "the role Storage Blob Data Contributor",
        }
    }
}

/// The error of a call that is given up.
pub(crate) fn error(kind: ErrorKind, call: Call, name: &str, url: &BucketUrl, words: &str) -> Error {
    Error::new(kind, format!("{}: {words}", call.words(name, url)))
}

/// Says what a failure means.
pub(crate) fn judge(call: Call, url: &BucketUrl, failure: &object_store::Error) -> Verdict {
    let mut transport = None;
    let mut next: Option<&(dyn StdError + 'static)> = Some(failure);
    while let Some(error) = next {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return judge_refusal(call, url, refused);
        }
        transport = transport.or_else(|| error.downcast_ref::<HttpError>());
        next = error.source();
    }
    match (failure, transport) {
        (_, Some(error)) => judge_transport(error),
        (object_store::Error::NotFound { .. }, _) => Verdict::Missing,
        (object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }, _) => {
            Verdict::Exists
        }
        (other, _) => Verdict::Final { kind: ErrorKind::Store, words: innermost(other) },
    }
}

fn judge_transport(error: &HttpError) -> Verdict {
    let words = innermost(error);
    if words.contains("certificate") {
        let words = format!(
            "the server's certificate is not accepted ({words}); correct the endpoint, or install the authority that \
             signed it"
        );
        return Verdict::Final { kind: ErrorKind::Store, words };
    }
    Verdict::Again {
        words: format!("the server cannot be reached, or broke off ({words})"),
        slow_down: false,
    }
}

fn judge_refusal(call: Call, url: &BucketUrl, refused: &Refused) -> Verdict {
    let Refused { status, code, message, region, date } = refused;
    let said = match (code.as_str(), message.as_str()) {
        ("", "") => format!("status {status}"),
        ("", message) => format!("status {status}: {message}"),
        (code, "") => format!("status {status}, {code}"),
        (code, message) => format!("status {status}, {code}: {message}"),
    };
    let told = |words: String| Verdict::Final { kind: ErrorKind::Store, words };
    match (*status, code.as_str()) {
        (_, "NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted") => told(no_bucket(url)),
        (404, _) if message.contains("bucket does not exist") || call == Call::List => told(no_bucket(url)),
        // What is to be deleted is gone, what is to be read was never there. A put misses nothing but its bucket.
        (404, _) if call == Call::Put => told(no_bucket(url)),
        (404, _) => Verdict::Missing,
        (412, _) => Verdict::Exists,
        (416, _) => Verdict::PastEnd,
        // Two puts under one name at one time: neither need have been carried out, so this is not "it exists".
        (409, "ConditionalRequestConflict" | "OperationAborted" | "") => {
            Verdict::Again { words: format!("two puts met ({said})"), slow_down: false }
        }
        (409, code) if code.contains("AlreadyExists") => Verdict::Exists,
        (507, _) | (_, "QuotaExceeded" | "XMinioStorageFull" | "InsufficientCapacity") => Verdict::Final {
            kind: ErrorKind::NoSpace,
            words: format!("the bucket is full or its quota is used up ({said})"),
        },
        (_, "RequestTimeTooSkewed" | "RequestExpired") => told(format!(
            "the clock of this machine differs too much from the server's, where it is {}; set it by NTP ({said})",
            date.as_deref().unwrap_or("another time")
        )),
        (_, "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken") => told(format!(
            "the session token has expired or is not valid; get a new one and start again ({said})"
        )),
        (301 | 302 | 307 | 308, _)
        | (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            let at = region.as_ref().map_or(String::new(), |region| format!(": it is in {region}"));
            told(format!(
                "the bucket is in another region or at another endpoint{at}; set AWS_REGION, or `region` in [{}] ({said})",
                url.provider.section()
            ))
        }
        (401, _)
        | (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AuthenticationFailed" | "InvalidSecurity") => {
            told(wrong_credentials(url.provider, &said))
        }
        (403, _) => told(format!(
            "these credentials may not do that; give them {} on the bucket ({said})",
            call.permission(url.provider)
        )),
        (501, _) | (_, "NotImplemented") => told(format!(
            "the server does not know a request that a pool needs; `offshoot doctor --url {url}` tells which ({said})"
        )),
        (408 | 429 | 500.., _) => {
            let slow_down = *status == 429 || *status == 503;
            Verdict::Again { words: said, slow_down }
        }
        // Bodies that were cut off on the way, and clocks of two requests that met.
        (400, "RequestTimeout" | "IncompleteBody" | "BadDigest" | "XAmzContentSHA256Mismatch") => {
            Verdict::Again { words: said, slow_down: false }
        }
        _ => told(said),
    }
}

fn no_bucket(url: &BucketUrl) -> String {
    format!("there is no bucket {}; make it, or correct storage.url and the endpoint", url.bucket)
}

fn wrong_credentials(provider: Provider, said: &str) -> String {
    let names = match provider {
        Provider::S3 => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        Provider::Google => "GOOGLE_SERVICE_ACCOUNT or GOOGLE_SERVICE_ACCOUNT_KEY",
        Provider::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    };
    format!(
        "the credentials were refused; set {names}, or their options in [{}] of the settings ({said})",
        provider.section()
    )
}

/// The words of the cause of all causes, which is what happened. Those above it have urls, and a url may hold a secret.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let words = innermost.to_string();
    let without = words.split_whitespace().map(|word| match word.split_once('?') {
        Some((address, _)) if address.contains("://") => address,
        _ => word,
    });
    without.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use object_store::client::HttpErrorKind;

    use super::*;

    fn url() -> BucketUrl {
        "s3://bucket/pool".parse().unwrap()
    }

    fn failure(status: u16, code: &str) -> object_store::Error {
        let refused = Refused {
            status,
            code: code.into(),
            message: "words of the server".into(),
            region: Some("eu-west-1".into()),
            date: Some("Thu, 01 Jan 1970 00:00:00 GMT".into()),
        };
        let source = Box::new(HttpError::new(HttpErrorKind::Unknown, refused));
        object_store::Error::Generic { store: "S3", source }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for (status, code, slow) in [
            (503, "SlowDown", true),
            (503, "", true),
            (429, "", true),
            (500, "InternalError", false),
            (502, "", false),
            (408, "", false),
            (409, "ConditionalRequestConflict", false),
            (400, "IncompleteBody", false),
        ] {
            let verdict = judge(Call::Put, &url(), &failure(status, code));
            assert!(
                matches!(verdict, Verdict::Again { slow_down, .. } if slow_down == slow),
                "{status} {code}: {verdict:?}"
            );
        }
        let broken = HttpError::new(HttpErrorKind::Interrupted, std::io::Error::other("reset"));
        let broken = object_store::Error::Generic { store: "S3", source: Box::new(broken) };
        assert!(matches!(judge(Call::Get, &url(), &broken), Verdict::Again { .. }));
    }

    #[test]
    fn names_that_are_taken_or_free_are_told_apart_from_missing_buckets() {
        let judged = |call, status, code| judge(call, &url(), &failure(status, code));
        assert!(matches!(judged(Call::Put, 412, "PreconditionFailed"), Verdict::Exists));
        assert!(matches!(judged(Call::Put, 409, "BlobAlreadyExists"), Verdict::Exists));
        assert!(matches!(judged(Call::Get, 404, "NoSuchKey"), Verdict::Missing));
        assert!(matches!(judged(Call::Delete, 404, "BlobNotFound"), Verdict::Missing));
        assert!(matches!(judged(Call::Get, 416, "InvalidRange"), Verdict::PastEnd));
        for call in [Call::Put, Call::Get, Call::List, Call::Delete] {
            assert!(matches!(judged(call, 404, "NoSuchBucket"), Verdict::Final { .. }), "{call:?}");
        }
        assert!(matches!(judged(Call::List, 404, ""), Verdict::Final { .. }));
    }

    #[test]
    fn the_user_is_told_what_to_do() {
        for (status, code, words) in [
            (404, "NoSuchBucket", "there is no bucket bucket; make it"),
            (403, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
            (403, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
            (403, "RequestTimeTooSkewed", "01 Jan 1970"),
            (403, "AccessDenied", "s3:PutObject"),
            (403, "", "s3:PutObject"),
            (400, "ExpiredToken", "get a new one"),
            (301, "PermanentRedirect", "it is in eu-west-1"),
            (501, "NotImplemented", "offshoot doctor --url s3://bucket/pool"),
        ] {
            match judge(Call::Put, &url(), &failure(status, code)) {
                Verdict::Final { kind: ErrorKind::Store, words: told } => {
                    assert!(told.contains(words), "{code}: {told}");
                }
                other => panic!("{status} {code}: {other:?}"),
            }
        }
        let full = judge(Call::Put, &url(), &failure(507, ""));
        assert!(matches!(full, Verdict::Final { kind: ErrorKind::NoSpace, .. }));
    }

    #[test]
    fn no_url_with_a_signature_is_shown() {
        let source = "sending to https://a.example/c?sig=hunter2 failed".into();
        let words = innermost(&object_store::Error::Generic { store: "Azure", source });
        assert_eq!(words, "sending to https://a.example/c failed");
    }
}
