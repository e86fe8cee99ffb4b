//! Netlink attributes: the type-length-value records that messages are made of.
//!
//! A record has a length (u16, with its own header of 4 bytes), a kind (u16, the two upper bits are
//! flags) and a value, padded to 4 bytes; all in the order of the machine (`struct nlattr` in
//! `linux/netlink.h`).

use std::fmt;

const HEADER: usize = 4;
const NESTED: u16 = 1 << 15;
const KIND_MASK: u16 = 0x3fff;

/// A list of attributes being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn u8(self, kind: u16, value: u8) -> Self {
        self.bytes(kind, &[value])
    }

    pub(crate) fn u16(self, kind: u16, value: u16) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    pub(crate) fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    pub(crate) fn u64(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// With the final NUL that the kernel's `NLA_NUL_STRING` wants.
    pub(crate) fn string(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Present is yes.
    pub(crate) fn flag(self, kind: u16) -> Self {
        self.bytes(kind, &[])
    }

    pub(crate) fn nested(self, kind: u16, inner: Self) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }

    /// A value that is longer than an attribute can say is cut; no caller has one.
    pub(crate) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let value = &value[..value.len().min(usize::from(u16::MAX) - HEADER)];
        let length = u16::try_from(HEADER + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Applies `write` where there is a value.
    pub(crate) fn maybe<T>(self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => write(self, value),
            None => self,
        }
    }
}

/// Bytes that are no attributes, or an attribute that is not of the type it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AttrError {
    /// A record says it is longer than what is left, or shorter than its header.
    #[error("an attribute's length of {length} does not fit the {left} bytes left")]
    Length {
        /// What the record says.
        length: u16,
        /// What there is.
        left: usize,
    },
    /// The value is not of the type.
    #[error("attribute {kind} has {found}: expected {wanted}")]
    Value {
        /// The attribute's number.
        kind: u16,
        /// What there is.
        found: String,
        /// What should be.
        wanted: &'static str,
    },
    /// The attribute must be there.
    #[error("attribute {kind} ({wanted}) is missing")]
    Missing {
        /// The attribute's number.
        kind: u16,
        /// What it says.
        wanted: &'static str,
    },
}

/// A list of attributes that was read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Attributes<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Attributes<'a> {
    pub(crate) fn parse(mut bytes: &'a [u8]) -> Result<Self, AttrError> {
        let mut list = Vec::new();
        while let Some((kind, value, rest)) = split(bytes)? {
            list.push((kind, value));
            bytes = rest;
        }
        Ok(Self(list))
    }

    pub(crate) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.0.iter().find(|(k, _)| *k == kind).map(|(_, value)| *value)
    }

    /// All values of `kind`, in order: how netlink writes lists.
    pub(crate) fn all(&self, kind: u16) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(k, _)| *k == kind).map(|(_, value)| *value)
    }

    pub(crate) fn has(&self, kind: u16) -> bool {
        self.get(kind).is_some()
    }

    pub(crate) fn nested(&self, kind: u16) -> Result<Option<Self>, AttrError> {
        self.get(kind).map(Self::parse).transpose()
    }

    pub(crate) fn u8(&self, kind: u16) -> Result<Option<u8>, AttrError> {
        Ok(self.fixed(kind, "1 byte")?.map(u8::from_ne_bytes))
    }

    pub(crate) fn u16(&self, kind: u16) -> Result<Option<u16>, AttrError> {
        Ok(self.fixed(kind, "2 bytes")?.map(u16::from_ne_bytes))
    }

    pub(crate) fn u32(&self, kind: u16) -> Result<Option<u32>, AttrError> {
        Ok(self.fixed(kind, "4 bytes")?.map(u32::from_ne_bytes))
    }

    pub(crate) fn u64(&self, kind: u16) -> Result<Option<u64>, AttrError> {
        Ok(self.fixed(kind, "8 bytes")?.map(u64::from_ne_bytes))
    }

    /// Exactly `N` bytes.
    pub(crate) fn fixed<const N: usize>(
        &self,
        kind: u16,
        wanted: &'static str,
    ) -> Result<Option<[u8; N]>, AttrError> {
        let Some(value) = self.get(kind) else { return Ok(None) };
        let found = || AttrError::Value { kind, found: format!("{} bytes", value.len()), wanted };
        value.try_into().map(Some).map_err(|_| found())
    }

    pub(crate) fn string(&self, kind: u16) -> Result<Option<String>, AttrError> {
        let Some(value) = self.get(kind) else { return Ok(None) };
        text(value).map(Some).ok_or_else(|| AttrError::Value {
            kind,
            found: format!("the bytes {value:02x?}"),
            wanted: "text in UTF-8",
        })
    }

    pub(crate) fn require_string(
        &self,
        kind: u16,
        wanted: &'static str,
    ) -> Result<String, AttrError> {
        self.string(kind)?.ok_or(AttrError::Missing { kind, wanted })
    }

    pub(crate) fn require_u32(&self, kind: u16, wanted: &'static str) -> Result<u32, AttrError> {
        self.u32(kind)?.ok_or(AttrError::Missing { kind, wanted })
    }

    pub(crate) fn require_u16(&self, kind: u16, wanted: &'static str) -> Result<u16, AttrError> {
        self.u16(kind)?.ok_or(AttrError::Missing { kind, wanted })
    }
}

impl fmt::Debug for Attributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(kind, value)| (kind, value))).finish()
    }
}

/// Text up to its first NUL.
pub(crate) fn text(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8(value[..end].to_vec()).ok()
}

type Split<'a> = Option<(u16, &'a [u8], &'a [u8])>;

/// The first attribute's kind and value, and what follows; `None` at the end.
fn split(bytes: &[u8]) -> Result<Split<'_>, AttrError> {
    let [l0, l1, k0, k1, ..] = *bytes else { return Ok(None) };
    let length = u16::from_ne_bytes([l0, l1]);
    let kind = u16::from_ne_bytes([k0, k1]) & KIND_MASK;
    let bad = AttrError::Length { length, left: bytes.len() };
    let value = bytes.get(HEADER..usize::from(length)).ok_or(bad)?;
    let next = usize::from(length).next_multiple_of(4).min(bytes.len());
    Ok(Some((kind, value, &bytes[next..])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_attribute_is_length_kind_value_and_padding() {
        let bytes = Writer::default().string(1, "pci").u8(26, 3).into_bytes();
        assert_eq!(bytes, [8, 0, 1, 0, b'p', b'c', b'i', 0, 5, 0, 26, 0, 3, 0, 0, 0]);
    }

    #[test]
    fn a_nest_is_marked_and_read_back_without_the_mark() {
        let bytes = Writer::default().nested(145, Writer::default().u8(2, 1)).into_bytes();
        assert_eq!(bytes[2..4], (145 | NESTED).to_ne_bytes());
        let read = Attributes::parse(&bytes).unwrap();
        assert_eq!(read.nested(145).unwrap().unwrap().u8(2), Ok(Some(1)));
    }

    #[test]
    fn a_value_of_the_wrong_size_is_refused() {
        let bytes = Writer::default().u16(3, 7).into_bytes();
        let error = Attributes::parse(&bytes).unwrap().u32(3).unwrap_err().to_string();
        assert_eq!(error, "attribute 3 has 2 bytes: expected 4 bytes");
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        let error = Attributes::parse(&[9, 0, 1, 0, 0]).unwrap_err().to_string();
        assert_eq!(error, "an attribute's length of 9 does not fit the 5 bytes left");
        assert!(Attributes::parse(&[3, 0, 1, 0]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(attributes) = Attributes::parse(&bytes) {
                for (kind, _) in &attributes.0 {
                    let _ = (attributes.u32(*kind), attributes.string(*kind), attributes.nested(*kind));
                }
            }
        }

        #[test]
        fn what_is_written_is_read(values: Vec<(u16, Vec<u8>)>) {
            let write = |w: Writer, (k, v): &(u16, Vec<u8>)| w.bytes(k & KIND_MASK, v);
            let bytes = values.iter().fold(Writer::default(), write).into_bytes();
            let read = Attributes::parse(&bytes).unwrap();
            let want: Vec<_> = values.iter().map(|(k, v)| (k & KIND_MASK, v.as_slice())).collect();
            prop_assert_eq!(read.0, want);
        }
    }
}
