//! What somebody probably meant by a word that nobody knows.

/// The known word that takes the fewest edits, where few enough are needed for it to be a slip. Case and separators
/// do not count: `max-tx-rate` and `maxTxRate` both mean `max_tx_rate`.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let asked = plain(word);
    let scored =
        known.into_iter().map(|candidate| (distance(&asked, &plain(candidate)), candidate));
    let (edits, found) = scored.min()?;
    (edits <= limit(asked.len())).then_some(found)
}

/// A third of the letters may be wrong.
fn limit(letters: usize) -> usize {
    (letters / 3).max(1)
}

fn plain(word: &str) -> Vec<char> {
    word.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

/// Letters in another order are one slip; else insertions, deletions and replacements are counted.
fn distance(from: &[char], to: &[char]) -> usize {
    let sorted = |letters: &[char]| {
        let mut letters = letters.to_vec();
        letters.sort_unstable();
        letters
    };
    if from != to && sorted(from) == sorted(to) { 1 } else { edits(from, to) }
}

/// Levenshtein's distance, one row of its table at a time.
fn edits(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(to) {
            let replaced = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["max_tx_rate", "min_tx_rate", "vlan", "vlanQoS"];

    #[test]
    fn slips_and_other_spellings_are_understood() {
        for (word, meant) in [
            ("maxTxRate", "max_tx_rate"),
            ("min-tx-rate", "min_tx_rate"),
            ("vlna", "vlan"),
            ("vlan_qos", "vlanQoS"),
            ("max_txrates", "max_tx_rate"),
        ] {
            assert_eq!(nearest(word, KNOWN), Some(meant), "{word}");
        }
    }

    #[test]
    fn what_is_like_nothing_is_like_nothing() {
        assert_eq!(nearest("gateway", KNOWN), None);
        assert_eq!(nearest("", KNOWN), None);
    }

    #[test]
    fn edits_are_counted() {
        let count = |a: &str, b: &str| distance(&plain(a), &plain(b));
        assert_eq!((count("kitten", "sitting"), count("", "abc"), count("abc", "abc")), (3, 3, 0));
    }
}
