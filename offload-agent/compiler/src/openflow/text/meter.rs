//! Meters as `ovs-ofctl dump-meters` prints them: a line for the meter, and a line for each of its bands.

use super::error::{ParseError, Problem};
use super::token::Token;
use crate::openflow::{Band, BandKind, Meter, MeterId, MeterUnit};

const METER_EXAMPLE: &str = "meter=1 kbps bands=";
const BAND_EXAMPLE: &str = "type=drop rate=1000 burst_size=100";

/// Whether the line begins a meter.
pub(super) fn begins(line: &str) -> bool {
    line.trim_start().starts_with("meter=")
}

/// Reads the line of a meter.
pub(super) fn parse(line: &str) -> Result<Meter, ParseError> {
    let line = Token::line(line).trim();
    let malformed = || line.error(Problem::Malformed { example: METER_EXAMPLE });
    let (mut id, mut unit) = (None, MeterUnit::Kbps);
    let (mut burst, mut stats) = (false, false);
    for word in line.words()? {
        match (word.text(), word.strip_prefix("meter=")) {
            (_, Some(number)) => id = Some(MeterId(number.uint()?)),
            ("kbps", _) => unit = MeterUnit::Kbps,
            ("pktps", _) => unit = MeterUnit::Pktps,
            ("burst", _) => burst = true,
            ("stats", _) => stats = true,
            ("bands=", _) => {}
            _ => return Err(word.error(Problem::Malformed { example: METER_EXAMPLE })),
        }
    }
    Ok(Meter { id: id.ok_or_else(malformed)?, unit, burst, stats, bands: Vec::new() })
}

/// Reads the line of a band.
pub(super) fn parse_band(line: &str) -> Result<Band, ParseError> {
    let line = Token::line(line).trim();
    let malformed = |token: Token<'_>| token.error(Problem::Malformed { example: BAND_EXAMPLE });
    let mut band = Band { kind: BandKind::Drop, rate: 0, burst_size: 0 };
    let (mut remarks, mut precedence) = (false, 0);
    for word in line.words()? {
        let (key, value) = word.split_once("=").ok_or_else(|| malformed(word))?;
        match (key.text(), value.text()) {
            ("type", "drop") => {}
            ("type", "dscp_remark") => remarks = true,
            ("rate", _) => band.rate = value.uint()?,
            ("burst_size", _) => band.burst_size = value.uint()?,
            ("prec_level", _) => precedence = value.uint()?,
            _ => return Err(malformed(word)),
        }
    }
    if remarks {
        band.kind = BandKind::DscpRemark { precedence };
    }
    Ok(band)
}
