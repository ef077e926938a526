//! Times as people and programs read them: RFC 3339 in UTC.

use std::time::Duration;

use jiff::civil::ISOWeekDate;
use jiff::tz::TimeZone;
use offshoot_engine::Timestamp;

/// `2026-01-02T03:04:05.678901234Z`, with as many digits after the second as needed. Times outside the years
/// -9999 to 9999 become the nearest that can be written.
pub fn rfc3339(time: Timestamp) -> String {
    instant(time).to_string()
}

/// Reads what [`rfc3339`] wrote, and any other offset.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    let time: jiff::Timestamp = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    // Before 1970 the fraction counts backwards.
    let (secs, nanos) = (time.as_second(), time.subsec_nanosecond());
    if nanos < 0 {
        Ok(Timestamp { secs: secs - 1, nanos: (1_000_000_000 + nanos) as u32 })
    } else {
        Ok(Timestamp { secs, nanos: nanos as u32 })
    }
}

/// `20260102T030405Z`: sorts by time and needs no quoting in a file name.
pub fn for_file_name(time: Timestamp) -> String {
    instant(time).strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// `2026-01-02 03:04:05` in UTC, for tables.
pub fn for_table(time: Timestamp) -> String {
    instant(time).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The periods that a time falls into, each a number that is the same for all times of that period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// Hours since 1970.
    pub hour: i64,
    /// Days since 1970.
    pub day: i64,
    /// Year and number of the ISO 8601 week.
    pub week: i64,
    /// Year and month.
    pub month: i64,
    /// Year.
    pub year: i64,
}

impl Periods {
    /// The periods of `time` in UTC.
    pub fn of(time: Timestamp) -> Self {
        let date = instant(time).to_zoned(TimeZone::UTC).date();
        let week = ISOWeekDate::from(date);
        Self {
            hour: time.secs.div_euclid(3600),
            day: time.secs.div_euclid(86_400),
            week: i64::from(week.year()) * 100 + i64::from(week.week()),
            month: i64::from(date.year()) * 100 + i64::from(date.month()),
            year: i64::from(date.year()),
        }
    }
}

/// `1.2 ms`, `3.4 s`, `2 min 5 s`: a duration for a person.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        s if s < 0.001 => format!("{:.0} us", s * 1e6),
        s if s < 0.01 => format!("{:.2} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{} min {} s", s as u64 / 60, s as u64 % 60),
        s => format!("{} h {} min", s as u64 / 3600, s as u64 / 60 % 60),
    }
}

fn instant(time: Timestamp) -> jiff::Timestamp {
    let nanos = (time.nanos as i32).min(999_999_999);
    jiff::Timestamp::new(time.secs, nanos).unwrap_or(if time.secs < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        parse(text).unwrap()
    }

    #[test]
    fn times_are_written_and_read_exactly() {
        let time = Timestamp { secs: 1_767_323_045, nanos: 678_901_234 };
        assert_eq!(rfc3339(time), "2026-01-02T03:04:05.678901234Z");
        assert_eq!(at(&rfc3339(time)), time);
        assert_eq!(at("2026-01-02T04:04:05+01:00").secs, time.secs);
        assert!(parse("yesterday").is_err());
        assert_eq!(for_file_name(time), "20260102T030405Z");
        assert_eq!(for_table(time), "2026-01-02 03:04:05");
    }

    #[test]
    fn times_before_1970_keep_their_fraction() {
        let time = Timestamp { secs: -2, nanos: 250_000_000 };
        assert_eq!(rfc3339(time), "1969-12-31T23:59:58.25Z");
        assert_eq!(at(&rfc3339(time)), time);
    }

    #[test]
    fn a_time_beyond_all_calendars_is_written_all_the_same() {
        assert!(rfc3339(Timestamp { secs: i64::MAX, nanos: 0 }).starts_with("9999-12-30"));
        assert!(rfc3339(Timestamp { secs: i64::MIN, nanos: 0 }).starts_with("-009999"));
    }

    #[test]
    fn periods_follow_the_calendar() {
        let new_year = Periods::of(at("2027-01-01T00:30:00Z"));
        let eve = Periods::of(at("2026-12-31T23:30:00Z"));
        assert_eq!(new_year.hour, eve.hour + 1);
        assert_eq!(new_year.day, eve.day + 1);
        assert_eq!(new_year.week, eve.week, "both lie in week 53 of 2026");
        assert_eq!((eve.month, new_year.month), (202_612, 202_701));
        assert_eq!((eve.year, new_year.year), (2026, 2027));
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(Duration::from_micros(850)), "850 us");
        assert_eq!(duration(Duration::from_micros(1_234)), "1.23 ms");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 5 s");
    }
}
