//! NetConfs that are right, and that this node cannot fulfil.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::pod::netconf;
use super::site::{FRESH, Site};
use crate::cases::Ctx;

/// Each is told with the remedy, and leaves nothing; the runtime's DEL that follows finds nothing to do.
pub(super) fn leave_nothing(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::new(ctx)?;
    let bench = site.bench(FRESH)?;
    let before = bench.scope.settled()?;
    for (more, words) in refused() {
        let mut conf = netconf(&bench.device, &site.on_ovs());
        for (key, value) in more.as_object().into_iter().flatten() {
            conf[key] = value.clone();
        }
        let answer = bench.pod.call("ADD", &conf);
        let error = answer.err().with_context(|| format!("{more} was not refused"))?;
        ensure!(format!("{error:#}").contains(words), "{more} says {error:#}, not {words}");
        bench.scope.ensure_is(&before).with_context(|| more.to_string())?;
        match bench.pod.call("DEL", &conf) {
            // Whether the database has a port of this pod cannot be known.
            Err(error) if more.get("socket_file").is_some() => {
                ensure!(format!("{error:#}").contains(words), "DEL says {error:#}, not {words}");
            }
            answer => drop(answer.with_context(|| format!("DEL after the refused {more}"))?),
        }
        bench.scope.ensure_is(&before).with_context(|| format!("DEL after the refused {more}"))?;
    }
    Ok(())
}

fn refused() -> [(Value, &'static str); 8] {
    [
        (json!({"bridge": "br9"}), "there is no OVS bridge \"br9\""),
        (json!({"mirrors": [{"name": "m9", "egress": true}]}), "bridge br0 has no mirror \"m9\""),
        (json!({"ipam": {"type": "no-such-ipam"}}), "no such plugin in CNI_PATH"),
        (json!({"ipam": {"type": "host-local"}}), "IPAM plugin host-local:"),
        (json!({"deviceID": "0000:01:1f.7"}), "there is no such VF"),
        (
            json!({"socket_file": "unix:/nowhere", "link_state_check_retries": 1, "link_state_check_interval": 1}),
            "cannot connect to /nowhere",
        ),
        (json!({"bridge": null, "trust": "on"}), "switchdev mode, where a VF has no trust"),
        (json!({"bridge": null, "vlan": 5}), "switchdev mode, where a VF has no vlan"),
    ]
}
