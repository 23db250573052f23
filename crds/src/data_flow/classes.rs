//! Classes of parameters: those that a container defines, and the one that is there without.

use super::part::covers;
use crate::tagging_container::{ParameterClass, Privacy};

/// The class that is there without being defined; a container that defines one of this name has that instead.
pub const PERSONAL: &str = "personal";

/// What tells a visitor or their device apart, or says where they are more closely than the country: personal data in the
/// sense of GDPR article 4(1), recital 30. Fields that were kept aside as `x_<name>` hold the same.
///
/// Not in it, as only the site knows what they hold: URLs, `user_properties`, `transaction_id` and custom parameters.
const PERSONAL_PARAMETERS: &[&str] = &[
    "client_id",
    "user_id",
    "user_data",
    "ip_override",
    "user_agent",
    "client_hints",
    "cookies",
    "click_ids",
    "ga_session_id",
    "geo.region",
    "geo.city",
    "user_location.region_id",
    "user_location.city",
    "fbc",
    "fbp",
    "ttclid",
    "ttp",
    "job_title",
    "company_name",
    "x_client_id",
    "x_user_id",
    "x_user_data",
    "x_ip_override",
    "x_user_agent",
    "x_client_hints",
    "x_cookies",
    "x_click_ids",
    "x_ga_session_id",
    "x-ga-em",
    "x-ga-ecid",
    "x-ga-ur",
    "x-ga-js_client_id",
    "x-ga-user_property_details",
    "app_instance_id",
    "x-ga-system_properties",
];

/// The classes that hold for a container: its own, and [`PERSONAL`] unless it defines that itself.
#[must_use]
pub fn classes(privacy: &Privacy) -> Vec<ParameterClass> {
    let own = privacy.classes.iter().any(|class| class.name == PERSONAL);
    let built_in = (!own).then(|| ParameterClass {
        name: PERSONAL.to_owned(),
        parameters: PERSONAL_PARAMETERS.iter().map(|name| (*name).to_owned()).collect(),
    });
    built_in.into_iter().chain(privacy.classes.iter().cloned()).collect()
}

/// The names of the classes that a parameter belongs to.
#[must_use]
pub fn classes_of(parameter: &str, classes: &[ParameterClass]) -> Vec<String> {
    let has = |class: &&ParameterClass| class.parameters.iter().any(|member| covers(member, parameter));
    classes.iter().filter(has).map(|class| class.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn privacy(classes: &[(&str, &[&str])]) -> Privacy {
        let classes = classes.iter().map(|(name, parameters)| ParameterClass {
            name: (*name).to_owned(),
            parameters: parameters.iter().map(|name| (*name).to_owned()).collect(),
        });
        Privacy {
            classes: classes.collect(),
            ..Privacy::default()
        }
    }

    #[test]
    fn what_identifies_is_personal_without_a_word_of_the_container() {
        let classes = classes(&privacy(&[("sensitive", &["items.treatment"])]));
        assert_eq!(classes_of("user_data.email_address", &classes), ["personal"]);
        assert_eq!(classes_of("geo.city", &classes), ["personal"]);
        assert_eq!(classes_of("items.treatment", &classes), ["sensitive"]);
        for free in ["geo.country", "value", "items"] {
            assert!(classes_of(free, &classes).is_empty(), "{free}");
        }
    }

    #[test]
    fn a_container_may_say_itself_what_is_personal() {
        let classes = classes(&privacy(&[("personal", &["member_number"])]));
        assert_eq!(classes_of("member_number", &classes), ["personal"]);
        assert!(classes_of("client_id", &classes).is_empty());
    }
}
