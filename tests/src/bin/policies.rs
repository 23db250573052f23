//! Enforces a cluster's NetworkPolicies on a test node, whose network plugin enforces none: an nftables table in the network
//! namespace that it runs in, replaced in one step when policies, namespaces or pods changed, which it reads five times a
//! second. What it knows of them is in `tagfleet_tests::policies`. The kubeconfig is that of `KUBECONFIG`.
//!
//! Its first line is `enforced`, or `unenforced: ` and why; it says the latter too when it must give up later, and ends.
#![allow(clippy::print_stdout, reason = "it tells what it does on standard output")]

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::{self, Write as _},
    net::Ipv4Addr,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            net::{SocketAddr, UnixListener},
            process::parent_id,
        },
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use clap::Parser;
use ipnet::IpNet;
use k8s_openapi::api::{
    core::v1::{Namespace, Pod},
    networking::v1::NetworkPolicy,
};
use kube::{Api, Client, api::ListParams};
use serde::Deserialize;
use tagfleet_tests::{
    policies::{self, Observed, nft},
    skip,
};

/// How often it looks: a container seldom starts sooner when its pod has an address.
const PERIOD: Duration = Duration::from_millis(200);
/// Whether the kernel shows nftables the packets that a bridge passes between its ports: those between pods of a node.
const BRIDGE_SETTING: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

#[derive(Parser)]
#[command(about = "Enforces a cluster's NetworkPolicies with nftables, on a test node")]
struct Args {
    /// The bridge that the pods are behind.
    #[arg(long, default_value = "pods")]
    bridge: String,
    /// Where network plugins keep what they gave to pods.
    #[arg(long, default_value = "/var/lib/cni/results")]
    results: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let _turn = take_turn().await?;
    let mut table = String::new();
    if let Err(why) = run(&Args::parse(), &mut table).await {
        println!("unenforced: {why}");
        // If they never were enforced, the tests that need it find that out, and say so.
        if !table.is_empty() {
            skip::skip("NetworkPolicies", &format!("unenforced: {why}"));
        }
    }
    // The table that stays behind would let no new pod through.
    nft(&nft::remove())
}

/// One at a time in a network namespace, which a name without a file belongs to: that of a test program which ended may be
/// about to take its table away, and it has the same name as ours.
async fn take_turn() -> io::Result<UnixListener> {
    let name = SocketAddr::from_abstract_name(nft::TABLE)?;
    loop {
        match UnixListener::bind_addr(&name) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => tokio::time::sleep(PERIOD).await,
            bound => return bound,
        }
    }
}

/// Ends when the parent does: tests share one for as long as their program lives, and end without a word.
async fn run(args: &Args, table: &mut String) -> Result<(), Box<dyn Error>> {
    let parent = parent_id();
    let client = Client::try_default().await?;
    while parent_id() == parent {
        match observe(&client, &args.results).await {
            Ok(observed) => enforce(&observed, &args.bridge, table)?,
            // As network plugins do: what was known last goes on.
            Err(error) => println!("the API server: {error}"),
        }
        tokio::time::sleep(PERIOD).await;
    }
    Ok(())
}

async fn observe(client: &Client, results: &Path) -> Result<Observed, kube::Error> {
    let all = ListParams::default();
    // Pods first: no pod is known before a policy that was there when it came.
    Ok(Observed {
        pods: Api::<Pod>::all(client.clone()).list(&all).await?.items,
        namespaces: Api::<Namespace>::all(client.clone()).list(&all).await?.items,
        policies: Api::<NetworkPolicy>::all(client.clone()).list(&all).await?.items,
        addresses: addresses(results),
    })
}

/// Puts the table in force that these objects ask for, unless it is.
fn enforce(observed: &Observed, bridge: &str, table: &mut String) -> Result<(), Box<dyn Error>> {
    let wanted = nft::render(bridge, &policies::judge(observed)?);
    if wanted != *table {
        if table.is_empty() {
            show_bridged_packets().map_err(|error| {
                format!("the kernel does not filter between pods (br_netfilter): {BRIDGE_SETTING}: {error}")
            })?;
        }
        nft(&wanted)?;
        println!("{}", if table.is_empty() { "enforced" } else { "a new table" });
        *table = wanted;
    }
    Ok(())
}

/// It may be so already where nobody may write it.
fn show_bridged_packets() -> io::Result<()> {
    match fs::read_to_string(BRIDGE_SETTING)?.trim() {
        "1" => Ok(()),
        _ => fs::write(BRIDGE_SETTING, "1"),
    }
}

fn nft(commands: &str) -> Result<(), Box<dyn Error>> {
    let start = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut process = start.map_err(|error| format!("nft (Debian's nftables): {error}"))?;
    if let Some(mut input) = process.stdin.take() {
        // One that ends early says why on standard error.
        let written = input.write_all(commands.as_bytes());
        written.or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        })?;
    }
    let output = process.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("nft: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(())
}

/// What libcni remembers of a plugin's answer
/// (<https://github.com/containernetworking/cni/blob/main/libcni/api.go>, `cachedInfo`). Those of other clusters on this machine
/// are here too.
#[derive(Deserialize)]
struct Given {
    #[serde(rename = "ifName")]
    interface: String,
    #[serde(rename = "cniArgs", default)]
    arguments: Vec<(String, String)>,
    result: GivenResult,
}

#[derive(Deserialize)]
struct GivenResult {
    ips: Vec<GivenAddress>,
}

#[derive(Deserialize)]
struct GivenAddress {
    address: IpNet,
}

impl Given {
    /// A pod's uid and address; nothing for its loopback interface, which has a file too.
    fn address_of_pod(&self) -> Option<(String, Ipv4Addr)> {
        let (_, uid) = self.arguments.iter().find(|(name, _)| name == "K8S_POD_UID")?;
        let address = self.result.ips.iter().find_map(|ip| match ip.address {
            IpNet::V4(address) => Some(address.addr()),
            IpNet::V6(_) => None,
        })?;
        (self.interface != "lo").then(|| (uid.clone(), address))
    }
}

/// The addresses that network plugins gave to pods, by the pod's uid. A file that is being written now is whole the next time.
fn addresses(results: &Path) -> BTreeMap<String, Ipv4Addr> {
    let files = fs::read_dir(results).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| fs::read(file.path()).ok());
    let given = texts.filter_map(|text| serde_json::from_slice::<Given>(&text).ok());
    given.filter_map(|given| given.address_of_pod()).collect()
}
