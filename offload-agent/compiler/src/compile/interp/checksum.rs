//! The Internet checksum (RFC 1071): computed, and carried along a change (RFC 1624).

/// The ones' complement sum of the words, folded to 16 bits. An odd last byte counts as the upper half of a word.
pub(super) fn sum(bytes: &[u8]) -> u16 {
    bytes.chunks(2).fold(0, |sum, pair| {
        let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        add(sum, word)
    })
}

/// The sum of two sums.
pub(super) fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

/// A checksum after some words it covers have changed.
pub(super) fn carried(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    !add(add(!checksum, !sum(old)), sum(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_carries_along_as_computing_anew_would() {
        let (old, new) = ([0x12, 0x34, 0xff, 0xff, 0, 9], [0x12, 0x34, 0, 1, 0, 9]);
        assert_eq!(carried(!sum(&old), &old[2..4], &new[2..4]), !sum(&new));
    }

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }
}
