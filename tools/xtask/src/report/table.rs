//! Rows as a table: for a terminal, and as the document in `docs`.

use super::row::{Goal, Measure, Row, Unit};

const HEAD: [&str; 7] = ["what", "ours", "compared with", "theirs", "ratio", "goal", ""];

/// A table of aligned columns.
pub(crate) fn terminal(rows: &[Row]) -> String {
    let lines: Vec<[String; 7]> =
        std::iter::once(HEAD.map(String::from)).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A whole document: how it begins, what it was measured on, and a table for each section.
pub(crate) fn document(head: &str, machine: &str, sections: &[(&str, Vec<Row>)]) -> String {
    let mut text = format!("{head}\n```text\n{machine}```\n");
    for (about, rows) in sections {
        let mut letters = about.chars();
        let title: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
        text.push_str(&format!(
            "\n## {title}\n\n| {} |\n|---|---:|---|---:|---:|---|---|\n",
            HEAD.join(" | ")
        ));
        for row in rows {
            text.push_str(&format!("| {} |\n", cells(row).map(|cell| cell.replace('|', "\\|")).join(" | ")));
        }
    }
    text
}

fn cells(row: &Row) -> [String; 7] {
    let (name, theirs) = match &row.other {
        Some((name, measure)) => (name.clone(), figure(*measure)),
        None => (String::new(), String::new()),
    };
    let verdict = match row.is_met() {
        Some(true) => "met",
        Some(false) => "missed",
        None => "",
    };
    let ratio = row.ratio().map_or(String::new(), |ratio| format!("{ratio:.2}x"));
    [row.what.clone(), figure(row.ours), name, theirs, ratio, goal(row), verdict.to_owned()]
}

fn goal(row: &Row) -> String {
    let figure = |value| figure(Measure { value, unit: row.ours.unit });
    match row.goal {
        Goal::None => String::new(),
        Goal::RatioAtMost(most) => format!("at most {most}x"),
        Goal::RatioAtLeast(least) => format!("at least {least}x"),
        Goal::AtMost(most) => format!("at most {}", figure(most)),
        Goal::AtLeast(least) => format!("at least {}", figure(least)),
    }
}

/// A figure with three digits that count and a unit that fits.
fn figure(measure: Measure) -> String {
    let value = measure.value;
    match measure.unit {
        Unit::Seconds if value < 1e-6 => format!("{} ns", digits(value * 1e9)),
        Unit::Seconds if value < 1e-3 => format!("{} us", digits(value * 1e6)),
        Unit::Seconds if value < 1.0 => format!("{} ms", digits(value * 1e3)),
        Unit::Seconds => format!("{} s", digits(value)),
        Unit::Count => grouped(value),
        Unit::PerSecond => format!("{}/s", grouped(value)),
        Unit::Bytes => scaled(value),
        Unit::BytesPerSecond => format!("{}/s", scaled(value)),
    }
}

fn scaled(value: f64) -> String {
    match value.abs() {
        size if size < 1e4 => format!("{} B", digits(value)),
        size if size < 1e6 => format!("{} kB", digits(value / 1e3)),
        size if size < 1e9 => format!("{} MB", digits(value / 1e6)),
        _ => format!("{} GB", digits(value / 1e9)),
    }
}

fn digits(value: f64) -> String {
    match value.abs() {
        size if size < 10.0 => trimmed(format!("{value:.2}")),
        size if size < 100.0 => trimmed(format!("{value:.1}")),
        _ => format!("{value:.0}"),
    }
}

fn trimmed(number: String) -> String {
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Thousands apart.
fn grouped(value: f64) -> String {
    let plain = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in plain.chars().enumerate() {
        if at > 0 && (plain.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::row::{bytes, rate, seconds, throughput};
    use super::*;

    #[test]
    fn figures_have_a_unit_that_fits() {
        assert_eq!(figure(seconds(Duration::from_nanos(950))), "950 ns");
        assert_eq!(figure(seconds(Duration::from_micros(12))), "12 us");
        assert_eq!(figure(seconds(Duration::from_millis(1500))), "1.5 s");
        assert_eq!(figure(rate(1_234_567, Duration::from_secs(1))), "1,234,567/s");
        assert_eq!(figure(bytes(300.0)), "300 B");
        assert_eq!(figure(throughput(2_500_000_000, Duration::from_secs(2))), "1.25 GB/s");
    }

    #[test]
    fn table_shows_ratio_goal_and_verdict() {
        let (ours, theirs) = (seconds(Duration::from_millis(3)), seconds(Duration::from_millis(2)));
        let rows = [
            Row::against("stat", ours, "an empty FUSE", theirs, Goal::RatioAtMost(1.5)),
            Row::alone("memory", bytes(2e8), Goal::AtMost(1e8)),
        ];
        let text = terminal(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("1.50x") && lines[1].ends_with("met"), "{text}");
        assert!(
            lines[2].contains("200 MB")
                && lines[2].contains("at most 100 MB")
                && lines[2].ends_with("missed"),
            "{text}"
        );
        let document = document("# Files\n", "a machine\n", &[("files", rows.to_vec())]);
        assert!(
            document.contains("## Files\n")
                && document.contains("| stat | 3 ms | an empty FUSE | 2 ms | 1.50x |")
        );
    }
}
