//! Meters as `ovs-ofctl dump-meters` prints them: a line for the meter, and a line for each of its bands.

use std::fmt;

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

/// Reads the line of a band. A meter without bursts shows none, and OVS takes the rate for it.
pub(super) fn parse_band(line: &str, burst: bool) -> Result<Band, ParseError> {
    let line = Token::line(line).trim();
    let malformed = |token: Token<'_>| token.error(Problem::Malformed { example: BAND_EXAMPLE });
    let mut band = Band { kind: BandKind::Drop, rate: 0, burst_size: 0 };
    let mut precedence = 0;
    for word in line.words()? {
        let (key, value) = word.split_once("=").ok_or_else(|| malformed(word))?;
        match (key.text(), value.text()) {
            ("type", "drop") => {}
            ("type", "dscp_remark") => band.kind = BandKind::DscpRemark { precedence },
            // OVS prints the number of a kind it has no name for.
            ("type", _) => band.kind = BandKind::Unsupported(value.uint()?),
            ("rate", _) => band.rate = value.uint()?,
            ("burst_size", _) => band.burst_size = value.uint()?,
            ("prec_level", _) => precedence = value.uint()?,
            _ => return Err(malformed(word)),
        }
    }
    if let BandKind::DscpRemark { precedence: told } = &mut band.kind {
        *told = precedence;
    }
    if !burst {
        band.burst_size = band.rate;
    }
    Ok(band)
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            MeterUnit::Kbps => "kbps",
            MeterUnit::Pktps => "pktps",
        };
        let burst = if self.burst { " burst" } else { "" };
        let stats = if self.stats { " stats" } else { "" };
        write!(f, "meter={} {unit}{burst}{stats} bands=", self.id)?;
        self.bands.iter().try_for_each(|band| write!(f, "\n{}", BandLine(band, self.burst)))
    }
}

/// The line of a band; its burst is shown where the meter counts it.
struct BandLine<'a>(&'a Band, bool);

impl fmt::Display for BandLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BandLine(band, burst) = self;
        match band.kind {
            BandKind::Drop => f.write_str("type=drop")?,
            BandKind::DscpRemark { .. } => f.write_str("type=dscp_remark")?,
            BandKind::Unsupported(kind) => write!(f, "type={kind}")?,
        }
        write!(f, " rate={}", band.rate)?;
        if *burst {
            write!(f, " burst_size={}", band.burst_size)?;
        }
        match band.kind {
            BandKind::DscpRemark { precedence } => write!(f, " prec_level={precedence}"),
            BandKind::Drop | BandKind::Unsupported(_) => Ok(()),
        }
    }
}
