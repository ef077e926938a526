//! From a TOML table to [`Settings`](super::Settings), with sentences for everything that does not fit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use offshoot_bucket::{BucketSettings, BucketUrl, Provider};
use offshoot_engine::{Compression, Secret};
use toml::{Table, Value};

use super::memory::LEAST_BYTES;
use super::{AccessTime, Bucket, Durability, GIB, MIB, Place, SecretSource, Settings, bucket};

/// Where a pool in a bucket has its log if nobody says.
const STATE_DIRECTORY: &str = "/var/lib/offshoot";

/// All keys but those of `[aws]`, `[gcp]` and `[azure]`.
pub(super) const KNOWN: [&str; 26] = [
    "storage.url",
    "storage.encryption_password",
    "storage.encryption_password_file",
    "storage.encryption_key_file",
    "storage.durability",
    "storage.compression",
    "storage.flush_interval",
    "storage.capacity_gb",
    "storage.defragment",
    "storage.state_dir",
    "storage.request_timeout",
    "storage.retry_timeout",
    "storage.requests_max",
    "storage.upload_mb_per_second",
    "storage.download_mb_per_second",
    "storage.accept_unfit_bucket",
    "cache.memory_size_gb",
    "cache.dir",
    "cache.disk_size_gb",
    "control.socket",
    "control.addresses",
    "control.token_file",
    "servers.fuse.mount_point",
    "servers.fuse.threads",
    "servers.fuse.allow_other",
    "servers.fuse.access_time",
];

/// Keys and sections that are known but not to be had in this version, with the reason.
const NOT_YET: [(&str, &str); 3] = [
    ("servers.nbd", "`servers.nbd`: block volumes are not available in this version"),
    ("servers.nfs", "`servers.nfs`: NFS is not available in this version"),
    ("servers.ninep", "`servers.ninep`: 9P is not available in this version"),
];

/// A disk cache that is smaller holds next to nothing.
pub(crate) const DISK_BYTES_MIN: u64 = 64 << 20;

type Refusal = String;

/// Reads all settings.
pub(super) fn settings(
    mut table: Table,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Settings, Refusal> {
    let mut values = Values(Vec::new());
    let options = [Provider::S3, Provider::Google, Provider::Azure]
        .map(|provider| options(provider, &mut table, environment).map(|options| (provider, options)));
    flatten("", table, &mut values.0)?;
    for (key, value) in &mut values.0 {
        expand(value, environment).map_err(|reason| format!("`{key}`: {reason}"))?;
    }
    let mut settings = Settings::default();
    storage(&mut settings, &mut values)?;
    let directory = values.absolute("storage.state_dir")?;
    let accept_unfit = values.flag("storage.accept_unfit_bucket")?.unwrap_or(false);
    // Read also if it is not used, so that mistakes are found.
    let mut talk = talk(&mut values)?;
    for options in options {
        let (provider, options) = options?;
        if let Place::Bucket(place) = &mut settings.storage.place
            && place.bucket.url.provider == provider
        {
            talk.options = options;
        }
    }
    if let Place::Bucket(place) = &mut settings.storage.place {
        place.bucket = BucketSettings { url: place.bucket.url.clone(), ..talk };
        place.accept_unfit = accept_unfit;
        place.state_directory = directory.unwrap_or_else(|| PathBuf::from(STATE_DIRECTORY));
    }
    control(&mut settings, &mut values)?;
    fuse(&mut settings, &mut values)?;
    assert!(values.0.is_empty(), "every known key is read: {:?}", values.0);
    Ok(settings)
}

/// The options of a provider, out of its section.
fn options(
    provider: Provider,
    table: &mut Table,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<offshoot_bucket::Options, Refusal> {
    let section = provider.section();
    match table.remove(section) {
        None => Ok(offshoot_bucket::Options::default()),
        Some(Value::Table(mut options)) => {
            for (name, value) in &mut options {
                expand(value, environment).map_err(|reason| format!("`{section}.{name}`: {reason}"))?;
            }
            bucket::options(provider, options)
        }
        Some(_) => Err(format!("`{section}` is a section: write [{section}] and its keys below")),
    }
}

/// How a bucket is talked to, whichever it is.
fn talk(values: &mut Values) -> Result<BucketSettings, Refusal> {
    let nowhere = BucketUrl { provider: Provider::S3, bucket: String::new(), prefix: String::new() };
    let mut talk = BucketSettings::new(nowhere);
    if let Some(time) = values.time("storage.request_timeout")? {
        talk.request_timeout = time;
    }
    if let Some(time) = values.time("storage.retry_timeout")? {
        talk.retry_timeout = time;
    }
    if let Some(value) = values.take("storage.requests_max") {
        talk.requests_max = value
            .as_integer()
            .and_then(|requests| usize::try_from(requests).ok())
            .filter(|requests| (1..=1024).contains(requests))
            .ok_or("`storage.requests_max` is a whole number from 1 to 1024")?;
    }
    talk.upload_bytes_per_second = values.megabytes("storage.upload_mb_per_second")?;
    talk.download_bytes_per_second = values.megabytes("storage.download_mb_per_second")?;
    Ok(talk)
}

/// Keys with their values that have not been read yet.
struct Values(Vec<(String, Value)>);

fn storage(settings: &mut Settings, values: &mut Values) -> Result<(), Refusal> {
    let storage = &mut settings.storage;
    if let Some(url) = values.text("storage.url")? {
        storage.place = place(&url)?;
    }
    storage.secret = secret(values)?;
    if let Some(durability) = values.text("storage.durability")? {
        storage.durability = match durability.as_str() {
            "local" => Durability::Local,
            "store" if storage.place == Place::Memory => {
                return Err("`storage.durability = \"store\"` is nothing for a pool in memory, which is gone when the server stops".into());
            }
            "store" => Durability::Store,
            other => return Err(format!("`storage.durability` is \"local\" or \"store\", not {other:?}")),
        };
    }
    if let Some(name) = values.text("storage.compression")? {
        storage.compression = compression(&name)?;
    }
    storage.flush_interval = values.time("storage.flush_interval")?;
    storage.capacity_bytes = values.gigabytes("storage.capacity_gb")?;
    if let Some(flag) = values.flag("storage.defragment")? {
        storage.defragment = flag;
    }
    if let Some(bytes) = values.gigabytes("cache.memory_size_gb")? {
        if bytes < LEAST_BYTES {
            return Err(format!(
                "`cache.memory_size_gb` is {bytes} bytes; at least {} GiB are needed",
                LEAST_BYTES as f64 / GIB
            ));
        }
        settings.cache.memory_bytes = bytes;
    }
    disk_cache(settings, values)
}

fn disk_cache(settings: &mut Settings, values: &mut Values) -> Result<(), Refusal> {
    settings.cache.disk_directory = values.absolute("cache.dir")?;
    let Some(value) = values.take("cache.disk_size_gb") else { return Ok(()) };
    let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
    let size = number.filter(|number| (0.0..1e9).contains(number)).ok_or_else(|| {
        format!("`cache.disk_size_gb` is a number of GiB, 0 for no cache on disk, and not {value}")
    })?;
    let bytes = (size * GIB) as u64;
    if bytes > 0 && bytes < DISK_BYTES_MIN {
        return Err(format!(
            "`cache.disk_size_gb` is {bytes} bytes; at least {} GiB are of use, and 0 is no cache on disk",
            DISK_BYTES_MIN as f64 / GIB
        ));
    }
    settings.cache.disk_bytes = Some(bytes);
    Ok(())
}

/// What opens the pool: from one place at most.
fn secret(values: &mut Values) -> Result<Option<SecretSource>, Refusal> {
    let mut sources = Vec::new();
    if let Some(password) = values.text("storage.encryption_password")? {
        let secret = Secret::password(&password)
            .map_err(|_| "`storage.encryption_password` is empty; without it, the pool is not encrypted")?;
        sources.push(SecretSource::Given(secret));
    }
    sources.extend(values.absolute("storage.encryption_password_file")?.map(SecretSource::PasswordFile));
    sources.extend(values.absolute("storage.encryption_key_file")?.map(SecretSource::KeyFile));
    if sources.len() > 1 {
        return Err("`storage.encryption_password`, `storage.encryption_password_file` and \
                    `storage.encryption_key_file`: one of them is enough, and more are not taken"
            .into());
    }
    Ok(sources.pop())
}

fn control(settings: &mut Settings, values: &mut Values) -> Result<(), Refusal> {
    let control = &mut settings.control;
    if let Some(socket) = values.absolute("control.socket")? {
        control.socket = Some(socket);
    }
    control.token_file = values.absolute("control.token_file")?;
    if let Some(value) = values.take("control.addresses") {
        let refuse = || "`control.addresses` is a list such as [\"127.0.0.1:7660\"]".to_owned();
        for item in value.as_array().ok_or_else(refuse)? {
            let address = item.as_str().and_then(|text| text.parse().ok()).ok_or_else(refuse)?;
            control.addresses.push(address);
        }
    }
    if !control.addresses.is_empty() && control.token_file.is_none() {
        return Err("`control.addresses` opens the control API to the network and needs `control.token_file`, a file \
                    with a secret of at least 24 characters"
            .into());
    }
    Ok(())
}

fn fuse(settings: &mut Settings, values: &mut Values) -> Result<(), Refusal> {
    let fuse = &mut settings.fuse;
    fuse.mount_point = values.absolute("servers.fuse.mount_point")?;
    if let Some(value) = values.take("servers.fuse.threads") {
        fuse.threads = value
            .as_integer()
            .and_then(|threads| usize::try_from(threads).ok())
            .filter(|threads| (1..=256).contains(threads))
            .ok_or("`servers.fuse.threads` is a whole number from 1 to 256")?;
    }
    fuse.allow_other = values.flag("servers.fuse.allow_other")?;
    if let Some(text) = values.text("servers.fuse.access_time")? {
        settings.access_time = match text.as_str() {
            "relatime" => AccessTime::Relatime,
            "none" => AccessTime::None,
            other => {
                return Err(format!("`servers.fuse.access_time` is \"relatime\" or \"none\", not {other:?}"));
            }
        };
    }
    Ok(())
}

/// The type of a value with its article.
fn article(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Boolean(_) => "a boolean",
        Value::Datetime(_) => "a time",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}

impl Values {
    fn take(&mut self, key: &str) -> Option<Value> {
        let index = self.0.iter().position(|(other, _)| other == key)?;
        Some(self.0.swap_remove(index).1)
    }

    fn text(&mut self, key: &str) -> Result<Option<String>, Refusal> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            // Not the value, which may be a password.
            Some(other) => Err(format!("`{key}` is a string, not {}", article(&other))),
        }
    }

    fn flag(&mut self, key: &str) -> Result<Option<bool>, Refusal> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Boolean(flag)) => Ok(Some(flag)),
            Some(other) => Err(format!("`{key}` is true or false, not {other}")),
        }
    }

    fn absolute(&mut self, key: &str) -> Result<Option<PathBuf>, Refusal> {
        match self.text(key)? {
            None => Ok(None),
            Some(path) if path.starts_with('/') => Ok(Some(PathBuf::from(path))),
            Some(path) => Err(format!("`{key}` is an absolute path, not {path:?}")),
        }
    }

    fn time(&mut self, key: &str) -> Result<Option<Duration>, Refusal> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let time = duration(&text);
        time.map(Some).ok_or_else(|| format!("`{key}` is a time such as \"1s\" or \"250ms\", not {text:?}"))
    }

    fn megabytes(&mut self, key: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
        number
            .filter(|number| *number > 0.0 && *number < 1e9)
            .map(|number| Some((number * MIB) as u64))
            .ok_or_else(|| format!("`{key}` is a number of MiB above 0, not {value}"))
    }

    fn gigabytes(&mut self, key: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
        number
            .filter(|number| *number > 0.0 && *number < 1e9)
            .map(|number| Some((number * GIB) as u64))
            .ok_or_else(|| format!("`{key}` is a number of GiB above 0, not {value}"))
    }
}

/// Makes `section.key` of nested tables and refuses what is not known.
fn flatten(prefix: &str, table: Table, into: &mut Vec<(String, Value)>) -> Result<(), Refusal> {
    for (name, value) in table {
        if name.contains('.') {
            return Err(format!(
                "`\"{name}\"`: a key in quotes is one word; write sections and keys without quotes"
            ));
        }
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        if let Some((_, reason)) = NOT_YET.iter().find(|(known, _)| *known == key) {
            return Err((*reason).to_owned());
        }
        let is_section = KNOWN.iter().any(|known| known.starts_with(&format!("{key}.")));
        match value {
            Value::Table(table) if is_section => flatten(&key, table, into)?,
            Value::Table(table) if !KNOWN.contains(&key.as_str()) => {
                return Err(unknown(&first_leaf(key, &table)));
            }
            _ if is_section => return Err(format!("`{key}` is a section: write [{key}] and its keys below")),
            value if KNOWN.contains(&key.as_str()) => into.push((key, value)),
            _ => return Err(unknown(&key)),
        }
    }
    Ok(())
}

/// The first key in an unknown section: what was meant is found by whole keys.
fn first_leaf(key: String, table: &Table) -> String {
    match table.iter().next() {
        Some((inner, Value::Table(table))) => first_leaf(format!("{key}.{inner}"), table),
        Some((inner, _)) => format!("{key}.{inner}"),
        None => key,
    }
}

fn unknown(key: &str) -> Refusal {
    let nearest = KNOWN
        .iter()
        .map(|known| (strsim::jaro_winkler(key, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(_, known)| strsim::normalized_damerau_levenshtein(key, known) > 0.6);
    match nearest {
        Some((_, known)) => format!("the key `{key}` is not known; did you mean `{known}`?"),
        None => format!("the key `{key}` is not known; `offshoot init -` shows all keys"),
    }
}

/// Puts the environment in place of `${NAME}`; `$$` is a dollar.
fn expand(value: &mut Value, environment: &dyn Fn(&str) -> Option<String>) -> Result<(), Refusal> {
    match value {
        Value::String(text) => *text = expand_text(text, environment)?,
        Value::Array(items) => {
            for item in items {
                expand(item, environment)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn expand_text(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, Refusal> {
    let mut result = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        result.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            result.push('$');
            rest = tail;
        } else if let Some(tail) = after.strip_prefix('{') {
            let (name, tail) = tail.split_once('}').ok_or("a `${` is never closed")?;
            let value = environment(name).ok_or_else(|| {
                format!("the environment variable {name} is not set (a dollar itself is written $$)")
            })?;
            result.push_str(&value);
            rest = tail;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
    Ok(result)
}

/// Reads `storage.url`.
fn place(url: &str) -> Result<Place, Refusal> {
    if url == "memory:" {
        return Ok(Place::Memory);
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!(
            "`storage.url` is a url such as \"file:///var/lib/offshoot\", \"s3://bucket/pool\" or \"memory:\", not {url:?}"
        ));
    };
    if Provider::of_scheme(scheme).is_some() {
        let url = url.parse().map_err(|error| format!("`storage.url`: {error}"))?;
        return Ok(Place::Bucket(Box::new(Bucket::new(url, Path::new(STATE_DIRECTORY)))));
    }
    match scheme {
        "file" if rest.starts_with('/') => Ok(Place::Directory(PathBuf::from(rest))),
        "file" => Err(format!(
            "`storage.url`: a file:// url has an absolute path, as in \"file:///srv/pool\", not {url:?}"
        )),
        other => Err(format!(
            "`storage.url`: {other}:// is not known; use file://, s3://, gs://, az:// or memory:"
        )),
    }
}

fn compression(name: &str) -> Result<Compression, Refusal> {
    let level = name.strip_prefix("zstd-").and_then(|level| level.parse().ok());
    match (name, level) {
        ("none", _) => Ok(Compression::None),
        ("lz4", _) => Ok(Compression::Lz4),
        (_, Some(level @ 1..=19)) => Ok(Compression::Zstd(level)),
        _ => Err(format!("`storage.compression` is none, lz4, or zstd-1 to zstd-19, not {name:?}")),
    }
}

/// Reads `250ms`, `1s`, `1.5s`, `2min`.
fn duration(text: &str) -> Option<Duration> {
    let start = text.find(|character: char| character.is_ascii_alphabetic())?;
    let number: f64 = text[..start].trim().parse().ok()?;
    let unit = match &text[start..] {
        "ms" => 0.001,
        "s" => 1.0,
        "min" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * unit).ok().filter(|time| !time.is_zero() && time.as_secs() < 86_400)
}
