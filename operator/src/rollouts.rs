//! Rollouts, as a container's loop sees them: which image its pods run now, and who is looked at next.

use tagfleet_crds::{TaggingContainer, TaggingContainerSpec, tagging_container::BufferKind, validate::NamespacedName};

use crate::{child::ChildKind, context::Context, observed::Workload, rollout::Decision};

/// Decides which image a fleet's pods run now. `spec` is the container's specification in force.
#[must_use]
pub fn decide(
    context: &Context,
    name: &NamespacedName,
    container: &TaggingContainer,
    spec: &TaggingContainerSpec,
) -> Decision {
    let wanted = spec.image.as_deref().unwrap_or(&context.settings.gateway_image);
    let workload = workload(context, name, spec);
    let decision = match &workload {
        // What is paused neither changes nor keeps others waiting.
        Some(workload) if container.spec.paused => {
            context.slot.observe(name, workload);
            Decision::Run(workload.image.clone())
        }
        _ => context
            .slot
            .decide(name, wanted, spec.image.is_some(), workload.as_ref()),
    };
    wake_next(context);
    decision
}

/// A fleet is gone: whoever waits for it goes on.
pub fn forget(context: &Context, name: &NamespacedName) {
    context.slot.forget(name);
    wake_next(context);
}

/// Has the fleets looked at whose turn has come.
fn wake_next(context: &Context) {
    for fleet in context.slot.take_woken() {
        context.wakes.containers.wake(&fleet);
    }
}

/// The fleet's Deployment or StatefulSet; while one replaces the other, that which is to stay, once it is there.
#[must_use]
pub fn workload(context: &Context, name: &NamespacedName, spec: &TaggingContainerSpec) -> Option<Workload> {
    let mut workloads = context.watches.children.workloads(name);
    let has_volume = matches!(spec.effective_buffer().kind(), Some(BufferKind::Disk(disk)) if disk.volume.is_some());
    let wished = if has_volume {
        ChildKind::StatefulSet
    } else {
        ChildKind::Deployment
    };
    workloads.remove(&wished).or_else(|| workloads.into_values().next())
}
