//! Where a pool is: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.

use std::fmt;
use std::str::FromStr;

/// Longest prefix, in bytes: keys have at most 1,024, and names in a pool at most 512.
const PREFIX_BYTES_MAX: usize = 500;

/// Whose protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3 and everything compatible.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

/// A bucket and a prefix in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketUrl {
    /// Whose protocol is spoken.
    pub provider: Provider,
    /// Name of the bucket; Azure calls it a container.
    pub bucket: String,
    /// What stands before each name, without a slash at either end; may be empty.
    pub prefix: String,
}

/// A url that names no place in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{url:?} names no place in a bucket: {reason}; write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
)]
pub struct UrlError {
    url: String,
    reason: &'static str,
}

impl Provider {
    /// The scheme of its urls.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }

    /// The section of the settings with its options.
    pub fn section(self) -> &'static str {
        match self {
            Self::S3 => "aws",
            Self::Google => "gcp",
            Self::Azure => "azure",
        }
    }

    /// The provider with this scheme.
    pub fn of_scheme(scheme: &str) -> Option<Self> {
        [Self::S3, Self::Google, Self::Azure].into_iter().find(|provider| provider.scheme() == scheme)
    }
}

impl FromStr for BucketUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let refuse = |reason| UrlError { url: text.to_owned(), reason };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refuse("it has no scheme"))?;
        let provider = Provider::of_scheme(scheme).ok_or_else(|| refuse("its scheme is not known"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(refuse("it has no bucket"));
        }
        let of_bucket = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if !bucket.bytes().all(of_bucket) {
            return Err(refuse("a bucket's name has letters, digits, '-', '.' and '_' only"));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if prefix.len() > PREFIX_BYTES_MAX {
            return Err(refuse("the prefix is too long"));
        }
        let is_plain = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(of_bucket);
        if !prefix.is_empty() && !prefix.split('/').all(is_plain) {
            return Err(refuse("the parts of a prefix have letters, digits, '-', '.' and '_' only"));
        }
        Ok(Self { provider, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.provider.scheme(), self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_back_as_they_were() {
        for text in ["s3://bucket", "s3://my.bucket-1/a/b_c", "gs://b/pool", "az://container/x"] {
            assert_eq!(text.parse::<BucketUrl>().unwrap().to_string(), text);
        }
        assert_eq!("s3://b/p/".parse::<BucketUrl>().unwrap().to_string(), "s3://b/p");
        assert_eq!("s3://b/".parse::<BucketUrl>().unwrap().prefix, "");
    }

    #[test]
    fn what_names_no_place_is_refused() {
        let long = format!("s3://b/{}", "a".repeat(501));
        for text in [
            "",
            "b/p",
            "s3://",
            "s3:///p",
            "ftp://b",
            "s3://b//p",
            "s3://b/../p",
            "s3://b/a b",
            "s3://b?x",
            &long,
        ] {
            let error = text.parse::<BucketUrl>().unwrap_err().to_string();
            assert!(error.contains("s3://BUCKET/PREFIX"), "{text}: {error}");
        }
    }
}
