//! What a request says of its visitor's consent beside its events: a TC string, Global Privacy Control, an opt-out.

use std::cell::OnceCell;

use http::HeaderName;

use super::{ConsentPolicy, tcf::Tcf};
use crate::ingest::{Connection, HitRequest, cookies, query};

/// <https://www.w3.org/TR/gpc/>: only `1` counts.
static SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");

/// The cookie in which consent tools keep the TC string. It is read for its consent and goes nowhere.
const TC_COOKIE: &str = "euconsent-v2";

/// What the request says. Nothing on a server's request: its headers are no visitor's.
#[derive(Clone, Debug, Default)]
pub struct RequestConsent {
    /// `Sec-GPC: 1`.
    pub global_privacy_control: bool,
    /// The opt-out cookie is there.
    pub opted_out: bool,
    by_visitor: bool,
    tcf: OnceCell<Option<Tcf>>,
}

impl RequestConsent {
    /// Reads the headers, but for the TC string.
    #[must_use]
    pub fn of(policy: &ConsentPolicy, request: &HitRequest<'_>, connection: Connection) -> Self {
        if connection != Connection::Visitor {
            return Self::default();
        }
        let mut controls = request.headers.get_all(&SEC_GPC).iter();
        Self {
            global_privacy_control: controls.any(|value| value.as_bytes().trim_ascii() == b"1"),
            opted_out: policy
                .opt_out_cookie
                .as_deref()
                .is_some_and(|name| opts_out(cookies::value(request.headers, name))),
            by_visitor: true,
            tcf: OnceCell::new(),
        }
    }

    /// The TC string of the request, read when somebody asks for the first time: the parameter `gdpr_consent`, else the
    /// cookie. None with `gdpr=0`, by which the sender says that TCF does not apply.
    pub fn tcf(&self, request: &HitRequest<'_>) -> Option<Tcf> {
        if !self.by_visitor {
            return None;
        }
        *self.tcf.get_or_init(|| read_tcf(request))
    }
}

fn read_tcf(request: &HitRequest<'_>) -> Option<Tcf> {
    let mut of_parameter = None;
    // Nearly every hit is done after the first look.
    if memchr::memmem::find(request.query.as_bytes(), b"gdpr").is_some() {
        for (name, value) in query::pairs(request.query) {
            match name.as_ref() {
                "gdpr" if value == "0" => return None,
                "gdpr_consent" => of_parameter = Tcf::decode(&value),
                _ => {}
            }
        }
    }
    of_parameter.or_else(|| {
        let cookie = cookies::value(request.headers, TC_COOKIE)?;
        Tcf::decode(std::str::from_utf8(cookie).ok()?)
    })
}

/// Any value opts out but those that say no.
fn opts_out(cookie: Option<&[u8]>) -> bool {
    cookie.is_some_and(|value| value != b"0" && !value.eq_ignore_ascii_case(b"false"))
}
