//! Live figures as people read them: two digits, so that they rest while what they measure hardly moves.

/// A number with two significant digits, as plain decimals: `1200`, `12`, `0.034`, `0`. A number that is not finite, or
/// negative, is `0`.
#[must_use]
pub fn two_digits(number: f64) -> String {
    if !number.is_finite() || number < 0.000_5 {
        return "0".to_owned();
    }
    // The exponent is read from the rounded form, so that 9.96 is 10 and not 10.0.
    let scientific = format!("{number:.1e}");
    let exponent = scientific
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse::<i32>().ok())
        .unwrap_or_default();
    let rounded = scientific.parse::<f64>().unwrap_or(number);
    let decimals = usize::try_from(1 - exponent).unwrap_or_default();
    let text = format!("{rounded:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A share as percent with two digits: `0.1%`; of nothing it is `0%`.
#[must_use]
pub fn percent(part: f64, whole: f64) -> String {
    let share = if whole > 0.0 { 100.0 * part / whole } else { 0.0 };
    format!("{}%", two_digits(share.min(100.0)))
}

/// An age in its largest whole unit: `0s`, `59s`, `12m`, `47h`, `9d`. Ages compare as long as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age {
    seconds: u64,
}

/// The units, each with its length in seconds and the age that it ends at.
const UNITS: [(&str, u64, u64); 4] = [
    ("s", 1, 60),
    ("m", 60, 3_600),
    ("h", 3_600, 172_800),
    ("d", 86_400, u64::MAX),
];

impl Age {
    /// An age of so many seconds, rounded down. What is not finite, or negative, is no age.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` keeps within the bounds and maps NaN to 0
    pub fn of(seconds: f64) -> Self {
        let whole = if seconds.is_finite() { seconds as u64 } else { 0 };
        let length = UNITS
            .iter()
            .find(|(_, _, end)| whole < *end)
            .map_or(1, |(_, length, _)| *length);
        Self {
            seconds: whole - whole % length,
        }
    }
}

impl std::fmt::Display for Age {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = UNITS.iter().find(|(_, _, end)| self.seconds < *end);
        let (unit, length, _) = unit.unwrap_or(&UNITS[0]);
        write!(f, "{}{unit}", self.seconds / length)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn numbers_keep_two_digits() {
        for (number, text) in [
            (0.0, "0"),
            (-3.0, "0"),
            (f64::NAN, "0"),
            (0.0004, "0"),
            (0.001, "0.001"),
            (0.0344, "0.034"),
            (0.1, "0.1"),
            (0.996, "1"),
            (1.0, "1"),
            (1.25, "1.2"),
            (9.96, "10"),
            (12.4, "12"),
            (99.6, "100"),
            (1_234.0, "1200"),
            (1_260_000.0, "1300000"),
        ] {
            assert_eq!(two_digits(number), text, "{number}");
        }
    }

    #[test]
    fn shares_are_percent() {
        for (part, whole, text) in [
            (0.0, 0.0, "0%"),
            (1.0, 1_000.0, "0.1%"),
            (1.0, 3.0, "33%"),
            (5.0, 5.0, "100%"),
            (7.0, 5.0, "100%"),
        ] {
            assert_eq!(percent(part, whole), text, "{part} of {whole}");
        }
    }

    #[test]
    fn ages_are_in_their_largest_unit() {
        for (seconds, text) in [
            (0.2, "0s"),
            (3.9, "3s"),
            (59.9, "59s"),
            (60.0, "1m"),
            (754.0, "12m"),
            (3_600.0, "1h"),
            (172_799.0, "47h"),
            (172_800.0, "2d"),
            (f64::INFINITY, "0s"),
        ] {
            assert_eq!(Age::of(seconds).to_string(), text, "{seconds}");
        }
        assert!(Age::of(61.0) > Age::of(59.0));
        assert_eq!(Age::of(754.0), Age::of(721.0));
    }
}
