//! One row of the table: what was measured, the other side of it, the goal, and whether it was met.

use std::time::Duration;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things.
    Count,
    /// Seconds; fewer are better.
    Seconds,
    /// Operations a second.
    PerSecond,
    /// Bytes; fewer are better.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
}

/// A figure with its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measure {
    pub(crate) value: f64,
    pub(crate) unit: Unit,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// Nothing: the row is for the reader.
    None,
    /// Ours divided by the other side, at most.
    RatioAtMost(f64),
    /// Ours divided by the other side, at least.
    RatioAtLeast(f64),
    /// Ours, at most.
    AtMost(f64),
    /// Ours, at least.
    AtLeast(f64),
}

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) ours: Measure,
    /// What ours is compared with, and its figure from the same run.
    pub(crate) other: Option<(String, Measure)>,
    pub(crate) goal: Goal,
}

/// So long.
pub(crate) fn seconds(duration: Duration) -> Measure {
    Measure { value: duration.as_secs_f64(), unit: Unit::Seconds }
}

/// So many things.
pub(crate) fn count(things: f64) -> Measure {
    Measure { value: things, unit: Unit::Count }
}

/// So many operations in so long.
pub(crate) fn rate(operations: u64, duration: Duration) -> Measure {
    Measure { value: operations as f64 / duration.as_secs_f64(), unit: Unit::PerSecond }
}

/// So many bytes.
pub(crate) fn bytes(count: f64) -> Measure {
    Measure { value: count, unit: Unit::Bytes }
}

/// So many bytes in so long.
pub(crate) fn throughput(count: u64, duration: Duration) -> Measure {
    Measure { value: count as f64 / duration.as_secs_f64(), unit: Unit::BytesPerSecond }
}

impl Row {
    /// A row without another side.
    pub(crate) fn alone(what: impl Into<String>, ours: Measure, goal: Goal) -> Self {
        Self { what: what.into(), ours, other: None, goal }
    }

    /// A row with another side.
    pub(crate) fn against(
        what: impl Into<String>,
        ours: Measure,
        name: &str,
        other: Measure,
        goal: Goal,
    ) -> Self {
        debug_assert_eq!(ours.unit, other.unit);
        Self { what: what.into(), ours, other: Some((name.to_owned(), other)), goal }
    }

    /// Ours divided by the other side.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.other.as_ref().map(|(_, other)| self.ours.value / other.value)
    }

    /// Whether the goal was met; none without a goal.
    pub(crate) fn is_met(&self) -> Option<bool> {
        match self.goal {
            Goal::None => None,
            // A ratio that could not be made is no success.
            Goal::RatioAtMost(most) => Some(self.ratio().is_some_and(|ratio| ratio <= most)),
            Goal::RatioAtLeast(least) => Some(self.ratio().is_some_and(|ratio| ratio >= least)),
            Goal::AtMost(most) => Some(self.ours.value <= most),
            Goal::AtLeast(least) => Some(self.ours.value >= least),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_goals_compare_both_sides() {
        let second = |count| seconds(Duration::from_secs(count));
        let row = Row::against("x", second(3), "y", second(2), Goal::RatioAtMost(1.5));
        assert_eq!(row.is_met(), Some(true));
        assert_eq!(Row { goal: Goal::RatioAtMost(1.4), ..row.clone() }.is_met(), Some(false));
        assert_eq!(Row { other: None, ..row }.is_met(), Some(false));
    }

    #[test]
    fn plain_goals_look_at_ours_alone() {
        let row = Row::alone("x", rate(100, Duration::from_secs(2)), Goal::AtLeast(50.0));
        assert_eq!(row.is_met(), Some(true));
        assert_eq!(Row { goal: Goal::AtLeast(51.0), ..row.clone() }.is_met(), Some(false));
        assert_eq!(Row { goal: Goal::None, ..row }.is_met(), None);
    }
}
