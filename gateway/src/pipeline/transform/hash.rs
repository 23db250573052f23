//! `hash`: values replaced by their SHA-256, normalised as the vendors that hash by themselves would.

use tagfleet_expressions::{Map, Value};

use super::parameters::Parameters;
use crate::{
    destinations::{
        identity::{self, EmailRule, PhoneRule},
        mapping,
    },
    event::field,
};

/// How a value is written before it is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As it is, but for white space at its ends.
    Exact,
    /// As [`identity`] writes what visitors say of themselves, by the name of the field.
    UserData,
}

/// Hashes every text and number below these parameters. What is a hash already stays, so that nothing is hashed twice: not
/// here, and not by a vendor that hashes. What says nothing (empty, `null`, `undefined`) becomes null; true and false stay.
pub(super) fn hash(parameters: &Parameters, fields: &mut Map<'_>) {
    for (name, value) in fields.iter_mut() {
        let form = if name == field::USER_DATA {
            Form::UserData
        } else {
            Form::Exact
        };
        parameters.for_each_leaf_of(name, value, &mut |name, leaf| hash_leaf(form, name, leaf));
    }
}

fn hash_leaf(form: Form, name: &str, leaf: &mut Value<'_>) {
    if matches!(leaf, Value::Bool(_) | Value::Null) {
        return;
    }
    let hashed = mapping::text(leaf).and_then(|text| match form {
        Form::Exact => identity::exact(&text),
        Form::UserData => user_data(name, &text),
    });
    *leaf = hashed.map_or(Value::Null, Value::from);
}

/// The hash of a member of `user_data`. What is no address or number as it should be is hashed as text: it may be personal
/// all the same.
fn user_data(name: &str, text: &str) -> Option<String> {
    let hashed = match name {
        "email_address" => identity::email(text, EmailRule::Plain),
        "phone_number" => identity::phone(text, PhoneRule::E164),
        _ => None,
    };
    hashed.or_else(|| identity::text(text))
}
