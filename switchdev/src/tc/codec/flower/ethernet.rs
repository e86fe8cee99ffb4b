//! Ethernet addresses.

use tc_filter::Mac;
use tc_filter::key::EthKey;

use super::{Key, joined, masked, pick};

pub(super) fn emit(key: &EthKey, out: &mut Vec<Key>) {
    masked(out, key.dst, |mac| Key::EthDst(mac.0), |mac| Key::EthDstMask(mac.0));
    masked(out, key.src, |mac| Key::EthSrc(mac.0), |mac| Key::EthSrcMask(mac.0));
}

pub(super) fn parse(options: &[Key]) -> EthKey {
    EthKey {
        dst: joined(pick!(options, EthDst).map(Mac), pick!(options, EthDstMask).map(Mac)),
        src: joined(pick!(options, EthSrc).map(Mac), pick!(options, EthSrcMask).map(Mac)),
    }
}
