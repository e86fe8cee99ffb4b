//! Who holds a device: the ledger's word, and kubelet's.
//!
//! The ledger knows what was recorded before an answer was given and what the CNI did since; kubelet
//! knows which pods it still counts. A device inside a pod has no netdev on the host any more, so a pool
//! that went by sysfs alone would lose it; what is held stays in its pool. Neither source is needed to
//! run: without the ledger's word a device is free, without kubelet's a reservation stays.

pub mod checkpoint;
pub mod ledger;
pub mod podresources;

use std::collections::BTreeMap;
use std::fmt;

use crate::config::ResourceName;
use crate::device::DeviceId;

/// Everything that is held, or that cannot be said to be free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds(BTreeMap<DeviceId, Hold>);

/// What is known of one device that may be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The resource it was given out as, where that is known.
    pub resource: Option<ResourceName>,
    /// How it is held.
    pub state: State,
}

/// How a device is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It was answered to kubelet, and no more is known.
    Reserved,
    /// Kubelet counts it as this pod's.
    Counted(Holder),
    /// It is in this pod's network namespace, or on its way there or back.
    Bound(Holder),
    /// The ledger's entry cannot be read: nobody can say.
    Unknown(String),
}

/// A pod, or what else is known of who has the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder(pub String);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which devices kubelet counts as whose.
pub type Counted = BTreeMap<DeviceId, (ResourceName, Holder)>;

impl Holds {
    /// What the ledger says, completed by kubelet's count.
    #[must_use]
    pub fn new(ledger: BTreeMap<DeviceId, Hold>, counted: Counted) -> Self {
        let mut holds = ledger;
        for (device, (resource, holder)) in counted {
            let counted = Hold { resource: Some(resource), state: State::Counted(holder) };
            holds.entry(device).and_modify(|hold| hold.complete(&counted)).or_insert(counted);
        }
        Self(holds)
    }

    /// What is known of a device; nothing where it is free.
    #[must_use]
    pub fn of(&self, device: &DeviceId) -> Option<&Hold> {
        self.0.get(device)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&DeviceId, &Hold)> {
        self.0.iter()
    }
}

impl Hold {
    /// Whether somebody has the device: its netdev may be away, and it stays where it is.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !matches!(self.state, State::Unknown(_))
    }

    /// The resource that somebody has the device as, where that is known.
    #[must_use]
    pub fn given_as(&self) -> Option<&ResourceName> {
        self.resource.as_ref().filter(|_| self.is_held())
    }

    /// A binding says more than a count, and a count more than a reservation. The resource that we wrote
    /// down before we gave the device is surer than what kubelet remembers.
    fn complete(&mut self, counted: &Self) {
        self.resource = self.resource.take().or_else(|| counted.resource.clone());
        if self.state == State::Reserved {
            self.state = counted.state.clone();
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => f.write_str("allocated by kubelet"),
            Self::Counted(holder) => write!(f, "counted by kubelet as that of {holder}"),
            Self::Bound(holder) => write!(f, "bound to {holder}"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(resource: &str, state: State) -> Hold {
        Hold { resource: resource.parse().ok(), state }
    }

    fn merged(ledger: Option<Hold>, counted: Option<&str>) -> Option<Hold> {
        let device = DeviceId::from("0000:01:10.0");
        let ledger = ledger.into_iter().map(|hold| (device.clone(), hold)).collect();
        let pod = Holder("pod default/web".to_owned());
        let counted = counted.map(|name| (device.clone(), (name.parse().unwrap(), pod)));
        Holds::new(ledger, counted.into_iter().collect()).of(&device).cloned()
    }

    #[test]
    fn kubelet_counts_what_the_ledger_has_not_heard_of() {
        let pod = State::Counted(Holder("pod default/web".to_owned()));
        assert_eq!(merged(None, Some("a.b/c")), Some(hold("a.b/c", pod.clone())));
        assert_eq!(
            merged(Some(hold("a.b/c", State::Reserved)), Some("a.b/c")),
            Some(hold("a.b/c", pod))
        );
    }

    #[test]
    fn a_binding_and_a_corrupt_entry_stand_against_the_count() {
        let bound = State::Bound(Holder("pod default/old".to_owned()));
        assert_eq!(
            merged(Some(hold("x.y/z", bound.clone())), Some("a.b/c")),
            Some(hold("x.y/z", bound.clone()))
        );
        let unnamed = Hold { resource: None, state: bound.clone() };
        assert_eq!(merged(Some(unnamed), Some("a.b/c")), Some(hold("a.b/c", bound)));
        let unknown = State::Unknown("torn".to_owned());
        let found = merged(Some(hold("", unknown.clone())), Some("a.b/c")).unwrap();
        assert!(!found.is_held() && found.state == unknown);
    }
}
