//! Consent, and whose hit it is.

use super::*;
use crate::record::ConsentSignal::{Denied, Unset};

#[test]
fn fpid_is_neither_read_nor_set_without_consent() {
    let shop = shop(json!({"cookie": {}, "clickIds": true}));
    for analytics_storage in [Denied, Unset] {
        let consent = Consent {
            ad_storage: Denied,
            analytics_storage,
            ..ALL_GRANTED
        };
        for client_id in [Some(CID), None] {
            let hit = Hit::with(&format!("FPID={FPID}")).consent(consent);
            let answer = shop.answer(&hit, &[page_view(client_id)]);
            assert_eq!(answer.cookies, []);
            assert_eq!((answer.client_id(), answer.js_client_id()), (client_id, None));
        }
    }
}

#[test]
fn each_cookie_asks_for_its_own_consent() {
    let shop = shop(json!({"cookie": {}, "clickIds": true, "cookies": [
        {"name": "_fbp", "consent": ["ad_storage", "ad_user_data"]}, {"name": "_ttp", "consent": []},
    ]}));
    let names = |consent| {
        shop.answer(&Hit::default().consent(consent), &[page_view(None)])
            .names()
            .join(" ")
    };
    let none = Consent::default();
    let ads = Consent {
        ad_storage: Granted,
        ..none
    };
    assert_eq!(names(none), "_ttp");
    assert_eq!(names(ads), "_ttp _scid");
    assert_eq!(
        names(Consent {
            ad_user_data: Granted,
            ..ads
        }),
        "_fbp _ttp _scid"
    );
    assert_eq!(
        names(Consent {
            analytics_storage: Granted,
            ..none
        }),
        "FPID _ttp"
    );
}

#[test]
fn a_servers_hit_sets_nothing_and_keeps_its_client_id() {
    let hit = Hit {
        connection: Connection::Server,
        ..Hit::with(&format!("FPID={FPID}"))
    };
    let answer = shop(json!({"cookie": {}, "clickIds": true})).answer(&hit, &[page_view(Some(CID))]);
    assert_eq!((answer.client_id(), answer.names().len()), (Some(CID), 0));
}

#[test]
fn a_container_without_identity_sets_nothing() {
    let answer = shop(json!({})).answer(&Hit::with(&format!("FPID={FPID}")), &[page_view(Some(CID))]);
    assert_eq!((answer.client_id(), answer.names().len()), (Some(CID), 0));
}
