//! The command line (contract.md, Command lines). Exit codes: 0 done, 1 refused input, 2 wrong usage.

mod check;
mod dead_letters;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, builder::BoolishValueParser};

use crate::serve;

/// Tagfleet's tagging server.
#[derive(Debug, Parser)]
#[command(name = "tagfleet-gateway", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Takes hits and delivers events.
    Serve(ServeArguments),
    /// Names every mistake in manifests, with file, line and field.
    Check(CheckArguments),
    /// Shows the events that no vendor took, delivers them once more, or removes them.
    DeadLetters(dead_letters::DeadLettersArguments),
}

#[derive(Debug, Args)]
struct ServeArguments {
    /// Files and folders with manifests, reloaded when they change. In the environment separated by commas.
    #[arg(long, env = "TAGFLEET_MANIFESTS", value_name = "PATH", num_args = 1.., value_delimiter = ',', required = true)]
    manifests: Vec<PathBuf>,
    /// The TaggingContainer to serve, where the manifests have several.
    #[arg(long, env = "TAGFLEET_CONTAINER", value_name = "NAME")]
    container: Option<String>,
    /// Where hits are taken.
    #[arg(
        long,
        env = "TAGFLEET_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080"
    )]
    listen: SocketAddr,
    /// Where probes, metrics and status are served. Keep it from the public.
    #[arg(
        long,
        env = "TAGFLEET_ADMIN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9090"
    )]
    admin: SocketAddr,
    /// Where the disk log and the dead letters live.
    #[arg(long, env = "TAGFLEET_DATA_DIR", value_name = "DIR", default_value = "tagfleet-data")]
    data_dir: PathBuf,
    /// A folder with files named `<secret>..<key>`, as a mounted Secret has them.
    #[arg(long, env = "TAGFLEET_SECRETS_DIR", value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CheckArguments {
    /// Files and folders with manifests.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// A Secret, ConfigMap or container that is nowhere in the given files is an error, not a warning.
    #[arg(long, env = "TAGFLEET_STRICT", value_parser = BoolishValueParser::new())]
    strict: bool,
    /// Where which data goes. Not in force in this version yet.
    #[arg(long, env = "TAGFLEET_DATA_FLOW", value_parser = BoolishValueParser::new(), hide = true)]
    data_flow: bool,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(arguments) => serve::run(&serve::Options {
            sources: crate::config::files::Sources {
                paths: arguments.manifests,
                secrets_dir: arguments.secrets_dir,
            },
            container: arguments.container,
            listen: arguments.listen,
            admin: arguments.admin,
            data_dir: arguments.data_dir,
        }),
        Command::Check(arguments) => check::run(&arguments),
        Command::DeadLetters(arguments) => dead_letters::run(&arguments),
    }
}
