//! What a user agent shows, by the lists of the ua-parser project (data/uap-core.json).

use std::{
    cell::RefCell,
    sync::{Arc, LazyLock},
};

use tagfleet_expressions::Map;
use ua_parser::{Extractor, Regexes, device, os, user_agent};

use crate::pipeline::remembered::{Remembered, remembered};

const LISTS: &str = include_str!("../../../data/uap-core.json");

/// How much of a user agent is parsed: browsers, those inside apps too, stay below.
const MAX_BYTES: usize = 512;

static EXTRACTOR: LazyLock<Option<Extractor<'static>>> = LazyLock::new(|| {
    let lists: Regexes<'static> = serde_json::from_str(LISTS)
        .inspect_err(|error| tracing::error!(%error, "the lists of user agents cannot be read: none is known"))
        .ok()?;
    Extractor::try_from(lists)
        .inspect_err(|error| tracing::error!(%error, "the lists of user agents cannot be compiled: none is known"))
        .ok()
});

thread_local! {
    static AGENTS: RefCell<Remembered<Arc<Agent>>> = RefCell::default();
}

/// Browsers whose name at ua-parser tells more than the browser: the others call it by the right-hand name, and so do client
/// hints.
const BROWSERS: [(&str, &str); 11] = [
    ("Chrome Mobile", "Chrome"),
    ("Chrome Mobile iOS", "Chrome"),
    ("Chrome Mobile WebView", "Android WebView"),
    ("Mobile Safari", "Safari"),
    ("Mobile Safari UI/WKWebView", "Safari"),
    ("Firefox Mobile", "Firefox"),
    ("Firefox iOS", "Firefox"),
    ("Edge Mobile", "Edge"),
    ("Opera Mobile", "Opera"),
    ("Opera Touch", "Opera"),
    ("DuckDuckGo Mobile", "DuckDuckGo"),
];

/// Words of televisions and consoles.
const TELEVISIONS: [&str; 12] = [
    "SmartTV",
    "SMART-TV",
    "Smart TV",
    "GoogleTV",
    "Android TV",
    "AppleTV",
    "Apple TV",
    "CrKey",
    "HbbTV",
    "BRAVIA",
    "PlayStation",
    "Nintendo",
];

/// What kind of device it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A crawler by ua-parser's account.
    Bot,
    /// A television or console.
    Television,
    /// A tablet.
    Tablet,
    /// A phone.
    Mobile,
    /// A computer.
    Desktop,
    /// No device that is known.
    Unknown,
}

/// What a user agent shows.
#[derive(Debug, Default)]
pub(super) struct Agent {
    pub(super) form: Option<Form>,
    pub(super) browser: Option<Box<str>>,
    pub(super) browser_version: Option<Box<str>>,
    pub(super) operating_system: Option<Box<str>>,
    pub(super) operating_system_version: Option<Box<str>>,
    pub(super) brand: Option<Box<str>>,
    pub(super) model: Option<Box<str>>,
    /// The device of an event of which no more is known.
    pub(super) device: Map<'static>,
}

/// Loads the lists.
pub(super) fn prepare() {
    LazyLock::force(&EXTRACTOR);
}

impl Agent {
    /// What this text shows, parsed once for each that a thread meets. Nothing of an empty one.
    pub(super) fn of(text: &str) -> Arc<Self> {
        let text = text.get(..text.floor_char_boundary(MAX_BYTES)).unwrap_or_default();
        if text.is_empty() {
            return Arc::default();
        }
        remembered(&AGENTS, text.as_bytes(), || Arc::new(Self::parse(text)))
    }

    fn parse(text: &str) -> Self {
        let (browser, system, device) = match &*EXTRACTOR {
            Some(extractor) => extractor.extract(text),
            None => Default::default(),
        };
        let is_bot = device.as_ref().is_some_and(|device| device.device == "Spider");
        let mut agent = Self {
            form: Some(form(text, is_bot)),
            ..Self::default()
        };
        if let Some(browser) = browser {
            agent.set_browser(&browser);
        }
        if let Some(system) = system {
            agent.set_system(&system);
        }
        if let Some(device) = device.filter(|_| !is_bot) {
            agent.set_device(&device);
        }
        let members = super::derived(None, &agent).members();
        agent.device = members
            .map(|(name, value)| (name.into(), value.into_owned().into()))
            .collect();
        agent
    }

    fn set_browser(&mut self, browser: &user_agent::ValueRef<'_>) {
        let name = BROWSERS.iter().find(|(name, _)| *name == browser.family);
        self.browser = Some(name.map_or(&*browser.family, |(_, name)| name).into());
        let user_agent::ValueRef {
            major,
            minor,
            patch,
            patch_minor,
            ..
        } = browser;
        self.browser_version = version(&[*major, *minor, *patch, *patch_minor]);
    }

    fn set_system(&mut self, system: &os::ValueRef<'_>) {
        let name = match &*system.os {
            "Mac OS X" => "macOS",
            name => name,
        };
        self.operating_system = Some(name.into());
        self.operating_system_version = version(&[
            system.major.as_deref(),
            system.minor.as_deref(),
            system.patch.as_deref(),
            system.patch_minor.as_deref(),
        ]);
    }

    fn set_device(&mut self, device: &device::ValueRef<'_>) {
        // The model that Chrome shows of every Android device; then the system's version is made up, too.
        if device.model.as_deref() == Some("K") {
            self.operating_system_version = None;
            return;
        }
        match device.brand.as_deref() {
            // No more than that it is a phone.
            Some("Generic") | None => return,
            // A model whose maker is not known.
            Some(brand) if brand.starts_with("Generic_") => {}
            Some(brand) => self.brand = Some(brand.into()),
        }
        self.model = device.model.as_deref().map(Into::into);
    }
}

/// The parts of a version up to the first that is missing.
fn version(parts: &[Option<&str>]) -> Option<Box<str>> {
    let parts: Vec<&str> = parts.iter().map_while(|part| *part).collect();
    (!parts.is_empty()).then(|| parts.join(".").into())
}

fn form(text: &str, is_bot: bool) -> Form {
    let says = |word: &str| text.contains(word);
    let is_browser = text.starts_with("Mozilla/") || text.starts_with("Opera/");
    if is_bot {
        Form::Bot
    } else if TELEVISIONS.iter().any(|word| says(word)) || says("Xbox") {
        Form::Television
    } else if says("iPad") || says("Tablet") || (is_browser && says("Android") && !says("Mobi")) {
        Form::Tablet
    } else if says("Mobi") || says("iPhone") || says("iPod") || says("Android") {
        Form::Mobile
    } else if is_browser
        && ["Windows", "Macintosh", "Linux", "X11", "CrOS"]
            .iter()
            .any(|word| says(word))
    {
        Form::Desktop
    } else {
        Form::Unknown
    }
}
