//! Which snapshots to keep: rules over times, without any snapshot in sight.
//!
//! A rule of `n` hours keeps the newest of each of the last `n` hours that have any; days, ISO weeks, months and years
//! alike, all in UTC. Periods without a snapshot do not count, so a machine that was off loses nothing.

use offshoot_engine::Timestamp;

use crate::time::Periods;
use crate::wire::Keep;

impl Keep {
    /// True if no rule keeps anything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// For each time the names of the rules that keep it, in the order of `times`; none means that it may go.
pub fn reasons(times: &[Timestamp], keep: Keep) -> Vec<Vec<&'static str>> {
    let mut newest_first: Vec<usize> = (0..times.len()).collect();
    newest_first.sort_by_key(|&index| std::cmp::Reverse(times[index]));
    let mut reasons = vec![Vec::new(); times.len()];
    for &index in newest_first.iter().take(usize::try_from(keep.last).unwrap_or(usize::MAX)) {
        reasons[index].push("last");
    }
    type Period = fn(&Periods) -> i64;
    let rules: [(&'static str, u64, Period); 5] = [
        ("hourly", keep.hourly, |periods| periods.hour),
        ("daily", keep.daily, |periods| periods.day),
        ("weekly", keep.weekly, |periods| periods.week),
        ("monthly", keep.monthly, |periods| periods.month),
        ("yearly", keep.yearly, |periods| periods.year),
    ];
    for (name, mut left, period) in rules {
        let mut last = None;
        for &index in &newest_first {
            let this = period(&Periods::of(times[index]));
            if left == 0 {
                break;
            }
            if last != Some(this) {
                last = Some(this);
                left -= 1;
                reasons[index].push(name);
            }
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(times: &[&str], keep: Keep) -> Vec<String> {
        let stamps: Vec<_> = times.iter().map(|time| crate::time::parse(time).unwrap()).collect();
        let reasons = reasons(&stamps, keep);
        times
            .iter()
            .zip(reasons)
            .filter(|(_, why)| !why.is_empty())
            .map(|(time, _)| (*time).to_owned())
            .collect()
    }

    const TIMES: [&str; 7] = [
        "2025-06-30T12:00:00Z",
        "2026-01-01T01:00:00Z",
        "2026-01-01T23:59:59Z",
        "2026-01-02T00:00:00Z",
        "2026-01-05T10:00:00Z",
        "2026-01-05T10:30:00Z",
        "2026-01-05T11:00:00Z",
    ];

    #[test]
    fn the_newest_of_each_period_is_kept() {
        assert_eq!(kept(&TIMES, Keep { hourly: 2, ..Keep::default() }), TIMES[5..].to_vec());
        assert_eq!(kept(&TIMES, Keep { daily: 3, ..Keep::default() }), [TIMES[2], TIMES[3], TIMES[6]]);
        assert_eq!(kept(&TIMES, Keep { weekly: 2, ..Keep::default() }), [TIMES[3], TIMES[6]]);
        assert_eq!(kept(&TIMES, Keep { monthly: 9, ..Keep::default() }), [TIMES[0], TIMES[6]]);
        assert_eq!(kept(&TIMES, Keep { yearly: 1, ..Keep::default() }), [TIMES[6]]);
        assert_eq!(kept(&TIMES, Keep { last: 2, ..Keep::default() }), TIMES[5..].to_vec());
    }

    #[test]
    fn periods_without_snapshots_do_not_count() {
        let daily = kept(&TIMES, Keep { daily: 4, ..Keep::default() });
        assert_eq!(daily, [TIMES[0], TIMES[2], TIMES[3], TIMES[6]]);
    }

    #[test]
    fn several_rules_keep_together_and_order_does_not_matter() {
        let mut times = TIMES;
        times.reverse();
        let keep = Keep { last: 1, yearly: 2, ..Keep::default() };
        assert_eq!(kept(&times, keep), [TIMES[6], TIMES[0]]);
        let stamps: Vec<_> = times.iter().map(|time| crate::time::parse(time).unwrap()).collect();
        assert_eq!(reasons(&stamps, keep)[0], ["last", "yearly"]);
    }

    #[test]
    fn no_rule_keeps_nothing() {
        assert!(kept(&TIMES, Keep::default()).is_empty());
        assert!(Keep::default().is_empty());
    }
}
