//! Actions, one file each: `emit` writes an action's options, `parse` reads them back.
//!
//! An action whose verdict is not the one its kind has in [`tc_filter::action`] is not
//! understood: it would end the filter where ours goes on.

mod csum;
mod ct;
mod gact;
mod mirred;
mod pedit;
mod police;
mod tunnel_key;
mod vlan;

use netlink_packet_route::tc::{TcAction, TcActionAttribute};
use tc_filter::{Action, Cookie};

use super::Unreadable;
use super::attrs::{Attrs, Writer, need};
use super::stats::{ActionStats, last_use};
pub(super) use pedit::word_count as pedit_words;

/// Verdicts (`TC_ACT_*`).
mod verdict {
    pub(super) const UNSPEC: i32 = -1;
    pub(super) const OK: i32 = 0;
    pub(super) const SHOT: i32 = 2;
    pub(super) const PIPE: i32 = 3;
    pub(super) const STOLEN: i32 = 4;
    pub(super) const TRAP: i32 = 8;
}

/// `struct tc_gen`, which begins the parameters of nearly every action: index, capability,
/// verdict, two reference counts.
const GENERIC_LEN: usize = 20;
const VERDICT_AT: usize = 8;

/// One action as a message has it: its kind, options, cookie and counters.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) action: Action,
    pub(super) cookie: Option<Vec<u8>>,
    pub(super) stats: ActionStats,
}

/// `TCA_ACT_KIND` and its siblings.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const COOKIE: u16 = 6;

/// Numbers the actions from 1, as the kernel wants it.
pub(super) fn emit_all(actions: &[Action], cookie: Option<&Cookie>) -> Writer {
    let mut all = Writer::default();
    for (place, action) in (1..).zip(actions) {
        all.plain_nest(place, &emit_one(action, cookie));
    }
    all
}

fn emit_one(action: &Action, cookie: Option<&Cookie>) -> Writer {
    let mut one = Writer::default();
    one.string(KIND, action.kind());
    one.nest(OPTIONS, &emit(action));
    if let Some(cookie) = cookie {
        one.bytes(COOKIE, cookie.bytes());
    }
    one
}

fn emit(action: &Action) -> Writer {
    match action {
        Action::Gact(gact) => gact::emit(*gact),
        Action::Mirred(mirred) => mirred::emit(mirred),
        Action::Vlan(vlan) => vlan::emit(vlan),
        Action::Pedit(pedit) => pedit::emit(pedit),
        Action::Csum(csum) => csum::emit(*csum),
        Action::TunnelKey(key) => tunnel_key::emit(key),
        Action::Police(police) => police::emit(police),
        Action::Ct(ct) => ct::emit(ct),
    }
}

pub(super) fn parse(message: &TcAction) -> Result<Seen, Unreadable> {
    let (mut kind, mut options, mut cookie) = (None, None, None);
    let mut stats = ActionStats::default();
    for attribute in &message.attributes {
        match attribute {
            TcActionAttribute::Kind(name) => kind = Some(name.as_str()),
            TcActionAttribute::Options(nlas) => options = Some(Attrs::from_nlas(nlas)),
            TcActionAttribute::Cookie(bytes) => cookie = Some(bytes.clone()),
            TcActionAttribute::Stats(counted) => stats.count(counted),
            _ => {}
        }
    }
    let options = need(options, "action options")?;
    let (action, times) = parse_options(need(kind, "action kind")?, &options)?;
    stats.last_use = last_use(options.bytes(times));
    Ok(Seen { action, cookie, stats })
}

/// The action, and the number of the attribute that holds its times.
fn parse_options(kind: &str, options: &Attrs) -> Result<(Action, u16), Unreadable> {
    match kind {
        "gact" => Ok((Action::Gact(gact::parse(options)?), gact::TIMES)),
        "mirred" => Ok((Action::Mirred(mirred::parse(options)?), mirred::TIMES)),
        "vlan" => Ok((Action::Vlan(vlan::parse(options)?), vlan::TIMES)),
        "pedit" => Ok((Action::Pedit(pedit::parse(options)?), pedit::TIMES)),
        "csum" => Ok((Action::Csum(csum::parse(options)?), csum::TIMES)),
        "tunnel_key" => Ok((Action::TunnelKey(tunnel_key::parse(options)?), tunnel_key::TIMES)),
        "police" => Ok((Action::Police(police::parse(options)?), police::TIMES)),
        "ct" => Ok((Action::Ct(ct::parse(options)?), ct::TIMES)),
        other => Err(Unreadable::new(format!("action {other}"))),
    }
}

/// `struct tc_gen` with a verdict and nothing else.
fn generic(verdict: i32) -> Vec<u8> {
    let mut bytes = vec![0; GENERIC_LEN];
    bytes[VERDICT_AT..VERDICT_AT + 4].copy_from_slice(&verdict.to_ne_bytes());
    bytes
}

/// `struct tc_gen` with a verdict, and a number that follows it.
fn generic_and(verdict: i32, number: u32) -> Vec<u8> {
    let mut bytes = generic(verdict);
    bytes.extend(number.to_ne_bytes());
    bytes
}

fn number_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// The verdict in the parameters.
fn verdict_of(parameters: &[u8]) -> Result<i32, Unreadable> {
    need(number_at(parameters, VERDICT_AT), "action parameters").map(u32::cast_signed)
}

/// The verdict must be `pipe`.
fn pipes(parameters: &[u8]) -> Result<(), Unreadable> {
    match verdict_of(parameters)? {
        verdict::PIPE => Ok(()),
        other => Err(Unreadable::new(format!("an action with verdict {other} instead of pipe"))),
    }
}

/// The number that follows `struct tc_gen`.
fn number_after_generic(parameters: &[u8]) -> Result<u32, Unreadable> {
    need(number_at(parameters, GENERIC_LEN), "action parameters")
}
