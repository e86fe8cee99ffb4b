//! csum: computes checksums anew.

use tc_filter::action::Csum;

use super::{generic_and, number_after_generic, pipes, verdict};
use crate::tc::codec::Unreadable;
use crate::tc::codec::attrs::{Attrs, Writer, need};

pub(super) const TIMES: u16 = 2;
const PARAMETERS: u16 = 1;
const PAD: u16 = 3;

pub(super) fn emit(csum: Csum) -> Writer {
    let mut out = Writer::default();
    out.bytes(PARAMETERS, generic_and(verdict::PIPE, csum.0));
    out
}

pub(super) fn parse(options: &Attrs) -> Result<Csum, Unreadable> {
    options.only(&[TIMES, PARAMETERS, PAD])?;
    let parameters = need(options.bytes(PARAMETERS), "csum parameters")?;
    pipes(parameters)?;
    number_after_generic(parameters).map(Csum)
}
