//! `eth0#0-3,5`: a PF, and which of its functions are meant.

use std::fmt;
use std::str::FromStr;

/// A PF by name or address, and the indexes of its VFs or numbers of its sub-functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionRange<T> {
    /// The PF.
    pub pf: T,
    /// Which of its functions.
    pub indexes: Indexes,
}

/// Which functions of a PF are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Indexes {
    /// There was no `#`.
    All,
    /// First and last of each range, both included.
    Ranges(Vec<(u32, u32)>),
}

/// The text is no PF with a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRange {
    /// What is before the `#`.
    #[error("{0}")]
    Pf(String),
    /// What is after it.
    #[error("{0:?} is no list of indexes; write PF#0-3,5 for the functions 0 to 3 and 5")]
    Indexes(String),
    /// A range that ends before it begins.
    #[error("{0:?} ends before it begins; write the smaller index first")]
    Backwards(String),
}

impl Indexes {
    /// Whether the function numbered `index` is meant; one without a number only where all are.
    #[must_use]
    pub fn contain(&self, index: Option<u32>) -> bool {
        match (self, index) {
            (Self::All, _) => true,
            (Self::Ranges(ranges), Some(index)) => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&index))
            }
            (Self::Ranges(_), None) => false,
        }
    }
}

impl<T: FromStr<Err: fmt::Display>> FromStr for FunctionRange<T> {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let (pf, indexes) = match text.split_once('#') {
            None => (text, Indexes::All),
            Some((pf, list)) => {
                (pf, Indexes::Ranges(list.split(',').map(range).collect::<Result<_, _>>()?))
            }
        };
        if pf.is_empty() {
            return Err(InvalidRange::Pf("there is no PF before the '#'".to_owned()));
        }
        let pf = pf.parse().map_err(|error: T::Err| InvalidRange::Pf(error.to_string()))?;
        Ok(Self { pf, indexes })
    }
}

fn range(text: &str) -> Result<(u32, u32), InvalidRange> {
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        (Some(_), Some(_)) => Err(InvalidRange::Backwards(text.to_owned())),
        _ => Err(InvalidRange::Indexes(text.to_owned())),
    }
}

impl<T: fmt::Display> fmt::Display for FunctionRange<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pf)?;
        let Indexes::Ranges(ranges) = &self.indexes else { return Ok(()) };
        let words = ranges.iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        write!(f, "#{}", words.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<FunctionRange<String>, InvalidRange> {
        text.parse()
    }

    fn indexes(text: &str) -> Vec<u32> {
        let range = parse(text).unwrap();
        (0..10).filter(|index| range.indexes.contain(Some(*index))).collect()
    }

    #[test]
    fn both_ends_of_a_range_are_in_it() {
        assert_eq!(indexes("eth0#0-3,5"), [0, 1, 2, 3, 5]);
        assert_eq!(indexes("eth0#7"), [7]);
        assert_eq!(indexes("eth0").len(), 10);
    }

    #[test]
    fn a_function_without_a_number_is_in_no_range() {
        assert!(parse("eth0").unwrap().indexes.contain(None));
        assert!(!parse("eth0#0-9").unwrap().indexes.contain(None));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in
            ["", "#1", "eth0#", "eth0#a", "eth0#1-", "eth0#-1", "eth0#1,,2", "eth0#1#2", "eth0#3-1"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_shown_as_it_was_meant(text in "[a-z#0-9,-]{0,12}") {
            if let Ok(range) = parse(&text) {
                prop_assert_eq!(parse(&range.to_string()), Ok(range));
            }
        }
    }
}
