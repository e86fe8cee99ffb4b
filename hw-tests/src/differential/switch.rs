//! A private Open vSwitch without rights and without a kernel: its datapath is a dummy that forwards nothing, but its
//! rules are real, and `ofproto/trace` says what they do with a packet.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use flow_compiler::openflow::{BridgeName, BridgeRules, OfPort, Ruleset};
use flow_compiler::ports::{Port, PortKind, PortMap, PriorityTags, TunnelEnd, VlanMode};

use super::links;
use super::unixctl::UnixCtl;
use crate::sim::process;

/// Debian's place for the schema.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const START_LIMIT: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(20);
/// The bridge that carries what tunnels send, and its address.
pub(crate) const UNDERLAY: &str = "br-underlay";
pub(crate) const UNDERLAY_ADDRESS: &str = "203.0.113.1";

/// What a bundle begins with, and how many lines that is.
const BUNDLE_START: &str = "flow delete\ngroup delete\n";
pub(crate) const LINES_BEFORE: usize = 2;

/// A running switch; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Switch {
    dir: tempfile::TempDir,
    /// ovs-vswitchd, then ovsdb-server: the order in which they are stopped.
    daemons: Vec<Child>,
    control: Option<UnixCtl>,
    /// The meters that each bridge has.
    meters: BTreeMap<BridgeName, Vec<String>>,
}

impl Switch {
    /// Starts a switch with these bridges and ports.
    pub(crate) fn start(ports: &PortMap) -> anyhow::Result<Switch> {
        let dir = tempfile::Builder::new().prefix("differential-").tempdir()?;
        let mut switch =
            Switch { dir, daemons: Vec::new(), control: None, meters: BTreeMap::new() };
        switch.tool("ovsdb-tool", &["create", "conf.db", SCHEMA])?;
        switch.daemon("ovsdb-server", &["conf.db", "--remote=punix:db.sock"])?;
        switch.wait("ovsdb-server to answer", |switch| switch.path("db.sock").exists())?;
        switch.vsctl(&["--no-wait", "init"])?;
        switch.daemon("ovs-vswitchd", &["unix:db.sock", "--enable-dummy", "--disable-system"])?;
        switch.add_bridges(ports)?;
        let pid = switch.daemons.first().context("ovs-vswitchd is not running")?.id();
        let control = switch.path(&format!("ovs-vswitchd.{pid}.ctl"));
        switch.control = Some(UnixCtl::connect(&control)?);
        switch.add_underlay(ports)?;
        switch.add_addresses(ports)?;
        // Ports that listen shall not begin to forward.
        switch.ask("time/stop", &[])?;
        Ok(switch)
    }

    /// Asks ovs-vswitchd; its complaint is an error.
    pub(crate) fn ask(&mut self, method: &str, words: &[&str]) -> anyhow::Result<String> {
        let control = self.control.as_mut().context("ovs-vswitchd is not running")?;
        control.ask(method, words)?.map_err(|complaint| {
            anyhow::anyhow!("{method} {}: {}", words.join(" "), complaint.trim())
        })
    }

    /// Exchanges all rules, groups and meters.
    pub(crate) fn load(&mut self, ruleset: &Ruleset) -> anyhow::Result<()> {
        for (bridge, rules) in &ruleset.bridges {
            let socket = format!("unix:{}", self.path(&format!("{bridge}.mgmt")).display());
            let mut bundle = String::from(BUNDLE_START);
            for group in rules.groups.values() {
                writeln!(bundle, "group add {group}")?;
            }
            for rule in rules.rules.values() {
                writeln!(bundle, "flow add {rule}")?;
            }
            let file = self.path("bundle.txt");
            fs::write(&file, bundle)?;
            self.meters(bridge, &socket, rules)?;
            let name = file.display().to_string();
            self.tool("ovs-ofctl", &["-OOpenFlow15", "bundle", &socket, &name])?;
        }
        Ok(())
    }

    /// Meters cannot be in a bundle, nor be changed while rules name them; most rulesets have the same ones.
    fn meters(
        &mut self,
        bridge: &BridgeName,
        socket: &str,
        rules: &BridgeRules,
    ) -> anyhow::Result<()> {
        // What dump-meters prints on two lines, add-meter wants on one.
        let wanted: Vec<String> =
            rules.meters.values().map(|meter| meter.to_string().replace('\n', "")).collect();
        if self.meters.get(bridge) == Some(&wanted) {
            return Ok(());
        }
        self.tool("ovs-ofctl", &["-OOpenFlow15", "del-flows", socket])?;
        self.tool("ovs-ofctl", &["-OOpenFlow15", "del-meters", socket])?;
        for meter in &wanted {
            self.tool("ovs-ofctl", &["-OOpenFlow15", "add-meter", socket, meter])?;
        }
        self.meters.insert(bridge.clone(), wanted);
        Ok(())
    }

    fn add_bridges(&self, ports: &PortMap) -> anyhow::Result<()> {
        let mut words: Vec<String> = Vec::new();
        for (bridge, ports) in &ports.bridges {
            words.extend(add_bridge(&bridge.0));
            if ports.ports.values().any(|port| port.protocols.stp) {
                let protocol = links::spanning_tree(bridge);
                words.extend(self::words(&format!("-- set Bridge {bridge} {protocol}=true")));
            }
            for (number, port) in ports.ports.iter().filter(|(number, _)| **number != OfPort::LOCAL)
            {
                words.extend(add_port(bridge, *number, port));
            }
        }
        words.extend(add_bridge(UNDERLAY));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.vsctl(&words)?;
        Ok(())
    }

    /// What a tunnel sends has to find a way, or OVS drops it.
    fn add_underlay(&mut self, ports: &PortMap) -> anyhow::Result<()> {
        self.vsctl(&[
            "add-port",
            UNDERLAY,
            "underlay0",
            "--",
            "set",
            "Interface",
            "underlay0",
            "type=dummy",
        ])?;
        let socket = format!("unix:{}", self.path(&format!("{UNDERLAY}.mgmt")).display());
        self.tool("ovs-ofctl", &["add-flow", &socket, "actions=output:1"])?;
        // OVS takes a source address only from the subnet of the destination; this one has them all.
        let address = format!("{UNDERLAY_ADDRESS}/0");
        self.ask("netdev-dummy/ip4addr", &[UNDERLAY, &address])?;
        for remote in remotes(ports) {
            self.ask("ovs/route/add", &[&format!("{remote}/32"), UNDERLAY])?;
            self.ask("tnl/neigh/set", &[UNDERLAY, &remote.to_string(), "02:00:00:00:00:99"])?;
        }
        Ok(())
    }

    fn add_addresses(&mut self, ports: &PortMap) -> anyhow::Result<()> {
        for (bridge, ports) in &ports.bridges {
            for (key, entry) in &ports.fdb.entries {
                let Some(port) = ports.ports.get(&entry.port) else { continue };
                let [_, _, mac @ ..] = key.mac.to_be_bytes();
                let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
                self.ask("fdb/add", &[&bridge.0, &port.name, &key.vlan.to_string(), &mac])?;
            }
        }
        Ok(())
    }

    /// Names the Geneve options of each bridge.
    pub(crate) fn name_options(&self, ruleset: &Ruleset) -> anyhow::Result<()> {
        for (bridge, rules) in &ruleset.bridges {
            let socket = format!("unix:{}", self.path(&format!("{bridge}.mgmt")).display());
            for (number, option) in &rules.tunnel_options {
                let map = format!(
                    "{{class={:#x},type={:#x},len={}}}->tun_metadata{number}",
                    option.class, option.kind, option.length
                );
                self.tool("ovs-ofctl", &["add-tlv-map", &socket, &map])?;
            }
        }
        Ok(())
    }

    fn vsctl(&self, words: &[&str]) -> anyhow::Result<String> {
        let all = [&["--db=unix:db.sock", "--timeout=60"], words].concat();
        self.tool("ovs-vsctl", &all)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn tool(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        process::text(command(self.dir.path(), program).args(arguments))
    }

    fn daemon(&mut self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let log = format!("--log-file={program}.log");
        let output = File::create(self.path(&format!("{program}.out")))?;
        let child = command(self.dir.path(), program)
            .args(arguments)
            .args(["-vconsole:off", "--no-chdir", &log])
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| {
                format!("cannot start {program}: is the package openvswitch-switch installed?")
            })?;
        self.daemons.insert(0, child);
        Ok(())
    }

    fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let until = Instant::now() + START_LIMIT;
        while !done(self) {
            if Instant::now() > until {
                bail!("waited {} s for {what}", START_LIMIT.as_secs());
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            // Both fail only if it is gone already.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn command(dir: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).stdin(Stdio::null());
    for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
        command.env(variable, dir);
    }
    command
}

fn remotes(ports: &PortMap) -> impl Iterator<Item = IpAddr> {
    let all = ports.bridges.values().flat_map(|bridge| bridge.ports.values());
    all.filter_map(|port| match &port.kind {
        PortKind::Tunnel(tunnel) => match tunnel.config().ok()?.remote {
            TunnelEnd::Addr(address) => Some(address),
            TunnelEnd::Any | TunnelEnd::Flow => None,
        },
        _ => None,
    })
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn add_bridge(name: &str) -> Vec<String> {
    words(&format!(
        "-- add-br {name} -- set Bridge {name} datapath_type=dummy fail_mode=secure other_config:disable-in-band=true"
    ))
}

fn add_port(bridge: &BridgeName, number: OfPort, port: &Port) -> Vec<String> {
    let name = &port.name;
    let mut line =
        format!("-- add-port {bridge} {name} -- set Interface {name} ofport_request={}", number.0);
    let mut option = |key: &str, value: &str| {
        line.push_str(&format!(" options:{key}=\"{value}\""));
    };
    let kind = match &port.kind {
        PortKind::Patch { peer } => {
            option("peer", peer);
            "patch"
        }
        PortKind::Tunnel(tunnel) => {
            tunnel.options.iter().for_each(|(key, value)| option(key, value));
            tunnel.kind.name()
        }
        PortKind::System | PortKind::Internal | PortKind::Other(_) => "dummy",
    };
    let bfd = if port.protocols.bfd { " bfd:enable=true" } else { "" };
    let mut all = words(&format!("{line} type={kind}{bfd}"));
    all.extend(vlans(name, port));
    all
}

fn vlans(name: &str, port: &Port) -> Vec<String> {
    let list = |ids: &std::collections::BTreeSet<u16>| {
        ids.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
    };
    let mut line = format!("-- set Port {name}");
    let bare = line.len();
    if let Some(tag) = port.tag {
        line.push_str(&format!(" tag={tag}"));
    }
    if !port.trunks.is_empty() {
        line.push_str(&format!(" trunks={}", list(&port.trunks)));
    }
    if !port.cvlans.is_empty() {
        line.push_str(&format!(" cvlans={}", list(&port.cvlans)));
    }
    line.push_str(match port.priority_tags {
        PriorityTags::Never => "",
        PriorityTags::IfNonzero => " other_config:priority-tags=if-nonzero",
        PriorityTags::Always => " other_config:priority-tags=always",
    });
    line.push_str(match port.vlan_mode {
        VlanMode::Trunk => "",
        VlanMode::Access => " vlan_mode=access",
        VlanMode::NativeTagged => " vlan_mode=native-tagged",
        VlanMode::NativeUntagged => " vlan_mode=native-untagged",
        VlanMode::Dot1qTunnel => " vlan_mode=dot1q-tunnel",
    });
    if line.len() == bare { Vec::new() } else { words(&line) }
}
