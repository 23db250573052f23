//! Numbers inside a text: of payment cards, and of phones. Where digits run together or stand apart is read once, as groups.

use std::ops::Range;

use super::scan::{Sign, sign, sign_before};

/// Digits of a card's number (ISO/IEC 7812-1: up to 19; no issuer has fewer than 13).
const CARD_DIGITS: Range<usize> = 13..20;
/// Digits of the shortest number.
pub(super) const FEWEST_DIGITS: usize = PHONE_DIGITS.start;
/// Digits of an international phone number, country code included: E.164 has 15 at the most.
const PHONE_DIGITS: Range<usize> = 8..16;
/// Digits of a national number with its trunk `0`. A date has eight.
const TRUNK_DIGITS: Range<usize> = 9..13;
/// Digits of an area's code with its trunk `0`.
const AREA_DIGITS: usize = 6;
/// Signs between two groups of digits of one number: `) `, ` - `.
const MAX_BETWEEN: usize = 3;
/// Groups of digits that are looked at together: more are in no number.
const MAX_GROUPS: usize = 12;

/// Digits without anything between them.
#[derive(Clone, Debug)]
struct Group {
    at: Range<usize>,
    digits: Digits,
    /// What stands before it, behind the group before.
    before: Between,
}

/// How many digits there are, and the first of them: as many as any number has.
#[derive(Clone, Debug, Default)]
struct Digits {
    count: usize,
    first: [u8; CARD_DIGITS.end],
}

/// The last signs between two groups.
#[derive(Clone, Debug, Default)]
struct Between {
    count: usize,
    signs: [Option<Sign>; MAX_BETWEEN],
}

/// Which numbers are looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Payment cards.
    pub(super) card: bool,
    /// Phones.
    pub(super) phone: bool,
}

/// Finds the numbers that are wanted.
pub(super) fn find(text: &str, wanted: Wanted, found: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let (mut at, mut run) = (0, Vec::new());
    while next_run(bytes, &mut at, &mut run) {
        if wanted.card {
            cards(bytes, &run, found);
        }
        if wanted.phone {
            phones(bytes, &run, found);
        }
    }
}

/// Reads the next groups of digits that have nothing but a few signs between them, from `at` on, which then stands behind
/// them. Whether there are any.
fn next_run(text: &[u8], at: &mut usize, groups: &mut Vec<Group>) -> bool {
    groups.clear();
    let mut before = Between::default();
    while let Some((here, length)) = sign(text, *at) {
        match here {
            Sign::Digit(_) => {
                let group = group(text, at, std::mem::take(&mut before));
                groups.push(group);
            }
            Sign::Space | Sign::Dash | Sign::Other(b'(' | b')' | b'.' | b'/' | b'+')
                if groups.is_empty() || before.count < MAX_BETWEEN =>
            {
                before.push(here);
                *at += length;
            }
            _ if groups.is_empty() => {
                before = Between::default();
                *at += length;
            }
            _ => return true,
        }
    }
    !groups.is_empty()
}

fn group(text: &[u8], at: &mut usize, before: Between) -> Group {
    let start = *at;
    let mut digits = Digits::default();
    while let Some((Sign::Digit(digit), length)) = sign(text, *at) {
        digits.push(digit);
        *at += length;
    }
    Group {
        at: start..*at,
        digits,
        before,
    }
}

impl Digits {
    fn push(&mut self, digit: u8) {
        if let Some(slot) = self.first.get_mut(self.count) {
            *slot = digit;
        }
        self.count += 1;
    }

    /// All of them, if there are no more than any number has, else the first.
    fn first(&self) -> &[u8] {
        self.first.get(..self.count).unwrap_or(&self.first)
    }
}

impl Between {
    /// Adds a sign; of many the last ones are kept.
    fn push(&mut self, sign: Sign) {
        if self.count == MAX_BETWEEN {
            self.signs.rotate_left(1);
            self.count -= 1;
        }
        if let Some(slot) = self.signs.get_mut(self.count) {
            *slot = Some(sign);
        }
        self.count += 1;
    }

    /// The signs from right to left.
    fn right_to_left(&self) -> impl Iterator<Item = Sign> {
        self.signs.iter().rev().flatten().copied()
    }

    fn contains(&self, sign: Sign) -> bool {
        self.signs.contains(&Some(sign))
    }

    /// The sign, if it is a single one.
    fn single(&self) -> Option<Sign> {
        self.signs.first().copied().flatten().filter(|_| self.count == 1)
    }
}

/// Card numbers among groups: any groups in a row, with single spaces or dashes between them, whose digits are right.
fn cards(text: &[u8], run: &[Group], found: &mut Vec<Range<usize>>) {
    let mut first = 0;
    while let Some(rest) = run.get(first..).filter(|rest| !rest.is_empty()) {
        let groups = card(text, rest);
        found.extend(place(rest, groups));
        first += groups.max(1);
    }
}

/// How many groups the longest card number takes that begins with the first one; 0 if there is none.
fn card(text: &[u8], run: &[Group]) -> usize {
    let mut digits = Digits::default();
    let mut longest = 0;
    if run.first().is_none_or(|group| is_joined_before(text, group.at.start)) {
        return longest;
    }
    for (index, group) in run.iter().take(MAX_GROUPS).enumerate() {
        let parted = matches!(group.before.single(), Some(Sign::Space | Sign::Dash));
        if index > 0 && !parted || digits.count + group.digits.count >= CARD_DIGITS.end {
            break;
        }
        for digit in group.digits.first() {
            digits.push(*digit);
        }
        let is_card = CARD_DIGITS.contains(&digits.count) && is_issued(digits.first()) && luhn(digits.first());
        if is_card && !is_joined(text, group.at.end) {
            longest = index + 1;
        }
    }
    longest
}

/// Where the first groups stand.
fn place(run: &[Group], groups: usize) -> Option<Range<usize>> {
    let last = run.get(groups.checked_sub(1)?)?;
    Some(run.first()?.at.start..last.at.end)
}

/// Whether a code goes on behind this place.
fn is_joined(text: &[u8], end: usize) -> bool {
    sign(text, end).is_some_and(|(sign, _)| sign.is_word())
}

/// Whether a code comes before this place.
fn is_joined_before(text: &[u8], start: usize) -> bool {
    sign_before(text, start).is_some_and(Sign::is_word)
}

/// Whether a number begins as those of payment cards do (ISO/IEC 7812-1: the industry is the first digit). Those with 0 and 1
/// are times and padded numbers, those with 20 dates; no brand begins with 7.
fn is_issued(digits: &[u8]) -> bool {
    match digits {
        [2, second, ..] => *second >= 2,
        [first, ..] => matches!(first, 3..=6 | 8 | 9),
        [] => false,
    }
}

/// The check digit of ISO/IEC 7812-1 annex B: every second digit from the right counts twice.
fn luhn(digits: &[u8]) -> bool {
    let weighed = digits.iter().rev().enumerate().map(|(place, digit)| match place % 2 {
        0 => u32::from(*digit),
        _ => {
            let twice = u32::from(*digit) * 2;
            if twice > 9 { twice - 9 } else { twice }
        }
    });
    weighed.sum::<u32>().is_multiple_of(10)
}

/// Phone numbers among groups.
fn phones(text: &[u8], run: &[Group], found: &mut Vec<Range<usize>>) {
    let mut first = 0;
    while let Some(rest) = run.get(first..).filter(|rest| !rest.is_empty()) {
        let (start, groups) = phone(text, rest).unwrap_or((0, 0));
        found.extend(place(rest, groups).map(|place| start..place.end));
        first += groups.max(1);
    }
}

/// The phone number that begins with the first group: where, with its `+` and bracket, and how many groups it takes.
fn phone(text: &[u8], run: &[Group]) -> Option<(usize, usize)> {
    let (start, plus) = start_of(text, run)?;
    let groups = international(text, run, plus)
        .or_else(|| north_american(text, run))
        .or_else(|| with_trunk(text, run))?;
    Some((start, groups))
}

/// Where a number begins, its `+` and bracket included, and whether there is a `+`; none in the middle of a code.
fn start_of(text: &[u8], run: &[Group]) -> Option<(usize, bool)> {
    let group = run.first()?;
    let mut start = group.at.start;
    let mut plus = false;
    for sign in group.before.right_to_left() {
        match sign {
            Sign::Other(b'+') => plus = true,
            Sign::Other(b'(') => {}
            _ => break,
        }
        start = place_before(text, start);
        if plus {
            break;
        }
    }
    // A bracket parts by itself. A plus does not: in a query it is a blank between words.
    let in_code = (plus || start == group.at.start) && is_joined_before(text, start);
    (!in_code).then_some((start, plus))
}

/// Where the sign before a place begins: it is of ASCII, or percent-encoded.
fn place_before(text: &[u8], at: usize) -> usize {
    match at.checked_sub(3) {
        Some(start) if super::scan::encoded(text, start).is_some() => start,
        _ => at.saturating_sub(1),
    }
}

/// `+49 171 1234567`, `+4917112345678`, `0049 171 1234567`: as many groups as one number can have.
fn international(text: &[u8], run: &[Group], plus: bool) -> Option<usize> {
    // A number padded with zeros is shorter than one with an exchange's prefix and a country's code.
    let (prefix, enough) = match run.first()?.digits.first() {
        [1..=9, ..] if plus => (0, PHONE_DIGITS.start),
        [0, 0, 1..=9, ..] if !plus => (2, 10),
        _ => return None,
    };
    longest(text, run, prefix + enough..prefix + PHONE_DIGITS.end)
}

/// The most groups that make a number of so many digits, and behind which no code goes on.
fn longest(text: &[u8], run: &[Group], wanted: Range<usize>) -> Option<usize> {
    let mut digits = 0;
    let mut longest = None;
    for (index, group) in run.iter().take(MAX_GROUPS).enumerate() {
        let is_another = index > 0 && group.before.contains(Sign::Other(b'+'));
        digits += group.digits.count;
        if is_another || digits >= wanted.end {
            break;
        }
        if digits >= wanted.start && !is_joined(text, group.at.end) {
            longest = Some(index + 1);
        }
    }
    longest
}

/// `(415) 555-2671`, `415-555-2671`, `1 415 555 2671`: area and exchange begin with 2 to 9 (North American Numbering Plan).
fn north_american(text: &[u8], run: &[Group]) -> Option<usize> {
    let country = usize::from(run.first()?.digits.first() == [1]);
    let [area, exchange, line, ..] = run.get(country..)? else {
        return None;
    };
    let is_three = |group: &Group| matches!(group.digits.first(), [2..=9, _, _]);
    let is_number = is_three(area) && is_three(exchange) && line.digits.count == 4 && !is_joined(text, line.at.end);
    is_number.then_some(country + 3)
}

/// `0171 1234567`, `030/123456`, `06 12 34 56 78`: with the trunk prefix of most countries, in two groups or more. In the
/// middle of a code with dashes it is part of that.
fn with_trunk(text: &[u8], run: &[Group]) -> Option<usize> {
    let first = run.first()?;
    let begins = matches!(first.digits.first(), [0, 1..=9, ..]) && first.digits.count <= AREA_DIGITS;
    let in_code =
        first.before.single() == Some(Sign::Dash) && is_joined_before(text, place_before(text, first.at.start));
    if !begins || in_code || is_date(run) {
        return None;
    }
    longest(text, run, TRUNK_DIGITS).filter(|groups| *groups > 1 && !is_time(text, run, *groups))
}

/// Whether what looks like the last groups of a number is the hour of a time.
fn is_time(text: &[u8], run: &[Group], groups: usize) -> bool {
    let end = place(run, groups).map_or(0, |place| place.end);
    matches!(sign(text, end), Some((Sign::Other(b':'), _))) && matches!(sign(text, end + 1), Some((Sign::Digit(_), _)))
}

/// `31.12.2026`, `12/31/2026`.
fn is_date(run: &[Group]) -> bool {
    let lengths = run.iter().take(3).map(|group| group.digits.count);
    lengths.eq([2, 2, 4])
}
