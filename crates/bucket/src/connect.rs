//! From settings to a client of the bucket.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ClientConfigKey, ClientOptions, HeaderValue, ObjectStore, RetryConfig};

use crate::http::Connector;
use crate::{BucketSettings, Provider};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What servers see of the program.
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("offshoot/", env!("CARGO_PKG_VERSION")));

/// Settings from which no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// An option that the provider does not have.
    #[error("[{section}] has no option `{name}`; such as {examples} are there")]
    UnknownOption {
        /// The section of the settings.
        section: &'static str,
        /// The option.
        name: String,
        /// Options that are often wanted.
        examples: &'static str,
    },
    /// The options do not fit together, or one has no such value.
    #[error("the options for {url} cannot be used: {reason}")]
    Refused {
        /// The bucket.
        url: String,
        /// Why not.
        reason: String,
    },
}

/// Begins the names of the environment variables that are options of this provider.
pub fn environment_prefix(provider: Provider) -> &'static str {
    match provider {
        Provider::S3 => "AWS_",
        Provider::Google => "GOOGLE_",
        Provider::Azure => "AZURE_",
    }
}

/// Refuses an option that a provider does not have, such as `region` for S3 or `account_name` for Azure. What the url says already,
/// and what would take away what a pool hangs on, is no option.
///
/// # Errors
/// `UnknownOption`.
pub fn check_option(provider: Provider, name: &str) -> Result<(), ConnectError> {
    let is_known = match provider {
        Provider::S3 => {
            use AmazonS3ConfigKey::{Bucket, ConditionalPut};
            AmazonS3ConfigKey::from_str(name).is_ok_and(|key| !matches!(key, Bucket | ConditionalPut))
        }
        Provider::Google => {
            GoogleConfigKey::from_str(name).is_ok_and(|key| !matches!(key, GoogleConfigKey::Bucket))
        }
        Provider::Azure => {
            AzureConfigKey::from_str(name).is_ok_and(|key| !matches!(key, AzureConfigKey::ContainerName))
        }
    };
    let examples = match provider {
        Provider::S3 => "`region`, `endpoint`, `access_key_id`, `secret_access_key`, `session_token`",
        Provider::Google => "`service_account`, `service_account_key`",
        Provider::Azure => "`account_name`, `account_key`, `endpoint`",
    };
    match is_known {
        true => Ok(()),
        false => {
            Err(ConnectError::UnknownOption { section: provider.section(), name: name.to_owned(), examples })
        }
    }
}

/// A client of the bucket. Asks nothing of it yet.
pub(crate) fn connect(settings: &BucketSettings) -> Result<Arc<dyn ObjectStore>, ConnectError> {
    // Whoever was here before has chosen one that does as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = &settings.url;
    let refused = |error: object_store::Error| ConnectError::Refused {
        url: url.to_string(),
        reason: without_values(&error.to_string(), settings),
    };
    for (name, _) in &settings.options.0 {
        check_option(url.provider, name)?;
    }
    // One attempt only: what a lost answer means, and when to try again, is decided by who asked.
    let retry = RetryConfig { max_retries: 0, retry_timeout: Duration::ZERO, ..RetryConfig::default() };
    let client = ClientOptions::new()
        .with_user_agent(USER_AGENT)
        .with_connect_timeout(CONNECT_TIMEOUT)
        // Each attempt has a deadline of its own that knows how much it moves.
        .with_timeout_disabled()
        .with_pool_max_idle_per_host(settings.requests_max);
    Ok(match url.provider {
        Provider::S3 => {
            let mut builder = AmazonS3Builder::new()
                .with_bucket_name(&url.bucket)
                .with_client_options(client)
                .with_retry(retry)
                .with_http_connector(Connector::default())
                // Plain deletes are understood by every server.
                .with_config(AmazonS3ConfigKey::DisableBulkDelete, "true");
            for (name, value) in &settings.options.0 {
                let key = AmazonS3ConfigKey::from_str(name).map_err(refused)?;
                let is_endpoint = matches!(key, AmazonS3ConfigKey::Endpoint | AmazonS3ConfigKey::S3Endpoint);
                builder = builder.with_config(key, value);
                // Whoever writes http:// means it.
                if is_endpoint && value.starts_with("http://") {
                    builder =
                        builder.with_config(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp), "true");
                }
            }
            Arc::new(builder.build().map_err(refused)?)
        }
        Provider::Google => {
            let mut builder = GoogleCloudStorageBuilder::new()
                .with_bucket_name(&url.bucket)
                .with_client_options(client)
                .with_retry(retry)
                .with_http_connector(Connector::default());
            for (name, value) in &settings.options.0 {
                let key = GoogleConfigKey::from_str(name).map_err(refused)?;
                let is_http = matches!(key, GoogleConfigKey::BaseUrl) && value.starts_with("http://");
                builder = builder.with_config(key, value);
                if is_http {
                    builder =
                        builder.with_config(GoogleConfigKey::Client(ClientConfigKey::AllowHttp), "true");
                }
            }
            Arc::new(builder.build().map_err(refused)?)
        }
        Provider::Azure => {
            let mut builder = MicrosoftAzureBuilder::new()
                .with_container_name(&url.bucket)
                .with_client_options(client)
                .with_retry(retry)
                .with_http_connector(Connector::default());
            for (name, value) in &settings.options.0 {
                let key = AzureConfigKey::from_str(name).map_err(refused)?;
                let is_http = matches!(key, AzureConfigKey::Endpoint) && value.starts_with("http://");
                builder = builder.with_config(key, value);
                if is_http {
                    builder = builder.with_config(AzureConfigKey::Client(ClientConfigKey::AllowHttp), "true");
                }
            }
            Arc::new(builder.build().map_err(refused)?)
        }
    })
}

/// Words that may quote a value, without any: it may be a secret.
fn without_values(words: &str, settings: &BucketSettings) -> String {
    let values = settings.options.0.iter().map(|(_, value)| value.as_str()).filter(|value| !value.is_empty());
    values.fold(words.to_owned(), |words, value| words.replace(value, "..."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    fn settings(url: &str, options: &[(&str, &str)]) -> BucketSettings {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        BucketSettings { options: Options(options.collect()), ..BucketSettings::new(url.parse().unwrap()) }
    }

    #[test]
    fn a_client_of_each_provider_is_made() {
        connect(&settings(
            "s3://b/p",
            &[("access_key_id", "a"), ("aws_secret_access_key", "b"), ("endpoint", "http://h")],
        ))
        .unwrap();
        connect(&settings("gs://b", &[("skip_signature", "true")])).unwrap();
        connect(&settings("az://c", &[("account_name", "a"), ("access_key", "c2VjcmV0")])).unwrap();
    }

    #[test]
    fn what_cannot_be_used_is_told_without_secrets() {
        let error = connect(&settings("s3://b", &[("regoin", "x")])).unwrap_err().to_string();
        assert!(error.contains("[aws] has no option `regoin`") && error.contains("`region`"), "{error}");
        let error =
            connect(&settings("s3://b", &[("secret_access_key", "hunter2")])).unwrap_err().to_string();
        assert!(error.contains("s3://b") && !error.contains("hunter2"), "{error}");
        let error =
            connect(&settings("az://b", &[("account_name", "a"), ("access_key", "hunter2 no base64!")]));
        let error = error.unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
