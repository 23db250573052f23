//! An object under construction: [`Map`] with a duplicate check that stays cheap however many fields a sender invents.

use std::{borrow::Cow, collections::HashMap};

use tagfleet_expressions::{Map, Value};

/// From this number of fields on, names are found by a hash table instead of a scan.
const SCAN_AT_MOST: usize = 96;

/// The fields of one object. Setting a name again replaces its value, in time that does not depend on how many there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields<'a> {
    entries: Vec<(Cow<'a, str>, Value<'a>)>,
    /// One bit for each name set, by [`bit`]: a clear bit proves that a name is new, which most names are.
    seen: [u64; 4],
    /// Positions by name once there are more than [`SCAN_AT_MOST`]. Its hash is seeded: a sender cannot choose collisions.
    index: Option<HashMap<Cow<'a, str>, usize>>,
}

impl<'a> Fields<'a> {
    /// No fields, with room for some.
    pub(super) fn with_capacity(fields: usize) -> Self {
        Self {
            entries: Vec::with_capacity(fields),
            ..Self::default()
        }
    }

    /// Sets a field, replacing what it had.
    pub(super) fn insert(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) {
        let (name, value) = (name.into(), value.into());
        let bit = bit(&name);
        match self
            .position_of(&name, bit)
            .and_then(|position| self.entries.get_mut(position))
        {
            Some((_, slot)) => *slot = value,
            None => self.push(name, bit, value),
        }
    }

    /// Sets a field that the caller knows to be new.
    pub(super) fn insert_new(&mut self, name: &'static str, value: impl Into<Value<'a>>) {
        self.push(Cow::Borrowed(name), bit(name), value.into());
    }

    /// Adds fields that the caller knows to be new, all of them.
    pub(super) fn append_new(&mut self, mut others: Self) {
        for (word, other) in self.seen.iter_mut().zip(others.seen) {
            *word |= other;
        }
        self.entries.append(&mut others.entries);
        self.grow_index();
    }

    /// Sets a field if nothing has set it yet.
    pub(super) fn insert_if_absent(&mut self, name: &'static str, value: impl FnOnce() -> Option<Value<'a>>) {
        if !self.contains(name)
            && let Some(value) = value()
        {
            self.insert_new(name, value);
        }
    }

    /// The value of a field.
    pub(super) fn get(&self, name: &str) -> Option<&Value<'a>> {
        let position = self.position(name)?;
        self.entries.get(position).map(|(_, value)| value)
    }

    /// The value of a field that is text and not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// Whether a field is set.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// Takes a field out. Linear: for the few names that a client treats by itself.
    pub(super) fn remove(&mut self, name: &str) -> Option<Value<'a>> {
        let position = self.position(name)?;
        self.index = None;
        let (_, value) = self.entries.remove(position);
        self.grow_index();
        Some(value)
    }

    /// Takes a field's value and leaves `null`, for one that is set again at once and keeps its place.
    pub(super) fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let position = self.position(name)?;
        let (_, value) = self.entries.get_mut(position)?;
        Some(std::mem::replace(value, Value::Null))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The finished object.
    pub(super) fn into_map(self) -> Map<'a> {
        Map::from_unique(self.entries)
    }

    fn push(&mut self, name: Cow<'a, str>, bit: Bit, value: Value<'a>) {
        if let Some(word) = self.seen.get_mut(bit.word) {
            *word |= bit.mask;
        }
        if let Some(index) = &mut self.index {
            index.insert(name.clone(), self.entries.len());
        }
        self.entries.push((name, value));
        if self.entries.len() == SCAN_AT_MOST + 1 {
            self.grow_index();
        }
    }

    fn grow_index(&mut self) {
        if self.entries.len() > SCAN_AT_MOST {
            let names = self.entries.iter().enumerate();
            self.index = Some(names.map(|(at, (name, _))| (name.clone(), at)).collect());
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.position_of(name, bit(name))
    }

    fn position_of(&self, name: &str, bit: Bit) -> Option<usize> {
        if self.seen.get(bit.word).is_none_or(|word| word & bit.mask == 0) {
            return None;
        }
        match &self.index {
            Some(index) => index.get(name).copied(),
            None => self.entries.iter().position(|(set, _)| set == name),
        }
    }
}

impl<'a> IntoIterator for Fields<'a> {
    type Item = (Cow<'a, str>, Value<'a>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

/// The place of a name in [`Fields::seen`].
#[derive(Clone, Copy)]
struct Bit {
    word: usize,
    mask: u64,
}

/// A name's bit, from its length and some of its bytes: names begin alike (`x-ga-`) and end differently.
fn bit(name: &str) -> Bit {
    let bytes = name.as_bytes();
    let middle = bytes.get(bytes.len() / 2).copied().unwrap_or_default();
    let (before_last, last) = match bytes {
        [.., before_last, last] => (*before_last, *last),
        [last] => (0, *last),
        [] => (0, 0),
    };
    let sample = u64::from(last) | u64::from(before_last) << 8 | u64::from(middle) << 16 | (bytes.len() as u64) << 24;
    let hash = sample.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    Bit {
        word: (hash >> 6) as usize,
        mask: 1 << (hash & 63),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Given names set in any order, any number of times: the last value of each stays.
        #[test]
        fn the_last_value_of_a_name_stays(sets in prop::collection::vec((0_u16..300, any::<i64>()), 0..800)) {
            let mut fields = Fields::default();
            let mut expected = BTreeMap::new();
            for (name, value) in sets {
                fields.insert(format!("n{name}"), value);
                expected.insert(format!("n{name}"), value);
            }
            prop_assert_eq!(fields.len(), expected.len());
            for (name, value) in &expected {
                prop_assert_eq!(fields.get(name), Some(&Value::Int(*value)));
            }
        }
    }

    #[test]
    fn a_removed_field_is_gone_and_the_others_stay() {
        let mut fields = Fields::default();
        for number in 0..200 {
            fields.insert(format!("n{number}"), i64::from(number));
        }
        assert_eq!(fields.remove("n50"), Some(Value::Int(50)));
        assert_eq!(fields.remove("n50"), None);
        assert_eq!(fields.get("n199"), Some(&Value::Int(199)));
        assert_eq!(fields.into_map().len(), 199);
    }
}
