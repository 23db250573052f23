//! A program that a test started: its output goes to a file, and it ends with the test.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use crate::{http, wait};

/// A running program. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; standard output and error go to `log` (appended).
    #[must_use]
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("a log file");
        let errors = output.try_clone().expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} ({command:?}) cannot be started: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        }
    }

    /// Starts a program that prints one line when it is ready, and returns that line too.
    #[must_use]
    pub fn start_and_read_line(name: &str, command: &mut Command, log: &Path) -> (Self, String) {
        let errors = File::options().create(true).append(true).open(log).expect("a log file");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} ({command:?}) cannot be started: {error}"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("a line");
        let process = Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        };
        assert!(!line.is_empty(), "{name} did not start:\n{}", process.log());
        (process, line)
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Its exit status, if it ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// SIGTERM; returns how long the program took to end and how it ended.
    pub fn terminate(&mut self, patience: Duration) -> (Duration, ExitStatus) {
        signal(self.id(), "TERM");
        self.wait(patience)
    }

    /// Waits for the end.
    pub fn wait(&mut self, patience: Duration) -> (Duration, ExitStatus) {
        let start = Instant::now();
        let what = format!("{} ends", self.name);
        let status = wait::until(&what, patience, || self.ended());
        (start.elapsed(), status)
    }

    /// Waits until `/readyz` of its admin listener says that it is ready.
    ///
    /// # Panics
    /// With its log, when it ends before or is not ready in time.
    pub fn wait_until_ready(&mut self, admin: SocketAddr, patience: Duration) {
        let ready = wait::within(patience, || {
            if let Some(status) = self.ended() {
                panic!("{} ended with {status}:\n{}", self.name, self.log());
            }
            http::is_ok(admin, "/readyz").then_some(())
        });
        assert!(ready.is_some(), "{} is not ready:\n{}", self.name, self.log());
    }

    /// Resident memory in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal by its name (`TERM`, `STOP`, `CONT`).
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status()
        .expect("kill(1)");
    assert!(status.success(), "kill -{name} {pid}");
}

/// The folder with the programs of this build: `target/release`, say.
#[must_use]
pub fn build_dir() -> PathBuf {
    let exe = env::current_exe().expect("a running program has a path");
    let dir = exe.parent().expect("a program is in a folder");
    if dir.ends_with("deps") {
        dir.parent().expect("deps is in a folder").to_owned()
    } else {
        dir.to_owned()
    }
}

/// A program around the test: what the variable names (`TAGFLEET_GATEWAY`), or the one of that name in the folder
/// `TAGFLEET_PROGRAMS` (scripts/test: the release build, while tests themselves are built faster), or beside this program.
#[must_use]
pub fn program(name: &str, variable: &str) -> PathBuf {
    let of_build = || {
        env::var_os("TAGFLEET_PROGRAMS")
            .map_or_else(build_dir, PathBuf::from)
            .join(name)
    };
    env::var_os(variable).map_or_else(of_build, PathBuf::from)
}

/// The repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in the repository")
        .to_owned()
}
