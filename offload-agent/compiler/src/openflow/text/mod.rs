//! The text of `ovs-ofctl`: rules, groups, meters and the map of tunnel options, read and written.
//!
//! What is read prints as OVS prints it, in the style it was written in. Errors point at the place and say what would be
//! right. An unknown field or action is no error: OVS learns new ones, so it is kept as
//! [`Unsupported`](super::Unsupported) and its rule stays with OVS.

mod action;
mod error;
mod flags;
mod group;
mod matches;
mod meter;
mod names;
mod rule;
mod tlv;
mod token;
mod value;

pub use error::{ParseError, Problem};
pub use names::Names;

pub(crate) use group::default_weight;

use std::collections::BTreeMap;

use super::{Group, Meter, Rule, TunnelOption};

/// Reads the rules of a dump, or of a file for `ovs-ofctl add-flows`: one a line, with comments and the headers of
/// replies between them.
pub fn parse_rules(text: &str, names: &Names) -> Result<Vec<Rule>, ParseError> {
    content_lines(text).map(|(number, line)| at_line(number, rule::parse(line, names))).collect()
}

/// Reads what `ovs-ofctl dump-groups` prints.
pub fn parse_groups(text: &str, names: &Names) -> Result<Vec<Group>, ParseError> {
    content_lines(text).map(|(number, line)| at_line(number, group::parse(line, names))).collect()
}

/// Reads what `ovs-ofctl dump-meters` prints.
pub fn parse_meters(text: &str) -> Result<Vec<Meter>, ParseError> {
    let mut meters: Vec<Meter> = Vec::new();
    for (number, line) in content_lines(text) {
        match meters.last_mut().filter(|_| !meter::begins(line)) {
            Some(meter) => meter.bands.push(at_line(number, meter::parse_band(line, meter.burst))?),
            None => meters.push(at_line(number, meter::parse(line))?),
        }
    }
    Ok(meters)
}

/// Reads what `ovs-ofctl dump-tlv-map` prints, or what `add-tlv-map` takes.
pub fn parse_tunnel_options(text: &str) -> Result<BTreeMap<u8, TunnelOption>, ParseError> {
    let mut options = BTreeMap::new();
    for (number, line) in content_lines(text).filter(|(_, line)| tlv::is_row(line)) {
        options.extend(at_line(number, tlv::parse(line))?);
    }
    Ok(options)
}

fn at_line<T>(line: usize, read: Result<T, ParseError>) -> Result<T, ParseError> {
    read.map_err(|error| ParseError { line, ..error })
}

/// The lines that say something, with their numbers from 1.
fn content_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_content = |line: &str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#') && !is_header(line)
    };
    text.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(move |(_, line)| is_content(line))
}

/// `OFPST_FLOW reply (OF1.5) (xid=0x2): flags=[more]` and its like.
fn is_header(line: &str) -> bool {
    let prefixes = ["OFPST_", "NXST_", "OFPT_", "NXT_", "OFPMP_"];
    prefixes.iter().any(|prefix| line.starts_with(prefix)) && line.contains("reply")
        || line.starts_with("NXT_TLV_TABLE_REPLY")
}
