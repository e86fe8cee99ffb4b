//! What the cases in switchdev mode run on: nicsim with two VFs, Open vSwitch on the kernel's datapath, a bridge of Linux.

use std::path::PathBuf;

use ovsdb_client::Remote;
use serde_json::{Value, json};

use super::pod::Pod;
use super::table::Bench;
use crate::cases::Ctx;
use crate::guest::netns::Netns;
use crate::guest::nicsim::{Nicsim, UPLINK, representor};
use crate::guest::node_state::Scope;
use crate::guest::ovs::Ovs;
use crate::guest::tool::{run, undo};

/// The bridge of Open vSwitch with the uplink.
pub(super) const BRIDGE: &str = "br0";
/// The bridge of Linux, which filters VLANs.
pub(super) const LINUX_BRIDGE: &str = "lbr0";
/// The runtime's directory for device-info.
pub(super) const DEVICE_INFO: &str = "/run/cni-devinfo";
/// The VF whose representor is up beforehand, as after `offload-agent` has prepared the card, and waits for a carrier.
pub(super) const READY: u16 = 0;
/// The VF whose representor is down beforehand, as the kernel leaves it.
pub(super) const FRESH: u16 = 1;

/// Another port of that bridge: one without any takes the address and the carrier of the first that comes.
const LINUX_PORT: &str = "lbr0p0";

/// All of it. What comes first goes first.
pub(super) struct Site {
    pub(super) ovs: Ovs,
    _linux: LinuxBridge,
    pub(super) netns: Netns,
    nic: Nicsim,
}

struct LinuxBridge;

impl Drop for LinuxBridge {
    fn drop(&mut self) {
        undo(&format!("ip link del {LINUX_BRIDGE}"));
        undo(&format!("ip link del {LINUX_PORT}"));
    }
}

impl Site {
    pub(super) fn new(ctx: &Ctx) -> anyhow::Result<Self> {
        let nic = Nicsim::load(ctx, "")?;
        nic.switchdev(2)?;
        run(&format!("ip link set {} down", representor(FRESH)))?;
        let netns = Netns::new("pod")?;
        run(&format!("ip link add {LINUX_BRIDGE} type bridge vlan_filtering 1"))?;
        let linux = LinuxBridge;
        run(&format!("ip link add {LINUX_PORT} address 02:00:00:00:00:01 up type dummy"))?;
        run(&format!("ip link set {LINUX_PORT} master {LINUX_BRIDGE}"))?;
        run(&format!("ip link set {LINUX_BRIDGE} up"))?;
        let ovs = Ovs::start()?;
        ovs.bridge(BRIDGE, &[UPLINK])?;
        for dir in [DEVICE_INFO, "/var/lib/linerate/ledger"] {
            std::fs::create_dir_all(dir)?;
        }
        Ok(Self { ovs, _linux: linux, netns, nic })
    }

    /// OVN's bridge, and mirrors on ours: Kube-OVN's `m0`, and `m1`.
    pub(super) fn add_ovn_and_mirrors(&self) -> anyhow::Result<()> {
        self.ovs.vsctl("add-br br-int")?;
        let port = "add-port br0 mir0 -- set interface mir0 type=internal";
        let mirrors = "--id=@out get port mir0 -- --id=@m0 create mirror name=m0 output-port=@out -- \
             --id=@m1 create mirror name=m1 output-port=@out -- set bridge br0 mirrors=@m0,@m1";
        self.ovs.vsctl(&format!("{port} -- {mirrors}")).map(drop)
    }

    /// How many rules the bridge of Open vSwitch has.
    pub(super) fn rules(&self) -> anyhow::Result<u32> {
        Ok(sriov_cni::attach::rules_on(&self.ovs.dir().join(format!("{BRIDGE}.mgmt")))?)
    }

    /// The keys that put a pod on the bridge of Open vSwitch.
    pub(super) fn on_ovs(&self) -> Value {
        let socket = format!("unix:{}", self.ovs.dir().join("db.sock").display());
        json!({"bridge": BRIDGE, "socket_file": socket})
    }

    /// A table's bench with one of the VFs.
    pub(super) fn bench(&self, vf: u16) -> anyhow::Result<Bench> {
        let files = ["/var/lib/linerate", DEVICE_INFO].map(PathBuf::from);
        Ok(Bench {
            device: self.nic.vf_address(vf)?,
            pf: (UPLINK.to_owned(), usize::from(vf)),
            representor: representor(vf),
            database: Some(Remote::Unix(self.ovs.dir().join("db.sock"))),
            pod: Pod::new("web", "/run/netns/pod"),
            scope: Scope { files: files.into(), ovs: Some(self.ovs.dir().to_owned()) },
        })
    }
}
