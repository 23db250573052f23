//! Stands in for an Ingress controller on a test node: Debian's nginx, configured from the Ingress objects of one class, their
//! TLS Secrets and the EndpointSlices of their Services, which it reads five times a second. It is no controller: see
//! `tagfleet_tests::ingress`. The kubeconfig is that of `KUBECONFIG`.
#![allow(clippy::print_stdout, reason = "it tells what it does on standard output")]

use std::{
    collections::BTreeSet,
    error::Error,
    fs,
    os::unix::{fs::PermissionsExt as _, process::parent_id},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use clap::Parser;
use k8s_openapi::api::{core::v1::Secret, discovery::v1::EndpointSlice, networking::v1::Ingress};
use kube::{Api, Client, api::ListParams};
use tagfleet_tests::{
    ingress::{self, Certificates, Route},
    process::signal,
};

/// How often it looks. A pod that is to end goes on for five seconds, so that this is early enough.
const PERIOD: Duration = Duration::from_millis(200);

#[derive(Parser)]
#[command(about = "Routes by a cluster's Ingress objects, with nginx; stands in for a controller in tests")]
struct Args {
    /// The class of its Ingresses.
    #[arg(long, default_value = "nginx")]
    class: String,
    /// The address that it listens at, on ports 80 and 443.
    #[arg(long)]
    listen: String,
    /// A folder of its own.
    #[arg(long)]
    folder: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    fs::create_dir_all(&args.folder)?;
    fs::set_permissions(&args.folder, fs::Permissions::from_mode(0o755))?;
    let client = Client::try_default().await?;
    let mut nginx: Option<Nginx> = None;
    let parent = parent_id();
    // Tests share one for as long as their program lives, and end without a word.
    while parent_id() == parent {
        match configuration(&client, &args).await {
            Ok(text) => match &mut nginx {
                None => nginx = Some(Nginx::start(&args.folder, text)?),
                Some(nginx) => nginx.reload(text)?,
            },
            // As routers do: what was known last goes on.
            Err(error) => println!("the API server: {error}"),
        }
        tokio::time::sleep(PERIOD).await;
    }
    Ok(())
}

async fn configuration(client: &Client, args: &Args) -> Result<String, Box<dyn Error>> {
    let all = ListParams::default();
    let ingresses = Api::<Ingress>::all(client.clone()).list(&all).await?.items;
    let slices = Api::<EndpointSlice>::all(client.clone()).list(&all).await?.items;
    let routes = ingress::routes(&args.class, &ingresses, &slices);
    let certificates = certificates(client, &routes, &args.folder).await?;
    Ok(ingress::render(&args.listen, &routes, &certificates))
}

/// Writes the certificates of the routes to files, whose names change with their content.
async fn certificates(client: &Client, routes: &[Route], folder: &Path) -> Result<Certificates, Box<dyn Error>> {
    let wanted: BTreeSet<(&str, &str)> = routes
        .iter()
        .filter_map(|route| Some((route.namespace.as_str(), route.tls_secret.as_deref()?)))
        .collect();
    let mut found = Certificates::new();
    for (namespace, name) in wanted {
        let secret = Api::<Secret>::namespaced(client.clone(), namespace)
            .get_opt(name)
            .await?;
        let Some(secret) = secret else { continue };
        let version = secret.metadata.resource_version.unwrap_or_default();
        let data = secret.data.unwrap_or_default();
        if let (Some(certificate), Some(key)) = (data.get("tls.crt"), data.get("tls.key")) {
            let file = |end: &str| folder.join(format!("{namespace}.{name}.{version}.{end}"));
            let (certificate_file, key_file) = (file("crt"), file("key"));
            if !key_file.exists() {
                fs::write(&certificate_file, &certificate.0)?;
                fs::write(&key_file, &key.0)?;
            }
            let text = |path: &Path| path.display().to_string();
            found.insert(
                (namespace.to_owned(), name.to_owned()),
                (text(&certificate_file), text(&key_file)),
            );
        }
    }
    Ok(found)
}

/// A running nginx. Dropping it ends it.
struct Nginx {
    process: Child,
    file: PathBuf,
    text: String,
}

impl Nginx {
    fn start(folder: &Path, text: String) -> Result<Self, Box<dyn Error>> {
        let file = folder.join("nginx.conf");
        fs::write(&file, &text)?;
        // It ends with us, however we end.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "nginx", "-p"])
            .arg(folder)
            .arg("-c")
            .arg(&file)
            .args(["-g", "daemon off;"])
            .spawn()?;
        Ok(Self { process, file, text })
    }

    /// Workers of before end when their connections do.
    fn reload(&mut self, text: String) -> Result<(), Box<dyn Error>> {
        if let Some(status) = self.process.try_wait()? {
            return Err(format!("nginx ended: {status}").into());
        }
        if text != self.text {
            fs::write(&self.file, &text)?;
            signal(self.process.id(), "HUP");
            println!("nginx has new routes");
            self.text = text;
        }
        Ok(())
    }
}

impl Drop for Nginx {
    /// Killed, it would leave its workers behind, which hold its ports: the next test program's nginx would not get them.
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            signal(self.process.id(), "TERM");
            drop(self.process.wait());
        }
    }
}
