//! Rules for documents: those that must exist, and that links between them lead somewhere.

use std::path::{Component, Path, PathBuf};

use super::{File, Finding};

const REQUIRED: &[&str] = &["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];

pub(super) fn check(root: &Path, files: &[File]) -> Vec<Finding> {
    let missing = REQUIRED.iter().map(Path::new).filter(|path| !files.iter().any(|file| file.path == **path));
    let mut findings: Vec<Finding> = missing.map(|path| Finding::new(path, 0, "is missing")).collect();
    for file in files.iter().filter(|file| file.extension() == "md") {
        for (line, target) in links(&file.text) {
            if let Some(message) = broken(root, files, file, &target) {
                findings.push(Finding::new(&file.path, line, message));
            }
        }
    }
    findings
}

/// What is wrong with a link, if anything is; links out of the repository are not followed.
fn broken(root: &Path, files: &[File], file: &File, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match path {
        "" => file.path.clone(),
        path => normal(&file.path.parent().unwrap_or(Path::new("")).join(path))?,
    };
    let Some(linked) = files.iter().find(|file| file.path == path) else {
        return (!root.join(&path).exists()).then(|| format!("the link `{target}` leads nowhere"));
    };
    let has_anchor = anchor.is_empty()
        || linked.extension() != "md"
        || headings(&linked.text).iter().any(|name| name == anchor);
    (!has_anchor).then(|| format!("the link `{target}` names no heading of {}", path.display()))
}

/// The path without `.` and `..`; none if it leaves the repository, as links to a forge's pages do.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => normal.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !normal.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(normal)
}

/// Lines outside of fenced code, with their numbers from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((at + 1, line))
    })
}

/// Targets of `[text](target)` and `[name]: target`, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        // Every second piece is code.
        let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        let mut add = |target: &str| {
            links.push((number, target.split(' ').next().unwrap_or_default().to_owned()));
        };
        for (at, _) in plain.match_indices("](") {
            let rest = &plain[at + 2..];
            if let Some(end) = rest.find(')') {
                add(&rest[..end]);
            }
        }
        if let Some((name, target)) = plain.split_once("]: ")
            && name.starts_with('[')
            && !name.starts_with("[^")
        {
            add(target);
        }
    }
    links
}

/// The names by which headings can be linked to, as forges make them: lower case, spaces as hyphens, punctuation dropped.
fn headings(text: &str) -> Vec<String> {
    prose(text)
        .filter_map(|(_, line)| line.strip_prefix('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title
                .chars()
                .filter(|part| part.is_alphanumeric() || matches!(part, ' ' | '-' | '_'))
                .map(|part| if part == ' ' { '-' } else { part })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn count(files: &[File]) -> usize {
        let root = Path::new("/no-such-root");
        check(root, files).iter().filter(|finding| finding.message != "is missing").count()
    }

    #[test]
    fn required_documents_are_named_when_missing() {
        assert_eq!(check(Path::new("/no-such-root"), &[]).len(), REQUIRED.len());
    }

    #[test]
    fn links_to_files_and_headings_must_lead_there() {
        let guide = file("docs/guide.md", "# The guide\n\n## Two words, `code`\n");
        let good = file(
            "README.md",
            "[a](docs/guide.md) [b](docs/guide.md#two-words-code) [c](https://example.org/x)\n[d]: docs/guide.md\n",
        );
        assert_eq!(count(&[guide.clone(), good]), 0);
        let bad = file("README.md", "[a](docs/gide.md)\n[b](docs/guide.md#three)\n[c]: nowhere.md\n");
        assert_eq!(count(&[guide, bad]), 3);
    }

    #[test]
    fn code_has_no_links() {
        assert_eq!(count(&[file("a.md", "`[a](b)`\n```\n[a](b)\n```\n")]), 0);
    }

    #[test]
    fn links_are_relative_to_their_file() {
        let guide = file("docs/guide.md", "[up](../README.md) [beside](other.md)\n");
        assert_eq!(count(&[guide, file("README.md", "# R\n"), file("docs/other.md", "# O\n")]), 0);
    }
}
