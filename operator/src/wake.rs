//! Tells the controllers which objects to look at again.

use std::sync::{Mutex, PoisonError};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use tagfleet_crds::validate::NamespacedName;

/// Where names of objects come in and go out to one controller. A name that comes twice before its turn is looked at
/// once: the controller's queue sees to that.
#[derive(Debug, Default)]
pub struct Wake {
    /// None while nobody works: a standby's watches run, and what they tell is not kept.
    queue: Mutex<Option<UnboundedSender<NamespacedName>>>,
}

impl Wake {
    /// Starts to keep what is told. Who works looks at everything once at first, so nothing from before is needed.
    pub fn listen(&self) -> UnboundedReceiver<NamespacedName> {
        let (send, receive) = unbounded();
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = Some(send);
        receive
    }

    /// Has this object looked at.
    pub fn wake(&self, name: &NamespacedName) {
        if let Some(queue) = &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            // It fails only once the controller has ended, and then nobody is to be woken.
            queue.unbounded_send(name.clone()).unwrap_or_default();
        }
    }
}

/// The two queues.
#[derive(Debug, Default)]
pub struct Wakes {
    /// Of containers.
    pub containers: Wake,
    /// Of Destinations.
    pub destinations: Wake,
}
