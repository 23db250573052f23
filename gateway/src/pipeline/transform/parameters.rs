//! Parameters as transformations name them: names with dots between them (`user_data.email_address`), which go through
//! lists too (`items.item_id` is that of every item). A parameter stands for all that is below it.

use tagfleet_expressions::{Map, Value};

/// A set of parameters, as a tree of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    names: Vec<(Box<str>, Part)>,
    /// One bit for each name, by [`bit`]: most fields of an event have none of them.
    bits: u64,
}

/// What of a field a set of parameters names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// All of it.
    Whole,
    /// Only these parameters below it.
    Below(Parameters),
}

/// What to do with a value, given the name of the field that it stands in.
pub(super) type Visit<'f> = &'f mut dyn FnMut(&str, &mut Value<'_>);

impl Parameters {
    /// The parameters of a manifest.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut all = Self::default();
        for name in names {
            all.insert(name);
        }
        all
    }

    fn insert(&mut self, path: &str) {
        let (first, rest) = match path.split_once('.') {
            Some((first, rest)) => (first, Some(rest)),
            None => (path, None),
        };
        let index = match self.names.iter().position(|(name, _)| **name == *first) {
            Some(index) => index,
            None => {
                self.bits |= bit(first);
                self.names.push((first.into(), Part::Below(Self::default())));
                self.names.len() - 1
            }
        };
        let Some((_, part)) = self.names.get_mut(index) else {
            return;
        };
        match (part, rest) {
            (part, None) => *part = Part::Whole,
            (Part::Below(below), Some(rest)) => below.insert(rest),
            (Part::Whole, Some(_)) => {}
        }
    }

    /// The names of the fields of the event that these parameters are, or are below.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| &**name)
    }

    /// Whether all of a field is named.
    #[must_use]
    pub fn has_whole(&self, name: &str) -> bool {
        self.find(name) == Some(&Part::Whole)
    }

    /// What is named of a field. A name with dots in it, as a sender may choose, is the parameter that is written so.
    #[inline]
    fn find(&self, name: &str) -> Option<&Part> {
        (self.bits & bit(name) != 0).then(|| self.look_up(name)).flatten()
    }

    fn look_up(&self, name: &str) -> Option<&Part> {
        if let Some((_, part)) = self.names.iter().find(|(known, _)| **known == *name) {
            return Some(part);
        }
        let (first, rest) = name.split_once('.')?;
        match self.find(first)? {
            Part::Whole => Some(&Part::Whole),
            Part::Below(below) => below.find(rest),
        }
    }

    /// Removes the parameters from an object; an object below it that is emptied by that goes, too.
    pub fn remove_from(&self, fields: &mut Map<'_>) {
        fields.retain(|name, value| match self.find(name) {
            None => true,
            Some(Part::Whole) => false,
            Some(Part::Below(below)) => {
                let had = has_content(value);
                for_each_object(value, &mut |object| below.remove_from(object));
                !had || has_content(value)
            }
        });
    }

    /// Removes all but the parameters from an object; `needed` stay whatever they are.
    pub fn keep_in(&self, fields: &mut Map<'_>, needed: &[&str]) {
        fields.retain(|name, value| match self.find(name) {
            _ if needed.contains(&name) => true,
            None => false,
            Some(Part::Whole) => true,
            Some(Part::Below(below)) => {
                keep_below(below, value);
                has_content(value)
            }
        });
    }

    /// Calls `visit` for every value below the parameters that is no object and no list.
    pub(super) fn for_each_leaf(&self, fields: &mut Map<'_>, visit: Visit<'_>) {
        for (name, value) in fields.iter_mut() {
            self.for_each_leaf_of(name, value, visit);
        }
    }

    /// As [`Self::for_each_leaf`], for one field.
    pub(super) fn for_each_leaf_of(&self, name: &str, value: &mut Value<'_>, visit: Visit<'_>) {
        match self.find(name) {
            None => {}
            Some(Part::Whole) => for_each_leaf(name, value, visit),
            Some(Part::Below(below)) => for_each_object(value, &mut |object| below.for_each_leaf(object, visit)),
        }
    }
}

/// The bit of a name, by its first byte: a name with dots in it has that of its part before the first one.
fn bit(name: &str) -> u64 {
    1 << (name.bytes().next().unwrap_or(b'.') % 64)
}

/// Calls `visit` for every value in `value` that is no object and no list; `name` is the field that it stands in.
pub(super) fn for_each_leaf(name: &str, value: &mut Value<'_>, visit: Visit<'_>) {
    match value {
        Value::List(elements) => {
            for element in elements {
                for_each_leaf(name, element, visit);
            }
        }
        Value::Map(fields) => {
            for (name, value) in fields.iter_mut() {
                for_each_leaf(name, value, visit);
            }
        }
        leaf => visit(name, leaf),
    }
}

/// Sets the parameter `path` to `value`, in every element of a list on the way. Objects are made where there are none; what
/// is no object gives way.
pub(super) fn set(fields: &mut Map<'_>, path: &str, value: Value<'static>) {
    let Some((first, rest)) = path.split_once('.') else {
        fields.insert(path.to_owned(), value);
        return;
    };
    if !fields.contains(first) {
        fields.insert(first.to_owned(), Map::new());
    }
    match fields.get_mut(first) {
        Some(Value::List(elements)) => {
            for element in elements.iter_mut() {
                set_in(element, rest, value.clone());
            }
        }
        Some(other) => set_in(other, rest, value),
        None => {}
    }
}

fn set_in(slot: &mut Value<'_>, path: &str, value: Value<'static>) {
    if !matches!(slot, Value::Map(_)) {
        *slot = Value::Map(Map::new());
    }
    if let Value::Map(fields) = slot {
        set(fields, path, value);
    }
}

/// A value of which only what is below some of its fields is kept: any other has nothing of that.
fn keep_below(below: &Parameters, value: &mut Value<'_>) {
    match value {
        Value::Map(fields) => below.keep_in(fields, &[]),
        Value::List(elements) => {
            for element in elements.iter_mut() {
                keep_below(below, element);
            }
        }
        other => *other = Value::Null,
    }
}

/// Calls `act` for the object that a value is, or for those in the list that it is.
fn for_each_object<'a>(value: &mut Value<'a>, act: &mut dyn FnMut(&mut Map<'a>)) {
    match value {
        Value::Map(fields) => act(fields),
        Value::List(elements) => {
            for element in elements {
                for_each_object(element, act);
            }
        }
        _ => {}
    }
}

/// Whether there is anything in a value.
fn has_content(value: &Value<'_>) -> bool {
    match value {
        Value::Null => false,
        Value::Map(fields) => !fields.is_empty(),
        Value::List(elements) => elements.iter().any(has_content),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A field that the bits rule out is none of the parameters.
        #[test]
        fn the_bits_hide_no_field(names in prop::collection::vec("[ab\u{e9}.]{0,4}", 0..4), field in "[ab\u{e9}.]{0,5}") {
            let parameters = Parameters::new(names.iter().map(String::as_str));
            let without_bits = Parameters { bits: u64::MAX, ..parameters.clone() };
            prop_assert_eq!(parameters.find(&field), without_bits.find(&field));
        }
    }
}
