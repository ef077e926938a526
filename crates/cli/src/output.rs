//! What a command shows: data on stdout, everything else on stderr; tables for people, JSON for programs; colour and progress on
//! terminals only.

mod progress;
mod table;

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
pub(crate) use progress::ProgressLine;
pub(crate) use table::Table;

/// Version of the fields that `--json` shows.
pub(crate) const JSON_VERSION: u64 = 1;

/// How to show things.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    color_errors: bool,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, quiet, color_errors: wanted && io::stderr().is_terminal() }
    }

    /// Shows a value: as JSON with its version, or the text that `text` makes.
    pub(crate) fn value<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Outcome {
        if !self.json {
            return self.data(&text(value));
        }
        let value = versioned(value)?;
        let text = serde_json::to_string_pretty(&value).map_err(|error| Failure::new(error.to_string()))?;
        self.data(&format!("{text}\n"))
    }

    /// Tells that something was done: as JSON on stdout, or as a note.
    pub(crate) fn done<T: Serialize>(&self, value: &T, words: impl FnOnce(&T) -> String) -> Outcome {
        if self.json {
            return self.value(value, |_| String::new());
        }
        self.note(&words(value));
        Ok(())
    }

    /// Writes data to stdout as it is.
    pub(crate) fn data(&self, text: &str) -> Outcome {
        write(io::stdout().lock(), text)
    }

    /// Tells something that is not data, on stderr unless `-q`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Tells something that should not be missed.
    pub(crate) fn warn(&self, text: &str) {
        eprintln!("{}: {text}", self.paint("33", "warning"));
    }

    /// A line that shows how far something is; on a terminal only.
    pub(crate) fn progress(&self, label: &str, unit: progress::Unit) -> ProgressLine {
        ProgressLine::new(!self.quiet && !self.json && io::stderr().is_terminal(), label, unit)
    }

    /// Tells why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json {
            let error = json!({ "kind": failure.kind, "message": failure.message, "advice": failure.advice });
            eprintln!("{}", json!({ "version": JSON_VERSION, "error": error }));
            return;
        }
        eprintln!("{}: {}", self.paint("31;1", "error"), failure.message);
        if let Some(advice) = &failure.advice {
            eprintln!("{}: {advice}", self.paint("36", "try"));
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color_errors { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A value as a JSON object that starts with the version of its fields.
fn versioned(value: &impl Serialize) -> Outcome<Value> {
    let value = serde_json::to_value(value).map_err(|error| Failure::new(error.to_string()))?;
    let mut object = match value {
        Value::Object(object) => object,
        other => serde_json::Map::from_iter([("value".to_owned(), other)]),
    };
    object.insert("version".into(), JSON_VERSION.into());
    Ok(Value::Object(object))
}

/// Writes; a reader that has had enough, such as `head`, ends the program quietly as its signal would.
fn write(mut to: impl Write, text: &str) -> Outcome {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(141),
        Err(error) => Err(Failure::new(format!("the output cannot be written: {error}"))),
    }
}

/// Bytes for a person: `512 B`, `1.5 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number with its digits in groups of three: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut result = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            result.push(',');
        }
        result.push(digit);
    }
    result
}

/// A number with its noun: `1 file`, `2 files`, `1 directory`, `2 directories`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    if number == 1 {
        return format!("1 {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) => format!("{} {stem}ies", count(number)),
        None => format!("{} {noun}s", count(number)),
    }
}

pub(crate) use progress::Unit;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size((1 << 20) - 1), "1.0 MiB");
        assert_eq!(size(u64::MAX), "16.0 EiB");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(2000, "directory"), "2,000 directories");
    }

    #[test]
    fn json_keeps_every_digit() {
        let value = versioned(&json!({ "n": u64::MAX })).unwrap();
        assert_eq!(value.to_string(), r#"{"n":18446744073709551615,"version":1}"#);
    }
}
