//! Which parameters of an event each vendor's request may carry, and in which form: what the gateway's encoders do
//! (`gateway/src/destinations`), as a table. A test of the gateway compares the two in both directions.

use super::Vendor;
use crate::destination::GoogleAdsApi;

/// In which form a parameter leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As it is, at most in another spelling.
    AsItIs,
    /// As its SHA-256, made by the gateway, or by the sender where the parameter is one of the `sha256_` ones.
    Hashed,
    /// Only that part of it.
    InPart(&'static str),
}

use Form::{AsItIs, Hashed, InPart};

/// A parameter with all below it, and the form in which it leaves.
pub type Listed = (&'static str, Form);

/// What a vendor's requests may carry.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// The parameters that have a place of their own.
    groups: &'static [&'static [Listed]],
    /// Whether all other parameters are sent as they are; these are left out then.
    pub others: Option<&'static [&'static str]>,
}

impl Sent {
    /// The parameters that have a place of their own in the request.
    pub fn listed(self) -> impl Iterator<Item = Listed> {
        self.groups.iter().flat_map(|group| group.iter().copied())
    }
}

/// Name, id and time of the event.
const EVENT: &[Listed] = &[("event_name", AsItIs), ("event_id", AsItIs), ("timestamp_ms", AsItIs)];
/// A conversion: the name is that of a rule or action at the vendor.
const CONVERSION: &[Listed] = &[
    ("event_name", InPart("as the number of the conversion")),
    ("event_id", AsItIs),
    ("timestamp_ms", AsItIs),
];
const PAGE: &[Listed] = &[("page_location", AsItIs), ("page_referrer", AsItIs)];
const ADDRESS_AND_AGENT: &[Listed] = &[("ip_override", AsItIs), ("user_agent", AsItIs)];
const MONEY: &[Listed] = &[("currency", AsItIs), ("value", AsItIs)];
const ORDER: &[Listed] = &[("transaction_id", AsItIs), ("search_term", AsItIs)];
const ITEMS: &[Listed] = &[
    ("items.item_id", AsItIs),
    ("items.item_name", AsItIs),
    ("items.price", AsItIs),
    ("items.quantity", AsItIs),
];
const EMAIL: &[Listed] = &[
    ("user_data.email_address", Hashed),
    ("user_data.sha256_email_address", Hashed),
];
const PHONE: &[Listed] = &[
    ("user_data.phone_number", Hashed),
    ("user_data.sha256_phone_number", Hashed),
];
const NAMES: &[Listed] = &[
    ("user_data.address.first_name", Hashed),
    ("user_data.address.sha256_first_name", Hashed),
    ("user_data.address.last_name", Hashed),
    ("user_data.address.sha256_last_name", Hashed),
];
const POSTAL_CODE: &[Listed] = &[
    ("user_data.address.postal_code", Hashed),
    ("user_data.address.sha256_postal_code", Hashed),
];
const HASHED_PLACE: &[Listed] = &[
    ("user_data.address.city", Hashed),
    ("user_data.address.sha256_city", Hashed),
    ("user_data.address.region", Hashed),
    ("user_data.address.sha256_region", Hashed),
    ("user_data.address.country", Hashed),
    ("user_data.address.sha256_country", Hashed),
];
const GENDER: &[Listed] = &[("user_data.gender", Hashed)];
const BIRTH_DATE: &[Listed] = &[("user_data.birth_date", Hashed)];
const HASHED_USER_ID: &[Listed] = &[("user_id", Hashed)];
/// What Google Ads is told of a conversion by either interface.
const GOOGLE_ADS: &[Listed] = &[
    ("transaction_id", AsItIs),
    ("discount", AsItIs),
    ("new_customer", InPart("as new or returning")),
    ("click_ids.gclid", AsItIs),
    ("click_ids.gbraid", AsItIs),
    ("click_ids.wbraid", AsItIs),
    ("cookies._gcl_aw", InPart(CLICK)),
    ("cookies.FPGCLAW", InPart(CLICK)),
    ("cookies._gac_*", InPart(CLICK)),
    ("cookies._gcl_ag", InPart(CLICK)),
    ("cookies.FPGCLAG", InPart(CLICK)),
    ("cookies._gcl_gb", InPart(CLICK)),
    ("cookies.FPGCLGB", InPart(CLICK)),
];
const CLICK: &str = "the click id in it";

const META: Sent = Sent {
    groups: &[
        EVENT,
        PAGE,
        ADDRESS_AND_AGENT,
        MONEY,
        ORDER,
        ITEMS,
        EMAIL,
        PHONE,
        NAMES,
        POSTAL_CODE,
        HASHED_PLACE,
        GENDER,
        BIRTH_DATE,
        HASHED_USER_ID,
        &[
            ("fbc", AsItIs),
            ("fbp", AsItIs),
            ("cookies._fbc", AsItIs),
            ("cookies._fbp", AsItIs),
            ("click_ids.fbclid", AsItIs),
            ("items.item_category", AsItIs),
            ("items.item_category2", AsItIs),
            ("items.item_category3", AsItIs),
            ("items.item_category4", AsItIs),
            ("items.item_category5", AsItIs),
            ("content_type", AsItIs),
            ("content_name", AsItIs),
            ("content_category", AsItIs),
            ("predicted_ltv", AsItIs),
            ("status", AsItIs),
            ("net_revenue", AsItIs),
            ("delivery_category", AsItIs),
            ("num_items", AsItIs),
            ("opt_out", AsItIs),
            ("app_data", AsItIs),
            ("data_processing_options", AsItIs),
            ("data_processing_options_country", AsItIs),
            ("data_processing_options_state", AsItIs),
        ],
    ],
    others: None,
};

const TIKTOK: Sent = Sent {
    groups: &[
        EVENT,
        PAGE,
        ADDRESS_AND_AGENT,
        MONEY,
        ORDER,
        ITEMS,
        EMAIL,
        PHONE,
        NAMES,
        POSTAL_CODE,
        HASHED_USER_ID,
        &[
            ("user_data.address.city", AsItIs),
            ("user_data.address.region", AsItIs),
            ("user_data.address.country", AsItIs),
            ("ttclid", AsItIs),
            ("click_ids.ttclid", AsItIs),
            ("cookies.ttclid", AsItIs),
            ("ttp", AsItIs),
            ("cookies._ttp", AsItIs),
            ("language", AsItIs),
            ("items.item_category", AsItIs),
            ("items.item_brand", AsItIs),
            ("content_type", AsItIs),
            ("shop_id", AsItIs),
            ("delivery_category", AsItIs),
            ("predicted_ltv", AsItIs),
        ],
    ],
    others: None,
};

const LINKEDIN: Sent = Sent {
    groups: &[
        CONVERSION,
        MONEY,
        EMAIL,
        &[
            ("user_id", AsItIs),
            ("user_data.address.first_name", AsItIs),
            ("user_data.address.last_name", AsItIs),
            ("user_data.address.country", AsItIs),
            ("job_title", AsItIs),
            ("company_name", AsItIs),
            ("click_ids.li_fat_id", AsItIs),
            ("cookies.li_fat_id", AsItIs),
            ("items.price", InPart("in the sum of an order without a value")),
            ("items.quantity", InPart("in the sum of an order without a value")),
        ],
    ],
    others: None,
};

const PINTEREST: Sent = Sent {
    groups: &[
        EVENT,
        ADDRESS_AND_AGENT,
        MONEY,
        ORDER,
        ITEMS,
        EMAIL,
        PHONE,
        NAMES,
        POSTAL_CODE,
        HASHED_PLACE,
        GENDER,
        BIRTH_DATE,
        HASHED_USER_ID,
        &[
            ("page_location", AsItIs),
            ("language", InPart("without the country")),
            ("click_ids.epik", AsItIs),
            ("cookies._epik", AsItIs),
            ("items.item_category", AsItIs),
            ("items.item_brand", AsItIs),
            ("content_name", AsItIs),
            ("content_category", AsItIs),
            ("content_brand", AsItIs),
            ("predicted_ltv", AsItIs),
        ],
    ],
    others: None,
};

const SNAPCHAT: Sent = Sent {
    groups: &[
        EVENT,
        ADDRESS_AND_AGENT,
        MONEY,
        ORDER,
        ITEMS,
        EMAIL,
        PHONE,
        NAMES,
        POSTAL_CODE,
        HASHED_PLACE,
        GENDER,
        HASHED_USER_ID,
        &[
            ("page_location", AsItIs),
            ("click_ids.sccid", AsItIs),
            ("cookies._scclid", AsItIs),
            ("cookies._scid", AsItIs),
            ("items.item_brand", AsItIs),
            ("items.delivery_category", AsItIs),
            ("content_name", AsItIs),
            ("content_category", AsItIs),
            ("content_type", AsItIs),
            ("method", AsItIs),
            ("predicted_ltv", AsItIs),
        ],
    ],
    others: None,
};

const DATA_MANAGER: Sent = Sent {
    groups: &[
        CONVERSION,
        ADDRESS_AND_AGENT,
        MONEY,
        EMAIL,
        PHONE,
        NAMES,
        ITEMS,
        GOOGLE_ADS,
        &[
            ("user_data.address.country", AsItIs),
            ("user_data.address.postal_code", AsItIs),
            ("ga_session_id", AsItIs),
            (
                "page_location",
                InPart("of a landing page, with what advertisements put into its query"),
            ),
            ("page_referrer", InPart("the site, of a landing page")),
        ],
    ],
    others: None,
};

const GOOGLE_ADS_API: Sent = Sent {
    groups: &[CONVERSION, MONEY, EMAIL, PHONE, ITEMS, GOOGLE_ADS],
    others: None,
};

const MEASUREMENT_PROTOCOL: Sent = Sent {
    groups: &[
        EMAIL,
        PHONE,
        NAMES,
        &[
            ("user_data.address.street", Hashed),
            ("user_data.address.sha256_street", Hashed),
            ("user_data.address.city", AsItIs),
            ("user_data.address.region", AsItIs),
            ("user_data.address.postal_code", AsItIs),
            ("user_data.address.country", AsItIs),
            ("client_hints.model", AsItIs),
            ("client_hints.platform", AsItIs),
            ("client_hints.platform_version", AsItIs),
        ],
    ],
    others: Some(&[
        "page_hostname",
        "page_path",
        "page_encoding",
        "viewport_size",
        "ga_session_number",
        "user_data",
        "client_hints",
        "click_ids",
        "cookies",
        "geo",
        "device",
        "user_location",
        "x-ga-*",
        "x-sst-*",
    ]),
};

const COLLECT: Sent = Sent {
    groups: &[],
    others: Some(&[
        "page_path",
        "timestamp_ms",
        "click_ids",
        "cookies",
        "user_data",
        "event_location",
        "geo",
        "device",
        "x-ga-gcs",
        "client_hints.brands",
        "x-ga-measurement_id",
        "x-ga-protocol_version",
    ]),
};

const BIG_QUERY: Sent = Sent {
    groups: &[&[
        ("click_ids.gclid", AsItIs),
        ("click_ids.dclid", AsItIs),
        ("user_agent", InPart("the names of browser and operating system")),
        ("client_hints.model", AsItIs),
        ("client_hints.mobile", InPart("as the category of the device")),
        ("client_hints.platform", AsItIs),
        ("client_hints.platform_version", AsItIs),
        ("client_hints.full_version_list", AsItIs),
        ("x-ga-measurement_id", AsItIs),
        ("x-ga-page_id", AsItIs),
        ("x-ga-request_count", AsItIs),
        ("x-ga-mp2-seg", AsItIs),
        ("x-ga-mp2-ci", AsItIs),
        ("x-ga-mp2-cn", AsItIs),
        ("x-ga-mp2-cs", AsItIs),
        ("x-ga-mp2-cm", AsItIs),
        ("x-ga-mp2-ck", AsItIs),
        ("x-ga-mp2-ct", AsItIs),
        ("x-ga-mp2-cc", AsItIs),
        ("x-ga-mp2-ccf", AsItIs),
        ("x-ga-mp2-cmt", AsItIs),
    ]],
    others: Some(&[
        "user_data",
        "ip_override",
        "client_hints",
        "click_ids",
        "cookies",
        "x-ga-*",
        "x-sst-*",
    ]),
};

const EVERYTHING: Sent = Sent {
    groups: &[],
    others: Some(&[]),
};

impl Vendor<'_> {
    /// What its requests may carry of an event, beside what `parameters` and other expressions of the block add.
    #[must_use]
    pub const fn sent(self) -> Sent {
        match self {
            Self::Ga4(ga4) if ga4.api_secret.is_some() => MEASUREMENT_PROTOCOL,
            Self::Ga4(_) => COLLECT,
            Self::MetaConversions(_) => META,
            Self::TiktokEvents(_) => TIKTOK,
            Self::LinkedinConversions(_) => LINKEDIN,
            Self::PinterestConversions(_) => PINTEREST,
            Self::GoogleAds(ads) => match ads.api {
                GoogleAdsApi::DataManager => DATA_MANAGER,
                GoogleAdsApi::GoogleAds => GOOGLE_ADS_API,
            },
            Self::PubSub(_) | Self::Webhook(_) => EVERYTHING,
            Self::BigQuery(_) => BIG_QUERY,
            Self::SnapchatConversions(_) => SNAPCHAT,
        }
    }
}
