//! Drives one watch: lists, watches, begins again after a failure with growing pauses, and hands what comes to its sink.

use std::{fmt::Debug, time::Duration};

use futures::StreamExt as _;
use kube::{Api, Resource, runtime::watcher};
use serde::de::DeserializeOwned;

use crate::readiness::Watch;

/// Takes in what a watch tells.
pub(super) trait Sink: Send + 'static {
    /// What is watched.
    type Object: Resource + Clone + DeserializeOwned + Debug + Send + 'static;

    /// A list begins: what does not come until [`Sink::listed`] is gone.
    fn list_begins(&mut self);
    /// The object is there, in this form.
    fn applied(&mut self, object: Self::Object);
    /// The object is gone.
    fn deleted(&mut self, object: &Self::Object);
    /// The list has ended.
    fn listed(&mut self);
    /// Objects that are kept in memory.
    fn objects(&self) -> usize;
}

/// The first pause after a failure, at most, and every pause, at most. A watch that fails long is one of an API server that is
/// away: short enough to be back soon, long enough not to hinder its start.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Runs until it is dropped.
pub(super) async fn drive<S: Sink>(api: Api<S::Object>, config: watcher::Config, watch: Watch, mut sink: S)
where
    <S::Object as Resource>::DynamicType: Clone + Debug + Send + Sync,
{
    let mut events = watcher(api, config).boxed();
    let mut pause = FIRST_PAUSE;
    while let Some(event) = events.next().await {
        match event {
            // A watch says that it begins before it asks: no sign of life.
            Ok(watcher::Event::Init) => {
                sink.list_begins();
                continue;
            }
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => sink.applied(object),
            Ok(watcher::Event::Delete(object)) => sink.deleted(&object),
            Ok(watcher::Event::InitDone) => {
                sink.listed();
                watch.listed();
            }
            Err(error) => {
                watch.failed(&error.to_string());
                // With jitter: all watches fail at once.
                tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
        }
        pause = FIRST_PAUSE;
        watch.alive();
        watch.set_objects(sink.objects());
    }
}
