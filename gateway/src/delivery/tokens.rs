//! Access tokens for vendors that want them.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use google_cloud_auth::credentials::{
    AccessTokenCredentials, mds,
    service_account::{self, AccessSpecifier},
};

use crate::secret::Secret;

/// How long a token may take to come.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Gives access tokens, refreshed ahead of their end.
pub trait TokenSource: Send + Sync {
    /// A token that is good for some minutes.
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>>;

    /// Drops the token in use (the vendor said 401), so that the next call fetches another.
    fn invalidate(&self);
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
    #[error("is no service account key: client_email, private_key_id and private_key are wanted")]
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
    credentials: Mutex<Option<Arc<AccessTokenCredentials>>>,
}

enum Origin {
    Key(Secret),
    MetadataServer,
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
        if ["client_email", "private_key_id", "private_key"]
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
        Self::new(Origin::MetadataServer, scope)
    }

    fn new(origin: Origin, scope: &str) -> Self {
        Self {
            origin,
            scope: scope.to_owned(),
            credentials: Mutex::new(None),
        }
    }

    fn credentials(&self) -> Result<Arc<AccessTokenCredentials>, String> {
        let mut held = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(credentials) = &*held {
            return Ok(Arc::clone(credentials));
        }
        let built = match &self.origin {
            Origin::Key(key) => {
                // Validated when it was given.
                let key = serde_json::from_str(key.expose()).map_err(|_| KeyError::NotJson.to_string())?;
                service_account::Builder::new(key)
                    .with_access_specifier(AccessSpecifier::from_scopes([self.scope.as_str()]))
                    .build_access_token_credentials()
            }
            Origin::MetadataServer => mds::Builder::default()
                .with_scopes([self.scope.as_str()])
                .build_access_token_credentials(),
        };
        // The crate's errors may quote what they could not read.
        let built = built.map_err(|_| match self.origin {
            Origin::Key(_) => "the service account key cannot be used".to_owned(),
            Origin::MetadataServer => "the metadata server cannot be used".to_owned(),
        })?;
        let built = Arc::new(built);
        *held = Some(Arc::clone(&built));
        Ok(built)
    }

    async fn fetch(&self) -> Result<String, String> {
        let credentials = self.credentials()?;
        let fetched = tokio::time::timeout(TIMEOUT, credentials.access_token()).await;
        let problem = match fetched {
            Ok(Ok(token)) => return Ok(token.token),
            Ok(Err(error)) => match self.origin {
                Origin::Key(_) => {
                    "the service account key cannot sign: is private_key a whole PEM text (PKCS#8)?".to_owned()
                }
                Origin::MetadataServer => format!(
                    "the metadata server gives no token: {}; outside Google Cloud set credentials",
                    innermost(&error)
                ),
            },
            Err(_) => format!("no answer within {TIMEOUT:?}; outside Google Cloud set credentials"),
        };
        self.invalidate();
        Err(problem)
    }
}

impl TokenSource for GoogleTokens {
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>> {
        Box::pin(self.fetch())
    }

    fn invalidate(&self) {
        *self.credentials.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
