//! A node with OVS and a VF in use on the host, and the configuration that gives the VF to a pod.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;
use switchdev::ledger::{DEFAULT_DIR, Ledger};

use super::plugin::Plugin;
use crate::cases::Ctx;
use crate::guest::agent::Setup;
use crate::guest::netns::Netns;
use crate::guest::nicsim::{self, Nicsim};
use crate::guest::node_state::{NodeState, Scope};
use crate::guest::ovs::Ovs;
use crate::guest::tool::run;

const POD: &str = "kill";
const IPAM: &str = "/run/vf-kill-ipam";
/// For the agent's first round.
const ROUND: Duration = Duration::from_secs(60);

pub(super) struct Site {
    pub(super) plugin: Plugin,
    ovs: Ovs,
    _nic: Nicsim,
}

impl Site {
    pub(super) fn new(ctx: &Ctx) -> anyhow::Result<Self> {
        let binary = ctx.binary("sriov-cni")?;
        // Links that come from now on do not wait for others who may have their addresses.
        nicsim::write("/proc/sys/net/ipv6/conf/default/dad_transmits".into(), "0")?;
        let nic = Nicsim::load(ctx, "")?;
        nic.switchdev(2)?;
        run("ip link set np0v1 mtu 1450 alias rack7 up")?;
        run("ip address add 192.0.2.1/24 brd 192.0.2.255 dev np0v1")?;
        let ovs = Ovs::start()?;
        ovs.bridge("br0", &[])?;
        let conf = json!({
            "cniVersion": "1.1.0",
            "name": "vf-kill",
            "type": "sriov-cni",
            "deviceID": nic.vf_address(1)?,
            "bridge": "br0",
            "vlan": 100,
            "mtu": 1400,
            "mac": "02:00:00:00:00:09",
            "socket_file": format!("unix:{}", ovs.dir().join("db.sock").display()),
            "ipam": {
                "type": "host-local", "dataDir": IPAM,
                "ranges": [[{"subnet": "198.51.100.0/24", "rangeStart": "198.51.100.7", "rangeEnd": "198.51.100.7"}]],
            },
        });
        let plugin = Plugin::new(binary, conf, &Path::new("/run/netns").join(POD));
        let site = Self { plugin, ovs, _nic: nic };
        site.once()?;
        Ok(site)
    }

    /// host-local keeps the last address it gave, and OVS the names of its tables' columns: a first attachment makes both.
    fn once(&self) -> anyhow::Result<()> {
        let _pod = self.pod()?;
        self.plugin.done("ADD")?;
        self.plugin.done("DEL")
    }

    fn scope(&self) -> Scope {
        let files = [DEFAULT_DIR, IPAM, "/var/run/k8s.cni.cncf.io"].map(PathBuf::from).to_vec();
        Scope { files, ovs: Some(self.ovs.dir().to_owned()) }
    }

    pub(super) fn look(&self) -> anyhow::Result<NodeState> {
        self.scope().settled()
    }

    pub(super) fn ensure_is(&self, before: &NodeState) -> anyhow::Result<()> {
        self.scope().ensure_is(before)
    }

    pub(super) fn pod(&self) -> anyhow::Result<Netns> {
        Netns::new(POD)
    }

    /// Starts an agent that mirrors no bridge, and ends it when the ledger is empty.
    pub(super) fn agent_gives_back(&self, ctx: &Ctx) -> anyhow::Result<()> {
        let dir = self.ovs.dir().join("agent");
        let setup = Setup::new(ctx.binary("offload-agent")?, &self.ovs, "onExit: flush\n")?;
        let config = fs::read_to_string(&setup.config)?;
        fs::write(&setup.config, config.replace("ovs:\n", "ovs:\n  bridges: [none]\n"))?;
        let ledger = Ledger::open(DEFAULT_DIR)?;
        let lost = !ledger.entries()?.is_empty();
        let mut agent = setup.start()?;
        agent.wait("its first answer", |_| true)?;
        let until = Instant::now() + ROUND;
        while !ledger.entries()?.is_empty() {
            ensure!(Instant::now() < until, "the agent gives nothing back:\n{}", agent.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        // It tells at the end of its round.
        while lost && !agent.log().contains("taken back from") {
            ensure!(Instant::now() < until, "it does not say so:\n{}", agent.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        agent.stop()?;
        Ok(fs::remove_dir_all(dir)?)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // What host-local keeps of the last address it gave.
        let _ = fs::remove_dir_all(IPAM);
    }
}
