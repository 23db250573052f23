//! Reading a text character by character as a person would: what a URL writes in percent-encoding counts as what it stands
//! for.

/// What a place in a text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// A digit.
    Digit(u8),
    /// A letter of ASCII, in upper case.
    Letter(u8),
    /// White space, no-break space included.
    Space,
    /// A hyphen or a dash.
    Dash,
    /// Any other character of ASCII.
    Other(u8),
    /// A character outside ASCII.
    Foreign,
}

impl Sign {
    /// Whether codes are made of it. Scripts that write no blanks put a number right behind a word.
    pub(super) fn is_word(self) -> bool {
        matches!(self, Self::Digit(_) | Self::Letter(_))
    }
}

/// The bytes of a text, as far as they say what cannot be in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bytes {
    /// Digits there are.
    pub(super) digits: usize,
    /// Whether there is an `@`.
    pub(super) at: bool,
    /// Whether there is a `%`.
    pub(super) percent: bool,
    /// Whether there is a `=`.
    pub(super) equals: bool,
}

impl Bytes {
    /// Looks at each byte once, without a branch. Most texts are short, for which a table is faster than vectors.
    pub(super) fn of(text: &str) -> Self {
        let (mut digits, mut seen) = (0, 0);
        for byte in text.as_bytes() {
            let marks = marks(*byte);
            digits += one_if(marks, DIGIT);
            seen |= marks;
        }
        Self {
            digits,
            at: seen & AT != 0,
            percent: seen & PERCENT != 0,
            equals: seen & EQUALS != 0,
        }
    }
}

/// How much of a text stands together, as numbers do: with nothing between that parts them for sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Together {
    /// The most digits.
    pub(super) digits: usize,
    /// The most digits and letters.
    pub(super) characters: usize,
}

impl Together {
    /// Looks at each byte once, without a branch that depends on it. What is not of ASCII may be anything, and so may what is
    /// percent-encoded: of a text with a `%` everything counts as standing together.
    pub(super) fn of(text: &str, bytes: Bytes) -> Self {
        if bytes.percent {
            return Self {
                digits: bytes.digits,
                characters: text.len(),
            };
        }
        let (mut digits, mut most_digits) = (0, 0);
        let (mut characters, mut most_characters) = (0, 0);
        for byte in text.as_bytes() {
            let marks = marks(*byte);
            digits = (digits + one_if(marks, DIGIT)) * one_if(marks, IN_NUMBER);
            characters = (characters + one_if(marks, CHARACTER)) * one_if(marks, IN_CODE);
            most_digits = digits.max(most_digits);
            most_characters = characters.max(most_characters);
        }
        Self {
            digits: most_digits,
            characters: most_characters,
        }
    }
}

/// What a byte is, as marks of one bit each.
const DIGIT: u8 = 1;
const AT: u8 = 1 << 1;
const PERCENT: u8 = 1 << 2;
const EQUALS: u8 = 1 << 3;
/// A digit or letter.
const CHARACTER: u8 = 1 << 4;
/// It may stand between the digits of a number.
const IN_NUMBER: u8 = 1 << 5;
/// It may stand between the characters of a code.
const IN_CODE: u8 = 1 << 6;

const MARKS: [u8; 256] = {
    let mut marks = [0; 256];
    let mut rest = marks.as_mut_slice();
    let mut byte = 0_u8;
    while let Some((mark, behind)) = rest.split_first_mut() {
        *mark = match byte {
            b'0'..=b'9' => DIGIT | CHARACTER | IN_NUMBER | IN_CODE,
            b'a'..=b'z' | b'A'..=b'Z' => CHARACTER | IN_CODE,
            b' ' | b'\t' | b'-' | 0x80.. => IN_NUMBER | IN_CODE,
            b'(' | b')' | b'.' | b'/' | b'+' => IN_NUMBER,
            b'@' => AT,
            b'%' => PERCENT,
            b'=' => EQUALS,
            _ => 0,
        };
        byte = byte.wrapping_add(1);
        rest = behind;
    }
    marks
};

fn marks(byte: u8) -> u8 {
    MARKS.get(usize::from(byte)).copied().unwrap_or_default()
}

/// 1 if a byte has this mark, else 0.
fn one_if(marks: u8, mark: u8) -> usize {
    usize::from(marks & mark != 0)
}

/// The sign at a byte, and how many bytes it takes; none at the end.
#[inline]
pub(super) fn sign(text: &[u8], at: usize) -> Option<(Sign, usize)> {
    let first = *text.get(at)?;
    if first == b'%'
        && let Some(byte) = encoded(text, at)
    {
        // A character outside ASCII takes several; each by itself is foreign.
        return Some((ascii(byte), 3));
    }
    if first.is_ascii() {
        return Some((ascii(first), 1));
    }
    // No-break spaces and dashes, as word processors put them into numbers.
    let rest = text.get(at..).unwrap_or_default();
    Some(match rest {
        [0xC2, 0xA0, ..] => (Sign::Space, 2),
        [0xE2, 0x80, 0xAF, ..] => (Sign::Space, 3),
        [0xE2, 0x80, 0x90..=0x95, ..] => (Sign::Dash, 3),
        _ => (Sign::Foreign, 1),
    })
}

/// The byte that `%XX` at this place stands for.
pub(super) fn encoded(text: &[u8], at: usize) -> Option<u8> {
    let [b'%', high, low] = text.get(at..at.checked_add(3)?)? else {
        return None;
    };
    let digit = |digit: u8| (digit as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

/// The sign before a byte.
pub(super) fn sign_before(text: &[u8], at: usize) -> Option<Sign> {
    if let Some(start) = at.checked_sub(3)
        && encoded(text, start).is_some()
    {
        return sign(text, start).map(|(sign, _)| sign);
    }
    let last = *text.get(at.checked_sub(1)?)?;
    Some(if last.is_ascii() { ascii(last) } else { Sign::Foreign })
}

#[inline]
fn ascii(byte: u8) -> Sign {
    match byte {
        b'0'..=b'9' => Sign::Digit(byte - b'0'),
        b'a'..=b'z' | b'A'..=b'Z' => Sign::Letter(byte.to_ascii_uppercase()),
        b' ' | b'\t' => Sign::Space,
        b'-' => Sign::Dash,
        0..=0x7f => Sign::Other(byte),
        _ => Sign::Foreign,
    }
}
