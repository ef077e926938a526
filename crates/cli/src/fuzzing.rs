//! What reads the settings and the command line, opened to `tools/fuzzing`.

use std::ffi::OsString;
use std::path::Path;

use clap::Parser as _;

use crate::settings::Settings;

/// The text of a settings file.
pub fn settings(text: &str) {
    let environment = |name: &str| (name == "DATA").then(|| "/srv/data".to_owned());
    if let Ok(settings) = Settings::parse(Path::new("fuzz.toml"), text, environment) {
        let engine = settings.engine();
        assert!(engine.memory_bytes >= 64 << 20 && !engine.flush_interval.is_zero());
        assert!(settings.fuse.threads > 0 && settings.socket().is_absolute());
        assert!(settings.control.addresses.is_empty() || settings.control.token_file.is_some());
        assert!(!settings.storage.place.url().is_empty());
    }
}

/// The file that `init` writes.
pub fn template() -> &'static str {
    crate::settings::TEMPLATE
}

/// The words of a command line behind the program's name. Nothing is run.
pub fn arguments(words: &[OsString]) {
    let line = std::iter::once(OsString::from("offshoot")).chain(words.iter().cloned());
    if let Err(error) = crate::Arguments::try_parse_from(line) {
        assert!(!error.to_string().is_empty(), "a refusal without words");
    }
}
