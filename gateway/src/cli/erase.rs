//! `erase`: a visitor's events are not sent any more, and leave the dead letters. Asks the gateway, if one answers, and
//! does the same on the data folder, if no gateway uses it.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use bytes::Bytes;
use clap::Args;
use http::Method;
use serde_json::json;
use tokio::runtime::Builder;

use super::places;
use crate::{
    clock,
    delivery::{
        addresses::AddressPolicy,
        client::{ClientError, HttpClient, Transport as _, TransportError},
        dead_letters::{DeadLetterError, DeadLetters},
    },
    erase::{self, EraseError, Erased, Erasures, Visitor, routes::PATH},
    log::LogError,
};

#[derive(Debug, Args)]
pub(super) struct EraseArguments {
    #[command(flatten)]
    visitor: VisitorArguments,
    /// The data folder of the gateway, which is used when no gateway runs on it.
    #[arg(long, env = "TAGFLEET_DATA_DIR", value_name = "DIR", default_value = "tagfleet-data")]
    data_dir: PathBuf,
    /// The admin listener of the gateway, which is asked while one runs.
    #[arg(
        long,
        env = "TAGFLEET_ADMIN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9090"
    )]
    admin: SocketAddr,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct VisitorArguments {
    /// The visitor's `client_id`.
    #[arg(long, env = "TAGFLEET_CLIENT_ID", hide_env_values = true, value_name = "ID")]
    client_id: Option<String>,
    /// The visitor's `user_id`.
    #[arg(long, env = "TAGFLEET_USER_ID", hide_env_values = true, value_name = "ID")]
    user_id: Option<String>,
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(
        "nothing is erased: no gateway answers at {admin} ({source}), and {} is no data folder of one",
        folder.display()
    )]
    Nowhere {
        admin: SocketAddr,
        source: TransportError,
        folder: PathBuf,
    },
    #[error("nothing is erased: a gateway uses {} and none answers at {admin}: name its admin listener with --admin", folder.display())]
    Elsewhere { admin: SocketAddr, folder: PathBuf },
    #[error("the gateway says: {0}")]
    Refused(String),
    #[error("{0}")]
    Erase(#[from] EraseError),
    #[error("{0}")]
    Shelf(#[from] DeadLetterError),
    #[error("{0}")]
    Log(#[from] LogError),
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("{0}")]
    System(#[from] io::Error),
}

/// Runs the command. Exit code 1 when it failed.
pub(super) fn run(arguments: &EraseArguments) -> ExitCode {
    match act(arguments, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // Who closes the pipe early has read enough.
        Err(Failure::System(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to tell when standard error is gone.
            writeln!(io::stderr(), "{failure}").unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: &EraseArguments, out: &mut dyn Write) -> Result<(), Failure> {
    let asked = ask(arguments)?;
    let folder = &arguments.data_dir;
    // A folder that a gateway uses is that gateway's own affair.
    let here = on_folder(arguments, folder)?;
    match (&asked, &here) {
        (Err(source), Here::Missing) => {
            return Err(Failure::Nowhere {
                admin: arguments.admin,
                source: source.clone(),
                folder: folder.clone(),
            });
        }
        (Err(_), Here::InUse) => {
            return Err(Failure::Elsewhere {
                admin: arguments.admin,
                folder: folder.clone(),
            });
        }
        _ => {}
    }
    if let Ok(erased) = &asked {
        tell(&format!("the gateway at {}", arguments.admin), erased, out)?;
    }
    if let Here::Done(erased) = &here {
        tell(&format!("the folder {}", folder.display()), erased, out)?;
    }
    writeln!(
        out,
        "Each gateway has a buffer of its own: of a fleet, ask every pod.\n\
         Events that arrive from now on are taken again: erasing does not stop the visitor's browser."
    )?;
    Ok(())
}

fn tell(place: &str, erased: &Erased, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "In {place}:")?;
    for (name, removed) in &erased.removed {
        writeln!(out, "  {name}: {removed} removed")?;
    }
    let waiting: Vec<String> = erased
        .waiting
        .iter()
        .map(|(name, events)| format!("{name} {events}"))
        .collect();
    if waiting.is_empty() {
        writeln!(out, "  the buffer: no event waits")?;
    } else {
        writeln!(
            out,
            "  the buffer: those of this visitor among the events that wait are not sent; they leave the disk with their \
             file, once every destination is past it (waiting of all visitors: {})",
            waiting.join(", ")
        )?;
    }
    if erased.received.is_empty() {
        writeln!(out, "  no destination has received anything")
    } else {
        writeln!(
            out,
            "  may have received events of this visitor before; ask them to erase them: {}",
            erased.received.join(", ")
        )
    }
}

impl VisitorArguments {
    fn visitor(&self) -> Visitor {
        match (&self.client_id, &self.user_id) {
            (Some(id), _) => Visitor::ClientId(id.clone()),
            (None, id) => Visitor::UserId(id.clone().unwrap_or_default()),
        }
    }

    fn body(&self) -> Bytes {
        let body = match self.visitor() {
            Visitor::ClientId(id) => json!({"client_id": id}),
            Visitor::UserId(id) => json!({"user_id": id}),
        };
        body.to_string().into()
    }
}

/// Asks the gateway; the inner error when none answers.
fn ask(arguments: &EraseArguments) -> Result<Result<Erased, TransportError>, Failure> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let client = HttpClient::new(AddressPolicy::AllowAll)?;
    let request = places::request("erase", Method::POST, arguments.admin, PATH, arguments.visitor.body());
    let request = request.map_err(|error| Failure::Refused(error.to_string()))?;
    let answer = match runtime.block_on(client.send(request)) {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(error)),
    };
    let words = places::words(&answer);
    let body = places::accepted(answer).map_err(Failure::Refused)?;
    let erased = serde_json::from_slice(&body);
    erased.map(Ok).map_err(|_| Failure::Refused(words))
}

/// What became of the data folder.
enum Here {
    Missing,
    InUse,
    Done(Erased),
}

fn on_folder(arguments: &EraseArguments, folder: &Path) -> Result<Here, Failure> {
    if !folder.is_dir() {
        return Ok(Here::Missing);
    }
    let letters = match DeadLetters::open(&folder.join("dead-letters"), u64::MAX) {
        Ok(letters) => letters,
        Err(DeadLetterError::InUse { .. }) => return Ok(Here::InUse),
        Err(error) => return Err(error.into()),
    };
    let log = match places::open_log(folder) {
        Ok(log) => log,
        Err(LogError::InUse { .. }) => return Ok(Here::InUse),
        Err(error) => return Err(error.into()),
    };
    let erasures = Erasures::open(folder)?;
    let erased = erase::erase(
        &arguments.visitor.visitor(),
        &erasures,
        &log,
        &[Arc::new(letters)],
        clock::now_ms(),
    );
    crate::log::Log::close(&log);
    Ok(Here::Done(erased?))
}
