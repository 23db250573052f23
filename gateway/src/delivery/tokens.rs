//! Access tokens for vendors that want them.

use std::{future::Future, pin::Pin};

/// Gives access tokens, refreshed ahead of their end.
pub trait TokenSource: Send + Sync {
    /// A token that is good for some minutes.
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>>;

    /// Drops the token in use (the vendor said 401), so that the next call fetches another.
    fn invalidate(&self);
}
