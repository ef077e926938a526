//! Which crate of the workspace may use which, and that everything a manifest names is used.

use std::path::Path;

use toml::{Table, Value};

use super::{File, Finding};

/// The packages of the workspace, and the others among them that each may use. A new line here needs a decision record.
const DIRECTIONS: &[(&str, &[&str])] = &[
    // Its tests take the reference model from there.
    ("offshoot-engine", &["sim"]),
    ("offshoot-bucket", &["offshoot-engine"]),
    ("offshoot-vfs", &["offshoot-engine"]),
    ("offshoot-host", &["offshoot-vfs", "offshoot-engine"]),
    ("offshoot-serve", &["offshoot-vfs", "offshoot-engine"]),
    ("offshoot-control", &["offshoot-host", "offshoot-vfs", "offshoot-engine"]),
    (
        "offshoot",
        &[
            "offshoot-serve",
            "offshoot-control",
            "offshoot-host",
            "offshoot-bucket",
            "offshoot-vfs",
            "offshoot-engine",
        ],
    ),
    ("sim", &["offshoot-vfs", "offshoot-engine"]),
    ("conformance", &[]),
    // Calls every decoder there is.
    (
        "fuzzing",
        &[
            "offshoot",
            "offshoot-serve",
            "offshoot-control",
            "offshoot-host",
            "offshoot-vfs",
            "offshoot-engine",
            "sim",
        ],
    ),
    ("fuzz", &["fuzzing"]),
    // Measures the engine in its own process; everything else it asks of the real binary.
    ("xtask", &["offshoot-engine", "offshoot-bucket"]),
];

const SECTIONS: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let manifests =
        files.iter().filter(|file| file.path.file_name().is_some_and(|name| name == "Cargo.toml"));
    manifests.flat_map(|manifest| check_manifest(manifest, files)).collect()
}

fn check_manifest(manifest: &File, files: &[File]) -> Vec<Finding> {
    let table: Table = match manifest.text.parse() {
        Ok(table) => table,
        Err(error) => return vec![Finding::new(&manifest.path, 0, format!("is no TOML: {error}"))],
    };
    let Some(package) = table.get("package").and_then(|package| package.get("name")).and_then(Value::as_str)
    else {
        return unused_in_workspace(manifest, &table, files);
    };
    let Some((_, may_use)) = DIRECTIONS.iter().find(|(name, _)| *name == package) else {
        let message = format!("the package `{package}` has no place in the directions between crates");
        return vec![Finding::new(&manifest.path, 0, message)];
    };
    let mut findings = Vec::new();
    for (name, value) in dependencies(&table) {
        let real = value.get("package").and_then(Value::as_str).unwrap_or(name);
        let line = line_of(manifest, name);
        if DIRECTIONS.iter().any(|(known, _)| *known == real) && !may_use.contains(&real) {
            findings.push(Finding::new(&manifest.path, line, format!("`{package}` must not use `{real}`")));
        }
        let folder = manifest.path.parent().unwrap_or(Path::new(""));
        if !files.iter().any(|file| file.is_rust() && file.path.starts_with(folder) && uses(&file.text, name))
        {
            findings.push(Finding::new(&manifest.path, line, format!("no source line uses `{name}`")));
        }
    }
    findings
}

/// Dependencies that the workspace offers and no crate takes.
fn unused_in_workspace(manifest: &File, table: &Table, files: &[File]) -> Vec<Finding> {
    let offered =
        table.get("workspace").and_then(|workspace| workspace.get("dependencies")).and_then(Value::as_table);
    let members: Vec<Table> = files
        .iter()
        .filter(|file| {
            file.path != manifest.path && file.path.file_name().is_some_and(|name| name == "Cargo.toml")
        })
        .filter_map(|file| file.text.parse().ok())
        .collect();
    let taken =
        |name: &str| members.iter().any(|member| dependencies(member).any(|(taken, _)| taken == name));
    offered
        .into_iter()
        .flat_map(|offered| offered.keys())
        .filter(|name| !name.starts_with("offshoot-") && !taken(name))
        .map(|name| Finding::new(&manifest.path, line_of(manifest, name), format!("no crate takes `{name}`")))
        .collect()
}

fn dependencies(table: &Table) -> impl Iterator<Item = (&str, &Value)> {
    let targets =
        table.get("target").and_then(Value::as_table).into_iter().flat_map(|targets| targets.values());
    let places = std::iter::once(table).chain(targets.filter_map(Value::as_table));
    places.flat_map(|place| {
        SECTIONS
            .iter()
            .filter_map(|section| place.get(*section).and_then(Value::as_table))
            .flat_map(|section| section.iter().map(|(name, value)| (name.as_str(), value)))
    })
}

/// Whether a line of code, not a comment, has the crate's name as a word.
fn uses(text: &str, dependency: &str) -> bool {
    let name = dependency.replace('-', "_");
    let is_part = |part: char| part.is_alphanumeric() || part == '_';
    text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
        line.match_indices(&name).any(|(at, _)| {
            let after = &line[at + name.len()..];
            !line[..at].ends_with(is_part) && !after.starts_with(is_part)
        })
    })
}

fn line_of(manifest: &File, name: &str) -> usize {
    let starts = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '.', '=']));
    manifest.text.lines().position(starts).map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn messages(files: &[File]) -> Vec<String> {
        check(files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn edge_against_the_direction_is_found() {
        let text =
            "[package]\nname = \"offshoot-engine\"\n[dependencies]\noffshoot-vfs = { path = \"../vfs\" }\n";
        let files = [
            file("crates/engine/Cargo.toml", text),
            file("crates/engine/src/lib.rs", "use offshoot_vfs::Vfs;\n"),
        ];
        assert_eq!(
            messages(&files),
            ["crates/engine/Cargo.toml:4: `offshoot-engine` must not use `offshoot-vfs`"]
        );
    }

    #[test]
    fn edge_along_the_direction_is_fine_and_so_are_crates_from_outside() {
        let text = "[package]\nname = \"offshoot-vfs\"\n[dependencies]\noffshoot-engine.workspace = true\nbytes = \"1\"\n";
        let source = "use bytes::Bytes;\nuse offshoot_engine::Pool;\n";
        let files = [file("crates/vfs/Cargo.toml", text), file("crates/vfs/src/lib.rs", source)];
        assert_eq!(messages(&files), Vec::<String>::new());
    }

    #[test]
    fn renamed_package_does_not_hide_its_direction() {
        let text = "[package]\nname = \"offshoot-engine\"\n[dev-dependencies]\nposix = { package = \"offshoot-vfs\" }\n";
        let files =
            [file("crates/engine/Cargo.toml", text), file("crates/engine/src/lib.rs", "use posix::Vfs;\n")];
        assert_eq!(messages(&files).len(), 1);
    }

    #[test]
    fn dependency_that_only_a_comment_or_another_crate_mentions_is_unused() {
        let text = "[package]\nname = \"offshoot-vfs\"\n[dependencies]\nserde-json = \"1\"\n";
        let comment = file("crates/vfs/src/lib.rs", "// serde_json would do\nfn my_serde_json() {}\n");
        let files = [
            file("crates/vfs/Cargo.toml", text),
            comment,
            file("crates/cli/src/main.rs", "use serde_json;\n"),
        ];
        assert_eq!(messages(&files), ["crates/vfs/Cargo.toml:4: no source line uses `serde-json`"]);
    }

    #[test]
    fn workspace_offers_only_what_is_taken() {
        let root = file("Cargo.toml", "[workspace.dependencies]\nbytes = \"1\"\nrand = \"1\"\n");
        let text = "[package]\nname = \"offshoot-vfs\"\n[dependencies]\nbytes.workspace = true\n";
        let files =
            [root, file("crates/vfs/Cargo.toml", text), file("crates/vfs/src/lib.rs", "use bytes::Bytes;\n")];
        assert_eq!(messages(&files), ["Cargo.toml:3: no crate takes `rand`"]);
    }

    #[test]
    fn unknown_package_needs_a_place() {
        assert_eq!(messages(&[file("crates/new/Cargo.toml", "[package]\nname = \"new\"\n")]).len(), 1);
    }
}
