//! ARP. Flower reads the fields of requests and answers for IPv4 over Ethernet only (`__skb_flow_dissect_arp`) and takes
//! them for 0 in all other ARP packets; OVS reads them whatever the operation is.

use super::{Piece, carry};
use crate::compile::ir::{Key, KeyField};
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Match};

const REQUEST: u128 = 1;
const ANSWER: u128 = 2;

const ADDRESSES: [(Field, KeyField); 4] = [
    (Field::ArpSpa, KeyField::ArpSip),
    (Field::ArpTpa, KeyField::ArpTip),
    (Field::ArpSha, KeyField::ArpSha),
    (Field::ArpTha, KeyField::ArpTha),
];

pub(super) fn pieces(takes: &Match, key: Key) -> Vec<Piece> {
    let full = ADDRESSES.iter().fold(key.clone(), |key, (from, to)| carry(takes, *from, *to, key));
    let with_operation = |operation| Piece::exact(full.clone().with(KeyField::ArpOp, operation));
    let rest = Piece::inexact(key.clone(), Reason::ArpOperation);
    match takes.exact(Field::ArpOp) {
        Some(operation @ (REQUEST | ANSWER)) => vec![with_operation(operation)],
        Some(_) => vec![rest],
        None if full == key => vec![Piece::exact(key)],
        None if zero_is_wrong(takes) => vec![Piece::exact(full), rest],
        None => vec![with_operation(REQUEST), with_operation(ANSWER), rest],
    }
}

/// Reverse ARP has the fields of ARP in OVS. Nothing but a plain match on the EtherType is worth a filter.
pub(super) fn reverse(takes: &Match, key: Key) -> Vec<Piece> {
    let asked = ADDRESSES.iter().map(|(field, _)| *field).chain([Field::ArpOp]);
    let asked = asked.into_iter().find(|field| takes.get(*field).is_some());
    match asked {
        Some(field) => vec![Piece::inexact(key, Reason::NoFlowerKey(field))],
        None => vec![Piece::exact(key)],
    }
}

/// Whether some address asked for keeps out the packets whose fields flower takes for 0.
fn zero_is_wrong(takes: &Match) -> bool {
    ADDRESSES.iter().filter_map(|(field, _)| takes.get(*field)).any(|masked| !masked.covers(0))
}
