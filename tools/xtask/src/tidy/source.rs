//! Rules for Rust files: their head, their length, their place, and words that have no business in them.

use super::{File, Finding};

/// Lines of a file without its tests at which it wants splitting.
const LINES_MAX: usize = 800;

/// Spelled in two parts, so that this file does not break its own rules.
const WORDS: &[(&str, &str)] = &[
    (concat!("todo", "!"), "finish it"),
    (concat!("unimpl", "emented!"), "finish it"),
    (concat!("dbg", "!"), "take it out, or trace it"),
    (concat!("allow(dead", "_code"), "remove what nothing uses"),
];

pub(super) fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    if file.path.file_name().is_some_and(|name| name == "mod.rs") {
        findings.push(Finding::new(
            &file.path,
            0,
            "a module's file stands beside its folder, under the module's name",
        ));
    }
    if !file.text.starts_with("//!") {
        findings.push(Finding::new(&file.path, 1, "starts without `//!`: say what the file owns"));
    }
    let lines = lines_without_tests(file);
    if lines > LINES_MAX {
        findings.push(Finding::new(
            &file.path,
            0,
            format!("{lines} lines without tests; {LINES_MAX} are the most: split it by topic"),
        ));
    }
    for (at, line) in file.text.lines().enumerate() {
        for (word, advice) in WORDS.iter().filter(|(word, _)| has_word(line, word)) {
            findings.push(Finding::new(&file.path, at + 1, format!("`{word}`: {advice}")));
        }
    }
    findings
}

fn lines_without_tests(file: &File) -> usize {
    let is_test = file.path.file_stem().is_some_and(|stem| stem == "tests")
        || file.path.components().any(|part| part.as_os_str() == "tests");
    if is_test {
        return 0;
    }
    let lines: Vec<&str> = file.text.lines().collect();
    let tests =
        lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests"));
    tests.unwrap_or(lines.len())
}

/// Whether `word` occurs and is not the end of a longer word.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_'))
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&file(path, text)).len()
    }

    #[test]
    fn head_is_required() {
        assert_eq!(count("a.rs", "//! Head.\n"), 0);
        assert_eq!(count("a.rs", "use std::fs;\n"), 1);
    }

    #[test]
    fn forbidden_words_are_found_as_words() {
        assert_eq!(count("a.rs", &format!("//! Head.\nfn f() {{ {}() }}\n", WORDS[0].0)), 1);
        assert_eq!(count("a.rs", &format!("//! Head.\nfn f() {{ my_{}() }}\n", WORDS[0].0)), 0);
        assert_eq!(count("a.rs", &format!("//! Head.\n#[{})]\nfn f() {{}}\n", WORDS[3].0)), 1);
    }

    #[test]
    fn length_counts_up_to_the_tests() {
        let long = format!("//! Head.\n{}", "fn f() {}\n".repeat(LINES_MAX));
        assert_eq!(count("a.rs", &long), 1);
        assert_eq!(count("a/tests.rs", &long), 0);
        let tested =
            format!("//! Head.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(LINES_MAX));
        assert_eq!(count("a.rs", &tested), 0);
    }

    #[test]
    fn module_files_stand_beside_their_folder() {
        assert_eq!(count("a/mod.rs", "//! Head.\n"), 1);
    }
}
