//! A call of the plugin, as a runtime makes it after Multus.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};
use sriov_cni::protocol::Call;
use sriov_cni::verbs::{Machine, answer};

use crate::guest::cni::CNI_PATH;

/// Where host-local keeps who has which address, below it by network.
pub(super) const IPAM_DIR: &str = "/run/cni-ipam";
/// The network of all NetConfs here.
pub(super) const NETWORK: &str = "underlay";

/// A container's end of an attachment.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) container: String,
    pub(super) netns: String,
    pub(super) ifname: String,
    /// `CNI_ARGS` beside the pod's name.
    pub(super) args: String,
}

impl Pod {
    /// A container of the pod `demo/NAME`, whose namespace is at this path.
    pub(super) fn new(name: &str, netns: &str) -> Self {
        Self {
            container: format!("c-{name}"),
            netns: netns.to_owned(),
            ifname: "net1".to_owned(),
            args: format!(
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME={name};K8S_POD_UID=u-{name}"
            ),
        }
    }

    /// Makes a call; the result of an ADD, null of the others.
    pub(super) fn call(&self, verb: &str, conf: &Value) -> anyhow::Result<Value> {
        let variables = BTreeMap::from([
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", &self.container),
            ("CNI_NETNS", &self.netns),
            ("CNI_IFNAME", &self.ifname),
            ("CNI_ARGS", &self.args),
            ("CNI_PATH", CNI_PATH),
        ]);
        let call = Call::read(|name| variables.get(name).map(|value| (*value).to_owned()))?;
        let answered = answer(&call, conf.to_string().as_bytes(), &mut Machine::default());
        let answered = answered.map_err(|(error, _)| anyhow!("{error}"));
        answered.map(Option::unwrap_or_default).with_context(|| format!("{verb} {conf}"))
    }
}

/// A NetConf with the keys that all have, and more on top.
pub(super) fn netconf(device: &str, more: &Value) -> Value {
    let mut conf =
        json!({"cniVersion": "1.1.0", "name": NETWORK, "type": "sriov-cni", "deviceID": device});
    if let (Some(conf), Some(more)) = (conf.as_object_mut(), more.as_object()) {
        conf.extend(more.clone());
    }
    conf
}

/// Debian's host-local, with its files in a place of the test's own.
pub(super) fn host_local() -> Value {
    json!({"type": "host-local", "dataDir": IPAM_DIR, "ranges": [
        [{"subnet": "10.77.0.0/24", "gateway": "10.77.0.1"}], [{"subnet": "fd77::/64", "gateway": "fd77::1"}]],
        "routes": [{"dst": "10.88.0.0/16"}, {"dst": "::/0"}]})
}
