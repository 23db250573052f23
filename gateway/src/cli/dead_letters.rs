//! `dead-letters list|show|replay|purge`: on the data folder while no gateway uses it, else through its admin listener.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::places;
use crate::{
    clock,
    delivery::{
        addresses::AddressPolicy,
        client::{ClientError, HttpClient, Transport, TransportError},
        dead_letters::{
            DeadLetterError, DeadLetters, ReplayError, replay,
            routes::{list, view},
        },
    },
    log::{Log, LogError},
};

/// Letters that are read at once.
const AT_ONCE: usize = 100;
/// The longest answer of an admin listener.
const MAX_ANSWER_BYTES: usize = 256 << 20;

#[derive(Debug, Args)]
pub(super) struct DeadLettersArguments {
    #[command(subcommand)]
    action: Action,
    /// The destination; without it every one that has dead letters.
    #[arg(long, global = true, env = "TAGFLEET_DESTINATION", value_name = "NAME")]
    destination: Option<String>,
    /// The data folder of the gateway, which is used when no gateway runs on it.
    #[arg(
        long,
        global = true,
        env = "TAGFLEET_DATA_DIR",
        value_name = "DIR",
        default_value = "tagfleet-data"
    )]
    data_dir: PathBuf,
    /// The admin listener of the gateway, which is asked while one runs.
    #[arg(
        long,
        global = true,
        env = "TAGFLEET_ADMIN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9090"
    )]
    admin: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
enum Action {
    /// How many there are, by destination.
    List,
    /// Each with its event, one JSON object a line.
    Show,
    /// Delivers them once more, as if they were accepted now.
    Replay,
    /// Removes them for good.
    Purge,
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Shelf(#[from] DeadLetterError),
    #[error("{0}")]
    Replay(#[from] ReplayError),
    #[error("{0}")]
    Log(#[from] LogError),
    #[error("{}: there are no dead letters in this folder, and no gateway answers: {source}", folder.display())]
    NoGateway { folder: PathBuf, source: TransportError },
    #[error("the gateway says: {0}")]
    Refused(String),
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("{0}")]
    System(#[from] io::Error),
}

/// Runs the command. Exit code 1 when it failed.
pub(super) fn run(arguments: &DeadLettersArguments) -> ExitCode {
    let done = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| {
            let place = Place::find(arguments, &runtime)?;
            act(arguments, &place, &mut io::stdout().lock())
        });
    match done {
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

fn act(arguments: &DeadLettersArguments, place: &Place<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let shelved = place.list()?;
    let wanted = |entry: &&Value| match &arguments.destination {
        Some(name) => entry.get("destination").and_then(Value::as_str) == Some(name),
        None => true,
    };
    let shelved: Vec<&Value> = shelved.iter().filter(wanted).collect();
    if shelved.is_empty() && arguments.action != Action::Show {
        writeln!(out, "no dead letters")?;
    }
    for entry in shelved {
        let name = entry.get("destination").and_then(Value::as_str).unwrap_or_default();
        let number = |field: &str| entry.get(field).and_then(Value::as_u64).unwrap_or_default();
        match arguments.action {
            Action::List => writeln!(
                out,
                "{name}: {} dead letters, {} bytes",
                number("letters"),
                number("bytes")
            )?,
            Action::Show => place.show(name, out)?,
            Action::Replay => writeln!(out, "{name}: {} replayed", place.replay(name)?)?,
            Action::Purge => writeln!(out, "{name}: {} purged", place.purge(name)?)?,
        }
    }
    Ok(())
}

/// Where the dead letters are.
enum Place<'r> {
    Folder {
        letters: DeadLetters,
        data_dir: PathBuf,
        runtime: &'r Runtime,
    },
    Gateway {
        client: Box<HttpClient>,
        admin: SocketAddr,
        folder: PathBuf,
        runtime: &'r Runtime,
    },
}

impl<'r> Place<'r> {
    fn find(arguments: &DeadLettersArguments, runtime: &'r Runtime) -> Result<Self, Failure> {
        let folder = arguments.data_dir.join("dead-letters");
        if folder.is_dir() {
            match DeadLetters::open(&folder, u64::MAX) {
                Ok(letters) => {
                    return Ok(Self::Folder {
                        letters,
                        data_dir: arguments.data_dir.clone(),
                        runtime,
                    });
                }
                Err(DeadLetterError::InUse { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let client = HttpClient::new(AddressPolicy::AllowAll)?.reading_up_to(MAX_ANSWER_BYTES);
        Ok(Self::Gateway {
            client: Box::new(client),
            admin: arguments.admin,
            folder,
            runtime,
        })
    }

    fn list(&self) -> Result<Vec<Value>, Failure> {
        match self {
            Self::Folder { letters, .. } => Ok(list(letters)),
            Self::Gateway { .. } => match serde_json::from_slice(&self.ask(Method::GET, "")?) {
                Ok(Value::Array(entries)) => Ok(entries),
                _ => Err(Failure::Refused("something that is no list of dead letters".to_owned())),
            },
        }
    }

    fn show(&self, name: &str, out: &mut dyn Write) -> Result<(), Failure> {
        let mut from = 0;
        loop {
            let lines: Vec<Value> = match self {
                Self::Folder { letters, .. } => letters.show(name, from, AT_ONCE)?.iter().map(view).collect(),
                Self::Gateway { .. } => {
                    let answer = self.ask(Method::GET, &format!("/{name}?from={from}"))?;
                    let lines = String::from_utf8_lossy(&answer);
                    lines
                        .lines()
                        .filter_map(|line| serde_json::from_str(line).ok())
                        .collect()
                }
            };
            let Some(last) = lines.last().and_then(|line| line.get("id")).and_then(Value::as_u64) else {
                return Ok(());
            };
            for mut line in lines {
                if let Some(object) = line.as_object_mut() {
                    object.insert("destination".to_owned(), json!(name));
                }
                writeln!(out, "{line}")?;
            }
            from = last + 1;
        }
    }

    fn replay(&self, name: &str) -> Result<u64, Failure> {
        match self {
            Self::Folder {
                letters,
                data_dir,
                runtime,
            } => {
                let log = places::open_log(data_dir)?;
                let replayed = replay(letters, &log, name, clock::now_ms(), runtime.handle());
                log.close();
                Ok(replayed?)
            }
            Self::Gateway { .. } => self.count(Method::POST, &format!("/{name}/replay"), "replayed"),
        }
    }

    fn purge(&self, name: &str) -> Result<u64, Failure> {
        match self {
            Self::Folder { letters, .. } => Ok(letters.purge(name)?),
            Self::Gateway { .. } => self.count(Method::DELETE, &format!("/{name}"), "purged"),
        }
    }

    fn count(&self, method: Method, path: &str, field: &str) -> Result<u64, Failure> {
        let answer: Value = serde_json::from_slice(&self.ask(method, path)?).unwrap_or_default();
        let count = answer.get(field).and_then(Value::as_u64);
        count.ok_or_else(|| Failure::Refused(answer.to_string()))
    }

    /// Asks the admin listener.
    fn ask(&self, method: Method, path: &str) -> Result<Bytes, Failure> {
        let Self::Gateway {
            client,
            admin,
            folder,
            runtime,
        } = self
        else {
            return Ok(Bytes::new());
        };
        let path = format!("/dead-letters{path}");
        let request = places::request("dead-letters", method, *admin, &path, Bytes::new());
        let request = request.map_err(|error| Failure::Refused(error.to_string()))?;
        let answer = runtime.block_on(client.send(request));
        let answer = answer.map_err(|source| Failure::NoGateway {
            folder: folder.clone(),
            source,
        })?;
        places::accepted(answer).map_err(Failure::Refused)
    }
}
