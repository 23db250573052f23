//! From a container's spec to the settings of the pipeline's steps.

use std::{path::PathBuf, sync::Arc};

use tagfleet_crds::{
    TaggingContainerSpec,
    tagging_container::{Bots, Geo, IpAddress},
};

use crate::pipeline::{
    bots::BotPolicy,
    geo::{Database, GeoSource, Origin, PlaceHeaders},
    policies::Policies,
    privacy::IpAddressPolicy,
};

/// Compiles what validation has let pass. `previous` is what was in force before: a database of places that is the same in
/// both is loaded already.
#[must_use]
pub fn compile(spec: &TaggingContainerSpec, previous: Option<&Policies>) -> Policies {
    let privacy = spec.effective_privacy();
    let enrich = spec.enrich.clone().unwrap_or_default();
    Policies {
        bots: match privacy.bots {
            Bots::Keep => BotPolicy::Keep,
            Bots::Mark => BotPolicy::Mark,
            Bots::Drop => BotPolicy::Drop,
        },
        geo: enrich.geo.as_ref().and_then(|geo| geo_source(geo, previous)),
        device: enrich.device,
        ip_address: match privacy.ip_address {
            IpAddress::Keep => IpAddressPolicy::Keep,
            IpAddress::Truncate => IpAddressPolicy::Truncate,
            IpAddress::Remove => IpAddressPolicy::Remove,
        },
        ..Policies::default()
    }
}

fn geo_source(geo: &Geo, previous: Option<&Policies>) -> Option<Arc<GeoSource>> {
    if let Some(headers) = &geo.headers {
        let name = |name: &String| name.parse().ok();
        return Some(Arc::new(GeoSource::Headers(PlaceHeaders {
            country: name(&headers.country)?,
            region: headers.region.as_ref().and_then(name),
            city: headers.city.as_ref().and_then(name),
        })));
    }
    let origin = match (&geo.file, &geo.url) {
        (Some(file), _) => Origin::File(PathBuf::from(file)),
        (None, Some(url)) => Origin::Url {
            url: url.parse().ok()?,
            refresh: geo.effective_refresh_interval().into(),
        },
        (None, None) => return None,
    };
    let loaded = previous.and_then(|previous| previous.geo.as_ref());
    let same =
        loaded.filter(|loaded| matches!(&***loaded, GeoSource::Database(database) if *database.origin() == origin));
    let source = same.cloned();
    Some(source.unwrap_or_else(|| Arc::new(GeoSource::Database(Database::new(origin)))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn compiled(spec: Value, previous: Option<&Policies>) -> Policies {
        compile(&serde_json::from_value(spec).unwrap(), previous)
    }

    #[test]
    fn bots_are_marked_unless_the_container_says_otherwise() {
        assert_eq!(compiled(json!({}), None).bots, BotPolicy::Mark);
        assert_eq!(compiled(json!({"privacy": {}}), None).bots, BotPolicy::Mark);
        assert_eq!(
            compiled(json!({"privacy": {"bots": "Keep"}}), None).bots,
            BotPolicy::Keep
        );
        assert_eq!(
            compiled(json!({"privacy": {"bots": "Drop"}}), None).bots,
            BotPolicy::Drop
        );
    }

    #[test]
    fn a_database_that_did_not_change_stays_loaded() {
        let with = |path: &str, previous| compiled(json!({"enrich": {"geo": {"file": path}}}), previous);
        let first = with("/geo/city.mmdb", None);
        let again = with("/geo/city.mmdb", Some(&first));
        let other = with("/geo/country.mmdb", Some(&first));
        let geo = |policies: &Policies| policies.geo.clone().unwrap();
        assert!(Arc::ptr_eq(&geo(&first), &geo(&again)));
        assert!(!Arc::ptr_eq(&geo(&first), &geo(&other)));
        assert!(compiled(json!({}), Some(&first)).geo.is_none());
    }
}
