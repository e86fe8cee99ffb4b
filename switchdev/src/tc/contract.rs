//! What every `Tc` must do: one suite for the kernel and for the fake.
//!
//! It needs one device without a clsact qdisc and leaves it so. Each check is a fact an agent
//! relies on; a check that fails says which.

use tc_filter::action::{Gact, Mirred};
use tc_filter::{
    Action, Attach, ChainId, Cookie, EtherType, Filter, FlowerMatch, Handle, HwPolicy, IfIndex,
    Mac, Masked, Prio,
};

use super::{Op, Outcome, Tc, TcError};

/// The fact that did not hold.
#[derive(Debug, thiserror::Error)]
#[error("contract broken: {fact}: {found}")]
pub struct Broken {
    /// What should hold.
    pub fact: &'static str,
    /// What was found instead.
    pub found: String,
}

/// Runs the suite.
///
/// # Errors
/// [`Broken`] names the first fact that does not hold.
pub fn check(tc: &mut dyn Tc, device: IfIndex) -> Result<(), Broken> {
    a_filter_needs_clsact(tc, device)?;
    clsact_is_added_once(tc, device)?;
    what_is_added_is_dumped_in_order(tc, device)?;
    a_taken_id_is_refused_by_add_and_changed_by_replace(tc, device)?;
    one_prio_has_one_protocol(tc, device)?;
    one_prio_has_a_key_once(tc, device)?;
    a_failure_does_not_stop_the_next_op(tc, device)?;
    what_is_deleted_is_gone(tc, device)?;
    ingress_and_egress_are_two_places(tc, device)?;
    clsact_takes_its_filters_with_it(tc, device)?;
    a_missing_device_is_named_as_such(tc)
}

/// Three filters as an agent would make them: two in chain 0, one in chain 1.
#[must_use]
pub fn filters(device: IfIndex) -> Vec<Filter> {
    vec![
        filter(device, 0, 1, 1, Action::PASS),
        filter(device, 0, 2, 1, Action::Gact(Gact::Goto(chain(1)))),
        filter(device, 1, 1, 1, Action::Mirred(Mirred::redirect(device))),
    ]
}

/// `ChainId` of a number that fits.
fn chain(number: u32) -> ChainId {
    ChainId::new(number).unwrap_or(ChainId::MAX)
}

fn filter(device: IfIndex, chain_number: u32, prio: u16, handle: u32, action: Action) -> Filter {
    let last_bytes = prio.to_be_bytes();
    let mac = Mac([2, 0, 0, 0, last_bytes[0], last_bytes[1]]);
    let mut key = FlowerMatch::default();
    key.eth.dst = Some(Masked::exact(mac));
    Filter {
        attach: Attach::Ingress(device),
        chain: chain(chain_number),
        prio: Prio::new(prio).unwrap_or(Prio::MAX),
        handle: Handle::new(handle).unwrap_or(Handle::MAX),
        protocol: EtherType::IPV4,
        key: key.into(),
        actions: [action].into(),
        hw: HwPolicy::Both,
        cookie: Some(Cookie::ours(u64::from(prio))),
    }
}

fn a_filter_needs_clsact(tc: &mut dyn Tc, device: IfIndex) -> Result<(), Broken> {
    let fact = "a filter on a device without clsact is refused as such";
    let outcome = one(tc, fact, Op::Add(filters(device).remove(0)))?;
    hold(fact, matches!(outcome, Err(TcError::NoClsact(_))), &outcome)?;
    let fact = "a device without clsact has no filters";
    let dump = tc.dump(Attach::Ingress(device)).map_err(|error| broken(fact, &error))?;
    hold(fact, dump.filters.is_empty() && dump.undecoded.is_empty(), &dump)
}

fn clsact_is_added_once(tc: &mut dyn Tc, device: IfIndex) -> Result<(), Broken> {
    let fact = "clsact can be added";
    let outcome = one(tc, fact, Op::AddClsact(device))?;
    hold(fact, outcome.is_ok(), &outcome)?;
    let fact = "a second clsact exists already";
    let outcome = one(tc, fact, Op::AddClsact(device))?;
    hold(fact, matches!(outcome, Err(TcError::Exists(_))), &outcome)
}

fn what_is_added_is_dumped_in_order(tc: &mut dyn Tc, device: IfIndex) -> Result<(), Broken> {
    let fact = "what is added is dumped, equal and in the order packets meet it";
    let wanted = filters(device);
    let backwards = wanted.iter().rev().cloned().map(Op::Add).collect::<Vec<_>>();
    let outcomes = tc.apply(&backwards).map_err(|error| broken(fact, &error))?;
    hold(fact, outcomes.iter().all(Result::is_ok), &outcomes)?;
    let dump = tc.dump(Attach::Ingress(device)).map_err(|error| broken(fact, &error))?;
    let same = dump.filters.iter().map(|seen| &seen.filter).eq(&wanted);
    hold(fact, same && dump.undecoded.is_empty(), &dump)?;
    let fact = "our mark comes back";
    hold(fact, dump.filters.iter().all(super::Observed::is_ours), &dump)
}

fn a_taken_id_is_refused_by_add_and_changed_by_replace(
    tc: &mut dyn Tc,
    device: IfIndex,
) -> Result<(), Broken> {
    let fact = "adding to a taken id fails with Exists";
    let mut changed = filters(device).remove(0);
    changed.actions = [Action::DROP].into();
    let outcome = one(tc, fact, Op::Add(changed.clone()))?;
    hold(fact, matches!(outcome, Err(TcError::Exists(_))), &outcome)?;
    let fact = "replacing changes the filter in its place";
    let outcome = one(tc, fact, Op::Replace(changed.clone()))?;
    hold(fact, outcome.is_ok(), &outcome)?;
    let dump = tc.dump(changed.attach).map_err(|error| broken(fact, &error))?;
    let first = dump.filters.first().map(|seen| &seen.filter);
    hold(fact, first == Some(&changed) && dump.filters.len() == filters(device).len(), &dump)
}

fn one_prio_has_one_protocol(tc: &mut dyn Tc, device: IfIndex) -> Result<(), Broken> {
    let fact = "a second protocol in one prio is refused";
    let mut other = filter(device, 0, 1, 2, Action::DROP);
    other.protocol = EtherType::IPV6;
    let outcome = one(tc, fact, Op::Add(other))?;
    hold(fact, matches!(outcome, Err(TcError::Refused(..))), &outcome)
}

fn one_prio_has_a_key_once(tc: &mut dyn Tc, device: IfIndex) -> Result<(), Broken> {
    let fact = "a second filter with the key of another in its prio exists already";
    let outcome = one(tc, fact, Op::Add(filter(device, 0, 1, 3, Action::DROP)))?;
    hold(fact, matches!(outcome, Err(TcError::Exists(_))), &outcome)
}

fn a_failure_does_not_stop_the_next_op(tc: &mut dyn Tc, device: IfIndex) -> Result<(), Broken> {
    let fact = "each op has its own answer, in order";
    let taken = filters(device).remove(0);
    let ops = [
        Op::Add(filter(device, 0, 9, 1, Action::DROP)),
        Op::Add(taken),
        Op::Add(filter(device, 0, 10, 1, Action::DROP)),
    ];
    let outcomes = tc.apply(&ops).map_err(|error| broken(fact, &error))?;
    let done: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    hold(fact, done == [true, false, true], &outcomes)
}

fn what_is_deleted_is_gone(tc: &mut dyn Tc, device: IfIndex) -> Result<(), Broken> {
    let fact = "a deleted filter is gone";
    let id = filter(device, 0, 9, 1, Action::DROP).id();
    let outcome = one(tc, fact, Op::Delete(id))?;
    hold(fact, outcome.is_ok(), &outcome)?;
    let dump = tc.dump(id.attach).map_err(|error| broken(fact, &error))?;
    hold(fact, dump.filters.iter().all(|seen| seen.filter.id() != id), &dump)?;
    let fact = "what is not there cannot be deleted, and says so";
    let outcome = one(tc, fact, Op::Delete(id))?;
    hold(fact, matches!(outcome, Err(TcError::NotFound(_))), &outcome)
}

fn ingress_and_egress_are_two_places(tc: &mut dyn Tc, device: IfIndex) -> Result<(), Broken> {
    let fact = "ingress and egress are two places";
    let mut out = filter(device, 0, 1, 1, Action::PASS);
    out.attach = Attach::Egress(device);
    out.hw = HwPolicy::SkipHw;
    let outcome = one(tc, fact, Op::Add(out.clone()))?;
    hold(fact, outcome.is_ok(), &outcome)?;
    let dump = tc.dump(out.attach).map_err(|error| broken(fact, &error))?;
    hold(fact, dump.filters.iter().map(|seen| &seen.filter).eq([&out]), &dump)
}

fn clsact_takes_its_filters_with_it(tc: &mut dyn Tc, device: IfIndex) -> Result<(), Broken> {
    let fact = "clsact takes its filters with it";
    let outcome = one(tc, fact, Op::DelClsact(device))?;
    hold(fact, outcome.is_ok(), &outcome)?;
    let outcome = one(tc, fact, Op::AddClsact(device))?;
    hold(fact, outcome.is_ok(), &outcome)?;
    let dump = tc.dump(Attach::Ingress(device)).map_err(|error| broken(fact, &error))?;
    hold(fact, dump.filters.is_empty(), &dump)?;
    let outcome = one(tc, fact, Op::DelClsact(device))?;
    hold(fact, outcome.is_ok(), &outcome)?;
    let fact = "a clsact that is not there cannot be deleted, and says so";
    let outcome = one(tc, fact, Op::DelClsact(device))?;
    hold(fact, matches!(outcome, Err(TcError::NotFound(_))), &outcome)
}

fn a_missing_device_is_named_as_such(tc: &mut dyn Tc) -> Result<(), Broken> {
    let fact = "a filter for a device that is gone says so";
    let nowhere = IfIndex(0x7fff_fff0);
    let outcome = one(tc, fact, Op::Add(filters(nowhere).remove(0)))?;
    hold(fact, matches!(outcome, Err(TcError::NoDevice(_))), &outcome)?;
    let outcome = one(tc, fact, Op::AddClsact(nowhere))?;
    hold(fact, matches!(outcome, Err(TcError::NoDevice(_))), &outcome)
}

fn one(tc: &mut dyn Tc, fact: &'static str, op: Op) -> Result<Outcome, Broken> {
    let outcomes = tc.apply(&[op]).map_err(|error| broken(fact, &error))?;
    outcomes.into_iter().next().ok_or_else(|| broken(fact, &"no answer"))
}

fn hold(fact: &'static str, holds: bool, found: &dyn std::fmt::Debug) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(broken(fact, found)) }
}

fn broken(fact: &'static str, found: &dyn std::fmt::Debug) -> Broken {
    Broken { fact, found: format!("{found:?}") }
}
