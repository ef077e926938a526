//! The command line with a small pool: how long it takes to start and to clone one file, and how much memory the server has at rest.

use std::time::Duration;

use anyhow::Result;

use super::row::{Goal, Row, bytes, seconds};
use super::{Bench, median, timed};
use crate::place::Place;

/// What a start leaves to be done has been done by then.
const REST: Duration = Duration::from_secs(3);

pub(super) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let place = Place::new("bench-commands")?;
    let (start, server) = timed(|| bench.serve(&place))?;
    std::thread::sleep(REST);
    let (resident, _) = server.resident_bytes()?;
    std::fs::write(server.mount().join("file"), "small")?;
    let mut times = Vec::new();
    for number in 0..bench.size(101, 21) {
        times.push(timed(|| server.clone_path("/file", &format!("/clone-{number}")))?.0);
    }
    server.stop()?;
    Ok(vec![
        Row::alone("`offshoot up` on a new pool until it is mounted", seconds(start), Goal::None),
        Row::alone("`offshoot clone` of a file, median", seconds(median(times)), Goal::AtMost(0.010)),
        Row::alone("resident memory at rest", bytes(resident as f64), Goal::AtMost(100e6)),
    ])
}
