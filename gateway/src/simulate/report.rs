//! A simulation as text.

use std::fmt::{self, Display, Formatter};

use serde_json::Value as Json;

use super::{SimulatedDestination, SimulatedEvent, SimulatedHit, changes::Change};
use crate::pipeline::consent::Source;

impl Display for SimulatedHit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.request, self.status)?;
        if let Some(client) = &self.client {
            write!(f, ", client {client}")?;
        }
        match &self.refusal {
            Some(refusal) => writeln!(f, ", refused: {refusal}")?,
            None => writeln!(f)?,
        }
        if self.invalid > 0 {
            writeln!(f, "  {} of its events cannot be used", self.invalid)?;
        }
        self.events.iter().try_for_each(|event| write!(f, "{event}"))
    }
}

impl Display for SimulatedEvent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "  event {}", self.event_name)?;
        for step in &self.steps {
            writeln!(f, "    {}", step.step)?;
            write_changes(f, "      ", &step.changes)?;
        }
        if let Some(reason) = self.dropped {
            return writeln!(f, "    dropped: {reason}");
        }
        writeln!(f, "    consent")?;
        for (signal, state) in &self.consent {
            match self.consent_sources.get(signal) {
                Some(source) if *source != Source::Nobody.as_str() => {
                    writeln!(f, "      {signal} {state} by {source}")?;
                }
                _ => writeln!(f, "      {signal} {state}")?,
            }
        }
        for error in &self.expression_errors {
            writeln!(f, "    expression failed: {error}")?;
        }
        self.destinations
            .iter()
            .try_for_each(|destination| write!(f, "{destination}"))
    }
}

impl Display for SimulatedDestination {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let verdict = if self.fires { "sent" } else { "not sent" };
        writeln!(f, "    {}: {verdict}: {}", self.name, self.reason)?;
        write_changes(f, "      ", &self.changes)?;
        if let Some(reason) = &self.refused {
            writeln!(f, "      becomes a dead letter: {reason}")?;
        }
        for request in &self.requests {
            writeln!(f, "      {} {}", request.method, request.url)?;
            for (name, value) in &request.headers {
                writeln!(f, "      {name}: {value}")?;
            }
            write_body(f, &request.body)?;
        }
        Ok(())
    }
}

fn write_changes(f: &mut Formatter<'_>, indent: &str, changes: &[Change]) -> fmt::Result {
    for Change { path, before, after } in changes {
        match (before, after) {
            (Some(before), Some(after)) => writeln!(f, "{indent}~ {path}: {before} -> {after}")?,
            (Some(before), None) => writeln!(f, "{indent}- {path}: {before}")?,
            (None, Some(after)) => writeln!(f, "{indent}+ {path}: {after}")?,
            (None, None) => {}
        }
    }
    Ok(())
}

fn write_body(f: &mut Formatter<'_>, body: &Json) -> fmt::Result {
    let text = match body {
        Json::String(text) => text.clone(),
        json => serde_json::to_string_pretty(json).unwrap_or_default(),
    };
    if text.is_empty() {
        return Ok(());
    }
    writeln!(f)?;
    text.lines().try_for_each(|line| writeln!(f, "      {line}"))
}
