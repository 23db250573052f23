//! E-commerce items: `pr1=idSKU-1~nmBlue~~Shirt~pr19.99~qt2~k0color~v0blue` (vendors/ga4-collect.md, Ecommerce).

use std::borrow::Cow;

use tagfleet_expressions::Map;

use crate::ingest::query::number;

/// GA4 numbers items from 1 to 200.
const MAX_ITEMS: u16 = 200;

/// No tag sends more: 30 fields of GA4's own and up to 27 custom pairs.
const MAX_FIELDS: usize = 200;

/// The item's number, if `name` is `pr1` to `pr200`.
pub(super) fn number_of(name: &str) -> Option<u16> {
    let digits = name
        .strip_prefix("pr")
        .filter(|digits| !digits.starts_with(['0', '+']))?;
    digits.parse().ok().filter(|number| (1..=MAX_ITEMS).contains(number))
}

/// An item has more fields than any tag sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyFields;

/// Reads one item. Fields of unknown names are kept under them; none is dropped.
///
/// # Errors
/// With more than [`MAX_FIELDS`] fields.
pub(super) fn parse<'a>(text: Cow<'a, str>) -> Result<Map<'a>, TooManyFields> {
    match text {
        Cow::Borrowed(text) => fields(text),
        Cow::Owned(text) => fields(&text).map(Map::into_owned),
    }
}

fn fields(text: &str) -> Result<Map<'_>, TooManyFields> {
    let mut item = Map::with_capacity(10);
    let mut customs = Vec::new();
    for (count, field) in split(text).enumerate() {
        if count >= MAX_FIELDS {
            return Err(TooManyFields);
        }
        if let Some(custom) = Custom::parse(&field) {
            customs.push(custom);
            continue;
        }
        let (key, value) = match field {
            Cow::Borrowed(field) => {
                let (key, value) = cut_key(field);
                (Cow::Borrowed(key), Cow::Borrowed(value))
            }
            Cow::Owned(field) => {
                let (key, value) = cut_key(&field);
                (Cow::Owned(key.to_owned()), Cow::Owned(value.to_owned()))
            }
        };
        match item_field(&key) {
            Some((name, true)) => item.insert(name, number(value)),
            Some((name, false)) => item.insert(name, value),
            None => item.insert(key, value),
        };
    }
    add_customs(&mut item, &customs);
    Ok(item)
}

/// The fields between single `~`; `~~` is a `~` of the text. Empty fields are left out.
fn split(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (field, after) = first_field(rest);
            rest = after;
            if !field.is_empty() {
                return Some(field);
            }
        }
        None
    })
}

fn first_field(text: &str) -> (Cow<'_, str>, &str) {
    let mut unescaped: Option<String> = None;
    let mut rest = text;
    loop {
        let (plain, after) = match rest.split_once('~') {
            Some((plain, after)) => (plain, Some(after)),
            None => (rest, None),
        };
        let literal = after.and_then(|after| after.strip_prefix('~'));
        match (literal, &mut unescaped) {
            (Some(after), unescaped) => {
                let text = unescaped.get_or_insert_default();
                text.push_str(plain);
                text.push('~');
                rest = after;
            }
            (None, None) => return (Cow::Borrowed(plain), after.unwrap_or_default()),
            (None, Some(text)) => {
                text.push_str(plain);
                return (Cow::Owned(std::mem::take(text)), after.unwrap_or_default());
            }
        }
    }
}

/// A field's two-character key and its value.
fn cut_key(field: &str) -> (&str, &str) {
    let end = field.char_indices().nth(2).map_or(field.len(), |(place, _)| place);
    field.split_at_checked(end).unwrap_or((field, ""))
}

/// GA4's name of a field, and whether it is a number.
fn item_field(key: &str) -> Option<(&'static str, bool)> {
    Some(match key {
        "id" => ("item_id", false),
        "nm" => ("item_name", false),
        "br" => ("item_brand", false),
        "ca" => ("item_category", false),
        "c2" => ("item_category2", false),
        "c3" => ("item_category3", false),
        "c4" => ("item_category4", false),
        "c5" => ("item_category5", false),
        "va" => ("item_variant", false),
        "cp" => ("coupon", false),
        "af" => ("affiliation", false),
        "cn" => ("creative_name", false),
        "cs" => ("creative_slot", false),
        "qt" => ("quantity", true),
        "pr" => ("price", true),
        "ds" => ("discount", true),
        "lp" => ("index", true),
        "li" => ("item_list_id", false),
        "ln" => ("item_list_name", false),
        "lo" => ("location_id", false),
        "pi" => ("promotion_id", false),
        "pn" => ("promotion_name", false),
        _ => return None,
    })
}

/// Half of a custom pair: `k<N><name>` or `v<N><value>`. N is of any length, and a value may begin with a digit, so only
/// the names tell where the number of a value ends.
struct Custom {
    is_name: bool,
    /// What stands behind the letter: number and text.
    text: String,
}

impl Custom {
    fn parse(field: &str) -> Option<Self> {
        let (is_name, text) = match field.strip_prefix('k') {
            Some(text) => (true, text),
            None => (false, field.strip_prefix('v')?),
        };
        text.starts_with(|first: char| first.is_ascii_digit()).then(|| Self {
            is_name,
            text: text.to_owned(),
        })
    }

    /// Number and name. GA parameter names begin with a letter, so all leading digits are the number.
    fn name(&self) -> Option<(&str, &str)> {
        let end = self.text.find(|byte: char| !byte.is_ascii_digit())?;
        self.is_name.then(|| self.text.split_at_checked(end)).flatten()
    }
}

/// Adds the custom pairs. A value belongs to the name before it if their numbers agree, as tags write them; otherwise to
/// the name with the longest number that fits. A half without its other half is kept as it came.
fn add_customs(item: &mut Map<'_>, customs: &[Custom]) {
    let names: Vec<(&str, &str)> = customs.iter().filter_map(Custom::name).collect();
    let mut taken = vec![false; names.len()];
    let mut read = 0;
    let mut pairs: Vec<(String, String)> = Vec::with_capacity(names.len());
    for custom in customs {
        if custom.name().is_some() {
            read += 1;
            continue;
        }
        let fits = |at: &usize| {
            let number = names.get(*at).map(|(number, _)| *number);
            !custom.is_name
                && taken.get(*at) == Some(&false)
                && number.is_some_and(|number| custom.text.starts_with(number))
        };
        let longest = |at: &usize| names.get(*at).map_or(0, |(number, _)| number.len());
        let before = usize::checked_sub(read, 1).filter(fits);
        let owner = before.or_else(|| (0..names.len()).filter(fits).max_by_key(longest));
        let pair = owner.and_then(|at| {
            let (number, name) = names.get(at)?;
            let value = custom.text.strip_prefix(number)?;
            if let Some(taken) = taken.get_mut(at) {
                *taken = true;
            }
            Some(((*name).to_owned(), value.to_owned()))
        });
        let letter = if custom.is_name { 'k' } else { 'v' };
        pairs.push(pair.unwrap_or_else(|| (format!("{letter}{}", custom.text), String::new())));
    }
    for ((_, name), taken) in names.iter().zip(&taken) {
        if !taken {
            pairs.push(((*name).to_owned(), String::new()));
        }
    }
    for (name, value) in pairs {
        let name = if item.contains(&name) {
            format!("x_{name}")
        } else {
            name
        };
        item.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn item(text: &str) -> serde_json::Value {
        serde_json::to_value(parse(Cow::Borrowed(text)).unwrap()).unwrap()
    }

    #[test]
    fn the_example_of_the_sheet() {
        assert_eq!(
            item("idSKU-1~nmBlue~~Shirt~brAcme~caTops~c2Shirts~pr19.99~qt2~k0color~v0blue"),
            json!({
                "item_id": "SKU-1", "item_name": "Blue~Shirt", "item_brand": "Acme", "item_category": "Tops",
                "item_category2": "Shirts", "price": 19.99, "quantity": 2, "color": "blue"
            })
        );
    }

    #[test]
    fn every_field_has_its_name() {
        assert_eq!(
            item("idi~nmn~brb~caa~c2b~c3c~c4d~c5e~vav~cpc~afa~cnn~css~qt1~pr2.5~ds0.5~lp3~lil~lnm~lop~piq~pnr"),
            json!({
                "item_id": "i", "item_name": "n", "item_brand": "b", "item_category": "a", "item_category2": "b",
                "item_category3": "c", "item_category4": "d", "item_category5": "e", "item_variant": "v", "coupon": "c",
                "affiliation": "a", "creative_name": "n", "creative_slot": "s", "quantity": 1, "price": 2.5, "discount": 0.5,
                "index": 3, "item_list_id": "l", "item_list_name": "m", "location_id": "p", "promotion_id": "q",
                "promotion_name": "r"
            })
        );
    }

    #[test]
    fn tildes_are_unescaped_wherever_they_stand() {
        assert_eq!(item("nm~~a~~"), json!({"item_name": "~a~"}));
        assert_eq!(item("nma~~~brb"), json!({"item_name": "a~", "item_brand": "b"}));
        assert_eq!(item("~~~~"), json!({"~~": ""}));
        assert_eq!(item("~"), json!({}));
    }

    #[test]
    fn custom_pairs_are_matched_by_number() {
        assert_eq!(
            item("k0color~v0blue~k1year~v12024~k10size~v10XL"),
            json!({"color": "blue", "year": "2024", "size": "XL"})
        );
        assert_eq!(item("k1a~k10b~v10x~v1y"), json!({"a": "y", "b": "x"}));
        assert_eq!(item("v0blue~k0color"), json!({"color": "blue"}));
    }

    #[test]
    fn halves_of_a_pair_are_kept() {
        assert_eq!(item("k0color"), json!({"color": ""}));
        assert_eq!(item("v7blue"), json!({"v7blue": ""}));
        assert_eq!(item("k0"), json!({"k0": ""}));
    }

    #[test]
    fn a_custom_name_never_replaces_a_field() {
        assert_eq!(item("idA~k0item_id~v0B"), json!({"item_id": "A", "x_item_id": "B"}));
    }

    #[test]
    fn unknown_keys_and_wrong_numbers_are_kept() {
        assert_eq!(
            item("zzfoo~x~qtmany~éàü"),
            json!({"zz": "foo", "x": "", "quantity": "many", "éà": "ü"})
        );
    }

    #[test]
    fn items_are_numbered_from_1_to_200() {
        assert_eq!((number_of("pr1"), number_of("pr200")), (Some(1), Some(200)));
        for name in ["pr", "pr0", "pr01", "pr201", "pr+1", "pr1x", "price", "pr99999999"] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }

    #[test]
    fn an_absurd_number_of_fields_is_refused() {
        assert_eq!(parse("zz~".repeat(201).into()), Err(TooManyFields));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[kv~0-2a-bé]{0,80}") {
            let borrowed = parse(Cow::Borrowed(&text));
            let owned = parse(Cow::Owned(text.clone()));
            prop_assert_eq!(borrowed, owned);
        }
    }
}
