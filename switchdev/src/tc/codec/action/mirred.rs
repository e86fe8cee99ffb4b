//! mirred: sends the packet, or a copy of it, to a device.

use tc_filter::IfIndex;
use tc_filter::action::{Mirred, MirredDirection, MirredMode};

use super::{GENERIC_LEN, generic_and, number_after_generic, number_at, verdict, verdict_of};
use crate::tc::codec::Unreadable;
use crate::tc::codec::attrs::{Attrs, Writer, need};

pub(super) const TIMES: u16 = 1;
const PARAMETERS: u16 = 2;
const PAD: u16 = 3;

/// `TCA_EGRESS_REDIR` and its siblings.
const WAYS: [(u32, MirredDirection, MirredMode); 4] = [
    (1, MirredDirection::Egress, MirredMode::Redirect),
    (2, MirredDirection::Egress, MirredMode::Mirror),
    (3, MirredDirection::Ingress, MirredMode::Redirect),
    (4, MirredDirection::Ingress, MirredMode::Mirror),
];

fn verdict_for(mode: MirredMode) -> i32 {
    match mode {
        MirredMode::Redirect => verdict::STOLEN,
        MirredMode::Mirror => verdict::PIPE,
    }
}

pub(super) fn emit(mirred: &Mirred) -> Writer {
    let is_it = |(_, direction, mode): &&(u32, MirredDirection, MirredMode)| {
        *direction == mirred.direction && *mode == mirred.mode
    };
    let way = WAYS.iter().find(is_it).map_or(0, |(number, _, _)| *number);
    let mut parameters = generic_and(verdict_for(mirred.mode), way);
    parameters.extend(mirred.to.0.to_ne_bytes());
    let mut out = Writer::default();
    out.bytes(PARAMETERS, parameters);
    out
}

pub(super) fn parse(options: &Attrs) -> Result<Mirred, Unreadable> {
    options.only(&[TIMES, PARAMETERS, PAD])?;
    let parameters = need(options.bytes(PARAMETERS), "mirred parameters")?;
    let way = number_after_generic(parameters)?;
    let found = WAYS.iter().find(|(number, _, _)| *number == way);
    let (_, direction, mode) = *need(found, "a known way to send")?;
    let to = IfIndex(need(number_at(parameters, GENERIC_LEN + 4), "mirred device")?);
    if verdict_of(parameters)? != verdict_for(mode) {
        return Err(Unreadable::new("mirred with a verdict of its own"));
    }
    Ok(Mirred { mode, direction, to })
}
