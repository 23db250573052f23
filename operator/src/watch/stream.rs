//! Drives one watch: lists, watches, begins again after a failure with growing pauses, and hands what comes to its sink.

use std::fmt::Debug;

use futures::StreamExt as _;
use kube::{
    Api, Resource,
    runtime::{WatchStreamExt as _, watcher},
};
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

/// Runs until it is dropped.
pub(super) async fn drive<S: Sink>(api: Api<S::Object>, config: watcher::Config, watch: Watch, mut sink: S)
where
    <S::Object as Resource>::DynamicType: Clone + Debug + Send + Sync,
{
    let mut events = watcher(api, config).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => sink.list_begins(),
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => sink.applied(object),
            Ok(watcher::Event::Delete(object)) => sink.deleted(&object),
            Ok(watcher::Event::InitDone) => {
                sink.listed();
                watch.listed();
            }
            // The watcher begins again by itself, after growing pauses.
            Err(error) => {
                watch.failed(&error.to_string());
                continue;
            }
        }
        watch.alive();
        watch.set_objects(sink.objects());
    }
}
