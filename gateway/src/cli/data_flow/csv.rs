//! The record as CSV (RFC 4180).

use std::io::{self, Write};

use csv::{Terminator, WriterBuilder};

use super::words::{Recipient, form, parameter, recipients};
use crate::config::data_flow::Described;

const HEADER: [&str; 16] = [
    "namespace",
    "container",
    "destination",
    "recipient",
    "host",
    "purpose",
    "events",
    "condition",
    "required_consent",
    "without_consent",
    "visitors_percent",
    "waits_at_most",
    "parameter",
    "classes",
    "form",
    "note",
];

pub(super) fn print(described: &[Described], out: &mut dyn Write) -> io::Result<()> {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out);
    writer.write_record(HEADER)?;
    for container in described {
        for recipient in recipients(container) {
            write(container, &recipient, &mut writer)?;
        }
    }
    writer.flush()
}

fn write(container: &Described, recipient: &Recipient<'_>, writer: &mut csv::Writer<&mut dyn Write>) -> io::Result<()> {
    let (host, events) = (recipient.vendor.host(), recipient.events());
    let required = recipient.required().join(" ");
    let percent = recipient.spec.effective_sample_percent().to_string();
    let max_age = recipient.max_age().to_string();
    for row in &recipient.rows {
        writer.write_record([
            container.namespace.as_str(),
            &container.name,
            recipient.name,
            recipient.vendor.title(),
            &host,
            recipient.purpose(),
            &events,
            recipient.condition(),
            &required,
            recipient.on_denied(),
            &percent,
            &max_age,
            parameter(row),
            &row.classes.join(" "),
            form(row.treatment),
            &row.note,
        ])?;
    }
    Ok(())
}
