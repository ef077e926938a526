//! `offshoot top`: what the server is doing, again and again.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use offshoot_control::wire::StatusBody;

use super::status;
use crate::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Table, count, size};

/// Show what the server is doing, live; Ctrl-C ends it
///
/// Without --count there is no other way to end it, so the exit code is 0 then. With --count, an interrupted run has the exit
/// code 130 like any other command.
#[derive(Args)]
pub(crate) struct Top {
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = interval)]
    interval: f64,
    /// End after so many looks
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("0.1 to 3600 seconds".into()) }
}

impl Top {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let output = context.output;
        let live = std::io::stdout().is_terminal() && !output.json;
        let ended = context.server.run(&[], async |client| {
            let mut before: Option<(Instant, StatusBody)> = None;
            let mut looks = 0;
            loop {
                let status = client.status().await?;
                let now = Instant::now();
                if output.json {
                    output.value(&status, |_| String::new())?;
                } else {
                    let clear = if live { "\x1b[H\x1b[2J" } else { "" };
                    let rates = before.as_ref().map(|(then, old)| rates(old, &status, now - *then));
                    output.data(&format!(
                        "{clear}{}\n{}",
                        status::describe(&status),
                        rates.unwrap_or_default()
                    ))?;
                }
                before = Some((now, status));
                looks += 1;
                if self.count.is_some_and(|count| looks >= count) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_secs_f64(self.interval)).await;
            }
        });
        match ended {
            // There is no other way to end it.
            Err(Failure { exit: Exit::Interrupted, .. }) if self.count.is_none() => Ok(()),
            other => other,
        }
    }
}

/// What the counters grew by, a second.
fn rates(before: &StatusBody, after: &StatusBody, elapsed: Duration) -> String {
    let mut table = Table::new(&["COUNTER", ">A SECOND", ">TOTAL"]);
    for (name, total) in &after.counters {
        let grown = total.saturating_sub(before.counters.get(name).copied().unwrap_or(0));
        let rate = (grown as f64 / elapsed.as_secs_f64().max(0.001)).round() as u64;
        let show = |amount| if name.ends_with("bytes") { size(amount) } else { count(amount) };
        table.row([name.clone(), show(rate), show(*total)]);
    }
    table.text()
}
