//! The GA4 client: `/g/collect` as gtag.js and GTM send it (vendors/ga4-collect.md).

mod client_hints;
mod hit;
mod items;
mod parameters;

use std::borrow::Cow;

use self::hit::{Hit, Invalid};
pub(crate) use self::parameters::{Kind, Parameter};
use super::{Claim, HitRequest, Refusal, complete::Sender, query};

/// What one request may hold in all, the URL's parameters counted once for every event of the batch; a batch of 25 with
/// 100 parameters each is a fifth of it. It bounds what a small body can make the gateway build.
const MAX_FIELDS_PER_REQUEST: usize = 20_000;

/// The fields that the gateway adds to an event, for [`MAX_FIELDS_PER_REQUEST`].
const ADDED_FIELDS: usize = 16;

/// What a GA4 client accepts.
#[derive(Clone, Debug, Default)]
pub struct Ga4 {
    /// The measurement ids (`tid`); empty: any.
    pub measurement_ids: Vec<String>,
}

impl Ga4 {
    /// The protocol's paths: `/g/collect`, and `/g/s/collect` for its companion without cookies.
    pub const PATHS: [&'static str; 2] = ["/g/collect", "/g/s/collect"];

    /// Whether the path is one of the protocol.
    #[must_use]
    pub fn owns(path: &str) -> bool {
        Self::PATHS.contains(&path)
    }

    /// Turns a hit into events: one from the query, or one from each line of the body over the query's parameters.
    ///
    /// # Errors
    /// 405 for other methods than GET and POST; 400 when no event is left, with what is wrong with the first; 403 when the
    /// first is for a measurement id that this container does not serve.
    pub fn claim<'r>(&self, request: &HitRequest<'r>) -> Result<Claim<'r>, Refusal> {
        let body = match *request.method {
            http::Method::GET => &[],
            http::Method::POST => request.body,
            _ => return Err(Refusal::MethodNotAllowed("send GA4 hits by GET or POST".into())),
        };
        let mut shared = Hit::new();
        shared.read(request.query)?;
        let sender = Sender::of(request);
        let mut claim = match std::str::from_utf8(body) {
            Ok(lines) => self.claim_lines(shared, lines, &sender)?,
            Err(_) => self
                .claim_lines(shared, &String::from_utf8_lossy(body), &sender)?
                .into_owned(),
        };
        claim.cookies = sender.cookies;
        Ok(claim)
    }

    fn claim_lines<'r>(&self, mut shared: Hit<'r>, body: &'r str, sender: &Sender<'r>) -> Result<Claim<'r>, Refusal> {
        let mut lines = body
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
            .filter(|line| !line.is_empty());
        let Some(mut line) = lines.next() else {
            let mut claim = Claim::default();
            self.claim_event(shared, sender, &mut claim)?;
            return Ok(claim);
        };
        let mut claim = Claim::default();
        let mut first_refusal = None;
        let mut fields = 0;
        loop {
            fields += shared.parameters() + query::at_most(line) + ADDED_FIELDS;
            if fields > MAX_FIELDS_PER_REQUEST {
                return Err(Refusal::BadRequest(
                    "the batch is too large: more than 20,000 parameters, with those of the URL counted for each event"
                        .into(),
                ));
            }
            let next = lines.next();
            let mut hit = if next.is_some() {
                shared.clone()
            } else {
                std::mem::replace(&mut shared, Hit::new())
            };
            let outcome = hit
                .read(line)
                .map_err(Refusal::from)
                .and_then(|()| self.claim_event(hit, sender, &mut claim));
            if let Err(refusal) = outcome {
                claim.invalid += 1;
                first_refusal.get_or_insert(refusal);
            }
            match next {
                Some(next) => line = next,
                None => break,
            }
        }
        match first_refusal {
            Some(Refusal::BadRequest(reason)) if claim.events.is_empty() => Err(Refusal::NoEvent {
                reason,
                invalid: claim.invalid,
            }),
            Some(refusal) if claim.events.is_empty() => Err(refusal),
            _ => Ok(claim),
        }
    }

    fn claim_event<'r>(&self, hit: Hit<'r>, sender: &Sender<'r>, claim: &mut Claim<'r>) -> Result<(), Refusal> {
        let measurement_id = hit.check()?;
        if !self.measurement_ids.is_empty() && !self.measurement_ids.iter().any(|accepted| accepted == measurement_id) {
            return Err(Refusal::Forbidden(
                "tid is not one of this container's measurement ids".into(),
            ));
        }
        let (renamed, untrusted) = hit.counts();
        claim.events.push(hit.finish(sender)?);
        claim.renamed += renamed;
        claim.untrusted += untrusted;
        Ok(())
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::BadRequest(Cow::Owned(invalid.to_string()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use http::{HeaderMap, Method};
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn claim<'r>(
        method: &'r Method,
        query: &'r str,
        headers: &'r HeaderMap,
        body: &'r [u8],
    ) -> Result<Claim<'r>, Refusal> {
        Ga4::default().claim(&HitRequest {
            method,
            query,
            body,
            received_ms: 1_768_476_420_055,
            ..crate::testing::request(headers)
        })
    }

    /// The names of parameters: of every family, known and unknown. `v`, `tid` and `en` are set beside them; `_uip` is the
    /// one that is dropped.
    fn names() -> impl Strategy<Value = String> {
        prop_oneof![
            (0..parameters::Parameter::ALL.len()).prop_map(|at| parameters::Parameter::ALL[at].wire().to_owned()),
            "(ep|epn|up|upn|sst)\\.[a-z]{1,3}",
            "ep\\.user_data\\.(address\\.)?[a-z]{1,3}",
            "(ep|up)\\.\\PC{1,5}",
            "_[a-z]{1,3}",
            "[a-z]{1,3}",
            "pr[0-9]{1,3}",
        ]
        .prop_filter("set beside", |name| {
            !matches!(name.as_str(), "v" | "tid" | "en" | "_uip")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Given parameters of any names: the value of each is somewhere in the event.
        #[test]
        fn nothing_is_lost(names in prop::collection::btree_set(names(), 0..60)) {
            // `ep.a` and `epn.a` are one field; the families are told apart so that each value has its own.
            let mut fields = std::collections::BTreeSet::new();
            let names: Vec<_> = names
                .into_iter()
                .filter(|name| fields.insert(name.replacen("epn.", "ep.", 1).replacen("upn.", "up.", 1)))
                .collect();
            let value = |at: usize| format!("id{at}value");
            let query: Vec<String> = names
                .iter()
                .enumerate()
                .map(|(at, name)| format!("{}={}", utf8_percent_encode(name, NON_ALPHANUMERIC), value(at)))
                .collect();
            let query = format!("v=2&tid=G-TEST1&en=a&{}", query.join("&"));
            let headers = HeaderMap::new();
            let claim = claim(&Method::GET, &query, &headers, &[]).unwrap();
            prop_assert_eq!(claim.events.len(), 1);
            let event = serde_json::to_string(&claim.events[0].event).unwrap();
            for (at, name) in names.iter().enumerate() {
                // An item's value has lost its two-letter key `id`.
                let value = value(at);
                prop_assert!(event.contains(value.trim_start_matches("id")), "{} in {}", name, event);
            }
        }

        /// Given any bytes: an answer, and every event of it is whole.
        #[test]
        fn any_bytes_are_survived(
            query in "[a-z0-9=&%+._~\\[\\]é-]{0,200}",
            body in prop::collection::vec(prop_oneof![
                Just(b'\n'), Just(b'&'), Just(b'='), Just(b'%'), Just(b'~'), Just(b'.'), 97_u8..123, any::<u8>()
            ], 0..300),
        ) {
            let query = format!("v=2&tid=G-TEST1&en=a&{query}");
            let headers = HeaderMap::new();
            if let Ok(claim) = claim(&Method::POST, &query, &headers, &body) {
                for claimed in &claim.events {
                    prop_assert!(!claimed.event.name().is_empty());
                    prop_assert!(claimed.event.text("event_id").is_some_and(|id| !id.is_empty()));
                    prop_assert_eq!(claimed.event.timestamp_ms(), Some(1_768_476_420_055));
                    let names: std::collections::BTreeSet<_> = claimed.event.fields().iter().map(|(name, _)| name).collect();
                    prop_assert_eq!(names.len(), claimed.event.fields().len());
                }
            }
        }
    }
}
