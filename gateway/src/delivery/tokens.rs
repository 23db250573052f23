//! Access tokens for vendors that want them.

mod refresh;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use google_cloud_auth::credentials::{
    AccessTokenCredentials, mds,
    service_account::{self, AccessSpecifier},
};

pub use self::refresh::{OAuthGrant, RefreshTokens};
use super::client::{Transport, install_crypto_provider};
use crate::secret::Secret;

/// How long a token may take to come.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Gives access tokens, refreshed ahead of their end. All requests of a destination share one source.
pub trait TokenSource: Send + Sync {
    /// A token that is good for some minutes. A source that has to ask for it over the network does so by `transport`,
    /// which is the destination's own, and bounds the time.
    fn token<'s>(&'s self, transport: &'s dyn Transport) -> Fetching<'s>;

    /// Drops this token (the vendor rejected it), so that the next call fetches another. One that came meanwhile stays.
    fn invalidate(&self, token: &Secret);
}

/// A token on its way.
pub type Fetching<'s> = Pin<Box<dyn Future<Output = Result<Secret, TokenError>> + Send + 's>>;

/// Why there is no token. Shows nothing of the credentials.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// Later there may be one.
    #[error("{reason}")]
    Unavailable {
        /// What stands in the way.
        reason: String,
        /// When to ask again, if that was said.
        after: Option<Duration>,
    },
    /// The credentials are refused: there is none before somebody gives others. Says what to do.
    #[error("{0}")]
    Rejected(String),
}

/// A service account's key that cannot be used. Shows nothing of it.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// Not JSON.
    #[error("is no service account key: it is not JSON")]
    NotJson,
    /// Another kind of credentials.
    #[error("is no service account key: a JSON object with \"type\": \"service_account\" is wanted")]
    OtherType,
    /// Something is missing.
    #[error("is no service account key: client_email, private_key_id, private_key and project_id are wanted")]
    Incomplete,
}

/// Google's access tokens, by Google's own crate: self-signed from a service account's key, or from the metadata server
/// (`GCE_METADATA_HOST`), which is the pod's identity on GKE.
///
/// Its credentials refresh by themselves while they live; they are made when the first token is asked for, as they need
/// the runtime, and again after [`TokenSource::invalidate`] or a failure.
pub struct GoogleTokens {
    origin: Origin,
    scope: String,
    held: Mutex<Option<Held>>,
}

/// Credentials in use and the token that they gave last.
struct Held {
    credentials: Arc<AccessTokenCredentials>,
    token: Option<Secret>,
}

enum Origin {
    Key(Secret),
    /// At its own address or at `GCE_METADATA_HOST`, which wins; the tests put another.
    MetadataServer {
        endpoint: Option<String>,
    },
}

impl GoogleTokens {
    /// Tokens of a service account, from its key file's content.
    ///
    /// # Errors
    /// When it is no such key.
    pub fn service_account(key: &Secret, scope: &str) -> Result<Self, KeyError> {
        let json: serde_json::Value = serde_json::from_str(key.expose()).map_err(|_| KeyError::NotJson)?;
        let text = |name: &str| json.get(name).and_then(serde_json::Value::as_str);
        if text("type") != Some("service_account") {
            return Err(KeyError::OtherType);
        }
        if ["client_email", "private_key_id", "private_key", "project_id"]
            .iter()
            .any(|name| text(name).is_none_or(str::is_empty))
        {
            return Err(KeyError::Incomplete);
        }
        Ok(Self::new(Origin::Key(key.clone()), scope))
    }

    /// Tokens of the identity that the machine or pod has.
    #[must_use]
    pub fn metadata_server(scope: &str) -> Self {
        Self::new(Origin::MetadataServer { endpoint: None }, scope)
    }

    fn new(origin: Origin, scope: &str) -> Self {
        Self {
            origin,
            scope: scope.to_owned(),
            held: Mutex::new(None),
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn credentials(&self) -> Result<Arc<AccessTokenCredentials>, TokenError> {
        let mut held = self.held();
        if let Some(held) = &*held {
            return Ok(Arc::clone(&held.credentials));
        }
        // The crate panics without one.
        install_crypto_provider();
        let built = match &self.origin {
            Origin::Key(key) => {
                // Validated when it was given.
                let key = serde_json::from_str(key.expose())
                    .map_err(|_| TokenError::Rejected(KeyError::NotJson.to_string()))?;
                service_account::Builder::new(key)
                    .with_access_specifier(AccessSpecifier::from_scopes([self.scope.as_str()]))
                    .build_access_token_credentials()
            }
            Origin::MetadataServer { endpoint } => {
                let builder = mds::Builder::default().with_scopes([self.scope.as_str()]);
                match endpoint {
                    Some(endpoint) => builder.with_endpoint(endpoint),
                    None => builder,
                }
                .build_access_token_credentials()
            }
        };
        // The crate's errors may quote what they could not read.
        let built = built.map_err(|_| match self.origin {
            Origin::Key(_) => TokenError::Rejected("the service account key cannot be used".to_owned()),
            Origin::MetadataServer { .. } => unavailable("the metadata server cannot be used".to_owned()),
        })?;
        let credentials = Arc::new(built);
        *held = Some(Held {
            credentials: Arc::clone(&credentials),
            token: None,
        });
        Ok(credentials)
    }

    async fn fetch(&self) -> Result<Secret, TokenError> {
        let credentials = self.credentials()?;
        let fetched = tokio::time::timeout(TIMEOUT, credentials.access_token()).await;
        let mut held = self.held();
        // Whoever was slower than another's `invalidate` leaves the new credentials alone.
        let in_use = held
            .as_mut()
            .filter(|held| Arc::ptr_eq(&held.credentials, &credentials));
        let problem = match fetched {
            Ok(Ok(token)) => {
                let token = Secret::new(token.token);
                if let Some(in_use) = in_use {
                    in_use.token = Some(token.clone());
                }
                return Ok(token);
            }
            Ok(Err(error)) => match self.origin {
                Origin::Key(_) => TokenError::Rejected(
                    "the service account key cannot sign: is private_key a whole PEM text (PKCS#8)?".to_owned(),
                ),
                Origin::MetadataServer { .. } => unavailable(format!(
                    "the metadata server gives no token: {}; outside Google Cloud set credentials",
                    innermost(&error)
                )),
            },
            Err(_) => unavailable(format!(
                "no answer within {TIMEOUT:?}; outside Google Cloud set credentials"
            )),
        };
        if in_use.is_some() {
            *held = None;
        }
        Err(problem)
    }
}

impl TokenSource for GoogleTokens {
    /// A key signs its own token, and the metadata server is where the machine or pod has it, which is no address that a
    /// manifest chooses: neither goes by `transport`.
    fn token<'s>(&'s self, _transport: &'s dyn Transport) -> Fetching<'s> {
        Box::pin(self.fetch())
    }

    fn invalidate(&self, token: &Secret) {
        let mut held = self.held();
        if held.as_ref().is_some_and(|held| held.token.as_ref() == Some(token)) {
            *held = None;
        }
    }
}

fn unavailable(reason: String) -> TokenError {
    TokenError::Unavailable { reason, after: None }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use http_body_util::Full;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{delivery::client::Sending, destinations::Request};

    /// Made for this test alone, and the key of nothing.
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDiR5mEOfivuL9F\n\
        Fr9dwsGhc5xNA4oY52+EFTxqoeehIXt5/IFA4uvnmyrANVL+YN4yc6D2d339EaAh\n\
        2CPbF3ElWXOXH7KP6dzfVd7kmnM0+Wcy5CIe8dkPcTJFgNSCHMyG3awO64LZ9qjU\n\
        nPFfwltvAuoMr3Ok6dwDS9Dy5zfrc+Eg8lYIFuC1WPSlwdSOFBuE9Ec17dooPiYK\n\
        /Z3VQumrXEoAIBFUPbz2oirx59RlyL59L0kdZ9ap9XlMwJxgdlTXwmFqrEqdWQOg\n\
        wh6s9yq+TaEFjsK7pTp1hxC43Q6fBxD2JKwyB5uOVD0Awum4tqKIdeau6PNFg6m6\n\
        n8DH8jNpAgMBAAECggEAB87rs73iYIHyC7rIuL4PO3iHVLsCCXD3DqpC7vUOTqee\n\
        oKt/dFNAS7o1g/NzHTcPg9Mso0SlUtXIXlKcjiNlcqH/FKBx43hw+D341o+j2Rig\n\
        IIfxy3qSAG/qCa7z5leDEUZV+R/UYJwb4FZYF/NXf2Gs3OozBeZSAsUbfT5QVi4V\n\
        YcamzspAGU9Hiulivz6j5LdE6QTWcwD/rcN4QdetERQtBqZHOZtVAPJjOu6pYr/s\n\
        NYL/3VCsJPFdGj2IstiLvB4LKebr51r4oc52qncQn8KqWH0km4510PYfgMpKaHER\n\
        swcXhM+yBCUvnJ/VTisYb8SPn9ZSpcmzBrDkJfI5zwKBgQD2JFmatJB/2V1OI19G\n\
        18S3G7rcBzfETo1vblX/QfdvA2UhoC84NFrSts84fFs8lSZrySikKVMQ42FHpqND\n\
        EN9cpDLcd9SC3iAwlDIvbZJFrkAhMjVyG4B1cZVZBoaHdydwBwcagOBMfMN6L0Bq\n\
        AncQD58RoHkDl5CStaeN4+7SlwKBgQDrV5rfgAFwP2K8KlL4gDay/NFRVybkV/hK\n\
        iJoIfpZB6hpZzlULK++GNMyk/qVKgoxd+VY8xkmyocnJ49lvrmxIx+BsyWb/zkqn\n\
        mxG4d6DEXi8bg3z2NqJg5kr6qe2R4iU67jvJvI/7JkIO92GQ3IVY+3ipp/D8LOt4\n\
        U5iBzxXp/wKBgAOSXXaAPkSMq+zxWHWXtfQOQ/TjaezAUw8V48uTcnq66uHFCEph\n\
        gBvkqTchntVPOMKBpcRUES+CjSvUADR97y/R9ib62iuX+5GY5O2JQoEeWTHiH6Jr\n\
        Qb7yif9Dt/oJQZo/j9vTmO2jNdb1DpM7O+0QvPctg/QIZAGs/yRw9Us7AoGBAIc7\n\
        mPATI0B3++l6PKE1M7lYU4N1HBEch710j2aQLxGDT08JpI692W56CppJBXwyVixt\n\
        6WMU4iZ2l3ieqERnqyuLR2fbt4cI6Jc1IVKp00Tjhhg+T2E/9cDOtIkjejNZCuG5\n\
        IbwD0YyU6GKnPnY6cZm3Lxf2PCD8Qvaqurjk4YfLAoGBANo6vGhgNpOmfmiGp2ew\n\
        RwYqxvZ1ePiH3rzsg1zQqQc5STo9VmWF55v/mDjI33tIvmmQW0lUvYPHhhAp841f\n\
        utTlsoo0G6yZxNaolJTMbNyW7Smy8n7fQQlSascLv3RVoiyMpb2k/boMOsqgsfcu\n\
        ILOkOuPsq75OKztEjyq61yp9\n\
        -----END PRIVATE KEY-----\n";

    /// These sources do not use the destination's transport.
    struct NoNetwork;

    impl Transport for NoNetwork {
        fn send(&self, request: Request) -> Sending<'_> {
            panic!("nothing is sent to {}", request.target());
        }
    }

    fn key() -> Value {
        json!({"type": "service_account", "client_email": "gateway@demo.example", "project_id": "demo", "private_key_id": "k1", "private_key": KEY})
    }

    #[tokio::test]
    async fn a_service_account_signs_its_own_token() {
        let scope = "https://www.googleapis.com/auth/pubsub";
        let tokens = GoogleTokens::service_account(&Secret::new(key().to_string()), scope).unwrap();
        let token = tokens.token(&NoNetwork).await.unwrap();
        let claims = token.expose().split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["iss"], "gateway@demo.example");
        assert_eq!(claims["scope"], scope);
        let lives = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert!((3000..=3700).contains(&lives), "{lives}");
        assert_eq!(tokens.token(&NoNetwork).await.unwrap(), token, "kept while it is good");
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        let refused = |text: &str| GoogleTokens::service_account(&Secret::new(text), "s").err().unwrap();
        assert_eq!(refused("hunter2"), KeyError::NotJson);
        assert_eq!(
            refused(r#"{"type": "authorized_user", "refresh_token": "hunter2"}"#),
            KeyError::OtherType
        );
        assert_eq!(
            refused(r#"{"type": "service_account", "private_key": "hunter2"}"#),
            KeyError::Incomplete
        );
    }

    #[tokio::test]
    async fn a_key_that_cannot_sign_is_not_shown() {
        let mut broken = key();
        broken["private_key"] = "hunter2".into();
        let tokens = GoogleTokens::service_account(&Secret::new(broken.to_string()), "s").unwrap();
        let Err(TokenError::Rejected(error)) = tokens.token(&NoNetwork).await else {
            panic!("only a good key mends it");
        };
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.contains("private_key"), "{error}");
    }

    /// A metadata server whose tokens are numbered.
    async fn metadata_server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let given = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let given = Arc::clone(&given);
                tokio::spawn(async move {
                    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                        assert_eq!(request.headers()["metadata-flavor"], "Google");
                        let number = given.fetch_add(1, Ordering::Relaxed);
                        let body = json!({
                            "access_token": format!("token-{number}"), "expires_in": 3599, "token_type": "Bearer"
                        });
                        let response = http::Response::builder()
                            .header("metadata-flavor", "Google")
                            .body(Full::new(bytes::Bytes::from(body.to_string())));
                        async move { response }
                    });
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok();
                });
            }
        });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn a_rejected_token_is_fetched_anew() {
        let endpoint = Some(metadata_server().await);
        let tokens = GoogleTokens::new(Origin::MetadataServer { endpoint }, "s");
        let first = tokens.token(&NoNetwork).await.unwrap();
        assert_eq!(first.expose(), "token-0");
        assert_eq!(tokens.token(&NoNetwork).await.unwrap(), first);
        for _ in 0..3 {
            tokens.invalidate(&first);
            assert_eq!(
                tokens.token(&NoNetwork).await.unwrap().expose(),
                "token-1",
                "once, however many saw it fail"
            );
        }
    }
}
