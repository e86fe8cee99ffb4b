//! Durations as people write them: a whole number and one of `ms`, `s`, `m`.

use std::time::Duration;

/// The text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give a whole number and a unit: 50ms, 10s or 5m")]
pub(super) struct InvalidDuration;

pub(super) fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| InvalidDuration)?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs).ok_or(InvalidDuration),
        _ => Err(InvalidDuration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<Duration>) {
        assert_eq!(parse(text).ok(), want, "{text:?}");
    }

    #[test]
    fn a_number_needs_a_unit() {
        check("50ms", Some(Duration::from_millis(50)));
        check("10s", Some(Duration::from_secs(10)));
        check("5m", Some(Duration::from_secs(300)));
        check("10", None);
        check("s", None);
        check("", None);
        check("1.5s", None);
        check("-1s", None);
    }

    #[test]
    fn a_number_too_large_is_refused_and_does_not_wrap() {
        check("18446744073709551615m", None);
        check("18446744073709551616s", None);
    }
}
