//! Where the worker threads hand their hits to the committer, and where the hits wait for it.
//!
//! Each worker has a stage of its own behind a lock that only the committer ever wants too. All hits of a stage that
//! are taken at once form a round. When the round is decided, the committer wakes one of its hits, and that one wakes
//! the others: one wake-up across threads for a worker and a commit, however many hits wait.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use super::{
    super::{Accepted, AppendError, Appender, Commit, hit, lock, tally::Tallies},
    Shared,
    segment::{FRAME_HEAD, MAX_HIT},
};

/// Hits that wait for the device at the most.
const MAX_WAITING: usize = 10_000;

/// A worker's stage.
#[derive(Debug, Default)]
pub(super) struct Stage {
    pub(super) staged: Mutex<Staged>,
}

/// What was staged since the committer last came by.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// Frames, their heads still empty.
    pub(super) bytes: Vec<u8>,
    pub(super) frames: Vec<StagedFrame>,
    pub(super) tallies: Tallies,
    pub(super) round: Arc<Round>,
    /// The committer has gone.
    pub(super) closed: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct StagedFrame {
    pub(super) size: usize,
    /// Events of the hit that take a position.
    pub(super) stored: u32,
}

impl Staged {
    /// Makes it as new, but keeps its memory.
    pub(super) fn reset(&mut self) {
        const KEPT: usize = 1 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.frames.clear();
        self.tallies.clear();
        self.round = Arc::default();
    }
}

/// The hits of one stage and one commit.
#[derive(Debug, Default)]
pub(super) struct Round(Mutex<RoundState>);

#[derive(Debug, Default)]
struct RoundState {
    outcome: Option<Result<(), AppendError>>,
    wakers: Vec<Waker>,
}

impl Round {
    /// Decides the round. Wakes one hit only: it wakes the others, on their own thread.
    pub(super) fn decide(&self, outcome: Result<(), AppendError>) {
        let first = {
            let mut state = lock(&self.0);
            state.outcome = Some(outcome);
            state.wakers.pop()
        };
        if let Some(waker) = first {
            waker.wake();
        }
    }

    fn wake_all(&self) {
        let wakers = std::mem::take(&mut lock(&self.0).wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A hit that waits for its round.
struct Waiting {
    round: Arc<Round>,
    /// Where its waker is.
    slot: Option<usize>,
    done: bool,
}

impl Future for Waiting {
    type Output = Result<(), AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = lock(&this.round.0);
        if let Some(outcome) = state.outcome.clone() {
            drop(state);
            this.done = true;
            this.round.wake_all();
            return Poll::Ready(outcome);
        }
        let registered = this.slot.and_then(|slot| state.wakers.get(slot));
        if !registered.is_some_and(|waker| waker.will_wake(context.waker())) {
            this.slot = Some(state.wakers.len());
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Waiting {
    /// The committer may have chosen this hit to wake the others, or may be about to.
    fn drop(&mut self) {
        if !self.done {
            self.round.wake_all();
        }
    }
}

/// The writing end of one worker.
pub(super) struct DiskAppender {
    shared: Arc<Shared>,
    stage: Arc<Stage>,
    frame: Vec<u8>,
    scratch: Vec<u8>,
    tallies: Tallies,
}

impl DiskAppender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let stage = Arc::new(Stage::default());
        lock(&shared.stages).push(Arc::clone(&stage));
        Self {
            shared,
            stage,
            frame: Vec::new(),
            scratch: Vec::new(),
            tallies: Tallies::default(),
        }
    }

    /// Whether a hit of this size may be taken now.
    fn admit(&self, size: usize) -> Result<(), AppendError> {
        let shared = &self.shared;
        if shared.closing.load(Ordering::Acquire) {
            return Err(AppendError::Closed);
        }
        if shared.waiting.load(Ordering::Relaxed) >= MAX_WAITING {
            return Err(AppendError::Busy);
        }
        if size > MAX_HIT {
            return Err(AppendError::Device(format!(
                "a hit of {size} bytes; it takes {MAX_HIT} at the most"
            )));
        }
        let bytes = shared.bytes.load(Ordering::Relaxed) + shared.staged_bytes.load(Ordering::Relaxed);
        if bytes + size as u64 > shared.when_full.refuses_from(shared.max_bytes) {
            return Err(AppendError::Full {
                bytes,
                max_bytes: shared.max_bytes,
            });
        }
        Ok(())
    }
}

impl Appender for DiskAppender {
    fn append(&mut self, events: &[Accepted<'_, '_>]) -> Result<Commit, AppendError> {
        self.tallies.clear();
        self.frame.clear();
        self.frame.resize(FRAME_HEAD, 0);
        let stored = hit::encode(events, &mut self.frame, &mut self.scratch, &mut self.tallies);
        let size = self.frame.len();
        self.admit(size)?;
        let round = {
            let mut staged = lock(&self.stage.staged);
            if staged.closed {
                return Err(AppendError::Closed);
            }
            self.shared.waiting.fetch_add(1, Ordering::Relaxed);
            self.shared.staged_bytes.fetch_add(size as u64, Ordering::Relaxed);
            staged.bytes.extend_from_slice(&self.frame);
            staged.frames.push(StagedFrame { size, stored });
            staged.tallies.add(&self.tallies);
            Arc::clone(&staged.round)
        };
        self.shared.committer.wake();
        Ok(Box::pin(Waiting {
            round,
            slot: None,
            done: false,
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use std::{sync::atomic::AtomicUsize, task::Wake};

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct Hit {
        wakes: Arc<Counter>,
        future: Pin<Box<Waiting>>,
    }

    impl Hit {
        fn waiting_for(round: &Arc<Round>) -> Self {
            let mut hit = Self {
                wakes: Arc::default(),
                future: Box::pin(Waiting {
                    round: Arc::clone(round),
                    slot: None,
                    done: false,
                }),
            };
            assert!(hit.poll().is_pending());
            hit
        }

        fn poll(&mut self) -> Poll<Result<(), AppendError>> {
            let waker = Waker::from(Arc::clone(&self.wakes));
            self.future.as_mut().poll(&mut Context::from_waker(&waker))
        }

        fn is_woken(&self) -> bool {
            self.wakes.0.load(Ordering::SeqCst) > 0
        }
    }

    #[test]
    fn one_hit_is_woken_and_wakes_the_others() {
        let round = Arc::default();
        let mut hits: Vec<_> = (0..5).map(|_| Hit::waiting_for(&round)).collect();
        round.decide(Ok(()));
        assert_eq!(hits.iter().filter(|hit| hit.is_woken()).count(), 1);
        let first = hits.iter_mut().find(|hit| hit.is_woken()).unwrap();
        assert_eq!(first.poll(), Poll::Ready(Ok(())));
        assert!(hits.iter().all(Hit::is_woken));
    }

    #[test]
    fn a_hit_that_goes_away_leaves_no_other_waiting() {
        for gone in 0..3 {
            for decided_first in [true, false] {
                let round = Arc::default();
                let mut hits: Vec<_> = (0..3).map(|_| Hit::waiting_for(&round)).collect();
                if decided_first {
                    round.decide(Err(AppendError::Closed));
                    drop(hits.remove(gone));
                } else {
                    drop(hits.remove(gone));
                    for hit in &mut hits {
                        assert!(hit.is_woken() && hit.poll().is_pending());
                    }
                    round.decide(Err(AppendError::Closed));
                }
                for _ in 0..3 {
                    for hit in hits.iter_mut().filter(|hit| hit.is_woken()) {
                        assert_eq!(hit.poll(), Poll::Ready(Err(AppendError::Closed)));
                        hit.future.done = true;
                    }
                }
                assert!(hits.iter().all(Hit::is_woken));
            }
        }
    }

    #[test]
    fn polling_again_takes_no_more_room() {
        let round: Arc<Round> = Arc::default();
        let mut hit = Hit::waiting_for(&round);
        for _ in 0..100 {
            assert!(hit.poll().is_pending());
        }
        assert_eq!(lock(&round.0).wakers.len(), 1);
    }
}
