//! What Meta's answers mean (vendors/meta-capi.md, section 8).

use http::StatusCode;
use serde::Deserialize;

use crate::{
    delivery::retry::is_retriable,
    destinations::{Outcome, Response, answer},
    secret::Secret,
};

/// Codes of troubles that pass.
const TRANSIENT: [i64; 6] = [1, 2, 341, 368, 5000, 21_009];
/// Codes of too many calls.
const THROTTLED: [i64; 5] = [4, 17, 32, 613, 80_003];
/// Codes of a token that is no good: expired, revoked, of a logged-out session.
const TOKEN: [i64; 2] = [102, 190];
/// Codes of a token without the right to do this.
const PERMISSION: [i64; 4] = [3, 10, 200, 294];
/// An invalid parameter: with subcode [`NO_SUCH_OBJECT`] the pixel's id, else something in one of the events.
const INVALID: i64 = 100;
const NO_SUCH_OBJECT: i64 = 33;

#[derive(Deserialize)]
struct Body {
    error: Option<Error>,
}

#[derive(Deserialize)]
struct Error {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    error_subcode: i64,
    #[serde(default)]
    is_transient: bool,
    message: Option<String>,
    error_user_title: Option<String>,
    error_user_msg: Option<String>,
    fbtrace_id: Option<String>,
}

/// Reads an answer. The token is blanked out of what Meta says: it quotes malformed ones.
pub(super) fn classify(response: &Response, token: &Secret) -> Outcome {
    let body: Option<Body> = serde_json::from_slice(&response.body).ok();
    let Some(body) = body else {
        return without_json(response, token);
    };
    let Some(error) = body.error else {
        return answer::by_status_with_credentials(response);
    };
    let reason = blanked(&error.to_string(), token);
    match (error.code, error.error_subcode) {
        _ if error.is_transient || is_retriable(response.status) => Outcome::Retry { after: None, reason },
        (code, _) if TRANSIENT.contains(&code) || THROTTLED.contains(&code) => Outcome::Retry { after: None, reason },
        (code, _) if TOKEN.contains(&code) => Outcome::CredentialsRejected {
            reason: format!("{reason}; make a new access token in Events Manager (Settings, Conversions API)"),
        },
        (code, _) if PERMISSION.contains(&code) => Outcome::CredentialsRejected {
            reason: format!("{reason}; give the token's owner access to the pixel"),
        },
        (INVALID, NO_SUCH_OBJECT) => Outcome::CredentialsRejected {
            reason: format!("{reason}; compare pixelId with Events Manager, and give the token's owner access to it"),
        },
        (INVALID, _) => Outcome::RefusedBatch { reason },
        _ => Outcome::Refused { reason },
    }
}

/// An answer that is no JSON comes from something before Meta's API (a proxy, an error page).
fn without_json(response: &Response, token: &Secret) -> Outcome {
    let reason = blanked(&answer::reason(response), token);
    match response.status {
        StatusCode::PAYLOAD_TOO_LARGE => Outcome::RefusedBatch { reason },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::CredentialsRejected { reason },
        status if status.is_success() => Outcome::Retry {
            after: None,
            reason: format!("the answer is no JSON: is the endpoint Meta's? {reason}"),
        },
        _ => match answer::by_status(response) {
            Outcome::Refused { .. } if !response.status.is_redirection() => Outcome::Refused { reason },
            other => other,
        },
    }
}

fn blanked(text: &str, token: &Secret) -> String {
    match token.expose() {
        "" => text.to_owned(),
        token => text.replace(token, "(the token)"),
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [&self.error_user_title, &self.error_user_msg, &self.message];
        let mut said: Vec<String> = Vec::new();
        for part in parts.into_iter().flatten() {
            let part = answer::one_line(part);
            if !part.is_empty() && !said.contains(&part) {
                said.push(part);
            }
        }
        write!(f, "code {}", self.code)?;
        if self.error_subcode != 0 {
            write!(f, "/{}", self.error_subcode)?;
        }
        write!(f, ": {}", said.join(": "))?;
        match &self.fbtrace_id {
            Some(trace) => write!(f, " (fbtrace_id {})", answer::one_line(trace)),
            None => Ok(()),
        }
    }
}
