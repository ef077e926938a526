//! Tables in plain text: a head, rows, columns aligned to the left or to the right.

/// Side of a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// A table under construction.
pub(crate) struct Table {
    sides: Vec<Side>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns; a name that starts with `>` is of a column aligned to the right.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let side = |name: &&str| if name.starts_with('>') { Side::Right } else { Side::Left };
        let head = columns.iter().map(|name| name.trim_start_matches('>').to_owned()).collect();
        Self { sides: columns.iter().map(side).collect(), rows: vec![head] }
    }

    /// A table without a head: names to the left, values beside them.
    pub(crate) fn facts() -> Self {
        Self { sides: vec![Side::Left, Side::Left], rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.sides.len());
        self.rows.push(cells.into());
    }

    /// Adds a fact.
    pub(crate) fn fact(&mut self, name: &str, value: impl Into<String>) {
        self.row([name.to_owned(), value.into()]);
    }

    /// The text, one line a row.
    pub(crate) fn text(&self) -> String {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.sides.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, side), width) in row.iter().zip(&self.sides).zip(&widths) {
                let blanks = " ".repeat(width - cell.chars().count());
                match side {
                    Side::Left => line.extend([cell.as_str(), &blanks]),
                    Side::Right => line.extend([&blanks, cell.as_str()]),
                }
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["NAME", ">SIZE"]);
        table.row(["a".into(), "1 B".into()]);
        table.row(["caf\u{e9}s".into(), "1.0 KiB".into()]);
        assert_eq!(table.text(), "NAME      SIZE\na          1 B\ncaf\u{e9}s  1.0 KiB\n");
    }
}
