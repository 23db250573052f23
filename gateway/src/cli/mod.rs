//! The command line (contract.md, Command lines). Exit codes: 0 done, 1 refused input, 2 wrong usage.

mod check;
mod data_flow;
mod dead_letters;
mod erase;
mod places;
mod serve;
mod simulate;
mod test;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, builder::BoolishValueParser};

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
    Serve(serve::ServeArguments),
    /// Names every mistake in manifests, with file, line and field.
    Check(CheckArguments),
    /// Shows what would be sent where for a hit, and why not. Sends nothing.
    Simulate(simulate::SimulateArguments),
    /// Runs the tests beside manifests: given this hit, expect these requests and reasons.
    Test(test::TestArguments),
    /// Shows the events that no vendor took, delivers them once more, or removes them.
    DeadLetters(dead_letters::DeadLettersArguments),
    /// Erases a visitor's events: those that wait are not sent, dead letters are removed.
    Erase(erase::EraseArguments),
}

#[derive(Debug, Args)]
struct CheckArguments {
    /// Files and folders with manifests.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// A Secret, ConfigMap or container that is nowhere in the given files is an error, not a warning.
    #[arg(long, env = "TAGFLEET_STRICT", value_parser = BoolishValueParser::new())]
    strict: bool,
    /// Prints who gets what, as a record of processing (GDPR, article 30): for people, or as CSV. Mistakes go to standard
    /// error then.
    #[arg(
        long,
        env = "TAGFLEET_DATA_FLOW",
        value_name = "LAYOUT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "text"
    )]
    data_flow: Option<data_flow::Layout>,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Simulate(arguments) => simulate::run(arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::DeadLetters(arguments) => dead_letters::run(&arguments),
        Command::Erase(arguments) => erase::run(&arguments),
    }
}
