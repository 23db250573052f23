//! The record for people: plain words, a stable order.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use tagfleet_crds::{
    TaggingContainerSpec,
    data_flow::{Row, Treatment, classes, transformations_for},
    tagging_container::{Bots, BufferKind, ClientKind, IpAddress, Transformation, TransformationKind},
};

use super::words::{Recipient, form, parameter, recipients};
use crate::config::data_flow::Described;

/// The longest line.
const WIDTH: usize = 100;
/// Where the text of a labelled line begins.
const LABEL: usize = 15;

pub(super) fn print(described: &[Described], out: &mut dyn Write) -> io::Result<()> {
    for (index, container) in described.iter().enumerate() {
        if index > 0 {
            writeln!(out, "\n")?;
        }
        print_container(container, out)?;
    }
    if described.is_empty() {
        writeln!(
            out,
            "There is no TaggingContainer in these files, so nothing is taken in or sent."
        )?;
    }
    Ok(())
}

fn print_container(container: &Described, out: &mut dyn Write) -> io::Result<()> {
    let spec = &container.spec;
    writeln!(out, "RECORD OF PROCESSING ACTIVITIES (GDPR, Article 30)")?;
    writeln!(
        out,
        "Tagging server {} (namespace {})",
        container.name, container.namespace
    )?;
    section("1. Where the data comes from", out)?;
    if !spec.hostnames.is_empty() {
        labelled("Hostnames", &spec.hostnames.join(", "), out)?;
    }
    for client in &spec.clients {
        labelled(&client.name, &client.kind().map(source).unwrap_or_default(), out)?;
    }
    section("2. What is done before anything is stored", out)?;
    before_storage(spec, out)?;
    section("3. Who receives what", out)?;
    let forms = "Hashed means the SHA-256 of the value: still personal data, as whoever has the value recognises it (GDPR, \
                 Article 4(5)). Truncated means what section 2 says of the IP address.";
    paragraph("", "", forms, out)?;
    writeln!(out)?;
    let recipients: Vec<Recipient<'_>> = recipients(container).collect();
    if recipients.is_empty() {
        writeln!(out, "Nobody: no Destination in these files refers to this server.")?;
    }
    for (index, recipient) in recipients.iter().enumerate() {
        writeln!(
            out,
            "{}3.{} {}",
            if index > 0 { "\n" } else { "" },
            index + 1,
            recipient.name
        )?;
        print_recipient(spec, recipient, out)?;
    }
    section("4. What is stored here, where and how long", out)?;
    storage(spec, &recipients, out)?;
    section("5. What this record cannot say", out)?;
    for line in [
        "Who the recipients are in law (controller, joint controller or processor), by which contract and on which legal \
         basis they receive the data, and how long they keep it.",
        "Whether a recipient processes it in a third country, and under which safeguards (GDPR, Chapter V): the hosts \
         above say where it is sent, not where it stays.",
        "What people put into addresses of pages, into custom parameters and into texts: the classes of this record go by \
         the names of parameters.",
    ] {
        paragraph("- ", "  ", line, out)?;
    }
    Ok(())
}

fn source(kind: ClientKind<'_>) -> String {
    match kind {
        ClientKind::Ga4(ga4) if ga4.measurement_ids.is_empty() => "Google's tag in browsers (/g/collect)".to_owned(),
        ClientKind::Ga4(ga4) => format!(
            "Google's tag in browsers (/g/collect), {}",
            ga4.measurement_ids.join(", ")
        ),
        ClientKind::MeasurementProtocol(client) => {
            let who = if client.api_secret.is_some() {
                "with a secret"
            } else {
                "of anyone"
            };
            format!("hits of servers and apps (/mp/collect), {who}")
        }
        ClientKind::Json(json) => {
            let who = if json.auth.is_some() { "with a key" } else { "of anyone" };
            format!("events as JSON ({}), {who}", json.path)
        }
        ClientKind::Pixel(pixel) => format!("an image in pages and mails ({})", pixel.effective_path()),
        ClientKind::Scripts(_) => "Google's scripts, handed on to browsers; no events".to_owned(),
    }
}

fn before_storage(spec: &TaggingContainerSpec, out: &mut dyn Write) -> io::Result<()> {
    let privacy = spec.effective_privacy();
    let address = match privacy.ip_address {
        IpAddress::Keep => "kept as it is",
        IpAddress::Truncate => "truncated: IPv4 to its first 24 bits, IPv6 to its first 48",
        IpAddress::Remove => "removed",
    };
    labelled("IP address", address, out)?;
    let bots = match privacy.bots {
        Bots::Keep => "taken like people's",
        Bots::Mark => "taken and marked",
        Bots::Drop => "dropped",
    };
    labelled("Hits of bots", bots, out)?;
    labelled("Consent", &consent(spec), out)?;
    if let Some(cookie) = spec.identity.as_ref().and_then(|identity| identity.cookie.as_ref()) {
        let text = format!(
            "{} is set to know a visitor again, for {} days",
            cookie.name, cookie.max_age_days
        );
        labelled("Cookie", &text, out)?;
    }
    if spec.identity.as_ref().is_some_and(|identity| identity.click_ids) {
        labelled(
            "Cookies",
            "of advertising vendors are set and prolonged, with the consent that they need",
            out,
        )?;
    }
    let for_all = spec
        .transformations
        .iter()
        .filter(|change| change.destinations.is_none());
    changes("Changes", for_all, out)?;
    for class in classes(&privacy) {
        if privacy.classes.iter().any(|own| own.name == class.name) {
            labelled(
                "Class",
                &format!("{}: {}", class.name, class.parameters.join(", ")),
                out,
            )?;
        }
    }
    Ok(())
}

/// The consent that counts where a hit says none.
fn consent(spec: &TaggingContainerSpec) -> String {
    let default = spec.consent_default();
    let signals = [
        ("ad_storage", default.ad_storage),
        ("analytics_storage", default.analytics_storage),
        ("ad_user_data", default.ad_user_data),
        ("ad_personalization", default.ad_personalization),
    ];
    let words = signals.iter().map(|(name, state)| match state {
        Some(tagfleet_crds::tagging_container::ConsentState::Granted) => format!("{name} granted"),
        Some(tagfleet_crds::tagging_container::ConsentState::Denied) => format!("{name} denied"),
        None => format!("{name} unknown"),
    });
    let words = words.collect::<Vec<_>>().join(", ");
    let regions = spec.consent.iter().any(|consent| !consent.regions.is_empty());
    let regions = if regions {
        "; other rules hold for some regions"
    } else {
        ""
    };
    format!("as the hit says it; where it says nothing: {words}{regions}")
}

fn print_recipient(spec: &TaggingContainerSpec, recipient: &Recipient<'_>, out: &mut dyn Write) -> io::Result<()> {
    let to = format!("{}, {}", recipient.vendor.title(), recipient.vendor.host());
    labelled("  Recipient", &to, out)?;
    labelled("  Purpose", recipient.purpose(), out)?;
    let events = match recipient.condition() {
        "" => recipient.events(),
        condition => format!("{}, when {condition}", recipient.events()),
    };
    labelled("  Events", &events, out)?;
    let required = recipient.required();
    let consent = match (required.is_empty(), recipient.on_denied()) {
        (true, "") => "none required".to_owned(),
        (true, denied) => format!("none required; {denied}"),
        (false, denied) => format!("{} granted, {denied}", required.join(" and ")),
    };
    labelled("  Consent", &consent, out)?;
    let percent = recipient.spec.effective_sample_percent();
    if percent < 100.0 {
        labelled("  Visitors", &format!("{percent} %"), out)?;
    }
    if recipient.spec.paused {
        labelled("  Paused", "nothing is sent at the time; events wait", out)?;
    }
    if let Some(receives) = &recipient.spec.receives {
        let may = if receives.is_empty() {
            "none"
        } else {
            &receives.join(", ")
        };
        labelled(
            "  May receive",
            &format!("parameters without a class, and of these classes: {may}"),
            out,
        )?;
    }
    let own = transformations_for(spec, recipient.name).filter(|change| change.destinations.is_some());
    changes("  Changes", own, out)?;
    parameters(&recipient.rows, out)
}

/// The parameters by class, and of each class by what becomes of them.
fn parameters(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    let mut by_class: BTreeMap<(bool, String), BTreeMap<Treatment, Vec<String>>> = BTreeMap::new();
    for row in rows {
        let class = row.classes.join(", ");
        let name = match row.note.as_str() {
            "" => parameter(row).to_owned(),
            note => format!("{} ({note})", parameter(row)),
        };
        let of_class = by_class.entry((class.is_empty(), class)).or_default();
        of_class.entry(row.treatment).or_default().push(name);
    }
    for ((_, class), treatments) in by_class {
        match class.as_str() {
            "" => writeln!(out, "  Other parameters")?,
            "personal" => writeln!(out, "  Personal data (class personal)")?,
            class => writeln!(out, "  Class {class}")?,
        }
        for (treatment, names) in treatments {
            labelled(&format!("    {}", form(treatment)), &names.join(", "), out)?;
        }
    }
    Ok(())
}

fn changes<'t>(label: &str, changes: impl Iterator<Item = &'t Transformation>, out: &mut dyn Write) -> io::Result<()> {
    let mut label = label;
    for change in changes {
        labelled(label, &in_words(change), out)?;
        label = "";
    }
    Ok(())
}

/// A transformation: what it does, to what, and when.
fn in_words(change: &Transformation) -> String {
    let done = match change.kind() {
        Some(TransformationKind::Allow(names)) => format!("only {} go on", names.join(", ")),
        Some(TransformationKind::Exclude(names)) => format!("{} removed", names.join(", ")),
        Some(TransformationKind::Hash(names)) => format!("{} hashed", names.join(", ")),
        Some(TransformationKind::Augment(set)) => {
            let set = set
                .iter()
                .map(|(name, expression)| format!("{name} set to {expression}"));
            set.collect::<Vec<_>>().join(", ")
        }
        Some(TransformationKind::Redact(redact)) => {
            let patterns = redact.patterns.iter().map(|pattern| format!("{pattern:?}"));
            let queries = redact
                .query_parameters
                .iter()
                .map(|name| format!("query parameter {name}"));
            let what: Vec<String> = patterns.chain(queries).collect();
            let place = redact
                .parameters
                .as_ref()
                .map_or_else(|| "all texts".to_owned(), |names| names.join(", "));
            format!("in {place} blacked out: {}", what.join(", "))
        }
        None => "nothing".to_owned(),
    };
    match &change.when {
        Some(when) => format!("{}: {done}, only when {when}", change.name),
        None => format!("{}: {done}", change.name),
    }
}

fn storage(spec: &TaggingContainerSpec, recipients: &[Recipient<'_>], out: &mut dyn Write) -> io::Result<()> {
    let buffer = spec.effective_buffer();
    let place = match buffer.kind() {
        Some(BufferKind::Memory(memory)) => format!("in memory, up to {}; gone with the process", memory.max_bytes),
        Some(BufferKind::Disk(disk)) if disk.volume.is_some() => {
            format!("on a persistent volume of each server, up to {}", disk.max_bytes)
        }
        Some(BufferKind::Disk(disk)) => format!("on the disk of each server, up to {}", disk.max_bytes),
        Some(BufferKind::JetStream(stream)) => format!(
            "in a NATS JetStream of {} copies, up to {} and {}",
            stream.effective_replicas(),
            stream.effective_max_bytes(),
            stream.effective_max_age()
        ),
        None => "in a buffer that is not configured rightly".to_owned(),
    };
    labelled("Buffer", &format!("events wait for their recipients {place}"), out)?;
    for recipient in recipients {
        let text = format!("until sent, at most {}; then in the dead letters", recipient.max_age());
        labelled(&format!("  {}", recipient.name), &text, out)?;
    }
    let text = format!(
        "events that a recipient refused, or that became too old: beside the buffer, up to {} for all recipients together, \
         until somebody replays or purges them; when there is no room, events that would be added are dropped",
        buffer.effective_dead_letters().max_bytes
    );
    labelled("Dead letters", &text, out)?;
    if let Some(hold) = spec.consent.as_ref().and_then(|consent| consent.hold.as_ref()) {
        let text = format!(
            "events of visitors who have not decided yet: in memory, at most {} and {} events of each server",
            hold.max_age, hold.max_events
        );
        labelled("Held back", &text, out)?;
    }
    if let Some(deduplication) = &spec.deduplication {
        let text = format!(
            "to drop repeats: a digest of name, id and visitor of each event, no content, for {}, at most {} of them",
            deduplication.window, deduplication.max_entries
        );
        labelled("Repeats", &text, out)?;
    }
    labelled(
        "Erasure",
        "tagfleet-gateway erase --client-id ID or --user-id ID, for each server",
        out,
    )
}

fn section(title: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{title}")
}

/// A label and a text beside it, wrapped.
fn labelled(label: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    let first = format!("{label:<LABEL$} ");
    paragraph(&first, &" ".repeat(LABEL + 1), text, out)
}

/// A text in lines, the first behind `first` and the others behind `rest`.
fn paragraph(first: &str, rest: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut line = first.to_owned();
    let mut is_begun = false;
    for word in text.split_whitespace() {
        if is_begun && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{}", line.trim_end())?;
            rest.clone_into(&mut line);
            is_begun = false;
        }
        if is_begun {
            line.push(' ');
        }
        line.push_str(word);
        is_begun = true;
    }
    writeln!(out, "{}", line.trim_end())
}
