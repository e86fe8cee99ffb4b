//! police: `police rate 8000bit burst 1000b mtu 9000 conform-exceed drop/pipe`.
//!
//! `tc` writes the exceeding packets' verdict first.

use std::fmt::{self, Display, Formatter};

use super::value::number;
use super::words::{TextError, Words};
use crate::action::{Burst, Conform, Exceed, Police, PoliceRate};

const BITS_PER_BYTE: u64 = 8;

pub(super) fn print(f: &mut Formatter<'_>, police: &Police) -> fmt::Result {
    f.write_str("police")?;
    match police.rate {
        None => {}
        Some(PoliceRate::Bytes { per_second, burst: Burst(burst) }) => {
            let bits = u128::from(per_second) * u128::from(BITS_PER_BYTE);
            write!(f, " rate {bits}bit burst {burst}b")?;
        }
        Some(PoliceRate::Packets { per_second, burst: Burst(burst) }) => {
            write!(f, " pkts_rate {per_second} pkts_burst {burst}")?;
        }
    }
    write!(f, " mtu {}", police.mtu.unwrap_or(u32::MAX))?;
    write!(f, " conform-exceed {}/{}", police.exceed, police.conform)
}

impl Display for Exceed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drop => "drop",
            Self::Pass => "ok",
            Self::Pipe => "pipe",
            Self::Continue => "continue",
        })
    }
}

impl Display for Conform {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drop => "drop",
            Self::Pass => "ok",
            Self::Pipe => "pipe",
            Self::Continue => "continue",
        })
    }
}

/// What is said of the bucket, in any order.
#[derive(Default)]
struct Said {
    rate: Option<u64>,
    burst: Option<u64>,
    packets_rate: Option<u64>,
    packets_burst: Option<u64>,
    mtu: Option<u32>,
}

pub(super) fn parse(words: &mut Words<'_>) -> Result<Police, TextError> {
    let mut said = Said::default();
    while !words.take("conform-exceed") {
        match words.next("conform-exceed")? {
            "rate" => said.rate = Some(words.read("a rate in bit", rate)?),
            "burst" => said.burst = Some(words.read("bytes", bytes)?),
            "pkts_rate" => said.packets_rate = Some(words.read("packets a second", number)?),
            "pkts_burst" => said.packets_burst = Some(words.read("packets", number)?),
            "mtu" => said.mtu = Some(words.read("bytes", |w| bytes(w)?.try_into().ok())?),
            other => return Err(TextError::Unknown(other.to_owned())),
        }
    }
    let (exceed, conform) = words.read("verdicts as EXCEED/CONFORM", verdicts)?;
    let mtu = said.mtu.filter(|mtu| *mtu != u32::MAX);
    Ok(Police { rate: said.bucket()?, mtu, conform, exceed })
}

impl Said {
    fn bucket(&self) -> Result<Option<PoliceRate>, TextError> {
        match (self.rate, self.packets_rate) {
            (None, None) => Ok(None),
            (Some(per_second), _) => {
                let burst = Burst(self.burst.ok_or(TextError::Missing("burst"))?);
                Ok(Some(PoliceRate::Bytes { per_second, burst }))
            }
            (None, Some(per_second)) => {
                let burst = Burst(self.packets_burst.ok_or(TextError::Missing("pkts_burst"))?);
                Ok(Some(PoliceRate::Packets { per_second, burst }))
            }
        }
    }
}

/// Bits, kept as bytes.
fn rate(word: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 4] =
        [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];
    let (digits, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| word.strip_suffix(name).map(|digits| (digits, *unit)))?;
    let bits = digits.parse::<u128>().ok()?.checked_mul(u128::from(unit))?;
    u64::try_from(bits / u128::from(BITS_PER_BYTE)).ok()
}

fn bytes(word: &str) -> Option<u64> {
    number(word.strip_suffix('b').unwrap_or(word))
}

fn verdicts(word: &str) -> Option<(Exceed, Conform)> {
    let (exceed, conform) = word.split_once('/')?;
    Some((parse_exceed(exceed)?, parse_conform(conform)?))
}

fn parse_exceed(word: &str) -> Option<Exceed> {
    match word {
        "drop" | "shot" => Some(Exceed::Drop),
        "ok" | "pass" => Some(Exceed::Pass),
        "pipe" => Some(Exceed::Pipe),
        "continue" => Some(Exceed::Continue),
        _ => None,
    }
}

fn parse_conform(word: &str) -> Option<Conform> {
    match word {
        "drop" | "shot" => Some(Conform::Drop),
        "ok" | "pass" => Some(Conform::Pass),
        "pipe" => Some(Conform::Pipe),
        "continue" => Some(Conform::Continue),
        _ => None,
    }
}
