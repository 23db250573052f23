//! The clock. Wall time is for what people and vendors read; durations are always measured with [`std::time::Instant`],
//! so that a clock that is set back stretches nothing.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in unix milliseconds; 0 if the machine's clock stands before 1970.
#[must_use]
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or_default()
}
