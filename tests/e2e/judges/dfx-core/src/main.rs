//! dfx, as far as extensions go: dfx-core's own code installs, loads and runs them, clap's own code
//! parses the command line, and what stands between the two in dfx's `main.rs` is written out here.
//!
//! `dfx extension install|list|run|uninstall …` and `dfx NAME …` work as in dfx 0.32.0.
//! `dfx --judge-parse` reads command lines from standard input, one JSON array of words a line, and
//! tells for each what dfx would do, without doing it.
//! `DFX_JUDGE_VERSION` is the version that it takes itself for.

mod commands;
mod stages;
mod manifests {
    pub use dfx_core::extension::installed::InstalledExtensionManifests as Installed;
}

use anyhow::{Error, bail};
use commands::{DfxCommand, ExtensionCommand, InstallOpts, RunOpts};
use dfx_core::config::model::dfinity::Config;
use dfx_core::error::extension::InstallExtensionError::OtherVersionAlreadyInstalled;
use dfx_core::extension::manager::{ExtensionManager, InstallOutcome};
use semver::Version;
use stages::Outcome;
use std::ffi::OsString;
use std::io::Write;
use tokio::runtime::Builder;

const PARSE_ONLY: &str = "--judge-parse";

fn main() {
    let code = match run() {
        Ok(code) => code,
        Err(error) => {
            print_chain(&error);
            255
        }
    };
    std::process::exit(code);
}

fn run() -> Result<i32, Error> {
    let version = std::env::var("DFX_JUDGE_VERSION").unwrap_or_else(|_| "0.32.0".to_string());
    let manager = ExtensionManager::new(&Version::parse(&version)?)?;
    let installed = manager.load_installed_extension_manifests()?;
    let argv: Vec<OsString> = std::env::args_os().collect();
    if argv.get(1).is_some_and(|word| word == PARSE_ONLY) {
        stages::tell_all(&installed)?;
        return Ok(0);
    }
    match stages::parse(argv, &installed)? {
        Outcome::Refused(error) => {
            error.print()?;
            Ok(error.exit_code())
        }
        Outcome::NoCommand => bail!("no command"),
        Outcome::Parsed(parsed) => {
            match parsed.command {
                DfxCommand::Extension(given) => execute(&manager, given.subcmd)?,
                _ => bail!("this is not dfx: it knows extensions only"),
            }
            Ok(0)
        }
    }
}

fn execute(manager: &ExtensionManager, command: ExtensionCommand) -> Result<(), Error> {
    match command {
        ExtensionCommand::Install(given) => install(manager, given),
        ExtensionCommand::Uninstall { name } => Ok(manager.uninstall_extension(&name)?),
        ExtensionCommand::Run(given) => start(manager, given),
        ExtensionCommand::List => list(manager),
    }
}

fn start(manager: &ExtensionManager, given: RunOpts) -> Result<(), Error> {
    let root = Config::from_current_dir(Some(manager))?
        .map(|config| config.get_project_root().to_path_buf());
    manager.run_extension(given.name, given.params, root)?;
    Ok(())
}

fn list(manager: &ExtensionManager) -> Result<(), Error> {
    let names = manager.list_installed_extensions()?;
    if names.is_empty() {
        eprintln!("No extensions installed.");
        return Ok(());
    }
    eprintln!("Installed extensions:");
    for name in names {
        eprint!("  ");
        println!("{name}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn install(manager: &ExtensionManager, given: InstallOpts) -> Result<(), Error> {
    let effective = given
        .install_as
        .clone()
        .unwrap_or_else(|| given.name.clone());
    if DfxCommand::has_builtin(&effective) {
        bail!(
            "Extension '{}' cannot be installed because it conflicts with an existing command. Consider using '--install-as' flag to install this extension under different name.",
            given.name
        );
    }
    let outcome = Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(manager.install_extension(
            &given.name,
            given.catalog_url.as_ref(),
            given.install_as.as_deref(),
            given.version.as_ref(),
        ));
    let renamed = match &given.install_as {
        Some(name) => format!(", and is available as '{name}'"),
        None => String::new(),
    };
    match outcome {
        Ok(InstallOutcome::Installed(name, version)) => {
            eprintln!("Extension '{name}' version {version} installed successfully{renamed}");
            Ok(())
        }
        Ok(InstallOutcome::AlreadyInstalled(name, version)) => {
            eprintln!(
                "WARNING: Extension '{name}' version {version} is already installed{renamed}"
            );
            Ok(())
        }
        Err(OtherVersionAlreadyInstalled(name, version)) => {
            eprintln!("ERROR: Extension '{name}' is already installed at version {version}");
            bail!("Different version already installed");
        }
        Err(other) => Err(Error::new(other)),
    }
}

fn print_chain(error: &Error) {
    for (level, cause) in error.chain().enumerate() {
        let text = cause.to_string();
        if !text.is_empty() {
            eprintln!("{}: {text}", if level == 0 { "Error" } else { "Caused by" });
        }
    }
}
