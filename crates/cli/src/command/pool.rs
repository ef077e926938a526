//! `offshoot pool`: what opens an encrypted pool, and copies of whole pools.
//!
//! Of keys: a running server is asked to do it. Where none runs and a settings file names the pool, it is opened here for as long as that takes.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use offshoot_control::wire::{KeyAction, KeyList, KeyRequest, SecretText};

use super::pool_copy::Copy;
use crate::Context;
use crate::daemon;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Table, counted};
use crate::settings::Settings;

/// Copy a pool, and set the password and the keys of an encrypted one
///
/// Whether a pool is encrypted is chosen when it is made: see `encryption_password` in the settings file. Passwords and keys
/// are set through the server; where none runs, give the settings file of the pool with -c.
#[derive(Args)]
pub(crate) struct PoolCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Replace the password that the server has opened the pool with
    ///
    /// No data is written anew. Then put the new password where the settings file reads it, for the next start.
    Password(NewSecret),
    /// List, add, remove and rotate keys
    #[command(subcommand)]
    Key(Key),
    Copy(Copy),
}

#[derive(Subcommand)]
enum Key {
    /// List what opens the pool
    List,
    /// Add a password or a key file that opens the pool too
    Add(NewSecret),
    /// Remove one by its number
    Remove {
        /// Number of the slot, as `offshoot pool key list` shows it
        slot: u32,
    },
    /// Encrypt what is written from now on with a new key
    ///
    /// Data that is stored stays as it is, under the keys that it was written with. The new key can be given to that password
    /// or key file alone which the server has opened the pool with.
    Rotate {
        /// Drop the other slots, to be added again
        #[arg(long)]
        drop_others: bool,
    },
}

/// A secret that is set. It is never an argument, which all users of a machine can see.
#[derive(Args)]
struct NewSecret {
    /// Read the new password from a file instead of asking for it
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// Use a key file: 32 random bytes, or 64 hexadecimal digits
    #[arg(long, value_name = "FILE", conflicts_with = "new_password_file")]
    new_key_file: Option<PathBuf>,
}

impl PoolCommand {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let request = match self.action {
            Action::Copy(copy) => return copy.run(context),
            Action::Password(new) => Some(new.request(KeyAction::Replace)?),
            Action::Key(Key::List) => None,
            Action::Key(Key::Add(new)) => Some(new.request(KeyAction::Add)?),
            Action::Key(Key::Remove { slot }) => {
                Some(KeyRequest { slot: Some(slot), ..KeyRequest::new(KeyAction::Remove) })
            }
            Action::Key(Key::Rotate { drop_others }) => {
                Some(KeyRequest { drop_others, ..KeyRequest::new(KeyAction::Rotate) })
            }
        };
        let is_replaced = request.as_ref().is_some_and(|request| request.action == KeyAction::Replace);
        let list = act(context, request)?;
        context.output.value(&list, describe)?;
        if is_replaced {
            context.output.note("Put the new one where the settings file reads it: the next start needs it.");
        }
        Ok(())
    }
}

/// Asks the server, or opens the pool where there is none.
fn act(context: &Context, request: Option<KeyRequest>) -> Outcome<KeyList> {
    let asked = request.clone();
    let answer = context.server.run(&[], |client| async move {
        Ok(match &asked {
            Some(request) => client.change_keys(request).await?,
            None => client.keys().await?,
        })
    });
    match (answer, &context.server.config) {
        (Err(failure), Some(config)) if failure.exit == Exit::NoPool && context.server.server.is_none() => {
            let settings = Settings::load(config)?;
            daemon::with_pool(&settings, move |pool| {
                if let Some(request) = request {
                    futures::executor::block_on(pool.change_keys(request.change()?))?;
                }
                Ok(KeyList::from(pool))
            })
        }
        (answer, _) => answer,
    }
}

fn describe(list: &KeyList) -> String {
    if !list.encrypted {
        return "The pool is NOT encrypted\n".into();
    }
    let mut table = Table::new(&["SLOT", "OPENED BY", ""]);
    for slot in &list.slots {
        table.row([
            slot.id.to_string(),
            slot.kind.clone(),
            if slot.current { "in use" } else { "" }.to_owned(),
        ]);
    }
    format!("{}The pool has had {} for what it writes\n", table.text(), counted(list.pool_keys, "key"))
}

impl NewSecret {
    fn request(self, action: KeyAction) -> Outcome<KeyRequest> {
        let mut request = KeyRequest::new(action);
        match (self.new_password_file, self.new_key_file) {
            (_, Some(file)) => {
                let bytes = read_file(&file)?;
                // What it is worth is looked at before anything is asked.
                offshoot_engine::Secret::key(&bytes)?;
                let digits = match bytes.len() {
                    32 => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
                    _ => String::from_utf8_lossy(bytes.trim_ascii()).into_owned(),
                };
                request.key = Some(SecretText(digits));
            }
            (Some(file), None) => {
                let text = String::from_utf8(read_file(&file)?)
                    .map_err(|_| Failure::usage(format!("the password in {} is no text", file.display())))?;
                request.password = Some(SecretText(crate::settings::first_line(&text).to_owned()));
            }
            (None, None) => request.password = Some(SecretText(ask()?)),
        }
        if let Some(SecretText(password)) = &request.password {
            offshoot_engine::Secret::password(password)?;
        }
        Ok(request)
    }
}

fn read_file(file: &Path) -> Outcome<Vec<u8>> {
    std::fs::read(file).map_err(|error| Failure::new(format!("{} cannot be read: {error}", file.display())))
}

/// Asks for a new password twice on a terminal, without showing it; else takes the first line of what comes in.
fn ask() -> Outcome<String> {
    let mut input = std::io::stdin();
    if !input.is_terminal() {
        let mut text = String::new();
        input
            .read_to_string(&mut text)
            .map_err(|error| Failure::new(format!("the new password cannot be read: {error}")))?;
        return Ok(crate::settings::first_line(&text).to_owned());
    }
    let first = ask_once("New password: ")?;
    if ask_once("Once more: ")? != first {
        return Err(Failure::new("the two passwords differ; nothing was changed"));
    }
    Ok(first)
}

fn ask_once(prompt: &str) -> Outcome<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let failed = |error: std::io::Error| Failure::new(format!("the terminal cannot be asked: {error}"));
    let input = std::io::stdin();
    let shown = tcgetattr(&input).map_err(|error| failed(error.into()))?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    eprint!("{prompt}");
    std::io::stderr().flush().map_err(failed)?;
    tcsetattr(&input, OptionalActions::Flush, &hidden).map_err(|error| failed(error.into()))?;
    let mut line = String::new();
    let read = input.read_line(&mut line);
    let restored = tcsetattr(&input, OptionalActions::Flush, &shown);
    eprintln!();
    read.map_err(failed)?;
    restored.map_err(|error| failed(error.into()))?;
    Ok(crate::settings::first_line(&line).to_owned())
}
