//! The outer header of packets that came by a tunnel. Flower takes the tunnel's key whole or not at all, and asks for all
//! options that a packet carries, so only the first option of a bridge can be matched (and see `options`).

use super::{Piece, carry};
use crate::compile::ir::KeyField;
use crate::compile::verdict::Reason;
use crate::openflow::{Field, Match};

const FIRST_OPTION: Field = Field::TunMetadata(0);
const KEY_BITS: u128 = 0xffff_ffff;

pub(super) fn with_outer(takes: &Match, piece: Piece) -> Option<Piece> {
    let Piece { key, mut inexact } = piece;
    let key = carry(takes, Field::TunSrc, KeyField::EncIpv4Src, key);
    let key = carry(takes, Field::TunDst, KeyField::EncIpv4Dst, key);
    let key = carry(takes, Field::TunIpv6Src, KeyField::EncIpv6Src, key);
    let key = carry(takes, Field::TunIpv6Dst, KeyField::EncIpv6Dst, key);
    let key = carry(takes, FIRST_OPTION, KeyField::EncOption, key);
    let Some(id) = takes.get(Field::TunId) else { return Some(Piece { key, inexact }) };
    // A VXLAN or Geneve key has 24 bits; what is above them is 0.
    let whole = id.mask & KEY_BITS | 0xff00_0000 == KEY_BITS && id.value <= KEY_BITS;
    if whole {
        return Some(Piece { key: key.with(KeyField::EncKeyId, id.value), inexact });
    }
    inexact = inexact.or(Some(Reason::NoFlowerKey(Field::TunId)));
    Some(Piece { key, inexact })
}
