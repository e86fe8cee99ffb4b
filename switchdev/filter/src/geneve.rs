//! Geneve options: what a packet carries and what a filter asks of it.

use std::fmt;

use crate::Masked;

/// The most bytes all options of one packet take (`IP_TUNNEL_OPTS_MAX`; a Geneve header has room
/// for 63 words).
pub const GENEVE_OPTIONS_MAX_BYTES: usize = 252;
/// The most bytes of data one option has: its length field counts 31 words.
const DATA_MAX: usize = 124;

/// One Geneve option, as a tunnel header carries it. The data is whole 32-bit words; it may be
/// empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GeneveOption {
    /// The namespace of the type, from the IANA list.
    pub class: u16,
    /// The option's type; its upper bit marks it as critical.
    pub kind: u8,
    data: Vec<u8>,
}

/// An option that no Geneve header can carry or no filter can match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GeneveOptionError {
    /// The data does not fill whole words or is too long.
    #[error("Geneve option data of {0} bytes: it must be a multiple of 4, and at most 124")]
    DataLength(usize),
    /// Flower cannot match an option without data (`fl_set_geneve_opt`).
    #[error("a Geneve option without data cannot be matched: it must have at least 4 bytes")]
    NoData,
    /// The mask does not cover the data.
    #[error("Geneve option mask of {mask} bytes for {data} bytes of data: they must be equal")]
    MaskLength {
        /// The bytes of data.
        data: usize,
        /// The bytes of its mask.
        mask: usize,
    },
}

impl GeneveOption {
    /// Checks the length of the data.
    ///
    /// # Errors
    /// [`GeneveOptionError::DataLength`].
    pub fn new(class: u16, kind: u8, data: &[u8]) -> Result<Self, GeneveOptionError> {
        if !data.len().is_multiple_of(4) || data.len() > DATA_MAX {
            return Err(GeneveOptionError::DataLength(data.len()));
        }
        Ok(Self { class, kind, data: data.to_vec() })
    }

    /// The data.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The bytes it takes in a header, its own four included.
    #[must_use]
    pub fn header_len(&self) -> usize {
        4 + self.data.len()
    }
}

impl fmt::Display for GeneveOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:", self.class, self.kind)?;
        self.data.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One Geneve option as a filter asks for it: class, type and data, each under a mask.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GeneveOptionMatch {
    /// The namespace of the type.
    pub class: Masked<u16>,
    /// The option's type.
    pub kind: Masked<u8>,
    data: Vec<u8>,
    mask: Vec<u8>,
}

impl GeneveOptionMatch {
    /// Asks for an option whose data agrees under `mask`. Class and type are exact.
    ///
    /// # Errors
    /// [`GeneveOptionError`] where the lengths do not fit.
    pub fn new(option: &GeneveOption, mask: &[u8]) -> Result<Self, GeneveOptionError> {
        let (class, kind) = (option.class.into(), option.kind.into());
        Self::with_masks(class, kind, option.data(), mask)
    }

    /// The same with a mask on class and type too.
    ///
    /// # Errors
    /// [`GeneveOptionError`] where the lengths do not fit.
    pub fn with_masks(
        class: Masked<u16>,
        kind: Masked<u8>,
        data: &[u8],
        mask: &[u8],
    ) -> Result<Self, GeneveOptionError> {
        if data.len() != mask.len() {
            return Err(GeneveOptionError::MaskLength { data: data.len(), mask: mask.len() });
        }
        GeneveOption::new(class.value(), kind.value(), data)?;
        if data.is_empty() {
            return Err(GeneveOptionError::NoData);
        }
        let counted = data.iter().zip(mask).map(|(data, mask)| data & mask).collect();
        Ok(Self { class, kind, data: counted, mask: mask.to_vec() })
    }

    /// The data; bits outside the mask are clear.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The bits of the data that count.
    #[must_use]
    pub fn mask(&self) -> &[u8] {
        &self.mask
    }

    /// Whether every bit counts.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.class.is_exact() && self.kind.is_exact() && self.mask.iter().all(|byte| *byte == 0xff)
    }

    /// Whether a packet's option is what the filter asks for.
    #[must_use]
    pub fn matches(&self, option: &GeneveOption) -> bool {
        let data = option.data.iter().zip(&self.mask).map(|(data, mask)| data & mask);
        self.class.matches(option.class)
            && self.kind.matches(option.kind)
            && self.data.len() == option.data.len()
            && data.eq(self.data.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_fills_whole_words() {
        assert_eq!(GeneveOption::new(0x102, 0x80, &[1]), Err(GeneveOptionError::DataLength(1)));
        assert!(GeneveOption::new(0x102, 0x80, &[]).is_ok());
        assert!(GeneveOption::new(0x102, 0x80, &[0; 128]).is_err());
    }

    #[test]
    fn only_the_masked_bits_of_the_data_count() {
        let asked = GeneveOption::new(0x102, 0x80, &[0, 5, 0, 9]).unwrap();
        let wanted = GeneveOptionMatch::new(&asked, &[0x7f, 0xff, 0, 0]).unwrap();
        let seen = |data: &[u8]| GeneveOption::new(0x102, 0x80, data).unwrap();
        assert!(wanted.matches(&seen(&[0x80, 5, 1, 1])));
        assert!(!wanted.matches(&seen(&[0, 6, 0, 9])));
        assert!(!wanted.matches(&seen(&[0, 5, 0, 9, 0, 0, 0, 0])));
    }
}
