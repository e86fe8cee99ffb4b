//! Our own share: the plugin's work in a process of its own, while everybody it asks answers at once.
//!
//! The VF is one in memory, an address comes from nowhere, and the OVSDB server is [`database`]. The ledger is in memory, too. What is left
//! is ours: to start, read the configuration, plan, keep the ledger, speak OVSDB, answer, exit.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use serde_json::{Value, json};
use sriov_cni::attach::Steps;
use sriov_cni::protocol::Call;
use sriov_cni::verbs::{Machine, answer};
use switchdev::binding::{
    External, ExternalError, ExternalStep, FakeNode, FakeVf, FunctionState, Host, NetdevState,
    Node, RepresentorState, Side, VfPlace, VfState, Wish, plan,
};
use switchdev::devlink::PortIndex;
use switchdev::eswitch::EswitchMode;
use switchdev::ledger::{Holder, Record};
use switchdev::phys_port::VfIndex;
use switchdev::{Mac, Sysfs};

use super::{Figures, Line, TURNS, database, environment};

const VF: &str = "0000:01:10.0";
const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
const MTU: u32 = 9000;

/// Measures, each call a process of `program`, which is `cni-at-once`.
///
/// # Errors
/// When a call fails.
pub fn measure(program: &Path) -> anyhow::Result<Figures> {
    let dir = tempfile::tempdir_in("/dev/shm")?;
    database::serve(&dir.path().join("db.sock"))?;
    let (mut adds, mut dels) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        adds.push(timed(program, dir.path(), "ADD")?);
        dels.push(timed(program, dir.path(), "DEL")?);
    }
    let lines = vec![Line::new("ADD, ours", adds), Line::new("DEL, ours", dels)];
    Ok(Figures { lines, peak_rss_kib: None })
}

fn timed(program: &Path, dir: &Path, verb: &str) -> anyhow::Result<Duration> {
    let conf = conf(dir).to_string();
    let began = Instant::now();
    let mut child = Command::new(program)
        .arg(verb)
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    child.stdin.take().context("no stdin")?.write_all(conf.as_bytes())?;
    let output = child.wait_with_output()?;
    let time = began.elapsed();
    ensure!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stdout));
    Ok(time)
}

fn conf(dir: &Path) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "underlay", "type": "sriov-cni", "deviceID": VF, "bridge": "br0", "vlan": 100,
        "mac": MAC.to_string(), "mtu": MTU, "ipam": {"type": "host-local", "subnet": "10.77.0.0/24"},
        "socket_file": format!("unix:{}", dir.join("db.sock").display()),
    })
}

/// One call: the configuration is on stdin, the answer goes to stdout.
///
/// # Errors
/// As the plugin's.
pub fn call(verb: &str, dir: &Path) -> anyhow::Result<()> {
    let variables = environment(verb);
    let call = Call::read(|name| variables.get(name).map(|value| (*value).to_owned()))?;
    let mut stdin = Vec::new();
    std::io::stdin().read_to_end(&mut stdin)?;
    let sysfs = Sysfs::default();
    let mut machine = Machine {
        ledger: dir.join("ledger"),
        node: Box::new(if verb == "DEL" { bound()? } else { free()? }),
        external: Box::new(AtOnce(Steps::new(sysfs.clone()))),
        ..Machine::default()
    };
    let answered = answer(&call, &stdin, &mut machine).map_err(|(error, _)| anyhow!("{error}"))?;
    println!("{}", answered.unwrap_or_default());
    Ok(())
}

fn free() -> anyhow::Result<FakeNode> {
    let netdev = NetdevState {
        name: "np0v0".to_owned(),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        permanent: None,
        mtu: 1500,
        up: false,
        alias: None,
        addresses: Vec::new(),
    };
    let function = FunctionState { port: PortIndex(1), mac: Some(Mac([0; 6])), rate: None };
    let representor =
        RepresentorState { name: "np0r0".to_owned(), mtu: 1500, up: false, ipv6: false };
    let state = VfState {
        driver: Some("mlx5_core".to_owned()),
        netdev: Some(netdev),
        function: Some(function),
        representor: Some(representor),
        ..VfState::default()
    };
    let place =
        VfPlace { pf: "0000:01:00.0".parse()?, index: VfIndex(0), mode: EswitchMode::Switchdev };
    Ok(FakeNode::new(FakeVf {
        vf: VF.parse()?,
        place,
        state,
        side: Side::Host,
        rdma_exclusive: false,
        pinned: false,
    }))
}

/// As ADD left it.
fn bound() -> anyhow::Result<FakeNode> {
    let mut node = free()?;
    let holder = Holder {
        container: "c1".to_owned(),
        ifname: "net1".to_owned(),
        netns: "/run/netns/pod".into(),
        netns_id: None,
        network: "underlay".to_owned(),
        pod: None,
    };
    let wish = Wish { mac: Some(MAC), mtu: Some(MTU), ..Wish::default() };
    let mut host: Box<dyn Host> = node.open(VF.parse()?, &holder)?;
    let observed = host.observe()?.context("the VF in memory is gone")?;
    for change in plan(&observed, "net1", &wish)? {
        host.change(&change)?;
    }
    drop(host);
    Ok(node)
}

/// The steps outside, with nobody to wait for but [`database`].
struct AtOnce(Steps);

impl External for AtOnce {
    fn take(&mut self, step: &ExternalStep, record: &Record) -> Result<Value, ExternalError> {
        match step.kind.as_str() {
            "ovs-port" => self.0.take(step, record),
            "ipam" => Ok(json!({"cniVersion": "1.1.0", "ips": [{"address": "10.77.0.9/24"}]})),
            _ => Ok(Value::Null),
        }
    }

    fn take_back(&mut self, step: &ExternalStep, record: &Record) -> Result<(), ExternalError> {
        match step.kind.as_str() {
            "ovs-port" => self.0.take_back(step, record),
            _ => Ok(()),
        }
    }
}
