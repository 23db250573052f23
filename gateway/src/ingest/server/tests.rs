//! Real sockets against a worker that answers with what it was asked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream as Client},
};

use http::StatusCode;
use tokio::sync::Notify;

use super::*;
use crate::ingest::answers;

/// Long enough for any busy machine; every wait for the server ends here, and the test with it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers with method and path; `/wait` first waits to be released.
struct Echo {
    arrived: Arc<Notify>,
    release: Arc<Notify>,
}

impl Worker for Echo {
    async fn answer(&self, request: Request<Incoming>, _: IpAddr) -> Answered {
        if request.uri().path() == "/wait" {
            self.arrived.notify_one();
            self.release.notified().await;
        }
        let line = format!("{} {}", request.method(), request.uri().path());
        answers::text(StatusCode::OK, line)
    }
}

struct Running {
    server: Server,
    arrived: Arc<Notify>,
    release: Arc<Notify>,
}

fn start(limits: Limits) -> Running {
    let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let make = {
        let (arrived, release) = (Arc::clone(&arrived), Arc::clone(&release));
        move || Echo {
            arrived: Arc::clone(&arrived),
            release: Arc::clone(&release),
        }
    };
    let server = Server::start(([127, 0, 0, 1], 0).into(), NonZeroUsize::new(2).unwrap(), limits, make).unwrap();
    Running {
        server,
        arrived,
        release,
    }
}

/// Limits whose times are short, looked at often.
fn hasty() -> Limits {
    Limits {
        interval: Duration::from_millis(5),
        ..Limits::default()
    }
}

impl Running {
    fn connect(&self) -> Client {
        let client = Client::connect(self.server.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// Sends these bytes and reads all that comes until the server closes.
    fn talk(&self, bytes: &[u8]) -> String {
        let mut client = self.connect();
        client.write_all(bytes).unwrap();
        read_to_close(&mut client)
    }
}

fn read_to_close(client: &mut Client) -> String {
    let mut answer = Vec::new();
    match client.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the server keeps the connection: {error}"),
    }
    String::from_utf8(answer).unwrap()
}

/// Reads one answer with Content-Length: its status line and body.
fn read_answer(reader: &mut impl BufRead) -> (String, String) {
    let (mut status, mut length) = (String::new(), 0);
    reader.read_line(&mut status).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (status.trim().to_owned(), String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let running = start(Limits::default());
    let client = running.connect();
    (&client)
        .write_all(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\nGET /b HTTP/1.1\r\nHost: t\r\n\r\n")
        .unwrap();
    let mut reader = BufReader::new(&client);
    assert_eq!(read_answer(&mut reader), ("HTTP/1.1 200 OK".into(), "GET /a\n".into()));
    assert_eq!(read_answer(&mut reader), ("HTTP/1.1 200 OK".into(), "GET /b\n".into()));
    (&client).write_all(b"GET /c HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut reader), ("HTTP/1.1 200 OK".into(), "GET /c\n".into()));
}

#[tokio::test]
async fn an_http_1_0_sender_is_answered_and_the_connection_closed() {
    let answer = start(Limits::default()).talk(b"GET /old HTTP/1.0\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nGET /old\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_sender_that_closes_its_half_still_gets_its_answer() {
    let running = start(Limits::default());
    let mut client = running.connect();
    client.write_all(b"GET /wait HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    running.arrived.notified().await;
    client.shutdown(Shutdown::Write).unwrap();
    running.release.notify_one();
    assert!(read_to_close(&mut client).ends_with("GET /wait\n"));
}

#[tokio::test]
async fn http_2_is_spoken_without_upgrade() {
    let running = start(Limits::default());
    // reqwest wants a provider of TLS even for http URLs; another test may have set it already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for path in ["a", "b"] {
        let answer = client
            .get(format!("http://{}/{path}", running.server.address()))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.version(), http::Version::HTTP_2);
        assert_eq!(answer.text().await.unwrap(), format!("GET /{path}\n"));
    }
    drop(client);
    assert_eq!(running.server.stop(PATIENCE).await, 0);
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_the_connection_closed() {
    let running = start(Limits::default());
    for garbage in ["\u{0}\u{1}\u{2}\r\n\r\n", "GET\r\n\r\n", "GET /\u{fc} HTTP/9.9\r\n\r\n"] {
        let answer = running.talk(garbage.as_bytes());
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{garbage:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn headers_beyond_the_limit_are_answered_with_431() {
    let running = start(Limits::default());
    let long = format!("GET / HTTP/1.1\r\nHost: t\r\nCookie: {}\r\n\r\n", "c".repeat(40 * 1024));
    assert!(running.talk(long.as_bytes()).starts_with("HTTP/1.1 431 "));
    let many = format!("GET / HTTP/1.1\r\nHost: t\r\n{}\r\n", "a: b\r\n".repeat(101));
    assert!(running.talk(many.as_bytes()).starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_request_whose_headers_never_end_is_cut_off() {
    let running = start(Limits {
        head_time: Duration::from_millis(20),
        ..hasty()
    });
    assert_eq!(running.talk(b"GET / HTTP/1.1\r\nHost: t\r\nX-Slow: "), "");
    assert_eq!(running.talk(b"PRI * HTTP/2.0\r\n"), "");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let running = start(Limits {
        idle_time: Duration::from_millis(20),
        ..hasty()
    });
    assert_eq!(running.talk(b""), "", "without a request");
    let answer = running.talk(b"GET /one HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(answer.ends_with("GET /one\n"), "{answer}");
}

#[tokio::test]
async fn a_connection_that_its_sender_leaves_is_closed_at_once() {
    let running = start(Limits::default());
    let mut silent = running.connect();
    silent.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_close(&mut silent), "");
    let mut client = running.connect();
    client.write_all(b"GET /one HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    read_answer(&mut BufReader::new(&client));
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_close(&mut client), "");
}

#[tokio::test]
async fn a_sender_that_never_reads_its_answers_is_cut_off() {
    let running = start(Limits {
        write_time: Duration::from_millis(20),
        ..hasty()
    });
    let mut client = running.connect();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    let requests = b"GET /unread HTTP/1.1\r\nHost: t\r\n\r\n".repeat(1_000);
    let error = (0..10_000).find_map(|_| client.write_all(&requests).err());
    let kind = error.expect("the server stops reading").kind();
    assert!(
        matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
        "{kind}"
    );
}

#[tokio::test]
async fn when_no_more_connections_may_be_opened_an_idle_one_makes_room() {
    let running = start(Limits {
        connections: 2,
        idle_time_when_full: Duration::from_millis(20),
        ..hasty()
    });
    let idle: Vec<_> = (0..4).map(|_| running.connect()).collect();
    let answer = running.talk(b"GET /new HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with("GET /new\n"), "{answer}");
    drop(idle);
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way() {
    let running = start(Limits::default());
    let mut client = running.connect();
    client.write_all(b"GET /wait HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    running.arrived.notified().await;
    let address = running.server.address();
    let release = Arc::clone(&running.release);
    let stopping = tokio::spawn(running.server.stop(PATIENCE));
    // The listener is gone before the request is done.
    while Client::connect(address).is_ok() {
        tokio::task::yield_now().await;
    }
    release.notify_one();
    assert_eq!(stopping.await.unwrap(), 0);
    let answer = read_to_close(&mut client);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut() {
    let running = start(Limits::default());
    let mut client = running.connect();
    client.write_all(b"GET /wait HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    running.arrived.notified().await;
    assert_eq!(running.server.stop(Duration::from_millis(50)).await, 1);
    assert_eq!(read_to_close(&mut client), "");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let running = start(Limits::default());
    let address = running.server.address();
    let again = Server::start(address, NonZeroUsize::MIN, Limits::default(), || Echo {
        arrived: Arc::default(),
        release: Arc::default(),
    });
    let error = again.err().expect("two gateways never share a port").to_string();
    assert!(
        error.starts_with(&format!("cannot listen on {address}: Address already in use")),
        "{error}"
    );
    assert!(error.contains("--listen"), "{error}");
}

#[tokio::test]
async fn an_ipv6_listener_takes_ipv4_too() {
    let make = || Echo {
        arrived: Arc::default(),
        release: Arc::default(),
    };
    let server = Server::start("[::]:0".parse().unwrap(), NonZeroUsize::MIN, Limits::default(), make);
    let Ok(server) = server else {
        // A machine without IPv6.
        return;
    };
    let mut client = Client::connect(("127.0.0.1", server.address().port())).unwrap();
    client.write_all(b"GET /four HTTP/1.0\r\n\r\n").unwrap();
    assert!(read_to_close(&mut client).ends_with("GET /four\n"));
}
