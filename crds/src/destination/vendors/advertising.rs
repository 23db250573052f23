//! The advertising vendors' conversion interfaces.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Block, field};
use crate::{FieldPath, common::SecretSource, schema::rule};

/// Meta's Conversions API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetaConversions {
    /// The pixel's or dataset's id, in quotes: `"1234567890"`.
    #[schemars(length(max = 32), regex(pattern = "^[0-9]+$"))]
    pub pixel_id: String,
    /// The access token, made in Events Manager.
    pub access_token: SecretSource,
    /// The secret of the app that made the token, for apps that require a proof of it (`appsecret_proof`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_secret: Option<SecretSource>,
    /// The version of the Graph API, such as `v25.0`. Default: the one that this release was tested with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^v[0-9]+[.][0-9]+$"))]
    pub api_version: Option<String>,
    /// Shows the events under Test Events. Remove it in production: such events count all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub test_event_code: Option<String>,
    /// Where the events happen. Default: website.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_source: Option<MetaActionSource>,
    /// Scheme and host in place of the vendor's own: a regional endpoint, a proxy or a test double. The vendor's own path
    /// follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::endpoint")]
    pub endpoint: Option<String>,
    /// Names of events mapped to the vendor's, such as `add_to_cart: AddToCart`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::event_map")]
    pub event_names: BTreeMap<String, String>,
    /// Fields of the vendor mapped to expressions over `event`, `consent` and `vars`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::expressions")]
    pub parameters: BTreeMap<String, String>,
}

impl Block for MetaConversions {
    fn secrets(&self) -> Vec<(FieldPath, Option<&SecretSource>)> {
        vec![
            (field("accessToken"), Some(&self.access_token)),
            (field("appSecret"), self.app_secret.as_ref()),
        ]
    }
}

/// Where an event happens, in Meta's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetaActionSource {
    /// On a website.
    #[default]
    Website,
    /// In an app.
    App,
    /// In an e-mail.
    Email,
    /// On the phone.
    PhoneCall,
    /// In a chat.
    Chat,
    /// In a shop.
    PhysicalStore,
    /// By itself, such as a renewed subscription.
    SystemGenerated,
    /// In a messaging app.
    BusinessMessaging,
    /// Elsewhere.
    Other,
}

/// TikTok's Events API 2.0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TiktokEvents {
    /// The pixel's code.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9]+$"))]
    pub pixel_code: String,
    /// The access token, made in TikTok Events Manager.
    pub access_token: SecretSource,
    /// Shows the events under Test Events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub test_event_code: Option<String>,
    /// Scheme and host in place of the vendor's own: a regional endpoint, a proxy or a test double. The vendor's own path
    /// follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::endpoint")]
    pub endpoint: Option<String>,
    /// Names of events mapped to the vendor's, such as `add_to_cart: AddToCart`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::event_map")]
    pub event_names: BTreeMap<String, String>,
    /// Fields of the vendor mapped to expressions over `event`, `consent` and `vars`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::expressions")]
    pub parameters: BTreeMap<String, String>,
}

impl Block for TiktokEvents {
    fn secrets(&self) -> Vec<(FieldPath, Option<&SecretSource>)> {
        vec![(field("accessToken"), Some(&self.access_token))]
    }
}

/// LinkedIn's Conversions API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkedinConversions {
    /// Names of events mapped to the ids of conversion rules: `purchase: "1000001"`. Other events are not sent.
    #[schemars(schema_with = "crate::schema::event_ids")]
    pub conversions: BTreeMap<String, String>,
    /// The access token with scope `rw_conversions`.
    pub access_token: SecretSource,
    /// The LinkedIn-Version, `YYYYMM`; each lives about a year. Default: the one that this release was tested with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 6), regex(pattern = "^20[0-9]{2}(0[1-9]|1[0-2])$"))]
    pub api_version: Option<String>,
    /// Scheme and host in place of the vendor's own: a regional endpoint, a proxy or a test double. The vendor's own path
    /// follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::endpoint")]
    pub endpoint: Option<String>,
    /// Names of events mapped to the vendor's, such as `add_to_cart: AddToCart`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::event_map")]
    pub event_names: BTreeMap<String, String>,
    /// Fields of the vendor mapped to expressions over `event`, `consent` and `vars`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::expressions")]
    pub parameters: BTreeMap<String, String>,
}

impl Block for LinkedinConversions {
    fn secrets(&self) -> Vec<(FieldPath, Option<&SecretSource>)> {
        vec![(field("accessToken"), Some(&self.access_token))]
    }
}

/// Pinterest's API for Conversions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PinterestConversions {
    /// The ad account's id, in quotes.
    #[schemars(length(max = 18), regex(pattern = "^[0-9]+$"))]
    pub ad_account_id: String,
    /// The conversion access token, made in Ads Manager.
    pub access_token: SecretSource,
    /// Has the events validated and answered, but not recorded. Default: false.
    #[serde(default, skip_serializing_if = "crate::common::is_false")]
    pub test: bool,
    /// Scheme and host in place of the vendor's own: a regional endpoint, a proxy or a test double. The vendor's own path
    /// follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::endpoint")]
    pub endpoint: Option<String>,
    /// Names of events mapped to the vendor's, such as `add_to_cart: AddToCart`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::event_map")]
    pub event_names: BTreeMap<String, String>,
    /// Fields of the vendor mapped to expressions over `event`, `consent` and `vars`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::expressions")]
    pub parameters: BTreeMap<String, String>,
}

impl Block for PinterestConversions {
    fn secrets(&self) -> Vec<(FieldPath, Option<&SecretSource>)> {
        vec![(field("accessToken"), Some(&self.access_token))]
    }
}

/// Google Ads conversions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [rule(
    "!has(self.api) || self.api != 'GoogleAds' || has(self.developerToken)",
    "api GoogleAds needs developerToken; the default api, DataManager, does not",
)]))]
pub struct GoogleAds {
    /// The customer's id, in quotes, with or without dashes.
    #[schemars(length(max = 16), regex(pattern = "^[0-9]{3}-?[0-9]{3}-?[0-9]{4}$"))]
    pub customer_id: String,
    /// Names of events mapped to the ids of conversion actions: `purchase: "987654321"`. Other events are not sent.
    #[schemars(schema_with = "crate::schema::event_ids")]
    pub conversion_actions: BTreeMap<String, String>,
    /// The OAuth client and the refresh token of an identity that may use the account.
    pub oauth: OAuth,
    /// The manager account through which the customer is reached, with or without dashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^[0-9]{3}-?[0-9]{3}-?[0-9]{4}$"))]
    pub login_customer_id: Option<String>,
    /// `DataManager` (needs no developer token) or `GoogleAds` (needs `developerToken`). Default: DataManager.
    #[serde(default)]
    pub api: GoogleAdsApi,
    /// The developer token, for `api: GoogleAds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub developer_token: Option<SecretSource>,
    /// Has Google validate the events and record none of them: to try out a configuration. Default: false.
    #[serde(default, skip_serializing_if = "crate::common::is_false")]
    pub validate_only: bool,
    /// The version of the API, such as `v1` or `v26`. Default: the one that this release was tested with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = "^v[0-9]+$"))]
    pub api_version: Option<String>,
    /// Scheme and host in place of the vendor's own: a regional endpoint, a proxy or a test double. The vendor's own path
    /// follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::endpoint")]
    pub endpoint: Option<String>,
    /// Names of events mapped to the vendor's, such as `add_to_cart: AddToCart`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::event_map")]
    pub event_names: BTreeMap<String, String>,
    /// Fields of the vendor mapped to expressions over `event`, `consent` and `vars`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::expressions")]
    pub parameters: BTreeMap<String, String>,
}

impl Block for GoogleAds {
    fn secrets(&self) -> Vec<(FieldPath, Option<&SecretSource>)> {
        let oauth = field("oauth");
        vec![
            (oauth.field("clientId"), Some(&self.oauth.client_id)),
            (oauth.field("clientSecret"), Some(&self.oauth.client_secret)),
            (oauth.field("refreshToken"), Some(&self.oauth.refresh_token)),
            (field("developerToken"), self.developer_token.as_ref()),
        ]
    }
}

/// Which of Google's interfaces is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum GoogleAdsApi {
    /// The Data Manager API.
    #[default]
    DataManager,
    /// The Google Ads API.
    GoogleAds,
}

/// An OAuth client and a refresh token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OAuth {
    /// The client's id.
    pub client_id: SecretSource,
    /// The client's secret.
    pub client_secret: SecretSource,
    /// The refresh token.
    pub refresh_token: SecretSource,
}

/// Snap's Conversions API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapchatConversions {
    /// The pixel's id; for an app, the app's id.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9-]+$"))]
    pub pixel_id: String,
    /// The token for the Conversions API, made in Snap's Business Manager.
    pub access_token: SecretSource,
    /// Has the events validated and answered, but not recorded. Default: false.
    #[serde(default, skip_serializing_if = "crate::common::is_false")]
    pub test: bool,
    /// Where the events happen. Default: WEB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_source: Option<SnapchatActionSource>,
    /// Scheme and host in place of the vendor's own: a regional endpoint, a proxy or a test double. The vendor's own path
    /// follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::endpoint")]
    pub endpoint: Option<String>,
    /// Names of events mapped to the vendor's, such as `newsletter: CUSTOM_EVENT_1`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::event_map")]
    pub event_names: BTreeMap<String, String>,
    /// Fields of the vendor mapped to expressions over `event`, `consent` and `vars`; they win over the standard mapping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::expressions")]
    pub parameters: BTreeMap<String, String>,
}

impl Block for SnapchatConversions {
    fn secrets(&self) -> Vec<(FieldPath, Option<&SecretSource>)> {
        vec![(field("accessToken"), Some(&self.access_token))]
    }
}

/// Where an event happens, in Snap's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SnapchatActionSource {
    /// On a website.
    #[default]
    Web,
    /// In an app.
    MobileApp,
    /// Elsewhere.
    Offline,
}
