//! `offshoot init`: writes a commented settings file.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::settings::TEMPLATE;

/// Write a commented settings file
///
/// The file has every key with its default. `offshoot run -c FILE` serves what it names.
#[derive(Args)]
pub(crate) struct Init {
    /// Where to; `-` is stdout
    #[arg(default_value = "offshoot.toml")]
    file: PathBuf,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
}

impl Init {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        if self.file.as_os_str() == "-" {
            return context.output.data(TEMPLATE);
        }
        let path = self.file.display();
        let mut options = std::fs::OpenOptions::new();
        options.write(true);
        if self.force {
            options.create(true).truncate(true);
        } else {
            options.create_new(true);
        }
        let written = options.open(&self.file).and_then(|mut file| file.write_all(TEMPLATE.as_bytes()));
        written.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Failure::new(format!("cannot write {path}: it exists already"))
                    .advise("name another file, or replace it with --force")
            }
            _ => Failure::new(format!("cannot write {path}: {error}")),
        })?;
        context.output.note(&format!("Wrote {path}. Edit it, then: offshoot run -c {path}"));
        Ok(())
    }
}
