//! ARP.

use tc_filter::Mac;
use tc_filter::key::ArpKey;

use super::{Key, joined, masked, pick};

pub(super) fn emit(key: &ArpKey, out: &mut Vec<Key>) {
    masked(out, key.tip, Key::ArpTip, Key::ArpTipMask);
    masked(out, key.sip, Key::ArpSip, Key::ArpSipMask);
    masked(out, key.op, Key::ArpOp, Key::ArpOpMask);
    masked(out, key.tha, |mac| Key::ArpTha(mac.0), |mac| Key::ArpThaMask(mac.0));
    masked(out, key.sha, |mac| Key::ArpSha(mac.0), |mac| Key::ArpShaMask(mac.0));
}

pub(super) fn parse(options: &[Key]) -> ArpKey {
    ArpKey {
        op: joined(pick!(options, ArpOp), pick!(options, ArpOpMask)),
        sip: joined(pick!(options, ArpSip), pick!(options, ArpSipMask)),
        tip: joined(pick!(options, ArpTip), pick!(options, ArpTipMask)),
        sha: joined(pick!(options, ArpSha).map(Mac), pick!(options, ArpShaMask).map(Mac)),
        tha: joined(pick!(options, ArpTha).map(Mac), pick!(options, ArpThaMask).map(Mac)),
    }
}
