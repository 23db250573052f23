//! What the server adds to events: where places come from.

use super::{Report, Setting, network};
use crate::{FieldPath, TaggingContainerSpec, conditions::reasons, tagging_container::Geo};

/// Checks `enrich`.
pub(super) fn check(spec: &TaggingContainerSpec, setting: Setting, report: &mut Report) {
    let Some(geo) = spec.enrich.as_ref().and_then(|enrich| enrich.geo.as_ref()) else {
        return;
    };
    let at = FieldPath::spec().fields(&["enrich", "geo"]);
    let sources = [geo.file.is_some(), geo.url.is_some(), geo.headers.is_some()];
    if sources.into_iter().filter(|is_set| *is_set).count() != 1 {
        let message = "set exactly one source of geo: file, url, headers";
        report.error(at, reasons::INVALID, message);
        return;
    }
    if let Some(url) = &geo.url {
        network::url(url, at.field("url"), report);
    }
    no_effect(spec, geo, setting, &at, report);
}

fn no_effect(spec: &TaggingContainerSpec, geo: &Geo, setting: Setting, at: &FieldPath, report: &mut Report) {
    if geo.file.is_some() && setting == Setting::Cluster {
        let message = "no volume can be mounted in a gateway's pod, so the file is not there: use url or headers";
        report.warning(at.field("file"), reasons::NO_EFFECT, message);
    }
    if geo.refresh_interval.is_some() && geo.url.is_none() {
        let message = "is for url: a file is read again when it changes, headers come with each hit";
        report.warning(at.field("refreshInterval"), reasons::NO_EFFECT, message);
    }
    if geo.headers.is_some() && spec.trusted_proxies.as_ref().is_some_and(Vec::is_empty) {
        let message = "are believed from trusted proxies alone, and trustedProxies is empty";
        report.warning(at.field("headers"), reasons::NO_EFFECT, message);
    }
}
