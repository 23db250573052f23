//! Identity: the visitor's `client_id` and the cookies that the server sets.

/// `identity`.
#[derive(Clone, Debug, Default)]
pub struct IdentityPolicy {}
