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
        match walk.state.test(*field, *masked) {
            Test::Never | Test::Unknown => return None,
            Test::If(parts) => {
                parts.into_iter().for_each(|(field, rest)| takes.insert(field, rest))
            }
        }
    }
    Some(takes)
}
