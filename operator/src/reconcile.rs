//! The loop of one container, as its five steps: dereference, validate, build, apply, status.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::ByteString;
use kube::ResourceExt as _;
use tagfleet_crds::{
    TaggingContainer, TaggingContainerSpec, TaggingContainerStatus, conditions::reasons, validate::NamespacedName,
};

use crate::{
    apply::{ApplyError, Wish},
    build,
    child::name_of,
    context::{Context, Memory},
    dereference::{self, DereferenceError, Gathered},
    fleet::{Fleet, Settings},
    gateways::fleet::Target,
    last_good::{self, InForce},
    rollout::Decision,
    rollouts,
    status::{self, ContainerInput, ImageInput, Problem},
    validate::{self, Judgement},
    verdict::Verdicts,
};

/// Why a container could not be reconciled; it is tried again after a pause.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// What it points to cannot be read.
    #[error(transparent)]
    Dereference(#[from] DereferenceError),
    /// The forms in force cannot be read back.
    #[error("the configuration in force cannot be read back: {0}")]
    LastGood(#[source] Box<kube::Error>),
    /// A child cannot be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The status cannot be written.
    #[error("the status cannot be written: {0}")]
    Status(#[source] Box<kube::Error>),
    /// It took too long.
    #[error("the API server did not answer within {} s", .0.as_secs())]
    Deadline(Duration),
}

/// Reconciles a container. Gives whether its new image waits for the rollout of another fleet.
///
/// # Errors
/// [`ReconcileError`]; what was done until then stands, and the next try goes on from there.
pub async fn container(context: &Context, container: Arc<TaggingContainer>) -> Result<bool, ReconcileError> {
    if container.metadata.deletion_timestamp.is_some() {
        // Its children go with it by their owner references.
        return Ok(false);
    }
    let name = name_of(&*container);
    let memory = context.memories.of(&name);
    // No two reconciliations of one object run at once: nobody waits here.
    steps(context, &name, container, &mut *memory.lock().await).await
}

async fn steps(
    context: &Context,
    name: &NamespacedName,
    container: Arc<TaggingContainer>,
    memory: &mut Memory,
) -> Result<bool, ReconcileError> {
    // Dereference and validate (client, then pure).
    let judgement = judge(context, name, Arc::clone(&container), memory).await?;
    tell_destinations(context, name, &judgement);

    // Build (pure) and apply (client). What is paused is looked at and not touched.
    let mut applied = Ok(());
    let (mut image, mut spec) = (None, None);
    if let Some(in_force) = judgement.in_force {
        let decision = rollouts::decide(context, name, &container, &in_force.container.spec);
        let fleet = fleet(context, name, in_force, judgement.credentials, decision.image());
        if !container.spec.paused {
            applied = context.applier.apply(&wish(context, name, &container, &fleet)).await;
        }
        if let Err(ApplyError::NamespaceTerminating { .. }) = applied {
            // The container goes with it, and says no more.
            return Ok(false);
        }
        image = Some(decision);
        spec = Some(fleet.container.spec.clone());
        let is_stored = applied.is_ok() && !container.spec.paused && judgement.verdicts.are_all_accepted();
        memory.remember(fleet, is_stored);
    }

    // Status (pure, then client): from what the API server has told, not from what was wished.
    ask_gateways(context, name, &judgement.verdicts, memory);
    let previous = context.container_status.newest(name, &container);
    let seen = Seen {
        verdicts: &judgement.verdicts,
        spec: spec.as_ref(),
        image: image.as_ref(),
        problem: applied.as_ref().err().map(problem),
        previous: previous.as_ref(),
    };
    let status = status(context, name, &seen);
    let written = context
        .container_status
        .write(name, &container, previous.as_ref(), status.clone())
        .await;
    if written.map_err(|error| ReconcileError::Status(Box::new(error)))? {
        context.events.container(&container, previous.as_ref(), &status);
    }
    applied?;
    Ok(image.is_some_and(|image| image.behind().is_some()))
}

/// Gathers and judges; where something is broken whose last good form is not known, that is asked for first.
async fn judge(
    context: &Context,
    name: &NamespacedName,
    container: Arc<TaggingContainer>,
    memory: &mut Memory,
) -> Result<Judgement, ReconcileError> {
    let gathered = gather(context, name, Arc::clone(&container), memory).await?;
    let judgement = validate::judge(&gathered, memory.in_force.as_ref());
    if !judgement.misses_last_good || memory.asked_for_last_good {
        return Ok(judgement);
    }
    let uid = container.uid().unwrap_or_default();
    let last_good = last_good::read(&context.client, name, &uid).await;
    memory.in_force = last_good.map_err(|error| ReconcileError::LastGood(Box::new(error)))?;
    memory.asked_for_last_good = true;
    if memory.in_force.is_none() {
        return Ok(judgement);
    }
    let gathered = gather(context, name, container, memory).await?;
    Ok(validate::judge(&gathered, memory.in_force.as_ref()))
}

async fn gather(
    context: &Context,
    name: &NamespacedName,
    container: Arc<TaggingContainer>,
    memory: &mut Memory,
) -> Result<Gathered, DereferenceError> {
    let in_force = memory.in_force.as_ref();
    dereference::gather(
        &context.client,
        &context.watches,
        name,
        container,
        in_force,
        &mut memory.data,
    )
    .await
}

/// Hands the verdicts to the Destinations, and wakes those whose verdict is another now.
fn tell_destinations(context: &Context, name: &NamespacedName, judgement: &Judgement) {
    let verdicts = Arc::new(judgement.verdicts.clone());
    let before = context.memories.set_verdicts(name, Arc::clone(&verdicts));
    for (destination, verdict) in &verdicts.destinations {
        let known = before.as_ref().and_then(|before| before.destinations.get(destination));
        if known != Some(verdict) {
            let destination = NamespacedName::new(&name.namespace, destination);
            context.wakes.destinations.wake(&destination);
        }
    }
}

/// The fleet as it is to be now.
fn fleet(
    context: &Context,
    name: &NamespacedName,
    in_force: InForce,
    credentials: BTreeMap<String, ByteString>,
    image: &str,
) -> Fleet {
    let mut container = in_force.container;
    // A hostname that an older container has come to own leads there.
    let is_own = |hostname: &String| context.watches.own.hostnames.rival(name, hostname).is_none();
    container.spec.hostnames.retain(is_own);
    Fleet {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        image: image.to_owned(),
        container,
        destinations: in_force.destinations,
        tables: in_force.tables,
        credentials,
        settings: Settings {
            kinds: context.cluster.borrow().kinds,
            api_server: context.api_server.borrow().clone(),
            ..context.settings.clone()
        },
    }
}

fn wish(context: &Context, name: &NamespacedName, container: &TaggingContainer, fleet: &Fleet) -> Wish {
    Wish {
        fleet: name.clone(),
        owner: container.uid().unwrap_or_default(),
        children: build::children(fleet),
        first_replicas: fleet.container.spec.effective_replicas().min,
        // What an older CRD has dropped was not unwished by anybody.
        prune: context.cluster.borrow().older_fields.is_empty(),
    }
}

/// Has the gateways asked soon when they are to have something else in force, or when there are others.
fn ask_gateways(context: &Context, name: &NamespacedName, verdicts: &Verdicts, memory: &mut Memory) {
    let target = Target {
        pods: context.watches.pods.of(name),
        wanted: status::wanted(&name.name, verdicts),
    };
    if memory.polled.as_ref() != Some(&target) {
        memory.polled = Some(target);
        context.poller.hurry(name);
    }
}

/// What the loop has seen of a container beside what the watches know.
struct Seen<'s> {
    verdicts: &'s Verdicts,
    spec: Option<&'s TaggingContainerSpec>,
    image: Option<&'s Decision>,
    problem: Option<Problem>,
    previous: Option<&'s TaggingContainerStatus>,
}

fn status(context: &Context, name: &NamespacedName, seen: &Seen<'_>) -> TaggingContainerStatus {
    let spec = seen.spec;
    let workload = spec.and_then(|spec| rollouts::workload(context, name, spec));
    let report = context.poller.report(name);
    let image = ImageInput {
        wanted: spec
            .and_then(|spec| spec.image.as_deref())
            .unwrap_or(&context.settings.gateway_image),
        behind: seen.image.and_then(Decision::behind),
    };
    status::tagging_container(&ContainerInput {
        name: &name.name,
        verdicts: seen.verdicts,
        spec,
        workload: workload.as_ref(),
        pods: &context.watches.pods.of(name),
        report: report.as_deref(),
        image,
        apply: seen.problem.as_ref().map_or(Ok(()), Err),
        crds_older: &context.cluster.borrow().older_fields,
        previous: seen.previous,
        now: jiff::Timestamp::now(),
    })
}

/// What a condition says of children that cannot be applied.
fn problem(error: &ApplyError) -> Problem {
    Problem {
        reason: match error {
            ApplyError::NameTaken { .. } => reasons::NAME_TAKEN,
            ApplyError::Refused { .. } | ApplyError::Api { .. } | ApplyError::NamespaceTerminating { .. } => {
                reasons::APPLY_FAILED
            }
        },
        message: error.to_string(),
    }
}
