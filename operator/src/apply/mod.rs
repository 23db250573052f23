//! Applies the children of a fleet: the only place that writes them.
