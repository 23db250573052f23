//! Consent: one state for each event, resolved from everything that says something about it.

/// `consent.default` and `consent.regions`.
#[derive(Clone, Debug, Default)]
pub struct ConsentPolicy {}
