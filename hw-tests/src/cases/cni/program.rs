//! The program itself, as a runtime starts it: environment and stdin in, JSON and an exit status out.

use anyhow::ensure;
use serde_json::{Value, json};

use super::pod::netconf;
use crate::cases::Ctx;
use crate::guest::cni;
use crate::guest::netns::Netns;
use crate::guest::nicsim::Nicsim;

pub(super) fn answers(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.switchdev(1)?;
    let pod = Netns::new("pod")?;
    let conf = netconf(&nic.vf_address(0)?, &json!({}));
    let call = |verb: &str, conf: &Value| run(ctx, verb, conf);
    let (success, versions) = call("VERSION", &json!({"cniVersion": "1.1.0"}))?;
    ensure!(success && versions["supportedVersions"][3] == "1.1.0", "{versions}");
    ensure!(call("STATUS", &conf)? == (true, Value::Null), "STATUS with a free VF");
    let (success, result) = call("ADD", &conf)?;
    ensure!(success && result["interfaces"][0]["name"] == "net1", "{result}");
    ensure!(pod.ip("link show net1")?.contains("UP"), "net1 is not up");
    ensure!(call("CHECK", &conf)?.0, "CHECK after ADD");
    let (success, error) = call("STATUS", &conf)?;
    ensure!(!success && error["code"] == 50, "STATUS without a free VF says {error}");
    let (success, error) =
        call("ADD", &json!({"cniVersion": "1.1.0", "name": "n", "type": "sriov-cni", "vlna": 5}))?;
    ensure!(!success && error["code"] == 7 && error["cniVersion"] == "1.1.0", "{error}");
    ensure!(error["msg"] == "vlna is no key of sriov-cni; is vlan meant?", "{error}");
    collected(&conf, &call)
}

/// Runs the program: a verb and its configuration in, whether it succeeded and what it said out.
type Call<'a> = dyn Fn(&str, &Value) -> anyhow::Result<(bool, Value)> + 'a;

/// GC gives back what the runtime does not list, and leaves what it does.
fn collected(conf: &Value, call: &Call<'_>) -> anyhow::Result<()> {
    let mut listed = conf.clone();
    listed["cni.dev/valid-attachments"] = json!([{"containerID": "c-web", "ifname": "net1"}]);
    ensure!(call("GC", &listed)?.0 && call("CHECK", conf)?.0, "GC took what is listed");
    listed["cni.dev/valid-attachments"] = json!([]);
    ensure!(call("GC", &listed)?.0, "GC failed");
    let (success, error) = call("CHECK", conf)?;
    ensure!(!success && error["code"] == 3, "CHECK after GC says {error}");
    ensure!(call("DEL", conf)?.0, "DEL after GC");
    ensure!(
        std::fs::read_dir("/var/lib/linerate/ledger")?.next().is_none(),
        "the ledger is not empty"
    );
    Ok(())
}

fn run(ctx: &Ctx, verb: &str, conf: &Value) -> anyhow::Result<(bool, Value)> {
    let variables = [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "c-web"),
        ("CNI_NETNS", "/run/netns/pod"),
        ("CNI_IFNAME", "net1"),
    ];
    cni::call(&ctx.binary("sriov-cni")?, &variables, conf)
}
