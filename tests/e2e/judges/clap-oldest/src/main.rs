//! Tells what dfx 0.23.0 does with command lines, as `dfx --judge-parse` of the crate beside this
//! one tells it of dfx 0.32.0. dfx-core of that time was not published; its manifests have not
//! changed since, so what it makes of one is written out here, and the stages are the same file.
//!
//! `clap-oldest EXTENSION.JSON <LINES`

#[path = "../../dfx-core/src/commands.rs"]
#[allow(dead_code)]
mod commands;
#[path = "../../dfx-core/src/stages.rs"]
mod stages;

use anyhow::{Error, bail};
use manifests::Installed;
use serde_json::Value;

mod manifests {
    use super::*;
    use clap::{Arg, Command};

    /// The one manifest that is installed, under the name that stands in it.
    pub struct Installed(pub Value);

    impl Installed {
        pub fn contains(&self, name: &str) -> bool {
            self.0["name"] == name
        }

        pub fn as_clap_commands(&self) -> Result<Vec<Command>, Error> {
            let command = Command::new(text(&self.0["name"]))
                .allow_missing_positional(false)
                .allow_external_subcommands(false)
                .about(text(&self.0["summary"]))
                .subcommands(below(&self.0)?);
            Ok(vec![command])
        }
    }

    fn below(found: &Value) -> Result<Vec<Command>, Error> {
        sorted(&found["subcommands"])
            .map(|(name, each)| {
                let mut command = Command::new(name.clone());
                if each["about"].is_string() {
                    command = command.about(text(&each["about"]));
                }
                for (id, told) in sorted(&each["args"]) {
                    command = command.arg(argument(id, told)?);
                }
                Ok(command.subcommands(below(each)?))
            })
            .collect()
    }

    fn argument(id: &str, told: &Value) -> Result<Arg, Error> {
        let mut arg = Arg::new(id.to_string()).help(text(&told["about"]));
        if let Some(long) = told["long"].as_str() {
            arg = arg.long(long.to_string());
        }
        if let Some(short) = told["short"].as_str() {
            arg = arg.short(short.chars().next());
        }
        arg = match &told["values"] {
            Value::Null => arg.num_args(1),
            Value::Number(count) => arg.num_args(count.as_u64().unwrap_or_default() as usize),
            Value::String(word) if word == "unlimited" => arg.num_args(0..),
            Value::String(word) => match word.split_once("..") {
                Some((least, most)) => arg.num_args(least.parse()?..=most.parse()?),
                None => bail!("values: {word}"),
            },
            other => bail!("values: {other}"),
        };
        Ok(arg.allow_hyphen_values(true).required(false))
    }

    fn sorted(found: &Value) -> impl Iterator<Item = (&String, &Value)> {
        found.as_object().into_iter().flatten() // serde_json keeps them in the alphabet's order
    }

    fn text(found: &Value) -> String {
        found.as_str().unwrap_or_default().to_string()
    }
}

fn main() -> Result<(), Error> {
    let Some(path) = std::env::args_os().nth(1) else {
        bail!("the path of an extension.json is missing");
    };
    let installed = Installed(serde_json::from_slice(&std::fs::read(path)?)?);
    stages::tell_all(&installed)
}
