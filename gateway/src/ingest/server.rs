//! The public listener: worker threads that each accept, parse and answer on a runtime of their own.
//!
//! Every worker has its own socket on the same address (SO_REUSEPORT), so that the kernel spreads connections and no
//! lock or queue is shared between cores. HTTP/1.1 and HTTP/2 in cleartext are told apart by the first bytes.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    num::NonZeroUsize,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::{body::Incoming, rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, MissedTickBehavior},
};

use super::{
    answers::Answered,
    connection::{Opened, Order, Watched, Watches},
    limits::{Limits, raise_open_files},
};

/// What answers requests on one worker thread. It never leaves its thread, so it needs no locks.
pub trait Worker: 'static {
    /// Answers one request; `peer` is the other end of the connection.
    fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> impl Future<Output = Answered>;

    /// Called once an interval ([`Limits::interval`]), requests or not.
    fn idle(&self) {}
}

/// Why the listener could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}; stop what listens there, or give another address with --listen")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No thread or runtime can be made.
    #[error("cannot start a worker thread: {0}")]
    Thread(io::Error),
}

/// A running listener.
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<Option<Instant>>,
    workers: Vec<JoinHandle<usize>>,
}

/// The number of worker threads that this process has cores for; CPU affinity and quota count.
#[must_use]
pub fn usual_workers() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

impl Server {
    /// Listens on `listen` (port 0 takes a free one) with `workers` threads, each answering with what `make` gives it.
    /// Connections are served from when this returns.
    ///
    /// # Errors
    /// When the address is in use or not ours, or no thread can be started.
    pub fn start<W, F>(listen: SocketAddr, workers: NonZeroUsize, limits: Limits, make: F) -> Result<Self, ServeError>
    where
        W: Worker,
        F: Fn() -> W + Send + Sync + 'static,
    {
        let listeners = listen_many(listen, workers).map_err(|source| ServeError::Listen {
            address: listen,
            source,
        })?;
        let address = match listeners.first().map(StdListener::local_addr) {
            Some(Ok(address)) => address,
            _ => listen,
        };
        // A worker holds the right to open a connection before there is one, so each needs at least one.
        let connections = limits.connections.min(raise_open_files()).max(workers.get());
        let shared = Arc::new(Shared {
            limits,
            permits: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            make,
        });
        let (stop, stopped) = watch::channel(None);
        let workers = listeners
            .into_iter()
            .enumerate()
            .map(|(number, listener)| {
                let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
                // The runtime is made on its thread, as it may not leave it; only then is the thread known to work.
                let (started, ready) = std::sync::mpsc::sync_channel(1);
                let thread = std::thread::Builder::new()
                    .name(format!("ingest-{number}"))
                    .spawn(move || run(listener, &shared, stopped, &started))?;
                ready.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
                Ok(thread)
            })
            .collect::<io::Result<Vec<_>>>()
            .map_err(ServeError::Thread)?;
        Ok(Self { address, stop, workers })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, answers what is under way, and returns how many connections had to be cut after `grace`.
    /// Senders that keep a connection are told to leave it; those without a request have a second, or half of `grace`
    /// if that is less, to send one that may be on its way.
    pub async fn stop(self, grace: Duration) -> usize {
        self.stop.send_replace(Some(Instant::now() + grace));
        let workers = self.workers;
        let joined = tokio::task::spawn_blocking(move || {
            let joined = workers.into_iter().map(JoinHandle::join);
            joined.map(Result::unwrap_or_default).sum()
        });
        joined.await.unwrap_or_default()
    }
}

/// One socket for each worker, all on the same address.
fn listen_many(address: SocketAddr, workers: NonZeroUsize) -> io::Result<Vec<StdListener>> {
    // SO_REUSEPORT would let a second gateway take half of the connections of the first unnoticed. A socket without it
    // cannot be bound while anyone listens, so it is tried first; a fixed port can then still be lost to another in
    // between, but not shared by mistake in practice.
    let exclusive = bind(address, false)?;
    let address = match exclusive.local_addr()?.as_socket() {
        Some(bound) => bound,
        None => address,
    };
    drop(exclusive);
    (0..workers.get())
        .map(|_| {
            let socket = bind(address, true)?;
            socket.listen(4096)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        })
        .collect()
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 too, whatever the machine's default is.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// What the workers have in common.
struct Shared<F> {
    limits: Limits,
    /// One for each connection that may be open.
    permits: Arc<Semaphore>,
    make: F,
}

/// One worker's life. Returns how many connections it had to cut at the end.
fn run<W, F>(
    listener: StdListener,
    shared: &Shared<F>,
    stopped: watch::Receiver<Option<Instant>>,
    started: &std::sync::mpsc::SyncSender<io::Result<()>>,
) -> usize
where
    W: Worker,
    F: Fn() -> W,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            started.send(Err(error)).unwrap_or_default();
            return 0;
        }
    };
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener);
        let failed = listener.as_ref().err().map(|error| io::Error::from(error.kind()));
        started.send(failed.map_or(Ok(()), Err)).unwrap_or_default();
        match listener {
            Ok(listener) => serve(listener, shared, stopped).await,
            Err(_) => 0,
        }
    })
}

async fn serve<W, F>(listener: TcpListener, shared: &Shared<F>, mut stopped: watch::Receiver<Option<Instant>>) -> usize
where
    W: Worker,
    F: Fn() -> W,
{
    let (limits, permits) = (&shared.limits, &shared.permits);
    let watches = Watches::new(limits);
    let connections = Connections {
        worker: Rc::new((shared.make)()),
        builder: Rc::new(builder(limits)),
        watches: Rc::clone(&watches),
    };
    let mut interval = tokio::time::interval(limits.interval);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let deadline = loop {
        tokio::select! {
            accepted = accept(&listener, permits) => match accepted {
                Ok((stream, peer, permit)) => connections.spawn(stream, peer, permit),
                Err(error) if belongs_to_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "connections cannot be accepted, trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            _ = interval.tick() => {
                watches.tick(permits.available_permits() == 0);
                connections.worker.idle();
            }
            deadline = stopped.wait_for(Option::is_some) => break match deadline {
                Ok(deadline) => deadline.unwrap_or_else(Instant::now),
                Err(_) => Instant::now(),
            },
        }
    };
    // Who is in the backlog has connected already and would be reset.
    while let Some(Ok((stream, peer, permit))) = now(accept(&listener, permits)).await {
        connections.spawn(stream, peer, permit);
    }
    drop(listener);
    drain(&watches, deadline).await
}

/// Lets the open connections finish, at the latest by the deadline.
async fn drain(watches: &Watches, deadline: Instant) -> usize {
    watches.drain();
    let now = Instant::now();
    let lingering = Duration::from_secs(1).min(deadline.saturating_duration_since(now) / 2);
    let timed_out = tokio::time::timeout_at(now + lingering, watches.all_closed()).await;
    if timed_out.is_err() {
        watches.tell_all(Order::Finish);
        let timed_out = tokio::time::timeout_at(deadline, watches.all_closed()).await;
        if timed_out.is_err() {
            let cut = watches.count();
            watches.tell_all(Order::Abort);
            watches.all_closed().await;
            return cut;
        }
    }
    0
}

/// The next connection, once there may be one more.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

/// What a future gives without waiting.
async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn belongs_to_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// How connections speak HTTP.
fn builder(limits: &Limits) -> auto::Builder<LocalTasks> {
    let mut builder = auto::Builder::new(LocalTasks);
    builder
        .http1()
        .max_buf_size(limits.head_bytes.max(8 * 1024))
        // Answers are small: one buffer and one write beat a vectored write.
        .writev(false)
        // A sender that closes its half after the request still gets its answer, and its hit counts.
        .half_close(true)
        // The watch over the connection does this without a timer for each request.
        .header_read_timeout(None);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Starts the tasks of HTTP/2 streams on the worker's own thread.
#[derive(Clone, Copy, Debug)]
struct LocalTasks;

impl<F: Future + 'static> Executor<F> for LocalTasks {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// What a worker needs to serve a connection.
struct Connections<W> {
    worker: Rc<W>,
    builder: Rc<auto::Builder<LocalTasks>>,
    watches: Rc<Watches>,
}

impl<W: Worker> Connections<W> {
    fn spawn(&self, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        let (worker, builder) = (Rc::clone(&self.worker), Rc::clone(&self.builder));
        let opened = self.watches.open();
        tokio::task::spawn_local(async move {
            let result = drive(&builder, worker, &opened, stream, peer.ip()).await;
            if let Err(error) = result {
                tracing::debug!(%peer, error, "connection closed");
            }
            drop(permit);
        });
    }
}

/// Serves a connection to its end or until its watch says so.
async fn drive<W: Worker>(
    builder: &auto::Builder<LocalTasks>,
    worker: Rc<W>,
    opened: &Opened,
    stream: TcpStream,
    peer: IpAddr,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let watch = &opened.watch;
    let answering = Rc::clone(watch);
    let service = service_fn(move |request: Request<Incoming>| {
        let underway = answering.request(request.version());
        let worker = Rc::clone(&worker);
        async move {
            let answer = worker.answer(request, peer).await;
            drop(underway);
            Ok::<http::Response<Full<Bytes>>, Infallible>(answer)
        }
    });
    let stream = Watched::new(TokioIo::new(stream), Rc::clone(watch));
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut finishing = false;
    poll_fn(|cx| {
        match watch.order(cx) {
            Some(Order::Abort) => return Poll::Ready(Ok(())),
            Some(Order::Finish) if !finishing => {
                finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            _ => {}
        }
        connection.as_mut().poll(cx)
    })
    .await
}

#[cfg(test)]
mod tests;
