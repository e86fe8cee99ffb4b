//! VFs, pods and bridges to try bindings on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tc_filter::Mac;

use super::super::*;
use crate::devlink::{PortIndex, Rate};
use crate::eswitch::EswitchMode;
use crate::ledger::{Holder, Ledger, OsDisk, Record};
use crate::link::{Address, VfLinkState, VfVlan};
use crate::pci::PciAddress;
use crate::phys_port::VfIndex;
use crate::rdma::RdmaDevice;

pub(super) fn vf() -> PciAddress {
    "0000:01:10.0".parse().unwrap()
}

pub(super) fn holder() -> Holder {
    Holder {
        container: "c1".to_owned(),
        ifname: "net1".to_owned(),
        netns: "/run/netns/pod".into(),
        netns_id: None,
        network: "underlay".to_owned(),
        pod: None,
    }
}

/// A bridge and an address pool: what is attached, by step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outside(pub(super) BTreeSet<String>);

impl External for Outside {
    fn take(&mut self, step: &ExternalStep, _: &Record) -> Result<Value, ExternalError> {
        if !self.0.insert(step.what.clone()) {
            return Err(ExternalError::new("it is attached already"));
        }
        Ok(json!({"port": 7}))
    }

    fn take_back(&mut self, step: &ExternalStep, _: &Record) -> Result<(), ExternalError> {
        self.0.remove(&step.what);
        Ok(())
    }

    fn mend(&mut self, record: &Record) -> Result<Option<String>, ExternalError> {
        let missing: Vec<String> = record
            .external
            .iter()
            .map(|step| step.what.clone())
            .filter(|what| self.0.insert(what.clone()))
            .collect();
        Ok((!missing.is_empty()).then(|| missing.join(", ")))
    }
}

pub(super) fn outside_steps() -> Vec<ExternalStep> {
    let step = |kind: &str, what: &str| ExternalStep {
        kind: kind.to_owned(),
        what: what.to_owned(),
        record: json!({"bridge": "br0"}),
        outcome: Value::Null,
    };
    vec![step("ovs-port", "add np0r0 to bridge br0"), step("ipam", "get an address")]
}

/// All there is: what a binding may change, and must leave as it was.
#[derive(Debug)]
pub(super) struct World {
    pub(super) node: FakeNode,
    pub(super) outside: Outside,
    pub(super) dir: tempfile::TempDir,
}

impl World {
    pub(super) fn new(node: FakeNode) -> Self {
        // In memory where there is such a place: nothing here waits for a platter.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self { node, outside: Outside::default(), dir }
    }

    pub(super) fn ledger(&self) -> Ledger {
        Ledger::open(self.dir.path()).unwrap()
    }

    /// Binds, with `fuse` in every call. The pod's own doings are not part of it.
    pub(super) fn bind(&mut self, wish: &Wish, fuse: &Fuse) -> Result<Bound, BindError> {
        self.with(fuse, |binder| binder.bind(vf(), holder(), wish, |_| Ok(outside_steps())))
    }

    pub(super) fn release(&mut self, fuse: &Fuse) -> Result<Released, ReleaseError> {
        self.with(fuse, |binder| binder.release(vf(), &holder()))
    }

    pub(super) fn collect(&mut self) -> Vec<Collected> {
        self.with(&never(), |binder| binder.collect(&|_| true))
    }

    pub(super) fn with<T>(&mut self, fuse: &Fuse, call: impl FnOnce(&mut Binder<'_>) -> T) -> T {
        let disk = Arc::new(FaultyDisk::new(OsDisk, fuse.clone()));
        // The directory is there already, so this is no call that counts.
        let ledger = Ledger::open(self.dir.path()).unwrap().on(disk);
        let mut node = FaultyNode::new(ByRef(&mut self.node), fuse.clone());
        let mut external = FaultyExternal::new(&mut self.outside, fuse.clone());
        call(&mut Binder {
            ledger: &ledger,
            node: &mut node,
            external: &mut external,
            wait: Duration::ZERO,
        })
    }

    /// Everything that must be as it was. Whose choice an address was is not to be seen.
    pub(super) fn state(&self) -> (FakeNode, Outside, Vec<String>) {
        let mut files: Vec<String> = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let vf = self.node.vf.clone().map(|vf| FakeVf { pinned: false, ..vf });
        (FakeNode { pod: true, vf, ..self.node.clone() }, self.outside.clone(), files)
    }
}

struct ByRef<'a>(&'a mut FakeNode);

impl Node for ByRef<'_> {
    fn open(
        &mut self,
        vf: PciAddress,
        holder: &Holder,
    ) -> Result<Box<dyn Host + '_>, crate::CardError> {
        self.0.open(vf, holder)
    }

    fn is_alive(&mut self, holder: &Holder) -> std::io::Result<bool> {
        self.0.is_alive(holder)
    }

    fn identify(&mut self, holder: Holder) -> std::io::Result<Holder> {
        self.0.identify(holder)
    }

    fn boot(&mut self) -> std::io::Result<String> {
        self.0.boot()
    }
}

pub(super) fn never() -> Fuse {
    Fuse::new(usize::MAX, Mishap::Refused)
}

/// A VF in switchdev mode that somebody uses on the host.
pub(super) fn switchdev_vf() -> FakeVf {
    FakeVf {
        vf: vf(),
        place: place(EswitchMode::Switchdev),
        state: VfState {
            driver: Some("mlx5_core".to_owned()),
            driver_override: None,
            netdev: Some(netdev()),
            legacy: None,
            function: Some(FunctionState {
                port: PortIndex(1),
                mac: Some(Mac([0; 6])),
                rate: Some(RateState {
                    tx_share: Rate::default(),
                    tx_max: Rate::default(),
                    parent: None,
                }),
            }),
            representor: Some(RepresentorState {
                name: "np0r0".to_owned(),
                mtu: 1500,
                up: false,
                ipv6: false,
            }),
            rdma: vec![RdmaDevice { index: 3, name: "mlx5_3".to_owned() }],
        },
        side: Side::Host,
        rdma_exclusive: true,
        pinned: false,
    }
}

/// The representor is up and waits for a carrier, so that IPv6 begins on it for the pod.
pub(super) fn without_carrier(mut vf: FakeVf) -> FakeVf {
    vf.state.representor.iter_mut().for_each(|representor| representor.up = true);
    vf.state.netdev.iter_mut().for_each(|netdev| netdev.up = false);
    vf
}

/// A VF in legacy mode.
pub(super) fn legacy_vf() -> FakeVf {
    let vf = switchdev_vf();
    let legacy = LegacyState {
        mac: Mac([0; 6]),
        vlan: None,
        spoof_check: Some(true),
        trust: Some(false),
        min_tx_rate: 0,
        max_tx_rate: 0,
        link_state: VfLinkState::Auto,
    };
    let state = VfState {
        legacy: Some(legacy),
        function: None,
        representor: None,
        rdma: Vec::new(),
        ..vf.state
    };
    FakeVf { place: place(EswitchMode::Legacy), state, rdma_exclusive: false, ..vf }
}

/// A VF of igb, whose PF shows the address that the VF chose, and refuses any after its own.
pub(super) fn igb_vf() -> FakeVf {
    let mut vf = legacy_vf();
    vf.state.driver = Some("igbvf".to_owned());
    if let (Some(legacy), Some(netdev)) = (&mut vf.state.legacy, &mut vf.state.netdev) {
        (legacy.mac, netdev.permanent) = (netdev.mac, Some(netdev.mac));
    }
    vf
}

/// A VF that nobody on the host uses.
pub(super) fn unused(mut vf: FakeVf) -> FakeVf {
    if let Some(netdev) = &mut vf.state.netdev {
        (netdev.up, netdev.addresses) = (false, Vec::new());
    }
    vf
}

/// A VF that user space drives.
pub(super) fn vfio_vf() -> FakeVf {
    let vf = legacy_vf();
    let driver = Some("vfio-pci".to_owned());
    let state =
        VfState { driver: driver.clone(), driver_override: driver, netdev: None, ..vf.state };
    FakeVf { state, ..vf }
}

fn place(mode: EswitchMode) -> VfPlace {
    VfPlace { pf: "0000:01:00.0".parse().unwrap(), index: VfIndex(0), mode }
}

fn netdev() -> NetdevState {
    let address = "192.0.2.1".parse().unwrap();
    NetdevState {
        name: "np0v0".to_owned(),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        permanent: None,
        mtu: 1500,
        up: true,
        alias: Some("rack 7".to_owned()),
        addresses: vec![Address::new(address, 24)],
    }
}

/// A wish for all that there is in the VF's mode.
pub(super) fn full_wish(mode: EswitchMode) -> Wish {
    let common = Wish {
        mac: Some(Mac([2, 0, 0, 0, 0, 9])),
        mtu: Some(9000),
        min_tx_rate: Some(100),
        max_tx_rate: Some(500),
        ..Wish::default()
    };
    match mode {
        EswitchMode::Switchdev => common,
        EswitchMode::Legacy => Wish {
            vlan: Some(VlanWish::Tagged("100 qos 3".parse().unwrap())),
            spoof_check: Some(false),
            trust: Some(true),
            link_state: Some(VfLinkState::Enable),
            ..common
        },
    }
}

fn any_mac() -> impl Strategy<Value = Mac> {
    (0u8..4).prop_map(|last| Mac([2, 0, 0, 0, 0, last]))
}

fn any_vlan() -> impl Strategy<Value = VfVlan> {
    (1u16..5, 0u8..8).prop_map(|(id, qos)| format!("{id} qos {qos}").parse().unwrap())
}

fn any_link_state() -> impl Strategy<Value = VfLinkState> {
    prop_oneof![Just(VfLinkState::Auto), Just(VfLinkState::Enable), Just(VfLinkState::Disable)]
}

fn any_netdev() -> impl Strategy<Value = NetdevState> {
    let alias = proptest::option::of(Just("rack 7".to_owned()));
    (any_mac(), 1400u32..1403, any::<bool>(), alias, any::<bool>()).prop_map(
        |(mac, mtu, up, alias, addressed)| {
            let addresses = if addressed { netdev().addresses } else { Vec::new() };
            NetdevState { mac, mtu, up, alias, addresses, ..netdev() }
        },
    )
}

fn any_legacy() -> impl Strategy<Value = LegacyState> {
    let rates = (0u32..3, 3u32..6);
    let flags = (any::<Option<bool>>(), any::<Option<bool>>());
    (proptest::option::of(any_vlan()), flags, rates, any_link_state()).prop_map(
        |(vlan, (spoof_check, trust), (min_tx_rate, max_tx_rate), link_state)| LegacyState {
            mac: Mac([0; 6]),
            vlan,
            spoof_check,
            trust,
            min_tx_rate,
            max_tx_rate,
            link_state,
        },
    )
}

/// VFs as a node may have them.
pub(super) fn any_vf() -> impl Strategy<Value = FakeVf> {
    let legacy = (any_netdev(), any_legacy()).prop_map(|(netdev, mut legacy)| {
        let vf = legacy_vf();
        // The PF's word on the address is the VF's address.
        if netdev.mtu == 1400 {
            legacy.mac = netdev.mac;
        }
        FakeVf {
            state: VfState { netdev: Some(netdev), legacy: Some(legacy), ..vf.state.clone() },
            ..vf
        }
    });
    let igb = (any_netdev(), any_legacy(), any::<bool>()).prop_map(|(netdev, legacy, pinned)| {
        let mut vf = FakeVf { pinned, ..igb_vf() };
        vf.state.legacy = Some(LegacyState { mac: netdev.mac, ..legacy });
        vf.state.netdev = Some(NetdevState { permanent: Some(netdev.mac), ..netdev });
        vf
    });
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let switchdev = (any_netdev(), flags).prop_map(|(netdev, (up, once, moved))| {
        let mut vf = switchdev_vf();
        // IPv6 has begun where there is a carrier, or once was one.
        let ipv6 = up && (once || netdev.up);
        vf.state.representor = vf.state.representor.map(|r| RepresentorState { up, ipv6, ..r });
        vf.state.netdev = Some(netdev);
        vf.rdma_exclusive = moved;
        vf
    });
    prop_oneof![legacy, igb, switchdev, Just(vfio_vf())]
}

/// Wishes that such a VF can fulfil.
pub(super) fn any_wish(vf: &FakeVf) -> impl Strategy<Value = Wish> + use<> {
    let legacy = vf.state.legacy.clone();
    let mac = proptest::option::of(any_mac());
    let mtu = proptest::option::of(1400u32..1403);
    let vlan = proptest::option::of(any_vlan());
    let flags = (any::<Option<bool>>(), any::<Option<bool>>());
    let rates = (proptest::option::of(0u32..3), proptest::option::of(3u32..6));
    let state = proptest::option::of(any_link_state());
    (mac, mtu, vlan, flags, rates, state).prop_map(
        move |(mac, mtu, vlan, (spoof_check, trust), (min_tx_rate, max_tx_rate), link_state)| {
            let Some(legacy) = &legacy else {
                return Wish { mac, mtu, min_tx_rate, max_tx_rate, ..Wish::default() };
            };
            Wish {
                mac,
                mtu,
                vlan: vlan.map(VlanWish::Tagged),
                spoof_check: spoof_check.filter(|_| legacy.spoof_check.is_some()),
                trust: trust.filter(|_| legacy.trust.is_some()),
                link_state,
                min_tx_rate,
                max_tx_rate,
            }
        },
    )
}
