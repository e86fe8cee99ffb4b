//! An Ethernet frame as bytes, and the two things done to it.

use std::fmt;

/// Bytes of the two addresses.
const ADDRESSES: usize = 12;
/// Bytes of a VLAN tag.
const TAG: usize = 4;

/// An Ethernet frame from its destination address on, without checksum.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame(pub Vec<u8>);

impl Frame {
    /// Some bytes, if the frame is that long.
    pub fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    /// A big-endian number of 16 bits.
    pub fn word(&self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_be_bytes)
    }

    /// A big-endian number of `N` bytes.
    pub fn number<const N: usize>(&self, at: usize) -> Option<u128> {
        let bytes = self.bytes::<N>(at)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }

    /// How many bytes there are from a place on.
    pub fn left(&self, at: usize) -> usize {
        self.0.len().saturating_sub(at)
    }

    /// What follows the addresses: a tag's EtherType, an EtherType or a length.
    pub fn outer_type(&self) -> u16 {
        self.word(ADDRESSES).unwrap_or(0)
    }

    /// The outer tag with its EtherType, if there is one.
    pub fn tag(&self) -> Option<(u16, u16)> {
        let tpid = self.outer_type();
        let tag = is_tag(tpid).then(|| self.word(ADDRESSES + 2)).flatten();
        tag.map(|tci| (tpid, tci))
    }

    /// Takes the outer tag off, if there is one.
    pub fn pop(&mut self) {
        if self.tag().is_some() {
            self.0.drain(ADDRESSES..ADDRESSES + TAG);
        }
    }

    /// Puts a tag on.
    pub fn push(&mut self, tpid: u16, tci: u16) {
        let tag = [tpid.to_be_bytes(), tci.to_be_bytes()].concat();
        let at = ADDRESSES.min(self.0.len());
        self.0.splice(at..at, tag);
    }
}

/// Whether an EtherType is that of a tag, for OVS and flower alike.
pub(super) fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8)
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_goes_on_and_off() {
        let bare = Frame([[1; 12].as_slice(), &[8, 0, 0x45]].concat());
        let mut frame = bare.clone();
        frame.push(0x8100, 0x2005);
        assert_eq!(frame.tag(), Some((0x8100, 0x2005)));
        assert_eq!(frame.0.len(), bare.0.len() + 4);
        frame.pop();
        assert_eq!(frame, bare);
        frame.pop();
        assert_eq!(frame, bare, "there is nothing to take off");
    }
}
