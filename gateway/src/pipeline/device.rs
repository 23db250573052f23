//! `event.device`, from the user agent and its client hints.

use crate::event::Event;

/// Sets `event.device`.
pub fn enrich(_event: &mut Event<'_>) {}
