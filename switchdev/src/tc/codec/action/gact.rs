//! gact: a verdict alone. The chain of a `goto` stands in the verdict's lower bits.

use tc_filter::ChainId;
use tc_filter::action::Gact;

use super::{generic, verdict, verdict_of};
use crate::tc::codec::Unreadable;
use crate::tc::codec::attrs::{Attrs, Writer, need};

pub(super) const TIMES: u16 = 1;
const PARAMETERS: u16 = 2;
const PAD: u16 = 4;

/// `TC_ACT_GOTO_CHAIN`, the opcode above the chain's 28 bits.
const GOTO: u32 = 0x2000_0000;
const OPCODE: u32 = 0xf000_0000;

pub(super) fn emit(gact: Gact) -> Writer {
    let mut out = Writer::default();
    out.bytes(PARAMETERS, generic(number(gact)));
    out
}

fn number(gact: Gact) -> i32 {
    match gact {
        Gact::Pass => verdict::OK,
        Gact::Drop => verdict::SHOT,
        Gact::Trap => verdict::TRAP,
        Gact::Pipe => verdict::PIPE,
        Gact::Continue => verdict::UNSPEC,
        Gact::Goto(chain) => (GOTO | chain.get()).cast_signed(),
    }
}

pub(super) fn parse(options: &Attrs) -> Result<Gact, Unreadable> {
    options.only(&[TIMES, PARAMETERS, PAD])?;
    let number = verdict_of(need(options.bytes(PARAMETERS), "gact parameters")?)?;
    match number {
        verdict::OK => Ok(Gact::Pass),
        verdict::SHOT => Ok(Gact::Drop),
        verdict::TRAP => Ok(Gact::Trap),
        verdict::PIPE => Ok(Gact::Pipe),
        verdict::UNSPEC => Ok(Gact::Continue),
        other => goto(other.cast_unsigned()),
    }
}

fn goto(number: u32) -> Result<Gact, Unreadable> {
    if number & OPCODE != GOTO {
        return Err(Unreadable::new(format!("verdict {number:#x}")));
    }
    ChainId::new(number & !OPCODE).map(Gact::Goto).map_err(Unreadable::new)
}
