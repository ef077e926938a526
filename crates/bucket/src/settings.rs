//! What can be set about a bucket: plain data.

use std::fmt;
use std::time::Duration;

use crate::BucketUrl;

/// Where a pool is and how it is talked to.
#[derive(Clone, Debug, PartialEq)]
pub struct BucketSettings {
    /// Bucket and prefix.
    pub url: BucketUrl,
    /// Endpoint, region, keys and the like, by the names of [`check_option`](crate::check_option). A later one wins.
    pub options: Options,
    /// How long one request may take, and on top a second for each MiB that it moves.
    pub request_timeout: Duration,
    /// How long a failing request is tried again before it is given up.
    pub retry_timeout: Duration,
    /// Requests under way at one time, at most.
    pub requests_max: usize,
    /// Bytes a second that are sent at most, on average.
    pub upload_bytes_per_second: Option<u64>,
    /// Bytes a second that are received at most, on average.
    pub download_bytes_per_second: Option<u64>,
}

/// Options by name. Some are secret: what is shown of them are the names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options(pub Vec<(String, String)>);

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl BucketSettings {
    /// The settings that suit most.
    pub fn new(url: BucketUrl) -> Self {
        Self {
            url,
            options: Options::default(),
            request_timeout: Duration::from_secs(30),
            retry_timeout: Duration::from_secs(120),
            requests_max: 64,
            upload_bytes_per_second: None,
            download_bytes_per_second: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut settings = BucketSettings::new("s3://b/p".parse().unwrap());
        settings.options.0.push(("secret_access_key".into(), "hunter2".into()));
        let shown = format!("{settings:?}");
        assert!(shown.contains("secret_access_key") && !shown.contains("hunter2"), "{shown}");
    }
}
