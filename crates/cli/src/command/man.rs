//! `offshoot man`: manual pages.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use crate::failure::{Failure, Outcome};
use crate::output::counted;
use crate::{Arguments, Context};

/// Write manual pages into a directory
#[derive(Args)]
pub(crate) struct Man {
    /// The directory; made if it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Man {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let failed = |error: std::io::Error| {
            Failure::new(format!("cannot write manual pages into {}: {error}", self.directory.display()))
        };
        std::fs::create_dir_all(&self.directory).map_err(failed)?;
        let mut command = Arguments::command();
        command.build();
        let mut written = 0;
        self.write(&command, "offshoot", &mut written).map_err(failed)?;
        context.output.note(&format!("Wrote {} into {}", counted(written, "page"), self.directory.display()));
        Ok(())
    }

    /// A page for a command and for each below it, the built-in `help` left out.
    fn write(&self, command: &clap::Command, name: &str, written: &mut u64) -> std::io::Result<()> {
        let mut page = Vec::new();
        // Since it was built, a command below another knows its full name.
        clap_mangen::Man::new(command.clone()).render(&mut page)?;
        std::fs::write(self.directory.join(format!("{name}.1")), page)?;
        *written += 1;
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            self.write(below, &format!("{name}-{}", below.get_name()), written)?;
        }
        Ok(())
    }
}
