//! The watch over one connection: what it is waiting for and since when, so that a sender that stalls is let go.
//!
//! A timer for each request would cost more than parsing it. Instead every connection notes its state in a few cells,
//! and its worker looks at all of its connections once an interval.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::sync::Notify;

use super::limits::Limits;

/// A worker's time: intervals since it started.
type Tick = u32;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// For a request.
    Idle,
    /// For the rest of the headers.
    Head,
    /// For the answers of requests under way.
    Busy,
}

/// What a worker tells a connection to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// Answer what is under way and close.
    Finish,
    /// Close now.
    Abort,
}

/// The limits of time, in ticks.
#[derive(Clone, Copy, Debug)]
struct Deadlines {
    head: Tick,
    idle: Tick,
    idle_when_full: Tick,
    write: Tick,
}

/// The state of a connection as the worker judges it.
#[derive(Clone, Copy, Debug)]
struct Standing {
    phase: Phase,
    /// Ticks since the phase began.
    age: Tick,
    /// Ticks since the sender stopped reading.
    unread: Option<Tick>,
}

/// Whether a connection has had its time. `full`: no further connection can be opened.
fn judge(standing: Standing, deadlines: &Deadlines, full: bool) -> Option<Order> {
    if standing.unread.is_some_and(|ticks| ticks > deadlines.write) {
        return Some(Order::Abort);
    }
    let idle = if full { deadlines.idle_when_full } else { deadlines.idle };
    match standing.phase {
        // What should have finished and is still there after as long again (HTTP/2 with a peer that is gone) is cut.
        Phase::Idle if standing.age > idle.saturating_mul(2) => Some(Order::Abort),
        Phase::Idle if standing.age > idle => Some(Order::Finish),
        Phase::Head if standing.age > deadlines.head => Some(Order::Abort),
        _ => None,
    }
}

/// One connection's state.
pub(super) struct Watch {
    phase: Cell<Phase>,
    since: Cell<Tick>,
    unread_since: Cell<Option<Tick>>,
    requests: Cell<u32>,
    /// On HTTP/2 bytes arrive that belong to no request (pings, window updates): they begin nothing.
    http2: Cell<bool>,
    order: Cell<Option<Order>>,
    task: RefCell<Option<Waker>>,
    watches: Rc<Watches>,
}

impl Watch {
    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.watches.now.get());
    }

    fn bytes_arrived(&self) {
        if self.phase.get() == Phase::Idle && !self.http2.get() {
            self.enter(Phase::Head);
        }
    }

    /// Notes that a request's headers are complete. The request is under way until the result is dropped.
    pub(super) fn request(self: &Rc<Self>, version: http::Version) -> Underway {
        if version == http::Version::HTTP_2 {
            self.http2.set(true);
        }
        self.requests.set(self.requests.get().saturating_add(1));
        self.enter(Phase::Busy);
        if self.watches.draining.get() {
            self.tell(Order::Finish);
        }
        Underway(Rc::clone(self))
    }

    fn tell(&self, order: Order) {
        if self.order.get() < Some(order) {
            self.order.set(Some(order));
            if let Some(task) = self.task.borrow().as_ref() {
                task.wake_by_ref();
            }
        }
    }

    /// The order in force, if any; `cx` is woken by the next one.
    pub(super) fn order(&self, cx: &Context<'_>) -> Option<Order> {
        let mut task = self.task.borrow_mut();
        match task.as_mut() {
            Some(task) => task.clone_from(cx.waker()),
            None => *task = Some(cx.waker().clone()),
        }
        self.order.get()
    }

    fn standing(&self) -> Standing {
        let now = self.watches.now.get();
        Standing {
            phase: self.phase.get(),
            age: now.saturating_sub(self.since.get()),
            unread: self.unread_since.get().map(|since| now.saturating_sub(since)),
        }
    }
}

/// A request under way.
pub(super) struct Underway(Rc<Watch>);

impl Drop for Underway {
    fn drop(&mut self) {
        let left = self.0.requests.get().saturating_sub(1);
        self.0.requests.set(left);
        if left == 0 {
            self.0.enter(Phase::Idle);
        }
    }
}

/// All connections of a worker.
pub(super) struct Watches {
    now: Cell<Tick>,
    deadlines: Deadlines,
    draining: Cell<bool>,
    open: RefCell<HashMap<u64, Rc<Watch>>>,
    last: Cell<u64>,
    closed: Notify,
}

impl Watches {
    pub(super) fn new(limits: &Limits) -> Rc<Self> {
        let ticks = |time: std::time::Duration| {
            let interval = limits.interval.as_millis().max(1);
            Tick::try_from(time.as_millis().div_ceil(interval)).unwrap_or(Tick::MAX)
        };
        Rc::new(Self {
            now: Cell::new(0),
            deadlines: Deadlines {
                head: ticks(limits.head_time),
                idle: ticks(limits.idle_time),
                idle_when_full: ticks(limits.idle_time_when_full),
                write: ticks(limits.write_time),
            },
            draining: Cell::new(false),
            open: RefCell::new(HashMap::new()),
            last: Cell::new(0),
            closed: Notify::new(),
        })
    }

    /// A new connection, watched until the result is dropped.
    pub(super) fn open(self: &Rc<Self>) -> Opened {
        let watch = Rc::new(Watch {
            phase: Cell::new(Phase::Idle),
            since: Cell::new(self.now.get()),
            unread_since: Cell::new(None),
            requests: Cell::new(0),
            http2: Cell::new(false),
            order: Cell::new(None),
            task: RefCell::new(None),
            watches: Rc::clone(self),
        });
        let number = self.last.get().wrapping_add(1);
        self.last.set(number);
        self.open.borrow_mut().insert(number, Rc::clone(&watch));
        Opened { number, watch }
    }

    /// One interval went by: lets go of those whose time is up.
    pub(super) fn tick(&self, full: bool) {
        self.now.set(self.now.get().saturating_add(1));
        for watch in self.open.borrow().values() {
            if let Some(order) = judge(watch.standing(), &self.deadlines, full) {
                watch.tell(order);
            }
        }
    }

    /// From now on every connection closes after the answers of what is under way; those without a request may still
    /// send one, as it may already be on its way.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        for watch in self.open.borrow().values() {
            if watch.phase.get() == Phase::Busy {
                watch.tell(Order::Finish);
            }
        }
    }

    /// Tells all connections the same.
    pub(super) fn tell_all(&self, order: Order) {
        for watch in self.open.borrow().values() {
            watch.tell(order);
        }
    }

    /// Connections that are open.
    pub(super) fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Resolves when no connection is open.
    pub(super) async fn all_closed(&self) {
        while self.count() > 0 {
            self.closed.notified().await;
        }
    }
}

/// A connection among its worker's.
pub(super) struct Opened {
    number: u64,
    pub(super) watch: Rc<Watch>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        let watches = &self.watch.watches;
        watches.open.borrow_mut().remove(&self.number);
        if watches.count() == 0 {
            watches.closed.notify_one();
        }
    }
}

/// A stream whose reads and writes the watch sees.
pub(super) struct Watched<S> {
    stream: S,
    watch: Rc<Watch>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, watch: Rc<Watch>) -> Self {
        Self { stream, watch }
    }

    fn written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.watch.unread_since.set(None);
        } else if self.watch.unread_since.get().is_none() {
            self.watch.unread_since.set(Some(self.watch.watches.now.get()));
        }
        result
    }
}

impl<S: Read + Unpin> Read for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if matches!(result, Poll::Ready(Ok(()))) {
            self.watch.bytes_arrived();
        }
        result
    }
}

impl<S: Write + Unpin> Write for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINES: Deadlines = Deadlines {
        head: 10,
        idle: 75,
        idle_when_full: 1,
        write: 30,
    };

    fn judged(phase: Phase, age: Tick) -> Option<Order> {
        judge(
            Standing {
                phase,
                age,
                unread: None,
            },
            &DEADLINES,
            false,
        )
    }

    #[test]
    fn a_request_whose_headers_trickle_in_is_cut_off() {
        assert_eq!(judged(Phase::Head, 10), None);
        assert_eq!(judged(Phase::Head, 11), Some(Order::Abort));
    }

    #[test]
    fn an_idle_connection_is_closed_and_one_that_does_not_close_is_cut() {
        assert_eq!(judged(Phase::Idle, 75), None);
        assert_eq!(judged(Phase::Idle, 76), Some(Order::Finish));
        assert_eq!(judged(Phase::Idle, 151), Some(Order::Abort));
    }

    #[test]
    fn idle_connections_go_first_when_no_other_can_be_opened() {
        let standing = Standing {
            phase: Phase::Idle,
            age: 2,
            unread: None,
        };
        assert_eq!(judge(standing, &DEADLINES, true), Some(Order::Finish));
        assert_eq!(judge(standing, &DEADLINES, false), None);
    }

    #[test]
    fn a_request_under_way_has_no_deadline_here() {
        assert_eq!(judged(Phase::Busy, 1_000_000), None);
    }

    #[test]
    fn a_sender_that_never_reads_its_answers_is_cut_off() {
        let standing = Standing {
            phase: Phase::Busy,
            age: 0,
            unread: Some(31),
        };
        assert_eq!(judge(standing, &DEADLINES, false), Some(Order::Abort));
    }

    #[test]
    fn phases_follow_the_requests_of_a_connection() {
        let watches = Watches::new(&Limits::default());
        let opened = watches.open();
        let watch = &opened.watch;
        assert_eq!(watch.phase.get(), Phase::Idle);
        watch.bytes_arrived();
        assert_eq!(watch.phase.get(), Phase::Head);
        let (first, second) = (
            watch.request(http::Version::HTTP_2),
            watch.request(http::Version::HTTP_2),
        );
        drop(first);
        assert_eq!(watch.phase.get(), Phase::Busy);
        drop(second);
        assert_eq!(watch.phase.get(), Phase::Idle);
        watch.bytes_arrived();
        assert_eq!(watch.phase.get(), Phase::Idle, "a ping is no request");
        drop(opened);
        assert_eq!(watches.count(), 0);
    }
}
