//! What is told of a container and of a Destination, from what was observed and never from what was wished. Pure, and
//! the same for the same input, so that nothing is written while nothing changes.

mod conditions;
mod destination;
mod pods;
mod tagging_container;
#[cfg(test)]
mod tests;

pub use self::{
    destination::{DestinationInput, InContainer, destination},
    tagging_container::{ContainerInput, ImageInput, tagging_container, wanted},
};

/// Why children could not be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// One of [`tagfleet_crds::conditions::reasons`].
    pub reason: &'static str,
    /// A sentence for a person: which child, why, and how to put it right. Holds no secret.
    pub message: String,
}
