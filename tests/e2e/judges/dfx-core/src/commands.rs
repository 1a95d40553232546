//! The command line of dfx 0.32.0 as far as extensions meet it: its global options, `extension`,
//! one builtin command with options, and the names of all others.

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use semver::Version;
use std::ffi::OsString;
use url::Url;

#[derive(Parser)]
#[command(name = "dfx", version = "0.32.0", arg_required_else_help = true)]
pub struct CliOpts {
    /// Displays detailed information about operations. -vv will generate a very large number of messages and can affect performance.
    #[arg(long, short, action = ArgAction::Count, global = true)]
    pub verbose: u8,

    /// Suppresses informational messages. -qq limits to errors only; -qqqq disables them all.
    #[arg(long, short, action = ArgAction::Count, global = true)]
    pub quiet: u8,

    /// The logging mode to use. You can log to stderr, a file, or both.
    #[arg(long = "log", default_value = "stderr", value_parser = ["stderr", "tee", "file"], global = true)]
    pub logmode: String,

    /// The file to log to, if logging to a file (see --logmode).
    #[arg(long, global = true)]
    pub logfile: Option<String>,

    /// The user identity to run this command as. It contains your principal as well as some things DFX associates with it like the wallet.
    #[arg(long, env = "DFX_IDENTITY", global = true)]
    pub identity: Option<String>,

    /// The effective canister id for provisional canister creation must be a canister id in the canister ranges of the subnet on which new canisters should be created.
    #[arg(long, global = true, value_name = "PRINCIPAL")]
    pub provisional_create_canister_effective_canister_id: Option<String>,

    #[command(subcommand)]
    pub command: DfxCommand,
}

/// A builtin command that does nothing here.
#[derive(Args)]
pub struct Other {
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    pub rest: Vec<OsString>,
}

#[derive(Subcommand)]
pub enum DfxCommand {
    #[command(hide = true)]
    Beta(Other),
    Build(Other),
    Cache(Other),
    Canister(CanisterOpts),
    Config(Other),
    Completion(Other),
    Cycles(Other),
    Deploy(Other),
    Deps(Other),
    Diagnose(Other),
    Fix(Other),
    Extension(ExtensionOpts),
    Generate(Other),
    Identity(Other),
    Info(Other),
    Killall(Other),
    Ledger(Other),
    New(Other),
    Ping(Other),
    Quickstart(Other),
    Remote(Other),
    Schema(Other),
    #[command(name = "_send-telemetry", hide = true)]
    SendTelemetry(Other),
    Start(Other),
    Stop(Other),
    #[command(hide = true)]
    Toolchain(Other),
    #[command(hide = true)]
    Upgrade(Other),
    Wallet(Other),
}

impl DfxCommand {
    pub fn has_builtin(name: &str) -> bool {
        CliOpts::command()
            .get_subcommands()
            .any(|each| each.get_name() == name)
    }
}

#[derive(Args)]
pub struct CanisterOpts {
    #[arg(long, global = true)]
    pub network: Option<String>,
    #[command(subcommand)]
    pub subcmd: CanisterCommand,
}

#[derive(Subcommand)]
pub enum CanisterCommand {
    Stop { canister: Option<String> },
}

/// Manages the dfx extensions.
#[derive(Parser)]
#[command(name = "extension")]
pub struct ExtensionOpts {
    #[command(subcommand)]
    pub subcmd: ExtensionCommand,
}

#[derive(Subcommand)]
pub enum ExtensionCommand {
    /// Install an extension.
    Install(InstallOpts),
    /// Uninstall an extension.
    Uninstall { name: String },
    /// Execute an extension.
    Run(RunOpts),
    /// List installed or available extensions.
    List,
}

#[derive(Parser)]
pub struct InstallOpts {
    /// Specifies the name of the extension to install.
    pub name: String,
    /// Installs the extension under different name. Useful when installing an extension with the same name as: already installed extension, or a built-in command.
    #[clap(long)]
    pub install_as: Option<String>,
    /// Installs a specific version of the extension, bypassing version checks
    #[clap(long)]
    pub version: Option<Version>,
    /// Specifies the URL of the catalog to use to find the extension.
    #[clap(long)]
    pub catalog_url: Option<Url>,
}

#[derive(Parser)]
pub struct RunOpts {
    /// Specifies the name of the extension to run.
    pub name: OsString,
    /// Specifies the parameters to pass to the extension.
    #[arg(allow_hyphen_values = true)]
    pub params: Vec<OsString>,
}
