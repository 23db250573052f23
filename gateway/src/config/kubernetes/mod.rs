//! The Kubernetes source: the container of a name, and the Destinations of its namespace that refer to it, from the API
//! server, laid over the manifests that the operator mounts.
//!
//! [`store`] keeps what two watches tell, [`watch`] runs them, [`overlay`] lays the one over the other. What becomes of an
//! object then is the same as with files: the mounted form, which is loaded first, is the last good form of one that is
//! broken at the API server.

pub mod store;
pub mod watch;

use std::collections::BTreeMap;

use super::{
    finding::ObjectRef,
    objects::{Body, Object},
};

/// The container and the Destinations that the API server has.
pub type ClusterObjects = BTreeMap<ObjectRef, Object>;

/// Lays what the API server has over what is mounted. Of Tagfleet's own kinds the API server's set counts: what it has
/// not, is gone. Only a later generation of the very same object wins, since kubelet's way may be open when the way to the
/// API server is not. Other kinds come from the mount alone.
#[must_use]
pub fn overlay(mounted: Vec<Object>, cluster: &ClusterObjects) -> Vec<Object> {
    let mut objects = cluster.clone();
    let mut others = Vec::new();
    for object in mounted {
        match (&object.body, objects.get(&object.reference)) {
            (Body::Data(_), _) => others.push(object),
            (Body::Own(_), Some(known)) if is_later(&object, known) => {
                objects.insert(object.reference.clone(), object);
            }
            (Body::Own(_), _) => {}
        }
    }
    others.extend(objects.into_values());
    others
}

fn is_later(mounted: &Object, known: &Object) -> bool {
    mounted.uid().is_some() && mounted.uid() == known.uid() && mounted.generation() > known.generation()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::objects::{CONTAINER, DESTINATION};

    fn object(kind: &str, name: &str, uid: &str, generation: i64) -> Object {
        let json = serde_json::json!({"metadata": {"name": name, "uid": uid, "generation": generation}});
        Object::from_api(ObjectRef::new(kind, "shop", name), &json)
    }

    fn cluster(objects: &[Object]) -> ClusterObjects {
        let named = objects.iter().map(|object| (object.reference.clone(), object.clone()));
        named.collect()
    }

    fn told(objects: &[Object]) -> Vec<(String, Option<i64>)> {
        let told = objects.iter();
        told.map(|object| (object.reference.to_string(), object.generation()))
            .collect()
    }

    #[test]
    fn the_api_servers_set_counts() {
        let mounted = vec![
            object(CONTAINER, "shop", "a", 1),
            object(DESTINATION, "gone", "b", 1),
            object(DESTINATION, "orders", "c", 1),
        ];
        let cluster = cluster(&[
            object(CONTAINER, "shop", "a", 2),
            object(DESTINATION, "new", "d", 1),
            object(DESTINATION, "orders", "c", 1),
        ]);
        assert_eq!(
            told(&overlay(mounted, &cluster)),
            [
                ("Destination/new".to_owned(), Some(1)),
                ("Destination/orders".to_owned(), Some(1)),
                ("TaggingContainer/shop".to_owned(), Some(2)),
            ]
        );
    }

    #[test]
    fn a_later_generation_of_the_same_object_that_is_mounted_wins() {
        let cluster = cluster(&[
            object(DESTINATION, "orders", "c", 2),
            object(DESTINATION, "again", "new", 1),
        ]);
        let mounted = vec![
            object(DESTINATION, "orders", "c", 3),
            object(DESTINATION, "again", "old", 7),
        ];
        assert_eq!(
            told(&overlay(mounted, &cluster)),
            [
                ("Destination/again".to_owned(), Some(1)),
                ("Destination/orders".to_owned(), Some(3)),
            ]
        );
    }

    #[test]
    fn config_maps_come_from_the_mount() {
        let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stock, namespace: shop}\n";
        let mounted = crate::config::objects::read(&"config-map-stock.yaml".into(), manifest.as_bytes()).objects;
        assert_eq!(
            told(&overlay(mounted, &cluster(&[]))),
            [("ConfigMap/stock".to_owned(), None)]
        );
    }
}
