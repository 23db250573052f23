//! The GA4 client: `/g/collect` as gtag.js and GTM send it (vendors/ga4-collect.md).

mod client_hints;
mod hit;
mod items;
mod parameters;

use std::borrow::Cow;

use self::hit::{Hit, Invalid};
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
    /// Whether the path is one of the protocol: `/g/collect`, and `/g/s/collect` for its companion without cookies.
    #[must_use]
    pub fn owns(path: &str) -> bool {
        matches!(path, "/g/collect" | "/g/s/collect")
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
        match std::str::from_utf8(body) {
            Ok(lines) => self.claim_lines(shared, lines, &sender),
            Err(_) => self
                .claim_lines(shared, &String::from_utf8_lossy(body), &sender)
                .map(Claim::into_owned),
        }
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
