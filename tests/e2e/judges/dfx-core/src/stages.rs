//! The two parsing stages of dfx's `main.rs`.

use crate::commands::{CliOpts, DfxCommand, ExtensionCommand};
use crate::manifests::Installed;
use anyhow::Error;
use clap::{Command, CommandFactory, FromArgMatches};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufRead, Write};

pub enum Outcome {
    /// clap ends the program: with a help, or a refusal.
    Refused(clap::Error),
    /// The first stage found no command at all; dfx would panic.
    NoCommand,
    Parsed(Box<CliOpts>),
}

pub fn parse(mut argv: Vec<OsString>, installed: &Installed) -> Result<Outcome, Error> {
    let extensions = installed.as_clap_commands()?;
    if !extensions.is_empty() {
        let mut app = CliOpts::command_for_update().subcommands(&extensions);
        sort_clap_commands(&mut app);
        let matches = match app.try_get_matches_from(&argv) {
            Ok(matches) => matches,
            Err(error) => return Ok(Outcome::Refused(error)),
        };
        let Some((name, _)) = matches.subcommand() else {
            return Ok(Outcome::NoCommand);
        };
        if installed.contains(name) {
            let index = argv.iter().position(|word| word == name).unwrap();
            argv.splice(
                index..index,
                ["extension", "run"].iter().map(OsString::from),
            );
        }
    }
    let matches = match CliOpts::command().try_get_matches_from(&argv) {
        Ok(matches) => matches,
        Err(error) => return Ok(Outcome::Refused(error)),
    };
    Ok(match CliOpts::from_arg_matches(&matches) {
        Ok(parsed) => Outcome::Parsed(Box::new(parsed)),
        Err(error) => Outcome::Refused(error),
    })
}

/// One JSON object for each line of standard input.
pub fn tell_all(installed: &Installed) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let words: Vec<String> = serde_json::from_str(&line?)?;
        let argv = std::iter::once("dfx".to_string()).chain(words);
        let outcome = parse(argv.map(OsString::from).collect(), installed)?;
        writeln!(stdout, "{}", tell(outcome))?;
    }
    Ok(())
}

fn tell(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Refused(error) => {
            json!({"code": error.exit_code(), "text": error.render().to_string()})
        }
        Outcome::NoCommand => json!({"code": 134, "text": "panic"}),
        Outcome::Parsed(parsed) => {
            let mut told = json!({"identity": parsed.identity, "verbose": parsed.verbose});
            match parsed.command {
                DfxCommand::Extension(given) => match given.subcmd {
                    ExtensionCommand::Run(run) => {
                        told["run"] = json!(run.name.to_string_lossy());
                        told["passed"] = run
                            .params
                            .iter()
                            .map(|each| each.to_string_lossy())
                            .collect();
                    }
                    _ => told["builtin"] = json!("extension"),
                },
                _ => told["builtin"] = json!("another"),
            }
            told
        }
    }
}

fn sort_clap_commands(command: &mut Command) {
    let mut names: Vec<String> = command
        .get_subcommands()
        .map(|each| each.get_display_name().unwrap_or_default().to_string())
        .collect();
    names.sort();
    let order: HashMap<String, usize> = names
        .into_iter()
        .enumerate()
        .map(|(at, each)| (each, at))
        .collect();
    for each in command.get_subcommands_mut() {
        let name = each.get_display_name().unwrap_or_default().to_string();
        let at = *order.get(&name).unwrap_or(&999);
        *each = each.clone().display_order(at);
    }
}
