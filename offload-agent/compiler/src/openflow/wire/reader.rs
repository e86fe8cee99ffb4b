//! Bytes in network order, read one number after another.

use super::error::DecodeError;

/// Bytes that are left to read, and what they are, for errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, what }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next bytes.
    pub(super) fn take(&mut self, needed: usize) -> Result<&'a [u8], DecodeError> {
        let left = self.bytes.len();
        let error = DecodeError::Truncated { what: self.what, needed, left };
        let (taken, rest) = self.bytes.split_at_checked(needed).ok_or(error)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// Passes over padding.
    pub(super) fn skip(&mut self, padding: usize) -> Result<(), DecodeError> {
        self.take(padding).map(|_| ())
    }

    /// Passes over what pads something of this length to eight bytes, as far as it is there.
    pub(super) fn skip_padding_of(&mut self, length: usize) {
        let padding = length.next_multiple_of(8) - length;
        self.bytes = self.bytes.get(padding..).unwrap_or_default();
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn u128(&mut self) -> Result<u128, DecodeError> {
        self.array().map(u128::from_be_bytes)
    }

    /// The body of something that says its own length, of which `header` bytes have been read.
    pub(super) fn body(&mut self, length: usize, header: usize) -> Result<&'a [u8], DecodeError> {
        let bad = DecodeError::BadLength { what: self.what, length };
        self.take(length.checked_sub(header).ok_or(bad)?)
    }

    /// A number without a meaning.
    pub(super) fn bad_value(&self, value: impl Into<u64>) -> DecodeError {
        DecodeError::BadValue { what: self.what, value: value.into() }
    }
}

/// A number of up to 16 bytes.
pub(super) fn number(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}
