//! What privacy costs: nanoseconds an event for each step of the pipeline, and the rate with all of them on.
//!
//! A step's cost is the time that claiming and judging a hit takes with it, less the time without, measured one after the
//! other in each round. One thread, the gateway's own functions, no network and no log.

use std::{
    fs,
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method};
use tagfleet_expressions::{STEPS_PER_HIT, Steps};
use tagfleet_gateway::{
    config::{files::Sources, live::Config},
    deduplication::KeyMaker,
    ingest::HitRequest,
    log::DestinationId,
    pipeline::{self, visit::Visit},
    plan::Plan,
};

use crate::page::median;

/// How long one side of a pair is measured.
const TIME: Duration = Duration::from_millis(200);

/// A step and the lines of a container's `spec` that turn it on.
const STEPS: &[(&str, &str)] = &[
    ("consent: defaults, gcs and gcd resolved", CONSENT),
    ("identity: FPID and click-id cookies", IDENTITY),
    (
        "privacy.ipAddress: Truncate",
        "  privacy: {ipAddress: Truncate, bots: Keep}\n",
    ),
    ("privacy.bots: Mark", "  privacy: {ipAddress: Keep, bots: Mark}\n"),
    ("enrich.device", DEVICE),
    ("deduplication: the key", DEDUPLICATION),
    ("validation: a schema of three properties", VALIDATION),
    ("transformations: exclude two parameters", EXCLUDE),
    ("transformations: hash one parameter", HASH),
    ("transformations: redact four patterns and a query parameter", REDACT),
    ("transformations: augment one parameter", AUGMENT),
];

const NO_PRIVACY: &str = "  privacy: {ipAddress: Keep, bots: Keep}\n";
const CONSENT: &str = "  consent: {default: {ad_storage: denied, analytics_storage: granted}}\n";
const IDENTITY: &str = "  identity: {cookie: {}, clickIds: true}\n";
const DEVICE: &str = "  enrich: {device: true}\n";
const DEDUPLICATION: &str = "  deduplication: {window: 48h}\n";
const VALIDATION: &str = "  validation:\n  - {events: [purchase], schema: {required: [value, currency], properties: {value: {type: number}, \
                          currency: {type: string}, transaction_id: {type: string}}}}\n";
const EXCLUDE: &str = "  transformations:\n  - {name: exclude, exclude: [screen_resolution, client_hints]}\n";
const HASH: &str = "  transformations:\n  - {name: hash, hash: [transaction_id]}\n";
const REDACT: &str = "  transformations:\n  - {name: redact, redact: {patterns: [Email, Phone, Card, Iban], queryParameters: [email]}}\n";
const AUGMENT: &str =
    "  transformations:\n  - {name: augment, augment: {size: \"event.value > 50.0 ? 'large' : 'small'\"}}\n";

/// Everything at once, as lines of a container's `spec`.
pub(crate) const ALL: &str = "  privacy: {ipAddress: Truncate, bots: Mark}\n  consent: {default: {ad_storage: denied, analytics_storage: granted}}\n  \
     identity: {cookie: {}, clickIds: true}\n  enrich: {device: true}\n  deduplication: {window: 48h}\n  validation:\n  - {events: \
     [purchase], schema: {required: [value, currency], properties: {value: {type: number}, currency: {type: string}}}}\n  \
     transformations:\n  - {name: exclude, exclude: [screen_resolution, client_hints]}\n  - {name: hash, hash: [transaction_id]}\n  - \
     {name: redact, redact: {patterns: [Email, Phone, Card, Iban], queryParameters: [email]}}\n";

/// Nothing of it.
pub(crate) const NOTHING: &str = NO_PRIVACY;

/// Nanoseconds an event: without any step, and what each adds.
pub(crate) struct StepCosts {
    pub(crate) without: f64,
    pub(crate) steps: Vec<(&'static str, f64)>,
}

/// Measures every step, `rounds` times, and takes the medians.
pub(crate) fn steps(rounds: usize) -> StepCosts {
    let without = plan(NO_PRIVACY);
    let mut base = Vec::new();
    let steps = STEPS
        .iter()
        .map(|(name, spec)| {
            let privacy = if spec.contains("privacy:") { "" } else { NO_PRIVACY };
            let with = plan(&format!("{privacy}{spec}"));
            let mut added = Vec::new();
            for _ in 0..rounds.max(3) {
                let (before, after) = (nanoseconds(&without), nanoseconds(&with));
                base.push(before);
                added.push(after - before);
            }
            let added = median(added);
            println!("  {name:<60} {added:>7.0} ns an event");
            (*name, added)
        })
        .collect();
    StepCosts {
        without: median(base),
        steps,
    }
}

fn plan(spec: &str) -> Plan {
    let folder = tempfile::tempdir().expect("a folder for manifests");
    write(
        folder.path(),
        "container",
        &format!(
            "apiVersion: tagfleet.dev/v1alpha1\nkind: TaggingContainer\nmetadata: {{name: shop}}\nspec:\n  hostnames: \
             [metrics.shop.example]\n  clients: [{{name: web, ga4: {{}}}}]\n{spec}"
        ),
    );
    write(
        folder.path(),
        "destination",
        "apiVersion: tagfleet.dev/v1alpha1\nkind: Destination\nmetadata: {name: orders}\nspec:\n  containerRefs: [{name: \
         shop}]\n  webhook: {url: \"https://orders.shop.example/hook\"}\n",
    );
    let sources = Sources {
        paths: vec![folder.path().to_owned()],
        secrets_dir: None,
    };
    let config = Config::load(&sources, None).unwrap_or_else(|findings| {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"));
    });
    let mut plan = config.plan(&mut |_| Ok(DestinationId(1))).expect("a plan");
    plan.duplicate_keys = plan.policies.deduplication.map(|_| KeyMaker::random());
    plan
}

fn write(folder: &Path, name: &str, manifest: &str) {
    fs::write(folder.join(format!("{name}.yaml")), manifest).expect("a manifest");
}

/// A purchase as a browser sends it.
const QUERY: &str = "v=2&tid=G-TEST1&gcs=G111&gcd=13t3t3t3t5l1&cid=1506821430.1730448757&sid=1768475378&sct=5&seg=1&ul=de-de&sr=2560x1440&\
                     uaa=arm&uab=64&uap=macOS&uapv=15.7.1&dl=https%3A%2F%2Fshop.example%2Fthanks%3Fgclid%3DTEST-gclid-1&\
                     dr=https%3A%2F%2Fshop.example%2Fcheckout&dt=Thanks&en=purchase&cu=EUR&epn.value=72.05&ep.transaction_id=T-1001&\
                     ep.event_id=evt-1001&pr1=idBOWL-10~nmBowl~pr33.03~qt2";
const BROWSER: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
const COOKIES: &str = "_ga=GA1.1.1506821430.1730448757; _ga_TEST1=GS2.1.s1768475378$o5$g1$t1768475400$j60$l0$h0; _fbp=fb.1.1730448757000.1098115397";

/// Nanoseconds that claiming and judging the purchase takes.
fn nanoseconds(plan: &Plan) -> f64 {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "metrics.shop.example"),
        ("user-agent", BROWSER),
        ("accept-language", "de-DE,de;q=0.9"),
        ("cookie", COOKIES),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let client = plan.clients.first().expect("a client");
    let (started, mut events) = (Instant::now(), 0_u32);
    while started.elapsed() < TIME {
        for _ in 0..64 {
            let request = HitRequest {
                method: &Method::GET,
                path: "/g/collect",
                query: QUERY,
                headers: &headers,
                body: b"",
                visitor: [203, 0, 113, 7].into(),
                by_trusted_proxy: false,
                received_ms: 1_768_476_420_055,
                read_cookies: &plan.policies.identity.read_cookies,
            };
            let claim = client.claim(&request).expect("a hit");
            let visit = Visit::of(plan, request, claim.connection, claim.cookies);
            let mut steps = Steps::new(STEPS_PER_HIT);
            for event in claim.events {
                black_box(pipeline::judge(plan, event, &visit, &mut steps));
                events += 1;
            }
        }
    }
    started.elapsed().as_secs_f64() * 1e9 / f64::from(events.max(1))
}
