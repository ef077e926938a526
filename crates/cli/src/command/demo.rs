//! `offshoot demo`: the instant restore, told in a terminal.

mod stage;

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::Args;
use offshoot_control::time;
use offshoot_control::wire::{RestoreRequest, SnapshotRequest};
use serde_json::json;

use crate::Context;
use crate::connection::interruptible;
use crate::failure::{Failure, Outcome};
use crate::output::{counted, size};
use stage::Stage;

/// Directory of the demo in the pool; the process id makes it its own.
const NAME: &str = "offshoot-demo";

/// Show the instant restore: write, snapshot, delete, restore, compare
///
/// Works on the running server if its pool is mounted here, else on a pool of its own in a temporary directory. Removes
/// everything it made.
#[derive(Args)]
pub(crate) struct Demo {
    /// Do not wait for Enter between the steps
    #[arg(long)]
    auto: bool,
    /// Data to write, in MB
    #[arg(long, value_name = "MB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    size: u64,
}

/// What each step took.
#[derive(Default)]
struct Times {
    write: Duration,
    snapshot: Duration,
    delete: Duration,
    restore: Duration,
    compare: Duration,
}

impl Demo {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let stage = Stage::set(context)?;
        let told = self.story(context, &stage);
        let cleared = stage.clear(context);
        told.and(cleared)
    }

    fn story(&self, context: &Context, stage: &Stage) -> Outcome {
        let tell = |words: &str| context.output.note(words);
        let directory = stage.directory();
        let files = (self.size / 2).clamp(8, 2_000);
        let mut times = Times::default();

        tell(&format!(
            "This writes {} in {} files to {}, loses them, and has them back.",
            size(self.size * 1_000_000),
            files,
            stage.place()
        ));
        self.pause(context, "write the files")?;
        let started = Instant::now();
        let before = stage.write(files, self.size * 1_000_000)?;
        times.write = started.elapsed();
        tell(&format!("1. Wrote {} in {}.", counted(files, "file"), time::duration(times.write)));

        self.pause(context, &format!("take a snapshot (offshoot snapshot {directory})"))?;
        let client = stage.client()?;
        let started = Instant::now();
        let request =
            SnapshotRequest { path: (&directory).into(), name: Some(stage.snapshot().into()), sync: true };
        interruptible(async { Ok(client.snapshot(&request).await?) })?;
        times.snapshot = started.elapsed();
        tell(&format!(
            "2. Took a snapshot of all of it in {}. No data was copied.",
            time::duration(times.snapshot)
        ));

        self.pause(context, &format!("lose everything (rm -r {directory})"))?;
        let started = Instant::now();
        stage.lose()?;
        times.delete = started.elapsed();
        tell(&format!("3. Everything in {directory} is gone, after {}.", time::duration(times.delete)));

        self.pause(
            context,
            &format!(
                "restore it (offshoot restore --snapshot {} --destination {directory})",
                stage.snapshot()
            ),
        )?;
        let client = stage.client()?;
        let started = Instant::now();
        let request = RestoreRequest {
            snapshot: stage.snapshot().into(),
            source: None,
            destination: (&directory).into(),
            parents: false,
            replace: false,
            sync: true,
        };
        interruptible(async { Ok(client.restore(&request).await?) })?;
        times.restore = started.elapsed();
        tell(&format!(
            "4. Restored all of it in {}. It can be changed, and the snapshot stays as it is.",
            time::duration(times.restore)
        ));

        self.pause(context, "read every file and compare")?;
        let started = Instant::now();
        let after = stage.read(files)?;
        times.compare = started.elapsed();
        if before != after {
            return Err(Failure::new("the restored files differ from what was written")
                .advise("run `offshoot scrub`"));
        }
        tell(&format!(
            "5. Read everything back in {}: every byte is the same.",
            time::duration(times.compare)
        ));
        let faster = times.write.as_secs_f64() / times.restore.as_secs_f64().max(1e-6);
        tell(&format!(
            "\nThe restore took 1/{faster:.0} of the time that writing took, and would take no longer for a thousand times as much."
        ));
        if context.output.json {
            return context.output.value(&self.numbers(&times, files), |_| String::new());
        }
        Ok(())
    }

    fn numbers(&self, times: &Times, files: u64) -> serde_json::Value {
        let micros = |time: Duration| time.as_micros() as u64;
        json!({
            "files": files,
            "bytes": self.size * 1_000_000,
            "write_us": micros(times.write),
            "snapshot_us": micros(times.snapshot),
            "delete_us": micros(times.delete),
            "restore_us": micros(times.restore),
            "compare_us": micros(times.compare),
            "same": true,
        })
    }

    /// Waits for Enter, if there is someone to press it.
    fn pause(&self, context: &Context, next: &str) -> Outcome {
        if self.auto || context.output.json || context.output.quiet || !std::io::stdin().is_terminal() {
            return Ok(());
        }
        eprint!("   Enter: {next} ");
        let _ = std::io::stderr().flush();
        // Reading cannot be given up, so a thread of its own does it; after Ctrl-C it ends with the program.
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // Nobody waits any more after Ctrl-C.
            let _ = sender.send(std::io::stdin().read_line(&mut line));
        });
        interruptible(async {
            match receiver.await {
                Ok(Ok(0)) | Err(_) => Err(Failure::interrupted()),
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(Failure::new(error.to_string())),
            }
        })
    }
}
