//! What a container does with each event between its client and its destinations.

use std::sync::Arc;

use crate::deduplication::Limits;

use super::{
    bots::BotPolicy, consent::ConsentPolicy, geo::GeoSource, identity::IdentityPolicy, privacy::IpAddressPolicy,
    transform::Transformation, validation::TrackingPlan,
};

/// The steps' settings, in the order in which the steps are taken.
#[derive(Debug, Default)]
pub struct Policies {
    /// `privacy.bots`.
    pub bots: BotPolicy,
    /// `enrich.geo`.
    pub geo: Option<Arc<GeoSource>>,
    /// `consent`.
    pub consent: ConsentPolicy,
    /// `identity`.
    pub identity: IdentityPolicy,
    /// `enrich.device`.
    pub device: bool,
    /// `privacy.ipAddress`.
    pub ip_address: IpAddressPolicy,
    /// `validation`.
    pub tracking_plan: TrackingPlan,
    /// `deduplication`; none: off.
    pub deduplication: Option<Limits>,
    /// `transformations` without `destinations`.
    pub transformations: Vec<Transformation>,
}
