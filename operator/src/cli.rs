//! The command line. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, builder::BoolishValueParser};
use ipnet::IpNet;
use tagfleet_crds::generated;
use tagfleet_process::logging::is_in_pod;

use crate::run;

/// The gateway's image where neither `--gateway-image` nor a container names one. A version of its own, not the operator's:
/// an operator upgrade alone restarts no gateway.
pub const DEFAULT_GATEWAY_IMAGE: &str = "ghcr.io/tagfleet/tagfleet-gateway:0.1.0";

/// Turns TaggingContainers and Destinations into fleets of gateways.
#[derive(Debug, Parser)]
#[command(name = "tagfleet-operator", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the operator: in a pod with its ServiceAccount, elsewhere with KUBECONFIG.
    Run(RunArguments),
    /// Prints the CustomResourceDefinitions of both kinds as YAML.
    Crds,
}

#[derive(Debug, Args)]
struct RunArguments {
    /// The one namespace to look after. Without it, all.
    #[arg(long, env = "TAGFLEET_NAMESPACE", value_name = "NAMESPACE", value_parser = label)]
    namespace: Option<String>,
    /// The gateway's image where a container names none. A change rolls fleets one at a time.
    #[arg(long, env = "TAGFLEET_GATEWAY_IMAGE", value_name = "IMAGE", default_value = DEFAULT_GATEWAY_IMAGE)]
    gateway_image: String,
    /// Private address ranges that gateways may send to, separated by commas. Without it, none.
    #[arg(
        long,
        env = "TAGFLEET_ALLOWED_PRIVATE_DESTINATIONS",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    allowed_private_destinations: Vec<IpNet>,
    /// Where probes, metrics and state are served. Default: 0.0.0.0:8080 in a pod, 127.0.0.1:8081 elsewhere.
    #[arg(long, env = "TAGFLEET_ADMIN", value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// The Lease by which operators choose a leader. Default: tagfleet-operator, with --namespace followed by a dash and
    /// that namespace.
    #[arg(long, env = "TAGFLEET_LEASE_NAME", value_name = "NAME")]
    lease_name: Option<String>,
    /// The Lease's namespace. Default: the operator's own.
    #[arg(long, env = "TAGFLEET_LEASE_NAMESPACE", value_name = "NAMESPACE", value_parser = label)]
    lease_namespace: Option<String>,
    /// Writes without a Lease. Only where nothing else runs an operator, as when it is developed.
    #[arg(long, env = "TAGFLEET_NO_LEADER_ELECTION", value_parser = BoolishValueParser::new())]
    no_leader_election: bool,
}

impl RunArguments {
    fn into_options(self, is_in_pod: bool) -> run::Options {
        let admin = self.admin.unwrap_or(match is_in_pod {
            true => ([0, 0, 0, 0], 8080).into(),
            false => ([127, 0, 0, 1], 8081).into(),
        });
        let lease_name = self.lease_name.unwrap_or_else(|| match &self.namespace {
            Some(namespace) => format!("tagfleet-operator-{namespace}"),
            None => "tagfleet-operator".to_owned(),
        });
        run::Options {
            namespace: self.namespace,
            gateway_image: self.gateway_image,
            allowed_private_destinations: self.allowed_private_destinations,
            admin,
            lease: (!self.no_leader_election).then_some(run::LeaseOptions {
                name: lease_name,
                namespace: self.lease_namespace,
            }),
        }
    }
}

/// A namespace's name: a DNS label (RFC 1123).
fn label(text: &str) -> Result<String, String> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let is_label = bytes.len() <= 63
        && bytes.first().is_some_and(|byte| is_inner(*byte))
        && bytes.last().is_some_and(|byte| is_inner(*byte))
        && bytes.iter().all(|byte| is_inner(*byte) || *byte == b'-');
    if is_label {
        Ok(text.to_owned())
    } else {
        Err("a namespace's name is at most 63 of a-z, 0-9 and -, and neither begins nor ends with -".to_owned())
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Run(arguments) => run::run(&arguments.into_options(is_in_pod())),
        Command::Crds => match print_crds() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Nothing is left to tell if standard error is closed.
                writeln!(io::stderr(), "{error}").unwrap_or_default();
                ExitCode::FAILURE
            }
        },
    }
}

fn print_crds() -> io::Result<()> {
    let files = generated::crds().map_err(io::Error::other)?;
    let mut out = io::stdout().lock();
    files.iter().try_for_each(|file| write!(out, "---\n{}", file.text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn options(arguments: &[&str], is_in_pod: bool) -> run::Options {
        let line = ["tagfleet-operator", "run"].iter().chain(arguments);
        match Cli::try_parse_from(line).unwrap().command {
            Command::Run(arguments) => arguments.into_options(is_in_pod),
            Command::Crds => panic!("run was given"),
        }
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_is_an_environment_variable_of_the_same_name() {
        for command in Cli::command().get_subcommands() {
            for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
                let Some(flag) = argument.get_long() else { continue };
                let expected = format!("TAGFLEET_{}", flag.replace('-', "_").to_uppercase());
                let env = argument.get_env().map(|env| env.to_string_lossy().into_owned());
                assert!(
                    flag == "version" || env.as_deref() == Some(&expected),
                    "--{flag}: {env:?}"
                );
            }
        }
    }

    #[test]
    fn the_defaults_are_for_all_namespaces_and_for_where_it_runs() {
        let usual = options(&[], true);
        assert_eq!(usual.namespace, None);
        assert_eq!(usual.gateway_image, DEFAULT_GATEWAY_IMAGE);
        assert_eq!(usual.admin.to_string(), "0.0.0.0:8080");
        assert_eq!(usual.lease.unwrap().name, "tagfleet-operator");
        assert_eq!(options(&[], false).admin.to_string(), "127.0.0.1:8081");
        assert_eq!(options(&["--no-leader-election"], false).lease, None);
    }

    #[test]
    fn operators_of_different_namespaces_do_not_share_a_lease() {
        let lease = |namespace| options(&["--namespace", namespace], true).lease.unwrap().name;
        assert_eq!(lease("shop"), "tagfleet-operator-shop");
        assert_ne!(lease("shop"), lease("blog"));
    }

    #[test]
    fn private_ranges_are_separated_by_commas() {
        let options = options(&["--allowed-private-destinations", "10.1.0.0/16,fd00::/8"], true);
        let ranges: Vec<String> = options
            .allowed_private_destinations
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(ranges, ["10.1.0.0/16", "fd00::/8"]);
    }

    #[test]
    fn wrong_usage_is_refused() {
        for wrong in [
            &["--namespace", "Shop"][..],
            &["--namespace", ""],
            &["--namespace", "a-"],
            &["--allowed-private-destinations", "10.0.0.1/99"],
            &["--admin", "8080"],
        ] {
            let line = ["tagfleet-operator", "run"].iter().chain(wrong);
            let error = Cli::try_parse_from(line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ValueValidation, "{wrong:?}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
