//! A load generator for GA4 hits that needs little of the core it runs on: one thread, epoll, requests written from a
//! template, answers read with a few comparisons.
//!
//! Open loop (`--rate`): hit number n is due at start + n / rate, whatever the answers do; its latency counts from then,
//! so that a server that stalls cannot hide it. Closed loop (`--max`): every connection sends again as soon as it is
//! answered. Every hit carries an event id of its own (`<run>-<number>`); `--acknowledged FILE` lists those that the
//! server acknowledged, so that what it lost can be counted. A hit whose connection broke is not sent again, but with
//! `--resend`, as browsers do.

mod hits;

use std::{
    collections::{BTreeMap, VecDeque},
    error::Error,
    fs::File,
    io::{self, BufWriter, Read as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use tagfleet_tests::load::{Latency, Report};

use crate::hits::Hits;

/// A hit that is not answered within this time counts as `timeout`.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a refused connection waits before it tries again.
const RECONNECT: Duration = Duration::from_millis(20);
/// The error of a hit whose connection broke.
const CLOSED: &str = "connection";
/// How long before a due hit the thread stops sleeping and watches the clock: epoll counts in milliseconds.
const SPIN: Duration = Duration::from_micros(1_200);

#[derive(Parser)]
#[command(about = "Sends GA4 hits at a fixed rate, or as fast as they are answered")]
struct Args {
    /// Where to send.
    target: SocketAddr,
    /// Open loop: hits a second.
    #[arg(long, conflicts_with = "max", required_unless_present = "max")]
    rate: Option<f64>,
    /// Closed loop: each connection sends as soon as it is answered.
    #[arg(long)]
    max: bool,
    /// Ends after so many seconds.
    #[arg(long, required_unless_present = "hits")]
    duration: Option<f64>,
    /// Ends after so many hits.
    #[arg(long)]
    hits: Option<u64>,
    /// Connections, each with one hit under way.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Watches the clock between two hits instead of sleeping in whole milliseconds; costs the whole core.
    #[arg(long)]
    precise: bool,
    /// Visits to a shop, request for request as Chrome sends them: half of the visitors have been there before.
    #[arg(long, conflicts_with_all = ["event", "parameters"])]
    shop: bool,
    /// The event's name.
    #[arg(long, default_value = "page_view")]
    event: String,
    /// Further parameters, encoded, as `cu=EUR&epn.value=12`.
    #[arg(long, default_value = "")]
    parameters: String,
    /// The Host header.
    #[arg(long, default_value = "metrics.shop.example")]
    host: String,
    /// Writes the acknowledged event ids here, one a line.
    #[arg(long)]
    acknowledged: Option<PathBuf>,
    /// The first part of each event id; default: from the clock.
    #[arg(long)]
    run: Option<String>,
    /// Sends a hit once more whose connection was closed before any of an answer came: a proxy closes idle connections at any
    /// time, and browsers and HTTP libraries do so too (RFC 9110, section 9.2.2).
    #[arg(long)]
    resend: bool,
    /// Writes the report here; default: standard output.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// The hit that a connection waits for.
struct UnderWay {
    number: u64,
    /// From when its latency counts.
    since: Instant,
    /// Whether it was sent before.
    again: bool,
}

/// A connection.
struct Connection {
    stream: Option<TcpStream>,
    under_way: Option<UnderWay>,
    /// What is still to be written of the request (only when the socket's buffer is full).
    unwritten: Vec<u8>,
    /// What was read of the answer.
    read: Vec<u8>,
    /// When to connect again.
    retry_at: Instant,
}

/// What is known of an answer by its first bytes.
enum Answer {
    Incomplete,
    Whole { status: u16, close: bool },
}

/// Looks whether an answer is complete. `204` and `304` have no body; other answers have a Content-Length or chunks.
fn inspect(read: &[u8]) -> Result<Answer, &'static str> {
    let Some(head_end) = memchr::memmem::find(read, b"\r\n\r\n") else {
        return Ok(Answer::Incomplete);
    };
    let head = read.get(..head_end).unwrap_or_default();
    let body = read.get(head_end + 4..).unwrap_or_default();
    let status = head
        .get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse::<u16>().ok())
        .ok_or("the answer is not HTTP")?;
    if status == 204 && head.len() < 4096 && memchr::memmem::find(head, b"lose").is_none() {
        return Ok(Answer::Whole { status, close: false });
    }
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let header = |name: &str| {
        head.split("\r\n")
            .find_map(|line| line.strip_prefix(name))
            .map(|value| value.trim_start_matches(':').trim())
    };
    let close = header("connection").is_some_and(|value| value.contains("close"));
    let whole = if status == 204 || status == 304 {
        true
    } else if let Some(length) = header("content-length").and_then(|value| value.parse::<usize>().ok()) {
        body.len() >= length
    } else {
        body.ends_with(b"0\r\n\r\n")
    };
    Ok(if whole {
        Answer::Whole { status, close }
    } else {
        Answer::Incomplete
    })
}

/// When a hit is due, and when it all ends.
enum Schedule {
    Open { start: Instant, interval: Duration },
    Closed,
}

struct Generator {
    target: SocketAddr,
    hits: Hits,
    run: String,
    schedule: Schedule,
    /// Hits to send at the most.
    total: u64,
    /// Closed loop: no hit is sent after this.
    deadline: Option<Instant>,
    precise: bool,
    resend: bool,
    /// Hits that are to be sent once more.
    closed_on: VecDeque<UnderWay>,
    resent: u64,
    connections: Vec<Connection>,
    /// Connections without a hit under way.
    free: Vec<usize>,
    poll: Poll,
    next: u64,
    acknowledged: u64,
    errors: BTreeMap<String, u64>,
    times_us: Vec<u32>,
    acknowledged_file: Option<BufWriter<File>>,
}

impl Generator {
    fn new(args: &Args) -> Result<Self, Box<dyn Error>> {
        let run = match &args.run {
            Some(run) => run.clone(),
            None => format!("{:x}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis()),
        };
        let hits = if args.shop {
            Hits::shop(&args.host, &run)
        } else {
            Hits::bare(&args.host, &run, &args.event, &args.parameters)
        };
        let now = Instant::now();
        let duration = args.duration.map(Duration::try_from_secs_f64).transpose()?;
        let (schedule, by_time) = match args.rate {
            Some(rate) => {
                let interval = Duration::try_from_secs_f64(1.0 / rate)?;
                let hits =
                    duration.map(|d| u64::try_from(d.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u64::MAX));
                // The connections are made before the first hit is due.
                let start = now + Duration::from_millis(200);
                (Schedule::Open { start, interval }, hits)
            }
            None => (Schedule::Closed, None),
        };
        let total = args.hits.unwrap_or(u64::MAX).min(by_time.unwrap_or(u64::MAX));
        let connection = |_| Connection {
            stream: None,
            under_way: None,
            unwritten: Vec::new(),
            read: Vec::with_capacity(4096),
            retry_at: now,
        };
        Ok(Self {
            target: args.target,
            hits,
            run,
            deadline: duration.filter(|_| args.max).map(|d| now + d),
            schedule,
            total,
            precise: args.precise,
            resend: args.resend,
            closed_on: VecDeque::new(),
            resent: 0,
            connections: (0..args.connections).map(connection).collect(),
            free: Vec::with_capacity(args.connections),
            poll: Poll::new()?,
            next: 0,
            acknowledged: 0,
            errors: BTreeMap::new(),
            times_us: Vec::with_capacity(usize::try_from(total.min(4_000_000)).unwrap_or(0)),
            acknowledged_file: args
                .acknowledged
                .as_ref()
                .map(File::create)
                .transpose()?
                .map(BufWriter::new),
        })
    }

    /// When the next hit may be sent; `None` when there is no next.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        if self.next >= self.total || self.deadline.is_some_and(|deadline| now >= deadline) {
            return None;
        }
        match self.schedule {
            Schedule::Open { start, interval } => {
                let nanos = interval.as_nanos().saturating_mul(u128::from(self.next));
                Some(start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
            }
            Schedule::Closed => Some(now),
        }
    }

    fn run(mut self) -> Result<Report, Box<dyn Error>> {
        let mut events = Events::with_capacity(1024);
        let started = match self.schedule {
            Schedule::Open { start, .. } => start,
            Schedule::Closed => Instant::now(),
        };
        let mut last_check = Instant::now();
        let mut first_connect = Instant::now() + Duration::from_secs(10);
        self.connect_all(Instant::now())?;
        loop {
            let now = Instant::now();
            if self.free.len() < self.connections.len() {
                self.connect_all(now)?;
            }
            if self.connections.iter().any(|connection| connection.stream.is_some()) {
                first_connect = now + TIMEOUT;
            } else if now > first_connect {
                return Err(format!("{} takes no connections", self.target).into());
            }
            let due = self.send_due(now)?;
            let waiting = self.connections.iter().any(|connection| connection.under_way.is_some());
            if due.is_none() && !waiting && self.closed_on.is_empty() {
                break;
            }
            self.poll.poll(&mut events, Some(self.patience(now, due)))?;
            for event in &events {
                self.serve(event.token().0)?;
            }
            if now.duration_since(last_check) > Duration::from_secs(1) {
                last_check = now;
                self.time_out(now)?;
            }
        }
        if let Some(file) = &mut self.acknowledged_file {
            file.flush()?;
        }
        let seconds = started.elapsed().as_secs_f64();
        #[allow(clippy::cast_precision_loss)]
        let rate = self.acknowledged as f64 / seconds.max(1e-9);
        Ok(Report {
            sent: self.next,
            acknowledged: self.acknowledged,
            resent: self.resent,
            errors: self.errors,
            seconds,
            rate,
            latency_ms: Latency::of(&mut self.times_us),
        })
    }

    /// How long to sleep: not past the next due hit, and not past the next look at lost connections.
    fn patience(&self, now: Instant, due: Option<Instant>) -> Duration {
        let idle = Duration::from_millis(10);
        let Some(due) = due.filter(|_| !self.free.is_empty()) else {
            return idle;
        };
        let until = due.saturating_duration_since(now);
        if self.precise {
            until.saturating_sub(SPIN).min(idle)
        } else {
            until.min(idle)
        }
    }

    /// Sends every hit that is due while a connection is free; returns when the next one is.
    fn send_due(&mut self, now: Instant) -> Result<Option<Instant>, Box<dyn Error>> {
        while let Some(index) = self.free.pop() {
            let Some(hit) = self.closed_on.pop_front() else {
                self.free.push(index);
                break;
            };
            self.resent += 1;
            self.send(index, hit)?;
        }
        loop {
            let due = self.next_due(now);
            match due {
                Some(at) if at <= now => {}
                other => return Ok(other),
            }
            let Some(index) = self.free.pop() else { return Ok(due) };
            let since = match self.schedule {
                Schedule::Open { .. } => due.unwrap_or(now),
                Schedule::Closed => Instant::now(),
            };
            let hit = UnderWay {
                number: self.next,
                since,
                again: false,
            };
            self.next += 1;
            self.send(index, hit)?;
        }
    }

    fn send(&mut self, index: usize, hit: UnderWay) -> Result<(), Box<dyn Error>> {
        let Some(connection) = self.connections.get_mut(index) else {
            return Ok(());
        };
        let Some(stream) = &mut connection.stream else {
            return Ok(());
        };
        let bytes = self.hits.hit(hit.number);
        connection.under_way = Some(hit);
        match stream.write(bytes) {
            Ok(written) => connection
                .unwritten
                .extend_from_slice(bytes.get(written..).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => connection.unwritten.extend_from_slice(bytes),
            Err(_) => self.fail(index, CLOSED)?,
        }
        Ok(())
    }

    /// Something happened on a connection: writes on, reads, and takes a whole answer.
    fn serve(&mut self, index: usize) -> Result<(), Box<dyn Error>> {
        let Some(connection) = self.connections.get_mut(index) else {
            return Ok(());
        };
        let Some(stream) = &mut connection.stream else {
            return Ok(());
        };
        if !connection.unwritten.is_empty() {
            match stream.write(&connection.unwritten) {
                Ok(written) => drop(connection.unwritten.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return self.fail(index, CLOSED),
            }
        }
        let mut buffer = [0_u8; 4096];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return self.fail(index, CLOSED),
                Ok(length) => {
                    connection
                        .read
                        .extend_from_slice(buffer.get(..length).unwrap_or_default());
                    // A short read leaves nothing behind: the next bytes make a new event.
                    if length < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return self.fail(index, CLOSED),
            }
        }
        match inspect(&connection.read) {
            Ok(Answer::Incomplete) => Ok(()),
            Ok(Answer::Whole { status, close }) => self.answered(index, status, close),
            Err(_) => self.fail(index, "malformed"),
        }
    }

    fn answered(&mut self, index: usize, status: u16, close: bool) -> Result<(), Box<dyn Error>> {
        let Some(connection) = self.connections.get_mut(index) else {
            return Ok(());
        };
        connection.read.clear();
        if let Some(hit) = connection.under_way.take() {
            let micros = u32::try_from(hit.since.elapsed().as_micros()).unwrap_or(u32::MAX);
            self.times_us.push(micros);
            if (200..300).contains(&status) {
                self.acknowledged += 1;
                if let Some(file) = &mut self.acknowledged_file {
                    writeln!(file, "{}-{:010}", self.run, hit.number)?;
                }
            } else {
                *self.errors.entry(status.to_string()).or_default() += 1;
            }
        }
        if close {
            connection.stream = None;
        } else {
            self.free.push(index);
        }
        Ok(())
    }

    /// A connection is of no use any more; the hit under way on it, if any, is sent once more or counts as an error.
    fn fail(&mut self, index: usize, why: &str) -> Result<(), Box<dyn Error>> {
        let Some(connection) = self.connections.get_mut(index) else {
            return Ok(());
        };
        if let Some(mut stream) = connection.stream.take() {
            self.poll.registry().deregister(&mut stream)?;
        }
        let unanswered = connection.read.is_empty();
        connection.read.clear();
        connection.unwritten.clear();
        connection.retry_at = Instant::now() + RECONNECT;
        match connection.under_way.take() {
            Some(hit) if self.resend && !hit.again && unanswered && why == CLOSED => {
                self.closed_on.push_back(UnderWay { again: true, ..hit });
            }
            Some(_) => *self.errors.entry(why.to_owned()).or_default() += 1,
            None => {}
        }
        self.free.retain(|free| *free != index);
        Ok(())
    }

    /// Connects what is not connected. Loopback answers at once, so that this may block.
    fn connect_all(&mut self, now: Instant) -> Result<(), Box<dyn Error>> {
        for (index, connection) in self.connections.iter_mut().enumerate() {
            if connection.stream.is_some() || now < connection.retry_at {
                continue;
            }
            let connected = std::net::TcpStream::connect_timeout(&self.target, Duration::from_secs(1));
            let Ok(stream) = connected else {
                connection.retry_at = now + RECONNECT;
                // Whoever refuses one refuses the others: they wait too.
                break;
            };
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(index), interest)?;
            connection.stream = Some(stream);
            self.free.push(index);
        }
        Ok(())
    }

    /// Gives up on hits that are not answered.
    fn time_out(&mut self, now: Instant) -> Result<(), Box<dyn Error>> {
        for index in 0..self.connections.len() {
            let stale = self
                .connections
                .get(index)
                .and_then(|connection| connection.under_way.as_ref());
            if stale.is_some_and(|hit| now.saturating_duration_since(hit.since) > TIMEOUT) {
                self.fail(index, "timeout")?;
            }
        }
        Ok(())
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let report = Generator::new(args)?.run()?;
    let text = serde_json::to_string(&report)?;
    match &args.report {
        Some(path) => std::fs::write(path, text)?,
        None => writeln!(io::stdout(), "{text}")?,
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
