//! Attributes by number, for the parts of a message that `netlink-packet-route` has no types for.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{Emitable, NLA_ALIGNTO, NLA_F_NESTED, NLA_TYPE_MASK, Nla, NlasIterator};

use super::Unreadable;

/// The attributes of one nest, each number once.
#[derive(Debug, Default)]
pub(super) struct Attrs {
    by_kind: BTreeMap<u16, Vec<u8>>,
}

impl Attrs {
    /// Takes attributes as another crate parsed them, back to bytes.
    pub(super) fn from_nlas<T: Nla>(nlas: &[T]) -> Self {
        let entry = |nla: &T| {
            let mut value = vec![0; nla.value_len()];
            nla.emit_value(&mut value);
            (nla.kind() & NLA_TYPE_MASK, value)
        };
        Self { by_kind: nlas.iter().map(entry).collect() }
    }

    /// The number must be one of these: an attribute nobody reads may change the meaning.
    pub(super) fn only(&self, known: &[u16]) -> Result<(), Unreadable> {
        match self.by_kind.keys().find(|kind| !known.contains(kind)) {
            None => Ok(()),
            Some(kind) => Err(Unreadable::new(format!("unknown attribute {kind}"))),
        }
    }

    pub(super) fn has(&self, kind: u16) -> bool {
        self.by_kind.contains_key(&kind)
    }

    pub(super) fn bytes(&self, kind: u16) -> Option<&[u8]> {
        self.by_kind.get(&kind).map(Vec::as_slice)
    }

    fn array<const N: usize>(&self, kind: u16) -> Result<Option<[u8; N]>, Unreadable> {
        let Some(bytes) = self.bytes(kind) else { return Ok(None) };
        let array = bytes.try_into().map_err(|_| {
            Unreadable::new(format!("attribute {kind} of {} bytes instead of {N}", bytes.len()))
        })?;
        Ok(Some(array))
    }

    pub(super) fn u8(&self, kind: u16) -> Result<Option<u8>, Unreadable> {
        Ok(self.array(kind)?.map(u8::from_ne_bytes))
    }

    pub(super) fn u16(&self, kind: u16) -> Result<Option<u16>, Unreadable> {
        Ok(self.array(kind)?.map(u16::from_ne_bytes))
    }

    pub(super) fn be16(&self, kind: u16) -> Result<Option<u16>, Unreadable> {
        Ok(self.array(kind)?.map(u16::from_be_bytes))
    }

    pub(super) fn u32(&self, kind: u16) -> Result<Option<u32>, Unreadable> {
        Ok(self.array(kind)?.map(u32::from_ne_bytes))
    }

    pub(super) fn be32(&self, kind: u16) -> Result<Option<u32>, Unreadable> {
        Ok(self.array(kind)?.map(u32::from_be_bytes))
    }

    pub(super) fn u64(&self, kind: u16) -> Result<Option<u64>, Unreadable> {
        Ok(self.array(kind)?.map(u64::from_ne_bytes))
    }

    /// 128 bits, the first byte the highest.
    pub(super) fn be128(&self, kind: u16) -> Result<Option<u128>, Unreadable> {
        Ok(self.array(kind)?.map(u128::from_be_bytes))
    }

    pub(super) fn ipv4(&self, kind: u16) -> Result<Option<Ipv4Addr>, Unreadable> {
        Ok(self.array::<4>(kind)?.map(Ipv4Addr::from))
    }

    pub(super) fn ipv6(&self, kind: u16) -> Result<Option<Ipv6Addr>, Unreadable> {
        Ok(self.array::<16>(kind)?.map(Ipv6Addr::from))
    }
}

/// What is missing, as an error.
pub(super) fn need<T>(value: Option<T>, what: &str) -> Result<T, Unreadable> {
    value.ok_or_else(|| Unreadable::new(format!("{what} is missing")))
}

/// The attributes of a nest in their order, numbers without their flags.
pub(super) fn list(bytes: &[u8]) -> Result<Vec<(u16, Vec<u8>)>, Unreadable> {
    let entries = NlasIterator::new(bytes).map(|nla| {
        let nla = nla.map_err(Unreadable::new)?;
        Ok((nla.kind(), nla.value().to_vec()))
    });
    entries.collect()
}

/// Writes attributes one after another, straight into the bytes of a message: this is where the
/// time of encoding goes.
#[derive(Debug, Default)]
pub(super) struct Writer {
    out: Vec<u8>,
}

/// Length and kind, two bytes each.
const ATTRIBUTE_HEADER: usize = 4;

impl Writer {
    /// A writer that begins with these bytes and has room for more.
    pub(super) fn after(header: &[u8], room: usize) -> Self {
        let mut out = Vec::with_capacity(header.len() + room);
        out.extend_from_slice(header);
        Self { out }
    }

    /// A value longer than an attribute can say would need a length of 17 bits; nothing here
    /// comes near.
    pub(super) fn bytes(&mut self, kind: u16, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap_or(u16::MAX);
        self.out.extend_from_slice(&length.to_ne_bytes());
        self.out.extend_from_slice(&kind.to_ne_bytes());
        self.out.extend_from_slice(value);
        self.out.resize(self.out.len().next_multiple_of(NLA_ALIGNTO), 0);
    }

    /// An attribute that `netlink-packet-route` knows.
    pub(super) fn nla(&mut self, nla: &impl Nla) {
        let start = self.out.len();
        self.out.resize(start + nla.buffer_len(), 0);
        nla.emit(&mut self.out[start..]);
    }

    /// With the final NUL.
    pub(super) fn string(&mut self, kind: u16, text: &str) {
        self.bytes(kind, [text.as_bytes(), &[0]].concat());
    }

    pub(super) fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, [value]);
    }

    pub(super) fn u16(&mut self, kind: u16, value: u16) {
        self.bytes(kind, value.to_ne_bytes());
    }

    pub(super) fn be16(&mut self, kind: u16, value: u16) {
        self.bytes(kind, value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, value.to_ne_bytes());
    }

    pub(super) fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, value.to_ne_bytes());
    }

    /// A nest with the flag that says so.
    pub(super) fn nest(&mut self, kind: u16, inside: &Self) {
        self.bytes(kind | NLA_F_NESTED, &inside.out);
    }

    /// A nest without it: some parts of TC are older than the flag.
    pub(super) fn plain_nest(&mut self, kind: u16, inside: &Self) {
        self.bytes(kind, &inside.out);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }
}
