//! What is measured: nginx and the gateway, each alone on core 0.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use tagfleet_tests::{
    gateway::{Gateway, Setup},
    manifests::Manifests,
    ports,
    process::{self, Process},
    wait,
};
use tempfile::TempDir;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Memory,
    Disk,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx `return 204`",
            Self::Memory => "gateway, `buffer.memory`",
            Self::Disk => "gateway, `buffer.disk`",
        }
    }

    fn buffer(self) -> &'static str {
        if self == Self::Memory {
            "  buffer: {memory: {maxBytes: 1Gi}}"
        } else {
            "  buffer: {disk: {maxBytes: 4Gi}}"
        }
    }
}

/// A server on core 0.
pub(crate) enum Server {
    Nginx {
        process: Process,
        address: SocketAddr,
        _dir: TempDir,
    },
    Gateway {
        gateway: Box<Gateway>,
        _manifests: Manifests,
        _data: TempDir,
    },
}

const CORE: [&str; 3] = ["taskset", "-c", "0"];

impl Server {
    /// nginx, or the gateway with one destination that every event is meant for and that cannot be reached, so that each
    /// hit is parsed, judged and stored, and nothing is sent: what accepting costs.
    pub(crate) fn start(kind: Kind) -> Self {
        if kind == Kind::Nginx {
            return Self::nginx();
        }
        let nobody = format!("http://{}/", ports::free());
        Self::gateway(kind, &[nobody], "  delivery: {retry: {initialBackoff: 60s}}")
    }

    fn nginx() -> Self {
        let dir = tempfile::tempdir().expect("a folder for nginx");
        let address = ports::free();
        let path = dir.path().display();
        let configuration = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log; events {{ worker_connections \
             1024; }}\nhttp {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {path}/body; \
             proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/fastcgi; uwsgi_temp_path {path}/uwsgi; \
             scgi_temp_path {path}/scgi;\nserver {{ listen {address}; location / {{ return 204; }} }} }}\n"
        );
        let file = dir.path().join("nginx.conf");
        fs::write(&file, configuration).expect("nginx's configuration");
        let mut command = Command::new(CORE[0]);
        command.args(&CORE[1..]).arg("nginx").arg("-c").arg(&file);
        let process = Process::start("nginx", &mut command, &dir.path().join("output.log"));
        wait::until("nginx listens", Duration::from_secs(5), || {
            TcpStream::connect(address).ok()
        });
        Self::Nginx {
            process,
            address,
            _dir: dir,
        }
    }

    /// The gateway with webhook destinations at these URLs.
    pub(crate) fn gateway(kind: Kind, urls: &[String], delivery: &str) -> Self {
        Self::gateway_with(kind, "", urls, delivery)
    }

    /// The same with further lines of the container's `spec`.
    pub(crate) fn gateway_with(kind: Kind, spec: &str, urls: &[String], delivery: &str) -> Self {
        let mut manifests = Manifests::new().container(&format!("{spec}{}", kind.buffer()));
        for (number, url) in urls.iter().enumerate() {
            manifests = manifests.webhook(&format!("destination-{}", number + 1), url, delivery);
        }
        // On the disk of the build folder: /tmp may be in memory.
        let data = tempfile::tempdir_in(process::build_dir()).expect("a folder for the log");
        let gateway = Setup::new(manifests.path()).data(data.path()).under(&CORE).start();
        Self::Gateway {
            gateway: Box::new(gateway),
            _manifests: manifests,
            _data: data,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Nginx { address, .. } => *address,
            Self::Gateway { gateway, .. } => gateway.address(),
        }
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Nginx { process, .. } => process.id(),
            Self::Gateway { gateway, .. } => gateway.id(),
        }
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        match self {
            Self::Nginx { process, .. } => process.resident_bytes(),
            Self::Gateway { gateway, .. } => gateway.resident_bytes(),
        }
    }

    /// CPU time that it used so far, of user and kernel.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // Behind the name in parentheses: field 14 and 15 of proc(5) are the 12th and 13th there, in ticks of 10 ms.
        let ticks: u64 = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Duration::from_millis(ticks * 10)
    }
}
