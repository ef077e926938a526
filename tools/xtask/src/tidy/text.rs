//! Rules for every text file: spaces, notes to come back to, names of files, hosts of package registries.

use super::{File, Finding};

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "common", "manager", "helpers"];

/// Spelled in two parts, so that this file does not break its own rules.
const NOTES: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
const HOSTS: &[&str] = &[
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("arti", "factory"),
    concat!("py", "pi.org"),
    concat!("pythonhosted", ".org"),
    concat!("registry.npm", "js"),
    concat!("proxy.golang", ".org"),
    concat!("deb.debian", ".org"),
];

/// The one source that a lock file may name: cargo writes it for its default registry, whatever serves it.
const LOCKED_SOURCE: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

pub(super) fn check(file: &File) -> Vec<Finding> {
    let mut findings = name(file);
    let is_lock = file.path.file_name().is_some_and(|name| name == "Cargo.lock");
    for (at, line) in file.text.lines().enumerate() {
        let mut found = |message: String| findings.push(Finding::new(&file.path, at + 1, message));
        // Two spaces at the end mean a line break in Markdown; a backslash does so visibly.
        if line.ends_with([' ', '\t']) {
            found("space at the end of the line".into());
        }
        for note in NOTES.iter().filter(|note| line.contains(**note)) {
            found(format!("a note `{note}`: do it, or open an issue"));
        }
        for host in HOSTS.iter().filter(|host| line.contains(**host)) {
            found(format!("names the host of a package registry, {host}"));
        }
        if is_lock && line.starts_with("source = ") && line != LOCKED_SOURCE {
            found("a locked package comes from somewhere other than cargo's default registry".into());
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        findings.push(Finding::new(&file.path, 0, "the last line does not end"));
    }
    findings
}

fn name(file: &File) -> Vec<Finding> {
    let parts = file.path.components().filter_map(|part| part.as_os_str().to_str());
    parts
        .filter_map(|part| {
            let stem = part.split('.').next()?;
            EMPTY_NAMES
                .contains(&stem)
                .then(|| Finding::new(&file.path, 0, format!("`{stem}` says nothing: name what is in it")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&file(path, text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn clean_file_has_no_findings() {
        assert_eq!(messages("docs/a.md", "# A\n\nText.\n"), Vec::<String>::new());
    }

    #[test]
    fn trailing_space_and_missing_end_are_found_with_their_line() {
        let found = messages("a.md", "one\ntwo \nthree");
        assert_eq!(found, ["a.md:2: space at the end of the line", "a.md: the last line does not end"]);
    }

    #[test]
    fn notes_and_registry_hosts_are_found() {
        assert_eq!(messages("a.rs", &format!("// {}: later\n", NOTES[0])).len(), 1);
        assert_eq!(messages("a.toml", &format!("x = \"https://{}/y\"\n", HOSTS[0])).len(), 1);
    }

    #[test]
    fn lock_file_knows_one_source() {
        assert_eq!(messages("Cargo.lock", &format!("{LOCKED_SOURCE}\n")).len(), 0);
        assert_eq!(messages("Cargo.lock", "source = \"git+https://example.org/x\"\n").len(), 1);
    }

    #[test]
    fn empty_names_are_refused_for_files_and_folders() {
        assert_eq!(messages("crates/engine/src/utils.rs", "").len(), 1);
        assert_eq!(messages("crates/engine/src/common/tree.rs", "").len(), 1);
        assert_eq!(messages("crates/engine/src/commonly.rs", "").len(), 0);
    }
}
