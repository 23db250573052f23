//! Access tokens for a refresh token that somebody granted to an OAuth client (RFC 6749 section 6).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, USER_AGENT},
};
use serde_json::Value;
use tokio::time::{Instant, timeout};
use url::{Url, form_urlencoded};

use super::{Fetching, TIMEOUT, TokenError, TokenSource, unavailable};
use crate::{
    delivery::{
        client::Transport,
        retry::{is_retriable, retry_after},
    },
    destinations::{self, Authentication, Protocol, Request, Response},
    secret::Secret,
};

/// How long before its end a token is replaced (vendors/google-ads.md section 7).
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// What a token lives whose answer does not say: Google's live an hour, and one that ends sooner is noticed by the 401.
const USUAL_LIFE: Duration = Duration::from_secs(3600);
/// The longest life that is believed.
const MAX_LIFE: Duration = Duration::from_secs(24 * 3600);
/// After a failure, the token that is still good is used for so long before another is asked for.
const PAUSE: Duration = Duration::from_secs(30);

/// An OAuth client and the refresh token that it was granted.
pub struct OAuthGrant {
    /// The client's id.
    pub client_id: Secret,
    /// The client's secret.
    pub client_secret: Secret,
    /// The refresh token.
    pub refresh_token: Secret,
}

/// Access tokens from a refresh token: fetched when the first is needed, replaced five minutes ahead of their end, one
/// request at a time whatever the number of batches that wait.
///
/// The requests go by the destination's own transport, so that the rules for addresses hold for them too. Nothing that the
/// token endpoint says is repeated beyond its error code, as an endpoint may echo what it was sent.
pub struct RefreshTokens {
    grant: OAuthGrant,
    url: Url,
    held: Mutex<Held>,
    /// Held by whoever fetches.
    turn: tokio::sync::Mutex<()>,
}

/// What is known.
#[derive(Default)]
struct Held {
    token: Option<Token>,
    /// Fetches that ended, and how the last one failed, if it did: those who waited for it need no fetch of their own.
    fetches: u64,
    failure: Option<TokenError>,
}

struct Token {
    value: Secret,
    replace_at: Instant,
    ends_at: Instant,
}

/// What there is without asking.
enum Stock {
    /// A token that needs no thought.
    Fresh(Secret),
    /// A token that is good for some minutes yet.
    Ageing(Secret),
    /// None. With the number of fetches that ended so far.
    Nothing(u64),
}

impl RefreshTokens {
    /// Tokens from the token endpoint at `url`.
    #[must_use]
    pub fn new(grant: OAuthGrant, url: Url) -> Self {
        Self {
            grant,
            url,
            held: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stock(&self) -> Stock {
        let held = self.held();
        let now = Instant::now();
        match &held.token {
            Some(token) if now < token.replace_at => Stock::Fresh(token.value.clone()),
            Some(token) if now < token.ends_at => Stock::Ageing(token.value.clone()),
            _ => Stock::Nothing(held.fetches),
        }
    }

    async fn give(&self, transport: &dyn Transport) -> Result<Secret, TokenError> {
        let fetches = match self.stock() {
            Stock::Fresh(token) => return Ok(token),
            Stock::Ageing(token) => return self.replace(token, transport).await,
            Stock::Nothing(fetches) => fetches,
        };
        let _turn = self.turn.lock().await;
        match self.stock() {
            Stock::Fresh(token) | Stock::Ageing(token) => return Ok(token),
            Stock::Nothing(now) if now == fetches => {}
            // Another failed meanwhile: asking again at once would tell nothing new.
            Stock::Nothing(_) => {
                if let Some(failure) = self.held().failure.clone() {
                    return Err(failure);
                }
            }
        }
        self.fetch(transport).await
    }

    /// Fetches the next token while this one is good; only one does, the others go on with this one.
    async fn replace(&self, token: Secret, transport: &dyn Transport) -> Result<Secret, TokenError> {
        let Ok(_turn) = self.turn.try_lock() else {
            return Ok(token);
        };
        if let Stock::Fresh(newer) = self.stock() {
            return Ok(newer);
        }
        match self.fetch(transport).await {
            Err(TokenError::Unavailable { .. }) => {
                if let Some(held) = &mut self.held().token {
                    held.replace_at = Instant::now() + PAUSE;
                }
                Ok(token)
            }
            other => other,
        }
    }

    async fn fetch(&self, transport: &dyn Transport) -> Result<Secret, TokenError> {
        let fetched = self.ask(transport).await;
        let mut held = self.held();
        held.fetches += 1;
        held.failure = fetched.as_ref().err().cloned();
        match fetched {
            Ok((value, life)) => {
                let now = Instant::now();
                held.token = Some(Token {
                    value: value.clone(),
                    replace_at: now + life - AHEAD.min(life / 4),
                    ends_at: now + life,
                });
                Ok(value)
            }
            Err(error) => {
                if matches!(error, TokenError::Rejected(_)) {
                    held.token = None;
                }
                Err(error)
            }
        }
    }

    async fn ask(&self, transport: &dyn Transport) -> Result<(Secret, Duration), TokenError> {
        let request = self.request();
        let target = request.target();
        match timeout(TIMEOUT, transport.send(request)).await {
            Ok(Ok(response)) => read(&response, &target),
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(_) => Err(unavailable(format!("{target} did not answer within {TIMEOUT:?}"))),
        }
    }

    fn request(&self) -> Request {
        let mut headers = HeaderMap::new();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, destinations::USER_AGENT);
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .append_pair("client_id", self.grant.client_id.expose())
            .append_pair("client_secret", self.grant.client_secret.expose())
            .append_pair("refresh_token", self.grant.refresh_token.expose())
            .finish();
        Request {
            method: Method::POST,
            url: self.url.clone(),
            headers,
            body: body.into(),
            authentication: Authentication::None,
            protocol: Protocol::Http,
        }
    }
}

impl TokenSource for RefreshTokens {
    fn token<'s>(&'s self, transport: &'s dyn Transport) -> Fetching<'s> {
        Box::pin(self.give(transport))
    }

    fn invalidate(&self, token: &Secret) {
        let mut held = self.held();
        if held.token.as_ref().is_some_and(|in_use| in_use.value == *token) {
            held.token = None;
        }
    }
}

/// The token and its life, or what stands in the way.
fn read(response: &Response, target: &str) -> Result<(Secret, Duration), TokenError> {
    let json: Option<Value> = serde_json::from_slice(&response.body).ok();
    let member = |name: &str| json.as_ref()?.get(name);
    if !response.status.is_success() {
        let code = member("error").and_then(Value::as_str).filter(|code| is_code(code));
        return Err(failure(response, code, target));
    }
    let token = member("access_token").and_then(Value::as_str);
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        let reason = format!("{target} answered without an access_token: is this the token endpoint?");
        return Err(unavailable(reason));
    };
    let life = member("expires_in").and_then(Value::as_u64).map(Duration::from_secs);
    Ok((Secret::new(token), life.unwrap_or(USUAL_LIFE).min(MAX_LIFE)))
}

/// Whether a text is an error code, and not something that must not be repeated.
fn is_code(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// RFC 6749 section 5.2: the client or its grant is refused with 400 or 401 and a code.
fn failure(response: &Response, code: Option<&str>, target: &str) -> TokenError {
    let status = response.status;
    let ours = matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED);
    let passing = matches!(
        code,
        Some("temporarily_unavailable" | "server_error" | "internal_failure")
    );
    match code {
        Some(code) if ours && !passing => TokenError::Rejected(format!("{target} answered {code}: {}", advice(code))),
        _ => TokenError::Unavailable {
            reason: match code {
                Some(code) => format!("{target} answered {} {code}", status.as_u16()),
                None => format!("{target} answered {}", status.as_u16()),
            },
            // The wall clock is not asked for: a date is rare here, and our own backoff does as well.
            after: is_retriable(status)
                .then(|| retry_after(&response.headers, i64::MAX))
                .flatten()
                .filter(|wait| !wait.is_zero()),
        },
    }
}

/// What whoever owns the credentials has to do.
fn advice(code: &str) -> &'static str {
    match code {
        "invalid_grant" => {
            "the refresh token was revoked, has expired, or was granted to another OAuth client; make a new one and put it \
             into the Secret"
        }
        "invalid_client" | "unauthorized_client" | "deleted_client" | "disabled_client" => {
            "the OAuth client's id or secret is wrong, or the client is gone; put those of a client that exists into the \
             Secret, and a refresh token that was made with it"
        }
        "invalid_scope" => {
            "the refresh token lacks a scope; make a new one with the scopes that the documentation names"
        }
        _ => "the credentials are refused; compare client id, client secret and refresh token with those in the Secret",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use std::{
        collections::BTreeMap,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use bytes::Bytes;
    use http::header::RETRY_AFTER;
    use tokio::time::{advance, sleep};

    use super::*;
    use crate::delivery::{
        addresses::AddressPolicy,
        client::{HttpClient, Sending, TransportError},
    };

    const MINUTE: Duration = Duration::from_secs(60);

    /// A token endpoint that answers after half a second. Its tokens are numbered.
    #[derive(Default)]
    struct Endpoint {
        /// Answers so in place of a token.
        failing: Mutex<Option<(u16, &'static str)>>,
        asked: AtomicUsize,
        at_once: AtomicUsize,
        most_at_once: AtomicUsize,
        last: Mutex<Option<Request>>,
    }

    impl Endpoint {
        fn fails(&self, status: u16, body: &'static str) {
            *self.failing.lock().unwrap() = Some((status, body));
        }

        fn recovers(&self) {
            *self.failing.lock().unwrap() = None;
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    impl Transport for Endpoint {
        fn send(&self, request: Request) -> Sending<'_> {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            *self.last.lock().unwrap() = Some(request);
            Box::pin(async move {
                let at_once = self.at_once.fetch_add(1, Ordering::Relaxed) + 1;
                self.most_at_once.fetch_max(at_once, Ordering::Relaxed);
                sleep(Duration::from_millis(500)).await;
                self.at_once.fetch_sub(1, Ordering::Relaxed);
                let (status, body) = match *self.failing.lock().unwrap() {
                    Some((status, body)) => (status, body.to_owned()),
                    None => {
                        let body = format!(
                            r#"{{"access_token": "ya29.token-{number}", "expires_in": 3599, "token_type": "Bearer"}}"#
                        );
                        (200, body)
                    }
                };
                Ok(response(status, &body))
            })
        }
    }

    fn response(status: u16, body: &str) -> Response {
        Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from(body.to_owned()),
            trailers: HeaderMap::new(),
        }
    }

    fn source(url: &str) -> RefreshTokens {
        let grant = OAuthGrant {
            client_id: Secret::new("123.apps.googleusercontent.com"),
            client_secret: Secret::new("GOCSPX-hunter2"),
            refresh_token: Secret::new("1//hunter2"),
        };
        RefreshTokens::new(grant, url.parse().unwrap())
    }

    fn tokens() -> (Arc<RefreshTokens>, Arc<Endpoint>) {
        let tokens = source("https://oauth2.googleapis.com/token");
        (Arc::new(tokens), Arc::new(Endpoint::default()))
    }

    async fn given(tokens: &RefreshTokens, endpoint: &Endpoint) -> String {
        tokens.token(endpoint).await.unwrap().expose().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn the_refresh_token_is_exchanged_as_rfc_6749_says() {
        let (tokens, endpoint) = tokens();
        assert_eq!(given(&tokens, &endpoint).await, "ya29.token-0");
        let request = endpoint.last.lock().unwrap().take().unwrap();
        assert_eq!(request.url.as_str(), "https://oauth2.googleapis.com/token");
        assert_eq!(request.headers[CONTENT_TYPE], "application/x-www-form-urlencoded");
        let form: BTreeMap<String, String> = form_urlencoded::parse(&request.body).into_owned().collect();
        let expected = [
            ("client_id", "123.apps.googleusercontent.com"),
            ("client_secret", "GOCSPX-hunter2"),
            ("grant_type", "refresh_token"),
            ("refresh_token", "1//hunter2"),
        ];
        assert!(
            form.iter().map(|(name, value)| (&**name, &**value)).eq(expected),
            "{form:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn many_batches_share_one_request() {
        let (tokens, endpoint) = tokens();
        let batches = (0..20).map(|_| {
            let (tokens, endpoint) = (Arc::clone(&tokens), Arc::clone(&endpoint));
            tokio::spawn(async move { given(&tokens, &endpoint).await })
        });
        for batch in batches.collect::<Vec<_>>() {
            assert_eq!(batch.await.unwrap(), "ya29.token-0");
        }
        assert_eq!(endpoint.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_replaced_five_minutes_ahead_while_the_others_go_on_with_it() {
        let (tokens, endpoint) = tokens();
        given(&tokens, &endpoint).await;
        advance(54 * MINUTE).await;
        assert_eq!(
            given(&tokens, &endpoint).await,
            "ya29.token-0",
            "good for more than five minutes"
        );
        advance(MINUTE).await;
        let (first, second) = tokio::join!(given(&tokens, &endpoint), given(&tokens, &endpoint));
        assert_eq!((&*first, &*second), ("ya29.token-1", "ya29.token-0"));
        assert_eq!(given(&tokens, &endpoint).await, "ya29.token-1");
        assert_eq!(
            (endpoint.asked(), endpoint.most_at_once.load(Ordering::Relaxed)),
            (2, 1)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_good_serves_on_while_the_endpoint_fails() {
        let (tokens, endpoint) = tokens();
        given(&tokens, &endpoint).await;
        advance(56 * MINUTE).await;
        endpoint.fails(503, "");
        for _ in 0..10 {
            assert_eq!(given(&tokens, &endpoint).await, "ya29.token-0");
        }
        assert_eq!(endpoint.asked(), 2, "it is not asked for every batch");
        endpoint.recovers();
        advance(PAUSE).await;
        assert_eq!(given(&tokens, &endpoint).await, "ya29.token-2");
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_fails_is_asked_again_later() {
        let (tokens, endpoint) = tokens();
        endpoint.fails(500, r#"{"error": "internal_failure"}"#);
        let (first, second) = tokio::join!(tokens.token(&*endpoint), tokens.token(&*endpoint));
        let expected = TokenError::Unavailable {
            reason: "https://oauth2.googleapis.com answered 500 internal_failure".to_owned(),
            after: None,
        };
        assert_eq!((first.unwrap_err(), second.unwrap_err()), (expected.clone(), expected));
        assert_eq!(endpoint.asked(), 1, "whoever waited for it shares the failure");
        endpoint.recovers();
        assert_eq!(given(&tokens, &endpoint).await, "ya29.token-1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_revoked_grant_says_what_to_do_and_is_asked_for_again() {
        let (tokens, endpoint) = tokens();
        endpoint.fails(
            400,
            r#"{"error": "invalid_grant", "error_description": "Token 1//hunter2 has been expired or revoked."}"#,
        );
        let error = tokens.token(&*endpoint).await.unwrap_err();
        let expected = "https://oauth2.googleapis.com answered invalid_grant: the refresh token was revoked, has expired, or \
                        was granted to another OAuth client; make a new one and put it into the Secret";
        assert_eq!(error, TokenError::Rejected(expected.to_owned()));
        endpoint.recovers();
        assert_eq!(given(&tokens, &endpoint).await, "ya29.token-1");
    }

    #[test]
    fn failures_by_their_answer() {
        let rejected = |status: u16, body: &str| {
            let error = read(&response(status, body), "https://t.example").unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
            matches!(error, TokenError::Rejected(_))
        };
        for code in [
            "invalid_grant",
            "invalid_client",
            "unauthorized_client",
            "invalid_scope",
            "invalid_request",
        ] {
            let body = format!(r#"{{"error": "{code}"}}"#);
            assert!(rejected(400, &body) && rejected(401, &body), "{code}");
        }
        for (status, body) in [
            (200, "<html>a proxy's page</html>"),
            (200, r#"{"access_token": ""}"#),
            (302, ""),
            (400, "1//hunter2"),
            (400, r#"{"error": "1//hunter2 is no refresh token"}"#),
            (400, r#"{"error": {"code": 400}}"#),
            (400, r#"{"error": "temporarily_unavailable"}"#),
            (403, r#"{"error": "rate_limit_exceeded"}"#),
            (404, ""),
            (429, ""),
            (500, r#"{"error": "invalid_grant"}"#),
            (503, ""),
        ] {
            assert!(!rejected(status, body), "{status} {body}");
        }
    }

    #[test]
    fn retry_after_is_kept() {
        let mut later = response(503, "");
        later.headers.insert(RETRY_AFTER, HeaderValue::from_static("120"));
        let Err(TokenError::Unavailable { after, .. }) = read(&later, "https://t.example") else {
            panic!("no token came");
        };
        assert_eq!(after, Some(Duration::from_secs(120)));
    }

    #[test]
    fn a_nonsensical_life_is_not_believed() {
        let life = |text: &str| {
            let body = format!(r#"{{"access_token": "t", "expires_in": {text}}}"#);
            read(&response(200, &body), "https://t.example").unwrap().1
        };
        assert_eq!(life("18446744073709551615"), MAX_LIFE);
        assert_eq!(life("-5"), USUAL_LIFE);
        assert_eq!(life("0"), Duration::ZERO);
        assert_eq!(life("\"soon\""), USUAL_LIFE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_token_is_fetched_anew_once_however_many_saw_it_fail() {
        let (tokens, endpoint) = tokens();
        let rejected = tokens.token(&*endpoint).await.unwrap();
        for _ in 0..3 {
            tokens.invalidate(&rejected);
            assert_eq!(given(&tokens, &endpoint).await, "ya29.token-1");
        }
    }

    /// Fails as the network does.
    struct Unplugged;

    impl Transport for Unplugged {
        fn send(&self, request: Request) -> Sending<'_> {
            let target = request.target();
            Box::pin(async move {
                Err(TransportError::Connect {
                    target,
                    reason: "connection refused".to_owned(),
                })
            })
        }
    }

    #[tokio::test]
    async fn the_network_s_failures_are_no_fault_of_the_credentials() {
        let tokens = source("https://oauth2.googleapis.com/token");
        let error = tokens.token(&Unplugged).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot connect to https://oauth2.googleapis.com: connection refused"
        );
        assert!(matches!(error, TokenError::Unavailable { .. }));
    }

    #[tokio::test]
    async fn in_a_cluster_the_token_endpoint_is_held_to_the_rules_for_addresses() {
        let in_cluster = HttpClient::new(AddressPolicy::PublicOnly(Vec::new().into())).unwrap();
        for (url, expected) in [
            ("https://169.254.169.254/token", "link-local"),
            ("https://localhost/token", "private, loopback"),
            ("http://oauth2.googleapis.com/token", "cleartext"),
        ] {
            let error = source(url).token(&in_cluster).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{url}: {error}");
        }
    }
}
