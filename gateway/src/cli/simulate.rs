//! `simulate`: what would be sent where, and why not. Sends nothing.

use std::{
    fs,
    io::{self, Read as _, Write},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, ValueEnum};

use crate::{
    clock,
    simulate::{Circumstances, SimulatedHit, Simulator, requests},
};

/// An address of the documentation (RFC 5737), for visitors of whom nothing is said.
const SOMEBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

/// The largest file of requests that is read.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct SimulateArguments {
    /// Files and folders with manifests. Secrets that are not among them are stood in for.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The hits: requests as HTTP writes them (several with ### between), a curl command line, or a HAR archive. `-` reads
    /// standard input.
    #[arg(long, env = "TAGFLEET_REQUEST", value_name = "FILE")]
    request: PathBuf,
    /// The TaggingContainer; needed where the manifests have several.
    #[arg(long, env = "TAGFLEET_CONTAINER", value_name = "NAME")]
    container: Option<String>,
    /// A folder with files named `<secret>..<key>`.
    #[arg(long, env = "TAGFLEET_SECRETS_DIR", value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
    /// The visitor's address, unless the request has X-Forwarded-For.
    #[arg(long, env = "TAGFLEET_VISITOR", value_name = "ADDRESS", default_value_t = SOMEBODY)]
    visitor: IpAddr,
    /// As text to read, or as JSON for a program.
    #[arg(long, env = "TAGFLEET_OUTPUT", value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Simulates and prints. Exit code 1 when manifests or requests are refused.
pub(super) fn run(arguments: SimulateArguments) -> ExitCode {
    match simulate(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            writeln!(io::stderr(), "{message}").unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}

fn simulate(arguments: SimulateArguments) -> Result<(), String> {
    let file = arguments.request.display().to_string();
    let text = read(&arguments.request).map_err(|error| format!("{file}: {error}"))?;
    let given = requests::read(&text).map_err(|error| format!("{file}: {error}"))?;
    let simulator = Simulator::load(arguments.paths, arguments.secrets_dir, arguments.container.as_deref()).map_err(
        |findings| {
            let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
            lines.join("\n")
        },
    )?;
    let with = Circumstances {
        now_ms: clock::now_ms(),
        peer: arguments.visitor,
    };
    let hits: Vec<SimulatedHit> = given.iter().map(|request| simulator.hit(request, with)).collect();
    // Who closes the pipe early has read enough.
    print(&hits, arguments.output).unwrap_or_default();
    Ok(())
}

fn read(path: &PathBuf) -> io::Result<String> {
    let mut text = String::new();
    let source: Box<dyn io::Read> = if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(fs::File::open(path)?)
    };
    source.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn print(hits: &[SimulatedHit], output: Output) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Text => hits.iter().try_for_each(|hit| write!(out, "{hit}")),
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, hits)?;
            writeln!(out)
        }
    }
}
