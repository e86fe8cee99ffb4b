//! A question that no table asks: which packets are meant, as far as the state leaves it open.

use super::explore::Walk;
use super::reads::Reads;
use super::value::Test;
use crate::openflow::{Field, Masked, Match};

/// What is left to ask of the packet; `None` if the answer is no. What nobody knows takes nothing.
pub(super) fn ask(walk: &Walk<'_>, asked: &[(Field, Masked)], reads: &mut Reads) -> Option<Match> {
    let mut takes = Match::any();
    for (field, masked) in asked {
        reads.test(&walk.state, *field, masked.mask);
        let Test::If(parts) = walk.state.test(*field, *masked) else { return None };
        if !add(&mut takes, parts) {
            return None;
        }
    }
    Some(takes)
}

/// Adds bits to what is asked; `false` if no packet has them all, since two fields may stand for the same bits of the packet.
pub(super) fn add(takes: &mut Match, parts: impl IntoIterator<Item = (Field, Masked)>) -> bool {
    parts.into_iter().all(|(field, masked)| {
        let before = takes.get(field);
        takes.insert(field, masked);
        before.is_none_or(|before| before.agrees(masked))
    })
}
