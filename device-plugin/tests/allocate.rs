//! What is given and what is refused, by the ledger's word and kubelet's, without a process.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod cards;

use std::collections::BTreeMap;
use std::time::Duration;

use cards::{Node, config};
use device_plugin::allocate::{AllocateError, Allocator};
use device_plugin::answer::devinfo::DeviceInfo;
use device_plugin::holds::{Counted, Holder, Holds};
use device_plugin::pool::Pools;
use switchdev::PciAddress;
use switchdev::ledger::{Ledger, Reservation};

const VF: &str = "0000:03:00.2";

/// An allocator, and a pool `a` with the VFs of `eth0`.
struct Site {
    allocator: Allocator,
    pools: Pools,
    _dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path().join("ledger")).unwrap();
        let allocator = Allocator::new(ledger, DeviceInfo::new(dir.path().join("devinfo")), None);
        let config = config(r#"{"resourceName": "a", "selectors": {"pfNames": ["eth0"]}}"#);
        let pools = Node::new().pools(&config, &Holds::default(), &Pools::new());
        Self { allocator, pools, _dir: dir }
    }

    fn reserve(&self, resource: &str) {
        let reservation = Reservation { resource: resource.to_owned() };
        self.allocator.ledger.reserve(vf(), reservation, Duration::ZERO).unwrap();
    }

    fn allocate(&self, counted: Option<&Counted>) -> Result<(), AllocateError> {
        let pool = self.pools.values().next().unwrap();
        self.allocator.allocate(pool, &[vec![VF.into()]], counted).map(drop)
    }

    /// For which resource the ledger has the VF.
    fn reserved(&self) -> Option<String> {
        let entry = self.allocator.ledger.entry(vf()).unwrap()?;
        entry.reservation.map(|reservation| reservation.resource)
    }
}

fn vf() -> PciAddress {
    VF.parse().unwrap()
}

fn counted() -> Counted {
    let holder = Holder("pod default/web".to_owned());
    [(VF.into(), ("intel.com/b".parse().unwrap(), holder))].into()
}

/// A crash between the answer and the CNI leaves a reservation. Kubelet asks anew for what it has given up,
/// but only under the name that it asked for before.
#[test]
fn a_reservation_is_anothers_unless_kubelet_says_otherwise() {
    let none = BTreeMap::new();
    let given = [
        ("intel.com/a", None, true),
        ("intel.com/b", None, false),
        ("garbled", None, false),
        ("intel.com/a", Some(&none), true),
        ("intel.com/b", Some(&none), true),
        ("intel.com/a", Some(&counted()), false),
        ("intel.com/b", Some(&counted()), false),
    ];
    for (resource, counted, wanted) in given {
        let site = Site::new();
        site.reserve(resource);
        let answer = site.allocate(counted);
        assert_eq!(answer.is_ok(), wanted, "{resource} {counted:?}: {answer:?}");
        let left = if wanted { "intel.com/a" } else { resource };
        assert_eq!(site.reserved().as_deref(), Some(left), "{resource} {counted:?}");
    }
}

#[test]
fn what_is_given_just_now_is_not_freed_as_stale() {
    let site = Site::new();
    site.reserve("intel.com/a");
    site.allocate(None).unwrap();
    assert!(!site.allocator.free(vf(), Duration::from_secs(60)).unwrap());
    assert_eq!(site.reserved().as_deref(), Some("intel.com/a"));
    assert!(site.allocator.free(vf(), Duration::ZERO).unwrap());
    assert_eq!(site.reserved(), None);
}

/// The last file cannot be written, so the devices before it are not given either.
#[test]
fn a_request_that_fails_half_way_reserves_nothing() {
    let site = Site::new();
    let pool = site.pools.values().next().unwrap();
    let last = site.allocator.device_info.path(&pool.config.name, &"0000:03:00.3".into());
    std::fs::create_dir_all(last.join("in the way")).unwrap();
    let both = [vec![VF.into()], vec!["0000:03:00.3".into()]];
    let refused = site.allocator.allocate(pool, &both, None).unwrap_err();
    assert_eq!(refused.label(), "write");
    assert!(site.allocator.ledger.entries().unwrap().is_empty());
}
