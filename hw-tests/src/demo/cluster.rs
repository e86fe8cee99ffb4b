//! What a cluster does on a node: kubelet asks the device plugin for VFs, and Multus has `sriov-cni` attach them. Their parts
//! are played here, as far as the programs that they call can tell; those are the real ones, on the paths that nodes have.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use plugin_testkit::kubelet::Registration;
use plugin_testkit::{Kubelet, Plugin};
use serde_json::{Value, json};

use super::stage::BRIDGE;
use super::story::say;
use crate::cases::Ctx;
use crate::guest::cni;
use crate::guest::netns::Netns;
use crate::guest::ovs::Ovs;

const RESOURCE: &str = "linerate.dev/underlay";
const POOLS: &str = r#"{"resourceList": [{"resourcePrefix": "linerate.dev", "resourceName": "underlay",
  "selectors": {"pfNames": ["np0"], "drivers": ["nicsim"]}}]}"#;
const POOLS_FILE: &str = "/etc/pcidp/config.json";
const PLUGIN_LOG: &str = "/run/device-plugin.log";
const KUBELET_DIR: &str = "/var/lib/kubelet";
/// Where device plugins leave what they know of a device, and where Multus copies it for the CNI plugin.
const DEVICE_INFO: [&str; 2] =
    ["/var/run/k8s.cni.cncf.io/devinfo/dp", "/var/run/k8s.cni.cncf.io/devinfo/cni"];
const NETWORK: &str = "underlay";
const INTERFACE: &str = "net1";
/// For the plugin to register and to tell its devices.
const PATIENCE: Duration = Duration::from_secs(90);

/// Kubelet and Multus, with the programs that they call.
pub(super) struct Cluster {
    _plugin: Plugin,
    kubelet: Kubelet,
    cni: PathBuf,
    netconf: Value,
}

/// A pod: a namespace with a VF in it.
#[derive(Debug)]
pub(super) struct Pod {
    /// Its namespace.
    pub(super) netns: Netns,
    /// Its VF's representor.
    pub(super) representor: String,
    /// Its address, from IPAM.
    pub(super) ip: String,
    /// Its MAC address.
    pub(super) mac: String,
    conf: Value,
}

impl Cluster {
    /// Starts the device plugin, and waits until kubelet knows the VFs.
    pub(super) fn start(ctx: &Ctx, ovs: &Ovs, vfs: u16) -> anyhow::Result<Self> {
        let kubelet = Kubelet::start(Path::new(KUBELET_DIR), Registration::Watcher)?;
        fs::create_dir_all("/etc/pcidp")?;
        fs::write(POOLS_FILE, POOLS)?;
        say(&format!("device-plugin --config {POOLS_FILE} &"));
        let mut command = Command::new(ctx.binary("device-plugin")?);
        command.args(["--config", POOLS_FILE, "--metrics-listen", "off"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(PLUGIN_LOG)?);
        let plugin = Plugin::spawn(command)?;
        kubelet
            .wait_healthy(RESOURCE, usize::from(vfs), PATIENCE)
            .with_context(|| fs::read_to_string(PLUGIN_LOG).unwrap_or_default())?;
        say(&format!("kubelet knows {vfs} devices of {RESOURCE}"));
        Ok(Self { _plugin: plugin, kubelet, cni: ctx.binary("sriov-cni")?, netconf: netconf(ovs) })
    }

    /// A pod that asks for one VF, from kubelet's admission to the CNI plugin's answer.
    pub(super) fn run_pod(&self, name: &str) -> anyhow::Result<Pod> {
        let given = self.kubelet.admit(name, RESOURCE, 1)?;
        let device = given.devices.first().context("kubelet gave no device")?;
        let netns = quiet(name)?;
        let conf = self.conf_with(device, &device_info(name, device)?);
        let result = self.call("ADD", name, &conf)?;
        let pod = Pod::new(netns, &result, conf)?;
        let Pod { representor, ip, mac, .. } = &pod;
        say(&format!(
            "{name}: kubelet gives {device}; sriov-cni ADD: {INTERFACE} {mac} {ip}, {representor} on {BRIDGE}"
        ));
        Ok(pod)
    }

    /// The pod ends: its VF and address are given back, and its namespace goes.
    pub(super) fn end_pod(&self, pod: &Pod) -> anyhow::Result<()> {
        let name = pod.netns.name();
        self.call("DEL", name, &pod.conf)?;
        say(&format!("sriov-cni DEL: {name} has given its VF back"));
        self.kubelet.remove(name)
    }

    /// What Multus makes of a NetworkAttachmentDefinition with a resource.
    fn conf_with(&self, device: &str, info: &str) -> Value {
        let mut conf = self.netconf.clone();
        conf["deviceID"] = json!(device);
        conf["pciBusID"] = json!(device);
        conf["runtimeConfig"] = json!({"CNIDeviceInfoFile": info});
        conf
    }

    fn call(&self, verb: &str, pod: &str, conf: &Value) -> anyhow::Result<Value> {
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME={pod};K8S_POD_UID={pod}-uid"
        );
        let variables = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", pod),
            ("CNI_NETNS", &format!("/run/netns/{pod}")),
            ("CNI_IFNAME", INTERFACE),
            ("CNI_ARGS", &args),
        ];
        let (success, answer) = cni::call(&self.cni, &variables, conf)?;
        ensure!(success, "sriov-cni {verb}: {answer}");
        Ok(answer)
    }
}

impl Pod {
    fn new(netns: Netns, result: &Value, conf: Value) -> anyhow::Result<Self> {
        let text = |value: &Value, what: &str| {
            let text = value.as_str().map(str::to_owned);
            text.with_context(|| format!("the result has no {what}: {result}"))
        };
        let (host, inside) = (&result["interfaces"][0], &result["interfaces"][1]);
        let address = text(&result["ips"][0]["address"], "address")?;
        Ok(Self {
            netns,
            representor: text(&host["name"], "representor")?,
            ip: address.split('/').next().unwrap_or_default().to_owned(),
            mac: text(&inside["mac"], "MAC address")?,
            conf,
        })
    }
}

fn netconf(ovs: &Ovs) -> Value {
    let socket = format!("unix:{}", ovs.dir().join("db.sock").display());
    let range =
        json!({"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.11", "rangeEnd": "10.0.0.20"});
    json!({
        "cniVersion": "1.0.0", "name": NETWORK, "type": "sriov-cni", "bridge": BRIDGE, "socket_file": socket,
        "capabilities": {"CNIDeviceInfoFile": true}, "ipam": {"type": "host-local", "ranges": [[range]]},
    })
}

/// Copies what the device plugin wrote of the device, under the attachment's name.
fn device_info(pod: &str, device: &str) -> anyhow::Result<String> {
    let [from, to] = DEVICE_INFO.map(Path::new);
    let from = from.join(format!("{}-{device}-device.json", RESOURCE.replace('/', "-")));
    fs::create_dir_all(to)?;
    let to = to.join(format!("{NETWORK}-{pod}-uid-{INTERFACE}-device.json"));
    fs::copy(&from, &to).with_context(|| format!("cannot read {}", from.display()))?;
    Ok(to.display().to_string())
}

/// A namespace that sends nothing by itself: IPv6 would look for routers and neighbours.
pub(super) fn quiet(name: &str) -> anyhow::Result<Netns> {
    let netns = Netns::new(name)?;
    netns.enter(|| Ok(fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")?))?;
    Ok(netns)
}
