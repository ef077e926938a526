//! What settings say about a pool in a bucket: where its log is, how the bucket is talked to, with which credentials.
//!
//! Options come from the environment and from the sections `[aws]`, `[gcp]` and `[azure]`, which win. An option `NAME_file` names a
//! file with the value.

use std::path::{Path, PathBuf};

use offshoot_bucket::{BucketSettings, BucketUrl, Options, Provider, check_option, environment_prefix};
use toml::{Table, Value};

/// A pool in a bucket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bucket {
    /// The bucket, with the options of the settings file.
    pub(crate) bucket: BucketSettings,
    /// Directory of this machine with the log and the lock.
    pub(crate) state_directory: PathBuf,
    /// Also a bucket that does not keep what a pool needs is used.
    pub(crate) accept_unfit: bool,
}

impl Bucket {
    /// A pool at `url` with everything as it comes.
    pub(crate) fn new(url: BucketUrl, state_directory: &Path) -> Self {
        Self {
            bucket: BucketSettings::new(url),
            state_directory: state_directory.to_owned(),
            accept_unfit: false,
        }
    }

    /// The bucket with the options of the environment too.
    pub(crate) fn with_environment(&self) -> BucketSettings {
        self.with_variables(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    fn with_variables(&self, variables: impl Iterator<Item = (String, String)>) -> BucketSettings {
        let provider = self.bucket.url.provider;
        let prefix = environment_prefix(provider);
        // The environment of a shell has much that is not for us.
        let mut options: Vec<_> = variables
            .filter(|(name, value)| name.starts_with(prefix) && !value.is_empty())
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .filter(|(name, _)| check_option(provider, name).is_ok())
            .collect();
        options.sort_unstable();
        options.extend(self.bucket.options.0.iter().cloned());
        BucketSettings { options: Options(options), ..self.bucket.clone() }
    }
}

/// Reads a section of options, whose strings have been expanded.
pub(super) fn options(provider: Provider, table: Table) -> Result<Options, String> {
    let section = provider.section();
    let mut options = Vec::new();
    for (name, value) in table {
        let value = match value {
            Value::String(text) => text,
            Value::Boolean(_) | Value::Integer(_) => value.to_string(),
            other => return Err(format!("`{section}.{name}` is a string, not {other}")),
        };
        // Some options are files by themselves, such as that with the token of a pod.
        let of_file = name.strip_suffix("_file").filter(|_| check_option(provider, &name).is_err());
        match of_file {
            Some(option) => {
                check_option(provider, option).map_err(|error| error.to_string())?;
                let text = std::fs::read_to_string(&value)
                    .map_err(|error| format!("`{section}.{name}`: {value} cannot be read: {error}"))?;
                options.push((option.to_owned(), text.trim().to_owned()));
            }
            None => {
                check_option(provider, &name).map_err(|error| error.to_string())?;
                options.push((name, value));
            }
        }
    }
    Ok(Options(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_win_over_the_environment_and_what_is_not_for_us_is_left() {
        let mut bucket = Bucket::new("s3://b".parse().unwrap(), Path::new("/x"));
        bucket.bucket.options.0.push(("region".into(), "mine".into()));
        let variables = [
            ("AWS_REGION", "theirs"),
            ("AWS_PAGER", "less"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_BUCKET", "another"),
            ("AWS_CONDITIONAL_PUT", "disabled"),
            ("AWS_SESSION_TOKEN", ""),
            ("AZURE_STORAGE_ACCOUNT_NAME", "a"),
        ];
        let found = bucket.with_variables(variables.map(|(a, b)| (a.to_owned(), b.to_owned())).into_iter());
        let expected = [("aws_access_key_id", "key"), ("aws_region", "theirs"), ("region", "mine")];
        assert_eq!(found.options.0, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn a_secret_may_be_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        std::fs::write(&file, "hunter2\n").unwrap();
        let text = format!("secret_access_key_file = {:?}\nallow_http = true", file.display().to_string());
        let found = options(Provider::S3, text.parse().unwrap()).unwrap().0;
        assert!(found.contains(&("secret_access_key".into(), "hunter2".into())), "{found:?}");
        assert!(found.contains(&("allow_http".into(), "true".into())));
        let refused = |text: &str| options(Provider::S3, text.parse().unwrap()).unwrap_err();
        assert!(refused("secret_access_key_file = \"/no/such/file\"").contains("cannot be read"));
        assert!(refused("regoin_file = \"/x\"").contains("`regoin`"));
        assert!(refused("region = 1.5").contains("`aws.region` is a string"));
        assert!(refused("bucket = \"another\"").contains("no option `bucket`"));
    }
}
