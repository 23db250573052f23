//! What is allowed and hardly meant: transformations that never do anything, and those that take away what something else
//! needs. Only what is certain is told, and all of it as warnings.

use kube::ResourceExt as _;
use tagfleet_expressions::{Expression, STEPS_PER_HIT, SchemaActivation, Steps, Value};

use super::{
    reads::{self, Reader},
    rule::{Rule, in_order, is_within, removed_before},
};
use crate::{
    Destination, FieldPath, TaggingContainer,
    conditions::reasons,
    destination::Vendor,
    tagging_container::TransformationKind,
    validate::{Objects, Report, Scope, namespace},
};

/// A destination of the container, and its expressions.
struct Target<'o> {
    name: String,
    manifest: &'o Destination,
    readers: Vec<Reader>,
}

impl Target<'_> {
    /// The expressions that run on its own view.
    fn sending(&self) -> impl Iterator<Item = &Reader> {
        self.readers.iter().filter(|reader| !reader.is_trigger())
    }
}

pub(super) fn check(container: &TaggingContainer, scope: &Scope, objects: &Objects<'_>, report: &mut Report) {
    let rules = in_order(&container.spec.transformations);
    if rules.is_empty() {
        return;
    }
    let targets = targets(container, scope, objects);
    for (at, rule) in rules.iter().enumerate() {
        never_true(rule, scope, report);
        nothing_left(&rules, at, report);
        hashed_too_early(rule, &targets, report);
        same_id_in_cookies(rule, &rules, report);
        left_in_a_copy(&rules, at, report);
        let set_later = |parameter: &str| {
            let later = rules.iter().skip(at + 1);
            later.filter(|rule| rule.is_for_all()).any(|rule| rule.sets(parameter))
        };
        removed_and_read(rule, &targets, &set_later, report);
        if rule.is_for_all() {
            removed_and_in_variables(rule, &rules, &targets, scope, &set_later, report);
        } else {
            hidden_variables(rule, &targets, scope, report);
        }
    }
    shown_by_the_request(container, &rules, &targets, scope, report);
}

fn targets<'o>(container: &TaggingContainer, scope: &Scope, objects: &Objects<'o>) -> Vec<Target<'o>> {
    let (name, own) = (container.name_any(), namespace(container));
    let refers = |destination: &&&Destination| {
        let references = &destination.spec.container_refs;
        namespace(**destination) == own && references.iter().any(|reference| reference.name == name)
    };
    let destinations = objects.destinations.iter().filter(refers);
    destinations
        .map(|destination| Target {
            name: destination.name_any(),
            manifest: destination,
            readers: reads::of_destination(destination, scope),
        })
        .collect()
}

/// A condition that is false whatever the event.
fn never_true(rule: &Rule<'_>, scope: &Scope, report: &mut Report) {
    let Some(source) = &rule.manifest.when else { return };
    let Ok(when) = Expression::compile(source, &scope.request_environment()) else {
        return;
    };
    let reads_nothing = when
        .event_fields_read()
        .is_some_and(|mut fields| fields.next().is_none())
        && when.variables_read().next().is_none()
        && when.tables_read().next().is_none()
        && !when.reads_request()
        && !source.contains("consent");
    let is_false = || {
        let result = when
            .evaluate(&SchemaActivation(&Value::Null), &mut Steps::new(STEPS_PER_HIT))
            .ok();
        result == Some(Value::Bool(false))
    };
    if reads_nothing && is_false() {
        let message = "is never true: this transformation is never made. Take it out, or mend the condition";
        report.warning(rule.path().field("when"), reasons::NO_EFFECT, message);
    }
}

/// A parameter that an earlier transformation has removed.
fn nothing_left(rules: &[Rule<'_>], at: usize, report: &mut Report) {
    let Some(rule) = rules
        .get(at)
        .filter(|rule| !matches!(rule.kind, TransformationKind::Allow(_)))
    else {
        return;
    };
    for (path, parameter) in rule.parameters() {
        if let Some(before) = removed_before(rules, at, parameter) {
            let message = format!(
                "has no effect: the transformation {} removes {parameter} before. Take it out, or put it before that",
                before.manifest.name
            );
            report.warning(path, reasons::NO_EFFECT, message);
        }
    }
}

/// How a vendor that hashes by itself writes a member of `user_data` in another way than `hash` does: such a hash matches
/// nobody there. E-mail addresses in lower case and numbers with their + are what the others ask for.
fn other_form(vendor: Vendor<'_>, member: &str) -> Option<&'static str> {
    let google = matches!(vendor, Vendor::Ga4(_) | Vendor::GoogleAds(_));
    let digits = matches!(
        vendor,
        Vendor::MetaConversions(_) | Vendor::PinterestConversions(_) | Vendor::SnapchatConversions(_)
    );
    match member {
        "email_address" if google => Some("addresses at gmail.com are hashed without dots and what follows a +"),
        "phone_number" if digits => Some("numbers are hashed without their +"),
        "address" if google => Some("cities, regions and postal codes are not hashed at all"),
        "address" if digits => Some("names and places are hashed without blanks and punctuation"),
        _ => None,
    }
}

fn hashed_too_early(rule: &Rule<'_>, targets: &[Target<'_>], report: &mut Report) {
    if !matches!(rule.kind, TransformationKind::Hash(_)) {
        return;
    }
    for (path, parameter) in rule.parameters() {
        for target in targets.iter().filter(|target| rule.is_for(&target.name)) {
            let Some(vendor) = target.manifest.spec.vendor() else {
                continue;
            };
            let forms = ["email_address", "phone_number", "address"]
                .into_iter()
                .filter(|member| {
                    let whole = format!("user_data.{member}");
                    is_within(&whole, parameter) || is_within(parameter, &whole)
                });
            let forms: Vec<&str> = forms.filter_map(|member| other_form(vendor, member)).collect();
            if !forms.is_empty() {
                let message = format!(
                    "is hashed before {} (Destination/{}) writes it as that vendor wants it: {}. It hashes by itself what it \
                     sends: name the other destinations in `destinations`",
                    vendor.name(),
                    target.name,
                    forms.join("; ")
                );
                report.warning(path.clone(), reasons::NO_EFFECT, message);
            }
        }
    }
}

/// The client id without the cookies that hold it.
fn same_id_in_cookies(rule: &Rule<'_>, rules: &[Rule<'_>], report: &mut Report) {
    if !matches!(rule.kind, TransformationKind::Exclude(_) | TransformationKind::Hash(_)) {
        return;
    }
    let covers_cookies = |other: &Rule<'_>| {
        let same = other.is_for_all() || other.manifest.destinations == rule.manifest.destinations;
        same && other.protects("cookies")
    };
    for (path, parameter) in rule.parameters() {
        if parameter == "client_id" && !rules.iter().any(covers_cookies) {
            let message = "the cookies _ga and FPID hold the client id, too: name `cookies` beside it";
            report.warning(path, reasons::NO_EFFECT, message);
        }
    }
}

/// A parameter that is removed or hashed, and that an earlier transformation has copied as it is. What is computed from one may
/// be what is meant to be left of it.
fn left_in_a_copy(rules: &[Rule<'_>], at: usize, report: &mut Report) {
    let Some((before, [rule, ..])) = rules.split_at_checked(at) else {
        return;
    };
    if !matches!(rule.kind, TransformationKind::Exclude(_) | TransformationKind::Hash(_)) {
        return;
    }
    for (path, parameter) in rule.parameters() {
        for (made, earlier) in before.iter().enumerate().filter(|(_, earlier)| earlier.meets(rule)) {
            let TransformationKind::Augment(augment) = earlier.kind else {
                continue;
            };
            let is_there = removed_before(rules, made, parameter).is_none();
            let copies = augment
                .iter()
                .filter_map(|(name, source)| copied(parameter, name, source));
            for copy in copies.filter(|_| is_there) {
                let behind = rules.iter().skip(made + 1);
                if behind
                    .filter(|other| other.includes(rule))
                    .any(|other| other.takes(&copy))
                {
                    continue;
                }
                let message = format!(
                    "is left in {copy}, a copy that the transformation {} makes before: name {copy} beside it",
                    earlier.manifest.name
                );
                report.warning(path.clone(), reasons::NO_EFFECT, message);
            }
        }
    }
}

/// What of a parameter stands where an `augment` sets `name`, if that does nothing but copy it, what it is in, or a part of it.
fn copied(parameter: &str, name: &str, source: &str) -> Option<String> {
    let is_path = |character: char| character.is_alphanumeric() || matches!(character, '_' | '.');
    let original = source.trim().strip_prefix("event.")?;
    if !original.chars().all(is_path) {
        return None;
    }
    if is_within(original, parameter) {
        return Some(name.to_owned());
    }
    let rest = parameter.strip_prefix(original).filter(|rest| rest.starts_with('.'))?;
    Some(format!("{name}{rest}"))
}

/// A parameter that is removed, and that an expression of a destination reads afterwards.
fn removed_and_read(rule: &Rule<'_>, targets: &[Target<'_>], set_later: &dyn Fn(&str) -> bool, report: &mut Report) {
    for target in targets.iter().filter(|target| rule.is_for(&target.name)) {
        let readers = target
            .readers
            .iter()
            .filter(|reader| rule.is_for_all() || !reader.is_trigger());
        for reader in readers {
            if let Some((path, parameter)) = reads::removed(&reader.expression, rule)
                && !set_later(&parameter)
            {
                let way_out = if rule.is_for_all() {
                    "Name `destinations` to remove it for some only, or read something else there"
                } else {
                    "Read something else there"
                };
                let message = format!(
                    "removes {parameter}, which {} of Destination/{} reads: it is never there. {way_out}",
                    reader.path, target.name
                );
                report.warning(path, reasons::NO_EFFECT, message);
            }
        }
    }
}

/// A parameter that is removed for all, and that a variable reads. One that only transformations read may be meant to be read
/// before.
fn removed_and_in_variables(
    rule: &Rule<'_>,
    rules: &[Rule<'_>],
    targets: &[Target<'_>],
    scope: &Scope,
    set_later: &dyn Fn(&str) -> bool,
    report: &mut Report,
) {
    let readers = targets.iter().flat_map(|target| &target.readers);
    let of_targets = reads::variables(readers.map(|reader| &reader.expression), scope);
    let environment = scope.request_environment();
    let own: Vec<Expression> = rules
        .iter()
        .flat_map(sources)
        .filter_map(|source| Expression::compile(source, &environment).ok())
        .collect();
    let of_transformations = reads::variables(&own, scope);
    for (name, expression) in scope.variables() {
        let is_read_before = of_transformations.contains(name) && !of_targets.contains(name);
        if is_read_before {
            continue;
        }
        if let Some((path, parameter)) = reads::removed(expression, rule)
            && !set_later(&parameter)
        {
            let message = format!(
                "removes {parameter}, which the variable {name} reads: it is never there for triggers and destinations. Name \
                 `destinations` to remove it for some only, or compute the variable from something else"
            );
            report.warning(path, reasons::NO_EFFECT, message);
        }
    }
}

/// The expressions of a transformation as they are written.
fn sources<'t>(rule: &Rule<'t>) -> Vec<&'t str> {
    let augment = match rule.kind {
        TransformationKind::Augment(augment) => Some(augment.values()),
        _ => None,
    };
    let when = rule.manifest.when.iter();
    when.chain(augment.into_iter().flatten()).map(String::as_str).collect()
}

/// A variable that a destination reads when it sends, and that would show what is hidden from it.
fn hidden_variables(rule: &Rule<'_>, targets: &[Target<'_>], scope: &Scope, report: &mut Report) {
    for target in targets.iter().filter(|target| rule.is_for(&target.name)) {
        for reader in target.sending() {
            let read = reads::variables([&reader.expression], scope);
            let shows = |expression: &Expression| {
                let by_event = match expression.event_fields_read() {
                    Some(mut fields) => fields.any(|field| rule.protects(field)),
                    None => rule.is_protection(),
                };
                by_event || rule.is_protection() && reads::request_shows(expression, rule)
            };
            let hidden = scope
                .variables()
                .find(|(name, expression)| read.contains(*name) && shows(expression));
            if let Some((name, _)) = hidden {
                let message = format!(
                    "hides from Destination/{} what vars.{name} is computed from: the variable is null for its {}. Compute what \
                     it may see from something else",
                    target.name, reader.path
                );
                report.warning(rule.path(), reasons::NO_EFFECT, message);
            }
        }
    }
}

/// A variable that destinations read when they send, and that reads of the request what is protected for all.
fn shown_by_the_request(
    container: &TaggingContainer,
    rules: &[Rule<'_>],
    targets: &[Target<'_>],
    scope: &Scope,
    report: &mut Report,
) {
    let sending = targets.iter().flat_map(Target::sending);
    let read = reads::variables(sending.map(|reader| &reader.expression), scope);
    let for_all = rules.iter().filter(|rule| rule.is_for_all() && rule.is_protection());
    for (name, expression) in scope.variables().filter(|(name, _)| read.contains(*name)) {
        let Some(rule) = for_all.clone().find(|rule| reads::request_shows(expression, rule)) else {
            continue;
        };
        let index = container
            .spec
            .variables
            .iter()
            .position(|variable| variable.name == name);
        let path = FieldPath::spec()
            .field("variables")
            .index(index.unwrap_or_default())
            .field("expression");
        let message = format!(
            "reads of the request what the transformation {} protects in the event: it is null for destinations, which read \
             it when they send. Read `event` instead",
            rule.manifest.name
        );
        report.warning(path, reasons::NO_EFFECT, message);
    }
}
