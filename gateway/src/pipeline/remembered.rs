//! What was found out about a text of a request, remembered for the next hit: a site's visitors have few different user
//! agents, and ask few hosts.

use std::{cell::RefCell, num::NonZeroUsize, thread::LocalKey};

use lru::LruCache;

/// How many answers each thread keeps.
const ENTRIES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(511);
/// Longer texts are no browser's or host's, and are not kept: with [`ENTRIES`] this bounds what senders can make a thread hold.
const MAX_KEY_BYTES: usize = 512;

/// Answers by text, the least recently asked for dropped first. Meant for a `thread_local`, so that no core waits for another.
pub(super) struct Remembered<V> {
    answers: LruCache<Box<[u8]>, V>,
}

impl<V> Default for Remembered<V> {
    fn default() -> Self {
        Self {
            answers: LruCache::new(ENTRIES),
        }
    }
}

impl<V: Clone> Remembered<V> {
    /// The answer for a text, which `find` gives when it is not known.
    fn answer(&mut self, text: &[u8], find: impl FnOnce() -> V) -> V {
        if let Some(known) = self.answers.get(text) {
            return known.clone();
        }
        let found = find();
        if text.len() <= MAX_KEY_BYTES {
            self.answers.put(text.into(), found.clone());
        }
        found
    }
}

/// The answer for a text among those of this thread, which `find` gives when it is not known.
pub(super) fn remembered<V: Clone>(
    answers: &'static LocalKey<RefCell<Remembered<V>>>,
    text: &[u8],
    find: impl FnOnce() -> V,
) -> V {
    answers.with(|answers| match answers.try_borrow_mut() {
        Ok(mut answers) => answers.answer(text, find),
        Err(_) => find(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_once_while_it_is_asked_for() {
        let mut remembered = Remembered::default();
        assert_eq!(remembered.answer(b"one", || 1), 1);
        for other in 0..ENTRIES.get() - 1 {
            remembered.answer(&other.to_le_bytes(), || 0);
        }
        assert_eq!(remembered.answer(b"one", || 2), 1, "still known");
        for other in 0..ENTRIES.get() {
            remembered.answer(&(other + ENTRIES.get()).to_le_bytes(), || 0);
        }
        assert_eq!(remembered.answer(b"one", || 3), 3, "dropped for others");
    }

    #[test]
    fn a_text_that_is_too_long_is_not_kept() {
        let mut remembered = Remembered::default();
        let long = [b'x'; MAX_KEY_BYTES + 1];
        assert_eq!(remembered.answer(&long, || 1), 1);
        assert_eq!(remembered.answer(&long, || 2), 2);
    }
}
