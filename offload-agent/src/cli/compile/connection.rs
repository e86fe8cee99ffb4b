//! `--ct-state` and `--ct-connection`: what connection tracking says of the packet that is explained.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use clap::ValueEnum;
use flow_compiler::compile::interp::{Connection, Conntrack, Rewrite, State};
use serde::Deserialize;
use tc_filter::CtZone;

/// What connection tracking says of the packet, in every zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CtState {
    /// It begins a connection.
    #[default]
    New,
    /// It belongs to one, in its direction.
    Est,
    /// It belongs to one, in the other direction.
    Rpl,
}

impl From<CtState> for State {
    fn from(state: CtState) -> State {
        match state {
            CtState::New => State::New,
            CtState::Est => State::Established,
            CtState::Rpl => State::Reply,
        }
    }
}

/// The connection that the packet belongs to in one zone, or in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtConnection {
    zone: Option<u16>,
    connection: Connection,
}

impl FromStr for CtConnection {
    type Err = String;

    /// `zone=8,state=est,mark=0x2,label=0x1,src=10.0.0.1:40000,dst=10.0.0.2`, all but one of them left out at will.
    fn from_str(text: &str) -> Result<CtConnection, String> {
        text.split(',').try_fold(CtConnection::default(), |mut all, part| {
            let (key, value) = part.split_once('=').ok_or_else(|| {
                format!("{part:?} has no \"=\"; write zone=8,state=est,mark=0x2,dst=10.0.0.2:80")
            })?;
            all.set(key, value)?;
            Ok(all)
        })
    }
}

const END: &str = "an address, or address:port ([address]:port in IPv6)";

impl CtConnection {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let wrong = |what: &str| format!("{key}={value}: write {what}");
        let connection = &mut self.connection;
        match key {
            "zone" => {
                self.zone = Some(number(value).ok_or_else(|| wrong("a number up to 65535"))?);
            }
            "state" => {
                let state = CtState::from_str(value, false);
                connection.state = state.map_err(|_| wrong("new, est or rpl"))?.into();
            }
            "mark" => {
                connection.mark = number(value).ok_or_else(|| wrong("a number of 32 bits"))?;
            }
            "label" => {
                connection.label = number(value).ok_or_else(|| wrong("a number of 128 bits"))?;
            }
            "src" => connection.translation.src = end(value).ok_or_else(|| wrong(END))?,
            "dst" => connection.translation.dst = end(value).ok_or_else(|| wrong(END))?,
            _ => {
                return Err(format!(
                    "{key}: there is no such key; write zone, state, mark, label, src or dst"
                ));
            }
        }
        Ok(())
    }
}

/// The answers of every zone: what is said of all, and over it what is said of one.
pub(super) fn conntrack(all: CtState, named: &[CtConnection]) -> Conntrack {
    let of_all = named.iter().rev().find(|one| one.zone.is_none());
    let common = match (of_all, all) {
        (Some(one), _) => one.connection,
        (None, state) => Connection { state: state.into(), ..Connection::default() },
    };
    let mut conntrack = Conntrack::default();
    if common != Connection::default() {
        conntrack.zones.extend((0..=u16::MAX).map(|zone| (CtZone(zone), common)));
    }
    for one in named {
        conntrack.zones.extend(one.zone.map(|zone| (CtZone(zone), one.connection)));
    }
    conntrack
}

fn number<T: TryFrom<u128>>(text: &str) -> Option<T> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16),
        None => text.parse(),
    };
    T::try_from(number.ok()?).ok()
}

fn end(text: &str) -> Option<Rewrite> {
    if let Ok(both) = text.parse::<SocketAddr>() {
        return Some(Rewrite { address: Some(both.ip()), port: Some(both.port()) });
    }
    let address: IpAddr = text.parse().ok()?;
    Some(Rewrite { address: Some(address), port: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_zone_answers_otherwise_than_the_rest() {
        let named = "zone=8,state=est,mark=0x2,dst=10.0.0.2:80".parse().unwrap();
        let all = conntrack(CtState::Rpl, &[named]);
        let one = all.zones[&CtZone(8)];
        assert_eq!((one.state, one.mark), (State::Established, 2));
        assert_eq!(one.translation.dst.address, Some("10.0.0.2".parse().unwrap()));
        assert_eq!(one.translation.dst.port, Some(80));
        assert_eq!(all.zones[&CtZone(9)].state, State::Reply);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (text, says) in [
            ("zone", "\"zone\" has no \"=\""),
            ("zone=65536", "zone=65536: write a number up to 65535"),
            ("state=old", "state=old: write new, est or rpl"),
            ("dst=10.0.0.2:99999", "dst=10.0.0.2:99999: write an address"),
            ("nat=1", "nat: there is no such key"),
        ] {
            let error = text.parse::<CtConnection>().unwrap_err();
            assert!(error.starts_with(says), "{error}");
        }
    }
}
