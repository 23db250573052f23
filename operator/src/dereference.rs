//! The first step: gathers what a container and its Destinations point to. What the watches know is taken from them; the
//! data of a Secret or ConfigMap is asked for once, and again only when its resourceVersion has changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Api, Client};
use tagfleet_crds::{
    Destination, DestinationSpec, SecretKeyRef, TaggingContainer, TaggingContainerSpec, validate::NamespacedName,
};

use crate::{
    last_good::InForce,
    watch::{
        Watches,
        referenced::{Known, Meta, Referenced},
    },
};

/// Why what a container points to cannot be gathered: the API server could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {name} cannot be read: {source}")]
pub struct DereferenceError {
    kind: &'static str,
    name: String,
    source: Box<kube::Error>,
}

/// A container with all that it, its Destinations, and what of them is in force points to.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The container as it stands in the API server.
    pub container: Arc<TaggingContainer>,
    /// The Destinations that refer to it, as they stand in the API server, in the order of their names.
    pub destinations: Vec<Arc<Destination>>,
    /// The Secrets that there are. Of one that is not shared nothing but its metadata was read.
    pub secrets: BTreeMap<String, FoundSecret>,
    /// The ConfigMaps that there are, each with the keys that are referred to.
    pub config_maps: BTreeMap<String, BTreeMap<String, String>>,
    /// Hostnames of the container that an older one owns.
    pub rivals: BTreeMap<String, NamespacedName>,
}

/// A Secret that something refers to.
#[derive(Clone, Debug, Default)]
pub struct FoundSecret {
    /// Whether it carries the label that shares it.
    pub is_shared: bool,
    /// All its keys.
    pub keys: BTreeSet<String>,
    /// The values of the keys that are referred to.
    pub values: BTreeMap<String, ByteString>,
}

/// The data that were read for a container, kept with the resourceVersion that they are of.
#[derive(Debug, Default)]
pub struct Data {
    secrets: BTreeMap<String, Fetched<FoundSecret>>,
    config_maps: BTreeMap<String, Fetched<BTreeMap<String, String>>>,
}

#[derive(Clone, Debug)]
struct Fetched<T> {
    meta: Meta,
    /// The keys that were asked for.
    wanted: BTreeSet<String>,
    data: T,
}

/// The keys of each object that is referred to.
type Keys = BTreeMap<String, BTreeSet<String>>;

/// Gathers for a container. `data` is what was read for it before, and holds what is read now; `in_force` adds what the
/// last good forms point to.
///
/// # Errors
/// When the API server cannot be asked. What does not exist is no error.
pub async fn gather(
    client: &Client,
    watches: &Watches,
    name: &NamespacedName,
    container: Arc<TaggingContainer>,
    in_force: Option<&InForce>,
    data: &mut Data,
) -> Result<Gathered, DereferenceError> {
    let destinations = watches.own.destinations_of(name);
    let forms = in_force
        .into_iter()
        .flat_map(|in_force| in_force.destinations.values().map(|form| &form.spec));
    let destination_specs = destinations.iter().map(|it| &it.spec).chain(forms).collect::<Vec<_>>();
    let container_specs = std::iter::once(&container.spec).chain(in_force.map(|in_force| &in_force.container.spec));
    let container_specs = container_specs.collect::<Vec<_>>();

    let secrets = secret_keys(&container_specs, &destination_specs);
    watches.secrets.set_references(name, secrets.keys().cloned().collect());
    let api = Api::<Secret>::namespaced(client.clone(), &name.namespace);
    fetch(
        &api,
        "Secret",
        &watches.secrets,
        name,
        &secrets,
        &mut data.secrets,
        read_secret,
    )
    .await?;

    let config_maps = config_map_keys(&container_specs);
    watches
        .config_maps
        .set_references(name, config_maps.keys().cloned().collect());
    let api = Api::<ConfigMap>::namespaced(client.clone(), &name.namespace);
    let known = &watches.config_maps;
    fetch(
        &api,
        "ConfigMap",
        known,
        name,
        &config_maps,
        &mut data.config_maps,
        read_config_map,
    )
    .await?;

    let hostnames = container.spec.hostnames.iter();
    let rivals = hostnames
        .filter_map(|host| Some((host.clone(), watches.own.hostnames.rival(name, host)?)))
        .collect();
    Ok(Gathered {
        destinations,
        secrets: data
            .secrets
            .iter()
            .map(|(name, it)| (name.clone(), it.data.clone()))
            .collect(),
        config_maps: data
            .config_maps
            .iter()
            .map(|(name, it)| (name.clone(), it.data.clone()))
            .collect(),
        rivals,
        container,
    })
}

/// What is forgotten with a container.
pub fn forget(watches: &Watches, name: &NamespacedName) {
    watches.secrets.set_references(name, BTreeSet::new());
    watches.config_maps.set_references(name, BTreeSet::new());
}

fn secret_keys(containers: &[&TaggingContainerSpec], destinations: &[&DestinationSpec]) -> Keys {
    let of_containers = containers.iter().flat_map(|spec| spec.secrets());
    let of_destinations = destinations
        .iter()
        .filter_map(|spec| spec.vendor())
        .flat_map(|vendor| vendor.secrets());
    let mut keys = Keys::new();
    for (_, SecretKeyRef { name, key }) in of_containers.chain(of_destinations) {
        keys.entry(name.clone()).or_default().insert(key.clone());
    }
    keys
}

fn config_map_keys(containers: &[&TaggingContainerSpec]) -> Keys {
    let mut keys = Keys::new();
    for table in containers.iter().flat_map(|spec| &spec.lookup_tables) {
        let reference = &table.config_map_ref;
        keys.entry(reference.name.clone())
            .or_default()
            .insert(reference.key.clone());
    }
    keys
}

/// Brings `fetched` up to date: exactly the objects that are wanted and exist.
async fn fetch<K, T>(
    api: &Api<K>,
    kind: &'static str,
    known: &Referenced,
    container: &NamespacedName,
    wanted: &Keys,
    fetched: &mut BTreeMap<String, Fetched<T>>,
    read: fn(&K, &BTreeSet<String>) -> T,
) -> Result<(), DereferenceError>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    T: Default,
{
    fetched.retain(|name, _| wanted.contains_key(name));
    for (name, keys) in wanted {
        let failed = |source| DereferenceError {
            kind,
            name: name.clone(),
            source: Box::new(source),
        };
        let object = NamespacedName::new(&container.namespace, name);
        if known.get(&object) == Known::Nothing {
            let meta = api.get_metadata_opt(name).await.map_err(failed)?;
            known.learn(
                &object,
                meta.map_or(Known::Absent, |meta| Known::Present(Meta::of(&meta))),
            );
        }
        let Known::Present(meta) = known.get(&object) else {
            fetched.remove(name);
            continue;
        };
        if fetched
            .get(name)
            .is_some_and(|had| had.meta == meta && had.wanted == *keys)
        {
            continue;
        }
        let data = match kind == "Secret" && !meta.is_shared {
            // It exists, and that is all that is to be known of it.
            true => T::default(),
            false => match api.get_opt(name).await.map_err(failed)? {
                Some(found) => read(&found, keys),
                None => {
                    fetched.remove(name);
                    continue;
                }
            },
        };
        let wanted = keys.clone();
        fetched.insert(name.clone(), Fetched { meta, wanted, data });
    }
    Ok(())
}

fn read_secret(secret: &Secret, wanted: &BTreeSet<String>) -> FoundSecret {
    let data = secret.data.clone().unwrap_or_default();
    FoundSecret {
        // It may have lost the label since its metadata was seen.
        is_shared: Meta::of(secret).is_shared,
        keys: data.keys().cloned().collect(),
        values: match Meta::of(secret).is_shared {
            true => data.into_iter().filter(|(key, _)| wanted.contains(key)).collect(),
            false => BTreeMap::new(),
        },
    }
}

fn read_config_map(map: &ConfigMap, wanted: &BTreeSet<String>) -> BTreeMap<String, String> {
    let data = map.data.clone().unwrap_or_default();
    data.into_iter().filter(|(key, _)| wanted.contains(key)).collect()
}
