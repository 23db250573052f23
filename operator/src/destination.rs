//! The loop of one Destination. It has no children: its status is put together from what the loops and the gateways of its
//! containers say of it.

use std::{collections::BTreeMap, sync::Arc};

use tagfleet_crds::{Destination, validate::NamespacedName};

use crate::{
    child::name_of,
    context::Context,
    gateways::FleetReport,
    observed::PodState,
    reconcile::ReconcileError,
    status::{self, InContainer},
    verdict::DestinationVerdict,
};

/// Reconciles a Destination.
///
/// # Errors
/// When the status cannot be written.
pub async fn destination(context: &Context, destination: Arc<Destination>) -> Result<(), ReconcileError> {
    if destination.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let name = name_of(&*destination);
    let Some(found) = containers(context, &name, &destination) else {
        return Ok(());
    };
    let containers = found.iter().map(|(container, found)| {
        let found = found.as_ref().map(|found| InContainer {
            verdict: &found.verdict,
            pods: &found.pods,
            report: found.report.as_deref(),
        });
        (container.as_str(), found)
    });
    let previous = context.destination_status.newest(&name, &destination);
    let status = status::destination(&status::DestinationInput {
        name: &name.name,
        generation: destination.metadata.generation.unwrap_or_default(),
        spec: &destination.spec,
        containers: containers.collect(),
        previous: previous.as_ref(),
        now: jiff::Timestamp::now(),
    });
    let written = context
        .destination_status
        .write(&name, &destination, previous.as_ref(), status.clone())
        .await;
    if written.map_err(|error| ReconcileError::Status(Box::new(error)))? {
        context.events.destination(&destination, previous.as_ref(), &status);
    }
    Ok(())
}

/// What there is to say of a Destination in one container.
struct Found {
    verdict: DestinationVerdict,
    pods: Vec<PodState>,
    report: Option<Arc<FleetReport>>,
}

/// How the Destination is in each of its containers, none where a container does not exist. Nothing at all while a
/// container's loop has not looked at the Destination's newest form: that loop wakes this one when it has.
fn containers(
    context: &Context,
    name: &NamespacedName,
    destination: &Destination,
) -> Option<BTreeMap<String, Option<Found>>> {
    let mut containers = BTreeMap::new();
    for reference in &destination.spec.container_refs {
        let container = NamespacedName::new(&name.namespace, &reference.name);
        let mut found = None;
        if context.watches.own.container(&container).is_some() {
            let verdicts = context.memories.verdicts(&container)?;
            let verdict = verdicts.destinations.get(&name.name)?;
            if Some(verdict.generation) != destination.metadata.generation {
                return None;
            }
            found = Some(Found {
                verdict: verdict.clone(),
                pods: context.watches.pods.of(&container),
                report: context.poller.report(&container),
            });
        }
        containers.insert(reference.name.clone(), found);
    }
    Some(containers)
}
