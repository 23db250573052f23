//! What a destination sees of a stored event, by the settings that are in force when it is sent.

use bytes::Bytes;

use crate::{
    log::codec,
    pipeline::{
        anonymize::anonymize,
        consent::admission::{Admission, admit},
    },
    plan::PlannedDestination,
    record::Record,
};

/// Makes of a record what this destination may see. One that is [`Admission::Withheld`] is left as it was and must not be
/// sent: the destination may require more consent than when the event was accepted, and that protects what still waits.
pub(crate) fn prepare_record(form: &PlannedDestination, record: &mut Record<'_>) -> Admission {
    let admission = admit(form, &record.consent);
    if admission == Admission::Anonymized {
        anonymize(record);
    }
    admission
}

/// A stored event as it may be kept for this destination; none if it may not. What cannot be read is kept as it is, for
/// whoever finds out why.
pub(super) fn admitted_payload(form: &PlannedDestination, payload: Bytes) -> Option<Bytes> {
    let Ok(mut record) = codec::decode(&payload) else {
        return Some(payload);
    };
    match prepare_record(form, &mut record) {
        Admission::Whole => {
            drop(record);
            Some(payload)
        }
        Admission::Anonymized => {
            let mut anonymous = Vec::with_capacity(payload.len());
            codec::encode(&record, &mut anonymous);
            Some(anonymous.into())
        }
        Admission::Withheld => None,
    }
}

#[cfg(test)]
mod tests;
