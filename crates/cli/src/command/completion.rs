//! `offshoot completion`: what makes a shell complete our command lines.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::failure::{Failure, Outcome};
use crate::{Arguments, Context};

/// Write shell completions to stdout
///
/// bash: offshoot completion bash > /etc/bash_completion.d/offshoot
#[derive(Args)]
pub(crate) struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "offshoot", &mut text);
        let text = String::from_utf8(text).map_err(|error| Failure::new(error.to_string()))?;
        context.output.data(&text)
    }
}
