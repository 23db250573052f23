//! `serve`: from arguments to what is served.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, CommandFactory as _, builder::BoolishValueParser, error::ErrorKind};
use ipnet::IpNet;

use super::Cli;
use crate::{
    config::{files::Sources, kubernetes::watch},
    serve::{self, Mode, Options},
};

const PUBLIC_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9090;

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    /// Files and folders with manifests, reloaded when they change. In the environment separated by commas. With
    /// --kubernetes what the operator mounts: the gateway starts from it.
    #[arg(long, env = "TAGFLEET_MANIFESTS", value_name = "PATH", num_args = 1.., value_delimiter = ',')]
    manifests: Vec<PathBuf>,
    /// Watch the TaggingContainer and its Destinations at the API server. For pods; elsewhere by KUBECONFIG.
    #[arg(long, env = "TAGFLEET_KUBERNETES", value_parser = BoolishValueParser::new())]
    kubernetes: bool,
    /// The TaggingContainer to serve; without --kubernetes needed where the manifests have several.
    #[arg(long, env = "TAGFLEET_CONTAINER", value_name = "NAME")]
    container: Option<String>,
    /// Its namespace, with --kubernetes. Default: the service account's, or that of the kubeconfig's context.
    #[arg(long, env = "TAGFLEET_NAMESPACE", value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Private ranges that destinations may reach, with --kubernetes, separated by commas. To addresses in them http is
    /// allowed, too.
    #[arg(
        long,
        env = "TAGFLEET_ALLOWED_PRIVATE_DESTINATIONS",
        value_name = "CIDR",
        num_args = 1..,
        value_delimiter = ','
    )]
    allowed_private_destinations: Vec<String>,
    /// Where hits are taken. Default: 127.0.0.1:8080, with --kubernetes 0.0.0.0:8080.
    #[arg(long, env = "TAGFLEET_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where probes, metrics and status are served. Keep it from the public. Default: 127.0.0.1:9090, with --kubernetes
    /// 0.0.0.0:9090.
    #[arg(long, env = "TAGFLEET_ADMIN", value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Where the disk log and the dead letters live.
    #[arg(long, env = "TAGFLEET_DATA_DIR", value_name = "DIR", default_value = "tagfleet-data")]
    data_dir: PathBuf,
    /// A folder with files named `<secret>..<key>`, as a mounted Secret has them.
    #[arg(long, env = "TAGFLEET_SECRETS_DIR", value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
}

/// Serves. Ends the process with exit code 2 when the arguments do not go together.
pub(super) fn run(arguments: ServeArguments) -> ExitCode {
    match options(arguments) {
        Ok(options) => serve::run(&options),
        Err(Misuse { kind, message }) => {
            let mut command = Cli::command();
            command.build();
            let serve = command.find_subcommand_mut("serve");
            serve
                .map_or_else(
                    || Cli::command().error(kind, &message),
                    |serve| serve.error(kind, &message),
                )
                .exit()
        }
    }
}

/// Arguments that do not go together.
#[derive(Debug)]
struct Misuse {
    kind: ErrorKind,
    message: String,
}

impl Misuse {
    fn missing(message: &str) -> Self {
        Self {
            kind: ErrorKind::MissingRequiredArgument,
            message: message.to_owned(),
        }
    }
}

fn options(arguments: ServeArguments) -> Result<Options, Misuse> {
    let everywhere = if arguments.kubernetes {
        Ipv4Addr::UNSPECIFIED
    } else {
        Ipv4Addr::LOCALHOST
    };
    let mode = mode(&arguments)?;
    Ok(Options {
        sources: Sources {
            paths: arguments.manifests,
            secrets_dir: arguments.secrets_dir,
        },
        mode,
        listen: arguments.listen.unwrap_or_else(|| (everywhere, PUBLIC_PORT).into()),
        admin: arguments.admin.unwrap_or_else(|| (everywhere, ADMIN_PORT).into()),
        data_dir: arguments.data_dir,
    })
}

fn mode(arguments: &ServeArguments) -> Result<Mode, Misuse> {
    if arguments.kubernetes {
        let Some(container) = arguments.container.clone() else {
            return Err(Misuse::missing(
                "--kubernetes needs the container's name: --container NAME",
            ));
        };
        return Ok(Mode::Kubernetes {
            container,
            allowed_private_destinations: ranges(&arguments.allowed_private_destinations)?,
            namespace: match arguments.namespace.clone() {
                Some(namespace) => namespace,
                None => namespace_of_process()?,
            },
        });
    }
    let clusters_own = [
        ("--namespace", arguments.namespace.is_some()),
        (
            "--allowed-private-destinations",
            !arguments.allowed_private_destinations.is_empty(),
        ),
    ];
    if let Some((flag, _)) = clusters_own.into_iter().find(|(_, given)| *given) {
        return Err(Misuse {
            kind: ErrorKind::ArgumentConflict,
            message: format!("{flag} is for --kubernetes; files are served without"),
        });
    }
    if arguments.manifests.is_empty() {
        return Err(Misuse::missing(
            "nothing to serve: give --manifests PATH..., or --kubernetes --container NAME",
        ));
    }
    Ok(Mode::Files {
        container: arguments.container.clone(),
    })
}

fn ranges(given: &[String]) -> Result<Vec<IpNet>, Misuse> {
    let parse = |range: &String| {
        range.trim().parse().map_err(|_| Misuse {
            kind: ErrorKind::ValueValidation,
            message: format!("--allowed-private-destinations: {range} is no range such as 10.96.0.0/12"),
        })
    };
    given
        .iter()
        .filter(|range| !range.trim().is_empty())
        .map(parse)
        .collect()
}

/// The namespace that this process runs in or works with.
fn namespace_of_process() -> Result<String, Misuse> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let found = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(watch::namespace()));
    found.map_err(|error| {
        Misuse::missing(&format!(
            "no namespace: give --namespace, as there is no service account and no kubeconfig that tells it ({error})"
        ))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use clap::Parser as _;

    use super::*;
    use crate::cli::Command;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        let all = ["tagfleet-gateway", "serve"].iter().chain(arguments);
        let Command::Serve(arguments) = Cli::try_parse_from(all).unwrap().command else {
            panic!("serve was asked for");
        };
        options(arguments).map_err(|misuse| misuse.message)
    }

    #[test]
    fn a_container_of_a_cluster_is_served_on_all_addresses() {
        let options = parse(&[
            "--kubernetes",
            "--container",
            "shop",
            "--namespace",
            "web",
            "--allowed-private-destinations",
            "10.96.0.0/12,fd00::/8",
        ]);
        let options = options.unwrap();
        assert_eq!(options.listen.to_string(), "0.0.0.0:8080");
        assert_eq!(options.admin.to_string(), "0.0.0.0:9090");
        let Mode::Kubernetes {
            namespace,
            container,
            allowed_private_destinations,
        } = options.mode
        else {
            panic!("files");
        };
        assert_eq!((namespace.as_str(), container.as_str()), ("web", "shop"));
        assert_eq!(allowed_private_destinations.len(), 2);
    }

    #[test]
    fn files_are_served_on_this_machine_alone() {
        let options = parse(&["--manifests", "shop.yaml"]).unwrap();
        assert_eq!(options.listen.to_string(), "127.0.0.1:8080");
        assert!(matches!(options.mode, Mode::Files { container: None }));
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        let refused = |arguments: &[&str]| parse(arguments).unwrap_err();
        assert!(refused(&[]).contains("--manifests"));
        assert!(refused(&["--kubernetes", "--namespace", "web"]).contains("--container"));
        assert!(refused(&["--manifests", "a.yaml", "--namespace", "web"]).contains("--kubernetes"));
        assert!(
            refused(&["--manifests", "a.yaml", "--allowed-private-destinations", "10.0.0.0/8"])
                .contains("--kubernetes")
        );
        assert!(
            refused(&[
                "--kubernetes",
                "--container",
                "shop",
                "--namespace",
                "web",
                "--allowed-private-destinations",
                "intern"
            ])
            .contains("intern")
        );
    }
}
