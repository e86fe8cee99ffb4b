//! What connection tracking knows about a packet.

use tc_filter::key::{CtKey, CtState};

use super::{Key, joined, masked, pick};

pub(super) fn emit(key: &CtKey, out: &mut Vec<Key>) {
    masked(out, key.state, |bits| Key::CtState(bits.0), |bits| Key::CtStateMask(bits.0));
    masked(out, key.zone, Key::CtZone, Key::CtZoneMask);
    masked(out, key.mark, Key::CtMark, Key::CtMarkMask);
    masked(out, key.label, label, label_mask);
}

fn label(label: u128) -> Key {
    Key::CtLabels(label.to_be_bytes())
}

fn label_mask(mask: u128) -> Key {
    Key::CtLabelsMask(mask.to_be_bytes())
}

pub(super) fn parse(options: &[Key]) -> CtKey {
    CtKey {
        state: joined(
            pick!(options, CtState).map(CtState),
            pick!(options, CtStateMask).map(CtState),
        ),
        zone: joined(pick!(options, CtZone), pick!(options, CtZoneMask)),
        mark: joined(pick!(options, CtMark), pick!(options, CtMarkMask)),
        label: joined(
            pick!(options, CtLabels).map(u128::from_be_bytes),
            pick!(options, CtLabelsMask).map(u128::from_be_bytes),
        ),
    }
}
