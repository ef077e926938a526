//! Settings of a server: a TOML file, read strictly.
//!
//! Unknown keys are refused with the nearest known one; `${NAME}` in a string reads the environment; what this version cannot do
//! yet is refused with a sentence instead of being ignored. The result is plain data: `daemon.rs` builds from it.

pub(crate) mod bucket;
pub(crate) mod memory;
mod read;
mod template;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use offshoot_bucket::BucketUrl;
use offshoot_engine::{Compression, Encryption, Secret};

pub(crate) use bucket::Bucket;
pub(crate) use read::DISK_BYTES_MIN;
pub(crate) use template::TEMPLATE;

use crate::failure::{Failure, Outcome};

const MIB: f64 = (1u64 << 20) as f64;
const GIB: f64 = (1u64 << 30) as f64;

/// Everything about a server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) storage: Storage,
    pub(crate) cache: Cache,
    pub(crate) control: Control,
    pub(crate) fuse: Fuse,
    pub(crate) access_time: AccessTime,
}

/// Where a pool is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// In a directory of this machine.
    Directory(PathBuf),
    /// In a bucket.
    Bucket(Box<Bucket>),
    /// In memory; gone when the server stops.
    Memory,
}

/// Where a pool is and how it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Storage {
    pub(crate) place: Place,
    /// What opens the pool; `None` for one that is not encrypted.
    pub(crate) secret: Option<SecretSource>,
    pub(crate) compression: Compression,
    /// What a sync waits for.
    pub(crate) durability: Durability,
    /// `None`: what is usual for the durability.
    pub(crate) flush_interval: Option<Duration>,
    pub(crate) capacity_bytes: Option<u64>,
    pub(crate) defragment: bool,
}

/// Where the log is, and so what a sync waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    /// On a disk of this machine
    Local,
    /// Among the objects of the pool: a sync survives this machine
    Store,
}

/// Where the secret of an encrypted pool comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretSource {
    Given(Secret),
    PasswordFile(PathBuf),
    KeyFile(PathBuf),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cache {
    pub(crate) memory_bytes: u64,
    /// A directory for the cache of a pool in a bucket; `None` is one beside its log.
    pub(crate) disk_directory: Option<PathBuf>,
    /// Bytes that it may take there, 0 if there is to be none; `None` is what suits the disk.
    pub(crate) disk_bytes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Control {
    /// The Unix socket; `None` is `control.sock` in the pool's directory.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fuse {
    pub(crate) mount_point: Option<PathBuf>,
    pub(crate) threads: usize,
    /// `None`: if root runs the server.
    pub(crate) allow_other: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessTime {
    Relatime,
    None,
}

/// What is wrong with settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("{path} cannot be read: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path} is no valid TOML: {reason}")]
    Syntax { path: PathBuf, reason: String },
    #[error("{path}: {reason}")]
    Refused { path: PathBuf, reason: String },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            storage: Storage {
                place: Place::Directory(PathBuf::from("/var/lib/offshoot")),
                secret: None,
                compression: Compression::Lz4,
                durability: Durability::Local,
                flush_interval: None,
                capacity_bytes: None,
                defragment: true,
            },
            cache: Cache { memory_bytes: memory::default_bytes(), disk_directory: None, disk_bytes: None },
            control: Control {
                socket: Some(PathBuf::from(crate::connection::SYSTEM_SOCKET)),
                addresses: Vec::new(),
                token_file: None,
            },
            fuse: Fuse::default(),
            access_time: AccessTime::Relatime,
        }
    }
}

impl Default for Fuse {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(4, |threads| threads.get().clamp(2, 16));
        Self { mount_point: None, threads, allow_other: None }
    }
}

impl Settings {
    /// What `up` serves: a pool in `directory` with everything else as it comes.
    pub(crate) fn embedded(directory: &Path) -> Self {
        let mut settings = Self::default();
        settings.storage.place = Place::Directory(directory.to_owned());
        settings.control.socket = None;
        settings
    }

    /// What `up` serves at a url: a pool in a bucket whose log and lock are in `directory`.
    pub(crate) fn embedded_bucket(url: BucketUrl, directory: &Path) -> Self {
        let mut settings = Self::embedded(directory);
        settings.storage.place = Place::Bucket(Box::new(Bucket::new(url, directory)));
        settings
    }

    /// Reads a file.
    pub(crate) fn load(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text, |name| std::env::var(name).ok())
    }

    /// Reads the text of a file; `environment` answers for `${NAME}`.
    pub(crate) fn parse(
        path: &Path,
        text: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| SettingsError::Syntax {
            path: path.to_owned(),
            // Not the line itself, which may hold a password.
            reason: match error.span() {
                Some(span) => {
                    let line = text[..span.start.min(text.len())].lines().count().max(1);
                    format!("line {line}: {}", error.message())
                }
                None => error.message().to_owned(),
            },
        })?;
        read::settings(table, &environment)
            .map_err(|reason| SettingsError::Refused { path: path.to_owned(), reason })
    }

    /// The socket that the server listens on.
    pub(crate) fn socket(&self) -> PathBuf {
        match (&self.control.socket, self.storage.place.directory()) {
            (Some(socket), _) => socket.clone(),
            (None, Some(directory)) => directory.join(crate::connection::SOCKET_NAME),
            (None, None) => PathBuf::from(crate::connection::SYSTEM_SOCKET),
        }
    }

    /// How the pool is encrypted; reads the file that it is named in.
    ///
    /// # Errors
    /// If that file cannot be read, or has no password or key in it.
    pub(crate) fn encryption(&self) -> Outcome<Option<Encryption>> {
        let read = |file: &Path| {
            std::fs::read(file).map_err(|error| {
                Failure::usage(format!("the encryption secret {} cannot be read: {error}", file.display()))
            })
        };
        let in_file = |file: &Path, error: offshoot_engine::Error| {
            Failure::usage(format!("{}: {error}", file.display()))
        };
        let secret = match &self.storage.secret {
            None => return Ok(None),
            Some(SecretSource::Given(secret)) => secret.clone(),
            Some(SecretSource::PasswordFile(file)) => {
                let text = String::from_utf8(read(file)?)
                    .map_err(|_| Failure::usage(format!("the password in {} is no text", file.display())))?;
                Secret::password(first_line(&text)).map_err(|error| in_file(file, error))?
            }
            Some(SecretSource::KeyFile(file)) => {
                Secret::key(&read(file)?).map_err(|error| in_file(file, error))?
            }
        };
        Ok(Some(Encryption::new(secret)))
    }

    /// The settings of the engine, without what the pool is encrypted with.
    pub(crate) fn engine(&self) -> offshoot_engine::Settings {
        offshoot_engine::Settings {
            compression: self.storage.compression,
            memory_bytes: self.cache.memory_bytes,
            flush_interval: self.storage.flush_interval.unwrap_or(match self.storage.durability {
                Durability::Local => Duration::from_secs(1),
                // Each is a request that costs.
                Durability::Store => Duration::from_secs(5),
            }),
            capacity_bytes: self.storage.capacity_bytes,
            defragment: self.storage.defragment,
            ..offshoot_engine::Settings::default()
        }
    }
}

/// The password in a text: all but the end of its first line.
pub(crate) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

impl Place {
    /// The url that names it.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Directory(path) => format!("file://{}", path.display()),
            Self::Bucket(bucket) => bucket.bucket.url.to_string(),
            Self::Memory => "memory:".into(),
        }
    }

    /// The directory of this machine with its log and lock.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::Bucket(bucket) => Some(&bucket.state_directory),
            Self::Memory => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        let environment = |name: &str| match name {
            "DATA" => Some("/srv/data".to_owned()),
            "OFFSHOOT_PASSWORD" => Some("a password".to_owned()),
            _ => None,
        };
        Settings::parse(Path::new("x.toml"), text, environment).map_err(|error| error.to_string())
    }

    #[test]
    fn the_template_parses_back_to_the_defaults() {
        assert_eq!(parse(TEMPLATE), Ok(Settings::default()));
    }

    #[test]
    fn the_template_shows_every_key_and_its_comments_are_valid_too() {
        for key in read::KNOWN {
            let (section, name) = key.rsplit_once('.').unwrap();
            let start =
                TEMPLATE.find(&format!("[{section}]")).unwrap_or_else(|| panic!("no section of {key}"));
            assert!(
                TEMPLATE[start..].contains(&format!("\n# {name} = "))
                    || TEMPLATE[start..].contains(&format!("\n{name} = ")),
                "{key}"
            );
        }
        let uncommented: String = TEMPLATE
            .lines()
            .map(|line| {
                line.strip_prefix("# ")
                    .filter(|rest| rest.contains(" = ") || rest.starts_with('['))
                    // One secret is enough.
                    .filter(|rest| {
                        !["encryption_password_file", "encryption_key_file"]
                            .iter()
                            .any(|other| rest.starts_with(other))
                    })
                    .unwrap_or(line)
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let settings = parse(&uncommented).unwrap();
        assert_eq!(settings.fuse.mount_point.unwrap(), Path::new("/mnt/offshoot"));
        assert_eq!(settings.control.addresses.len(), 1);
        assert_eq!(settings.cache.disk_directory.as_deref(), Some(Path::new("/var/cache/offshoot")));
        assert_eq!(settings.cache.disk_bytes, Some(100 << 30));
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(parse(""), Ok(Settings::default()));
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_known_one() {
        let error = parse("[storage]\nulr = \"memory:\"").unwrap_err();
        assert!(error.contains("`storage.ulr`") && error.contains("`storage.url`"), "{error}");
        let error = parse("[server.fuse]\nmount_point = \"/x\"").unwrap_err();
        assert!(error.contains("`servers.fuse.mount_point`"), "{error}");
        let error = parse("[storage]\nzzzzzzzzzz = 1").unwrap_err();
        assert!(!error.contains("mean"), "{error}");
    }

    #[test]
    fn the_environment_is_read() {
        let settings = parse("[storage]\nurl = \"file://${DATA}/pool\"").unwrap();
        assert_eq!(settings.storage.place, Place::Directory("/srv/data/pool".into()));
        let error = parse("[storage]\nurl = \"file://${NOWHERE}\"").unwrap_err();
        assert!(error.contains("NOWHERE") && error.contains("storage.url"), "{error}");
        assert!(parse("[storage]\nurl = \"file://${DATA\"").unwrap_err().contains("never closed"));
    }

    #[test]
    fn what_is_not_there_yet_is_refused_and_not_ignored() {
        for (text, word) in [
            ("[storage]\nurl = \"s3:///x\"", "s3://BUCKET/PREFIX"),
            ("[storage]\nurl = \"ftp://host\"", "ftp"),
            ("[storage]\nurl = \"file://relative/x\"", "absolute"),
            ("[storage]\ndurability = \"bucket\"", "\"local\" or \"store\""),
            ("[storage]\nurl = \"memory:\"\ndurability = \"store\"", "in memory"),
            ("[servers.nbd]\naddresses = [\"127.0.0.1:10809\"]", "nbd"),
            ("[servers.nfs]", "nfs"),
            ("[aws]\nregoin = \"x\"", "regoin"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(word) && error.starts_with("x.toml: "), "{text}: {error}");
        }
    }

    #[test]
    fn a_pool_in_a_bucket_has_its_log_on_this_machine() {
        let text = "[storage]\nurl = \"s3://bucket/x\"\nretry_timeout = \"5s\"\nupload_mb_per_second = 2\n\
                    [aws]\nregion = \"${DATA}\"\n[azure]\naccount_name = \"a\"";
        let settings = parse(text).unwrap();
        assert_eq!(settings.storage.place.url(), "s3://bucket/x");
        let Place::Bucket(bucket) = settings.storage.place else { panic!("no bucket") };
        assert_eq!(bucket.state_directory, Path::new("/var/lib/offshoot"));
        assert_eq!(bucket.bucket.retry_timeout, Duration::from_secs(5));
        assert_eq!(bucket.bucket.upload_bytes_per_second, Some(2 << 20));
        assert_eq!(bucket.bucket.options.0, [("region".to_owned(), "/srv/data".to_owned())]);
        assert!(!bucket.accept_unfit);
        let text = "[storage]\nurl = \"gs://bucket\"\nstate_dir = \"/srv/state\"\naccept_unfit_bucket = true";
        let settings = parse(text).unwrap();
        assert_eq!(settings.storage.place.directory(), Some(Path::new("/srv/state")));
    }

    #[test]
    fn a_pool_has_one_secret_at_most_and_it_is_never_shown() {
        assert_eq!(parse("").unwrap().storage.secret, None);
        let settings = parse("[storage]\nencryption_password = \"very secret\"").unwrap();
        assert!(!format!("{settings:?}").contains("very secret"));
        let encryption = settings.encryption().unwrap().unwrap();
        assert!(encryption.secret == Secret::password("very secret").unwrap());
        for text in [
            "[storage]\nencryption_password = \"very secret\"\nencryption_key_file = \"/x\"",
            "[storage]\nencryption_password = \"\"",
            "[storage]\nencryption_password = [\"very secret\"]",
            "[storage]\nencryption_password = \"very secret",
            "[storage]\nencryption_password = \"very secret\" x",
            "[storage]\nencryption_password = very secret",
            "[storage]\nencryption_password_file = \"x\"",
        ] {
            let error = parse(text).unwrap_err();
            assert!(!error.contains("very secret"), "{error}");
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let of_file = |key: &str, content: &str| {
            std::fs::write(&file, content).unwrap();
            let text = format!("[storage]\n{key} = \"{}\"", file.display());
            parse(&text).unwrap().encryption().map(|encryption| encryption.unwrap().secret)
        };
        let password = of_file("encryption_password_file", "two words \nsecond line").unwrap();
        assert!(password == Secret::password("two words ").unwrap());
        assert!(of_file("encryption_password_file", "\n").is_err());
        assert!(of_file("encryption_key_file", &"0f".repeat(32)).unwrap() == Secret::key(&[15; 32]).unwrap());
        let failure = of_file("encryption_key_file", "very secret").unwrap_err();
        assert!(!failure.message.contains("very secret") && failure.message.contains("32 random bytes"));
        std::fs::remove_file(&file).unwrap();
        let text = format!("[storage]\nencryption_key_file = \"{}\"", file.display());
        assert!(parse(&text).unwrap().encryption().is_err());
    }

    #[test]
    fn values_are_checked() {
        for (text, word) in [
            ("[storage]\ncompression = \"zstd-20\"", "zstd-1 to zstd-19"),
            ("[storage]\nflush_interval = \"soon\"", "flush_interval"),
            ("[storage]\nurl = 7", "string"),
            ("[storage]\ndefragment = \"no\"", "true or false"),
            ("[storage]\nstate_dir = \"relative\"", "state_dir"),
            ("[storage]\nrequests_max = 0", "requests_max"),
            ("[storage]\nrequest_timeout = \"0s\"", "request_timeout"),
            ("[storage]\nupload_mb_per_second = 0", "upload_mb_per_second"),
            ("aws = 1", "aws"),
            ("[cache]\nmemory_size_gb = -1.0", "memory_size_gb"),
            ("[cache]\nmemory_size_gb = 0.001", "at least"),
            ("[cache]\ndisk_size_gb = -1", "cache.disk_size_gb"),
            ("[cache]\ndir = \"x\"\ndisk_size_gb = 10", "absolute"),
            ("[cache]\ndir = \"/x\"\ndisk_size_gb = 0.01", "at least"),
            ("[control]\naddresses = [\"127.0.0.1:7660\"]", "token_file"),
            ("[control]\naddresses = [\"nowhere\"]", "addresses"),
            ("[servers.fuse]\naccess_time = \"strict\"", "relatime"),
            ("[servers.fuse]\nthreads = 0", "threads"),
            ("[servers.fuse]\nallow_other = \"yes\"", "true or false"),
            ("storage = 1", "storage"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        let settings =
            parse("[storage]\ncompression = \"zstd-7\"\nflush_interval = \"250ms\"\ncapacity_gb = 1.5\ndefragment = false")
                .unwrap();
        assert_eq!(settings.storage.compression, Compression::Zstd(7));
        assert_eq!(settings.storage.flush_interval, Some(Duration::from_millis(250)));
        assert_eq!(settings.storage.capacity_bytes, Some(3 << 29));
        assert!(!settings.storage.defragment && !settings.engine().defragment);
    }

    #[test]
    fn what_is_not_synced_waits_longer_where_a_sync_costs_a_request() {
        let flush = |text: &str| parse(text).unwrap().engine().flush_interval;
        assert_eq!(flush(""), Duration::from_secs(1));
        assert_eq!(flush("[storage]\ndurability = \"store\""), Duration::from_secs(5));
        assert_eq!(
            flush("[storage]\ndurability = \"store\"\nflush_interval = \"1min\""),
            Duration::from_secs(60)
        );
    }

    /// With quotes a key could be given twice, and the second made the program panic.
    #[test]
    fn a_key_is_given_once_whatever_its_quotes() {
        for text in [
            "\"storage.url\" = \"memory:\"\n[storage]\nurl = \"memory:\"",
            "\"storage.url\" = \"memory:\"",
            "[servers]\n\"fuse.threads\" = 4",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("in quotes"), "{error}");
        }
        assert!(
            parse("\"storage\".\"url\" = \"memory:\"").is_ok(),
            "quotes around words are as good as none"
        );
    }

    #[test]
    fn a_section_may_be_empty() {
        assert_eq!(
            parse(
                "[servers.fuse]
[cache]"
            ),
            Ok(Settings::default())
        );
    }
}
