//! The way back, from wherever the VF is.

use std::fmt;
use std::time::{Duration, Instant};

use super::host::{Host, Node, Observed};
use super::plan::name_in_alias;
use super::restore::restore;
use super::state::{LegacyState, NetdevState, VfState};
use super::{Binder, Change, External, ReleaseError, Side};
use crate::ledger::{Holder, LedgerError, LockedVf, Phase, Record};
use crate::link::VfLinkState;
use crate::pci::PciAddress;

/// How often the VF is looked at anew. It comes home, gets its driver, gets its settings, and is found
/// to be as it was; a change that failed once is tried again.
const ROUNDS: usize = 8;

/// The kernel gives the netdevs of a namespace that goes back a moment later
/// (`cleanup_net()` in `net/core/net_namespace.c` is work for a queue).
const HOMECOMING: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// What became of a VF that was to be given back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Released {
    /// The changes that were made.
    pub changes: Vec<String>,
    /// What the operator should know: that the entry was missing, that the VF is no more.
    pub notes: Vec<String>,
}

impl Binder<'_> {
    /// Takes a VF back from an attachment. One that has been taken back already, or belongs to
    /// another attachment by now, is left alone. Without its entry, what the kernel shows is gone by,
    /// and the answer says so.
    ///
    /// # Errors
    /// [`ReleaseError`] where anything is left; the entry then is, too.
    pub fn release(&mut self, vf: PciAddress, holder: &Holder) -> Result<Released, ReleaseError> {
        let mut locked = self.ledger.lock(vf, self.wait)?;
        let record = match locked.entry() {
            Err(error @ LedgerError::Corrupt { .. }) => {
                let mut released = self.rescue(vf, holder)?;
                locked.discard()?;
                released.notes.insert(0, error.to_string());
                return Ok(released);
            }
            entry => entry?.and_then(|entry| entry.record),
        };
        match record {
            Some(record) if record.holder.is(&holder.container, &holder.ifname) => {
                give_back(&mut locked, self.node, self.external, record, self.wait)
            }
            Some(record) => Ok(Released::note(format!("VF {vf} is with {} now", record.holder))),
            None => self.rescue(vf, holder),
        }
    }

    /// Without an entry: what carries our mark, or is in the holder's namespace, comes home, with the
    /// name that its mark says and the settings that VFs have at first.
    fn rescue(&mut self, vf: PciAddress, holder: &Holder) -> Result<Released, ReleaseError> {
        let mut host = match self.node.open(vf, holder) {
            Ok(host) => host,
            Err(error) => return Err(ReleaseError::Left { vf, left: vec![error.to_string()] }),
        };
        let observed = host.observe();
        let observed =
            observed.map_err(|e| ReleaseError::Left { vf, left: vec![e.to_string()] })?;
        let Some(observed) = observed.filter(Observed::is_given_away) else {
            return Ok(Released::note(format!(
                "VF {vf}: nothing is recorded, nothing to give back"
            )));
        };
        let mut released = converge(vf, &mut *host, &first_state(&observed), self.wait)?;
        released.notes.push(format!(
            "VF {vf}: its ledger entry was missing; it has the settings that VFs have at first, and \
             keeps its MAC address and MTU"
        ));
        Ok(released)
    }
}

/// Takes a recorded VF back, and its record out.
pub(super) fn give_back(
    locked: &mut LockedVf,
    node: &mut dyn Node,
    external: &mut dyn External,
    record: Record,
    wait: Duration,
) -> Result<Released, ReleaseError> {
    let vf = locked.vf();
    let boot = node.boot().map_err(|source| ReleaseError::Node { vf, source })?;
    if record.boot != boot {
        let mut released = take_back(locked, None, external, record, wait)?;
        released.notes.push(format!("VF {vf}: the node was started anew, and its VFs with it"));
        return Ok(released);
    }
    let holder = record.holder.clone();
    match node.open(vf, &holder) {
        Ok(mut host) => take_back(locked, Some(&mut *host), external, record, wait),
        Err(error) => Err(ReleaseError::Left { vf, left: vec![error.to_string()] }),
    }
}

/// All of it is tried, whatever fails, so that the error tells all that is left. Without a `host`
/// only the external steps are taken back.
pub(super) fn take_back(
    locked: &mut LockedVf,
    host: Option<&mut (dyn Host + '_)>,
    external: &mut dyn External,
    mut record: Record,
    wait: Duration,
) -> Result<Released, ReleaseError> {
    let vf = locked.vf();
    record.phase = Phase::Releasing;
    locked.record(record.clone())?;
    let mut left = Vec::new();
    for step in record.external.iter().rev() {
        if let Err(error) = external.take_back(step, &record) {
            left.push(format!("taking back \"{step}\": {error}"));
        }
    }
    let restored =
        host.map_or_else(|| Ok(Released::default()), |h| converge(vf, h, &record.original, wait));
    match restored {
        Ok(released) if left.is_empty() => {
            locked.forget()?;
            Ok(released)
        }
        Ok(_) => Err(ReleaseError::Left { vf, left }),
        Err(ReleaseError::Left { left: more, .. }) => {
            left.extend(more);
            Err(ReleaseError::Left { vf, left })
        }
        Err(error) => Err(error),
    }
}

/// Looks, makes the changes that are left, and looks again, until nothing is left to do.
fn converge(
    vf: PciAddress,
    host: &mut dyn Host,
    original: &VfState,
    wait: Duration,
) -> Result<Released, ReleaseError> {
    let mut released = Released::default();
    let mut failed = Vec::new();
    let deadline = Instant::now() + wait.min(HOMECOMING);
    for _ in 0..ROUNDS {
        let Some(observed) = observe_at_home(host, original, deadline).map_err(|reason| {
            let left = failed.iter().cloned().chain([reason]).collect();
            ReleaseError::Left { vf, left }
        })?
        else {
            released.notes.push(format!("VF {vf} is no more"));
            return Ok(released);
        };
        let changes = restore(original, &observed);
        if changes.is_empty() {
            return Ok(released);
        }
        failed = make(host, &changes, &mut released);
        if failed.is_empty() {
            // Should this have been the last round, these are the changes that did not last.
            failed.extend(changes.iter().map(|change| format!("{change}: it did not last")));
        }
    }
    Err(ReleaseError::Left { vf, left: failed })
}

/// The VF with the netdev that it had, which may still be on its way from a namespace that is gone.
fn observe_at_home(
    host: &mut dyn Host,
    original: &VfState,
    deadline: Instant,
) -> Result<Option<Observed>, String> {
    loop {
        let Some(observed) = host.observe().map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        match missing(original, &observed) {
            Some(_) if Instant::now() < deadline => std::thread::sleep(POLL),
            Some(what) => return Err(what),
            None => return Ok(Some(observed)),
        }
    }
}

/// Goes on past what fails; what failed, in words.
fn make(host: &mut dyn Host, changes: &[Change], released: &mut Released) -> Vec<String> {
    let mut failed = Vec::new();
    for change in changes {
        match host.change(change) {
            Ok(()) => released.changes.push(change.to_string()),
            Err(error) => failed.push(format!("{change}: {error}")),
        }
    }
    failed
}

/// What no change can bring back. A netdev that is gone with its driver comes with that.
fn missing(original: &VfState, observed: &Observed) -> Option<String> {
    let was = original.netdev.as_ref()?;
    let gone = observed.state.netdev.is_none() && observed.state.driver == original.driver;
    gone.then(|| {
        format!(
            "its netdev ({} on the host) is in no network namespace known here: processes of the \
             pod may still hold it",
            was.name
        )
    })
}

impl Observed {
    /// Whether the VF's netdev is in the pod, or at home with our mark: what tells without an entry that it was given away.
    #[must_use]
    pub fn is_given_away(&self) -> bool {
        let alias = self.state.netdev.as_ref().and_then(|netdev| netdev.alias.as_deref());
        self.side == Some(Side::Pod) || name_in_alias(alias).is_some()
    }
}

/// What a VF is at first, as far as it does not show.
fn first_state(observed: &Observed) -> VfState {
    let now = observed.state.clone();
    let netdev = now.netdev.map(|netdev| NetdevState {
        name: home_name(observed, &netdev),
        up: false,
        alias: None,
        addresses: Vec::new(),
        ..netdev
    });
    let legacy = now.legacy.map(|legacy| LegacyState {
        mac: legacy.mac,
        vlan: None,
        spoof_check: legacy.spoof_check.map(|_| true),
        trust: legacy.trust.map(|_| false),
        min_tx_rate: 0,
        max_tx_rate: 0,
        link_state: VfLinkState::Auto,
    });
    VfState { netdev, legacy, ..now }
}

fn home_name(observed: &Observed, netdev: &NetdevState) -> String {
    let marked = name_in_alias(netdev.alias.as_deref()).map(str::to_owned);
    marked.unwrap_or_else(|| super::temporary_name(observed.vf))
}

impl Released {
    fn note(note: String) -> Self {
        Self { changes: Vec::new(), notes: vec![note] }
    }
}

impl fmt::Display for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} changes taken back", self.changes.len())?;
        self.notes.iter().try_for_each(|note| write!(f, "; {note}"))
    }
}
