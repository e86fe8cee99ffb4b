//! The CNI plugin on the node: every key of a NetConf on every kind of card and bridge, who may send what, and VFs that
//! come and go.
//!
//! Each NetConf is added, looked at, checked and deleted, and after it the node is as it was before, to the byte. IPAM is
//! by Debian's containernetworking-plugins. The plugin is called as a library, for starting a process is dear in the
//! guest; one case runs the program.

mod addresses;
mod bridges;
mod churn;
mod drift;
mod legacy;
mod lost_entry;
mod own_addresses;
mod pod;
mod program;
mod refusals;
mod site;
mod table;
mod userspace;

use super::{Case, Kernels};
use crate::sim::kernel::Flavour;

/// The other kernel differs in what TC can do, which is nothing to most of these.
const STOCK: Kernels = Kernels::Only(&[Flavour::Stock]);

const fn case(
    name: &'static str,
    kernels: Kernels,
    run: fn(&mut super::Ctx) -> anyhow::Result<()>,
) -> Case {
    Case { name, kernels, run }
}

pub(super) const CASES: &[Case] = &[
    case("cni/netconfs-on-ovs", STOCK, bridges::on_ovs),
    case("cni/netconfs-with-ipam", STOCK, addresses::from_ipam),
    case("cni/netconfs-on-linux-bridges", STOCK, bridges::on_linux_and_without),
    case("cni/netconfs-the-node-cannot-fulfil", STOCK, refusals::leave_nothing),
    case("cni/netconfs-on-nicsim-in-legacy-mode", STOCK, legacy::netconfs_on_nicsim),
    case("cni/netconfs-on-igb", STOCK, legacy::netconfs_on_igb),
    case("cni/netconfs-with-vfio-pci", Kernels::All, userspace::netconfs),
    case("cni/netconfs-with-vfio-pci-in-switchdev-mode", STOCK, userspace::in_switchdev_mode),
    case("cni/check-tells-what-was-changed", STOCK, drift::is_told),
    case("cni/del-without-the-entry", STOCK, lost_entry::nothing_stays_on_a_bridge),
    case("cni/a-pod-has-only-its-own-addresses", Kernels::All, own_addresses::only),
    case("cni/the-program-answers-as-the-library", Kernels::All, program::answers),
    case("cni/pods-queue-for-14-vfs", STOCK, churn::pods_queue),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};
    use sriov_cni::conf::keys::{KEYS, Key, Kind};

    use super::table::Row;
    use super::*;

    /// The NetConfs of all tables, as they are run.
    fn netconfs() -> Vec<Value> {
        let on_ovs = json!({"bridge": "br0", "socket_file": "unix:/run/db.sock"});
        let with = |base: &Value, rows: Vec<Row>| -> Vec<Value> {
            let conf = |row: &Row| pod::netconf("0000:01:10.0", &table::merged(base, &row.more));
            rows.iter().map(conf).collect()
        };
        [
            with(&on_ovs, bridges::ovs_rows("0000:01:10.0")),
            with(&on_ovs, addresses::rows()),
            with(&json!({"bridge": "lbr0"}), bridges::linux_rows()),
            with(&json!({}), bridges::plain_rows()),
            with(&json!({}), legacy::nicsim_rows()),
            with(&json!({}), legacy::igb_rows("0000:01:10.0")),
            with(&json!({}), userspace::rows("0000:01:10.0")),
            with(&on_ovs, userspace::switchdev_rows()),
        ]
        .concat()
    }

    /// Keys that need a representor, or wait for its switch.
    const OF_A_BRIDGE: &[&str] = &[
        "bridge",
        "bridgeType",
        "trunk",
        "ofport_request",
        "interface_type",
        "ovnPort",
        "provider",
        "mirrors",
        "portSecurity",
        "socket_file",
        "link_state_check_retries",
        "link_state_check_interval",
        "ingress_rate",
        "ingress_burst",
        "egress_rate",
        "egress_burst",
    ];

    /// The paths of these keys, and of the keys in their values.
    fn paths(keys: &[Key], above: &str) -> BTreeSet<String> {
        let below = |key: &Key| {
            let path = format!("{above}{}", key.name);
            let inner = match key.kind {
                Kind::Object(keys) | Kind::List(keys) => paths(keys, &format!("{path}.")),
                _ => BTreeSet::new(),
            };
            std::iter::once(path).chain(inner)
        };
        keys.iter().flat_map(below).collect()
    }

    fn paths_of(value: &Value, above: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let path = format!("{above}{name}");
                    paths_of(value, &format!("{path}."), found);
                    found.insert(path);
                }
            }
            Value::Array(list) => list.iter().for_each(|value| paths_of(value, above, found)),
            _ => {}
        }
    }

    /// All paths that these NetConfs have, and CHECK's.
    fn found_in(netconfs: &[Value]) -> BTreeSet<String> {
        // CHECK gets the result of ADD as prevResult.
        let mut found = BTreeSet::from(["prevResult".to_owned()]);
        netconfs.iter().for_each(|conf| paths_of(conf, "", &mut found));
        found
    }

    #[test]
    fn every_key_is_in_a_table() {
        let netconfs = netconfs();
        assert!(netconfs.len() >= 60, "only {} NetConfs", netconfs.len());
        let found = found_in(&netconfs);
        let missing: Vec<String> = paths(KEYS, "").difference(&found).cloned().collect();
        assert!(missing.is_empty(), "no NetConf has {missing:?}");
    }

    #[test]
    fn every_key_that_needs_no_bridge_is_tried_with_igb_and_with_vfio_pci() {
        let device = "0000:01:10.0";
        for (name, rows) in
            [("igb", legacy::igb_rows(device)), ("vfio-pci", userspace::rows(device))]
        {
            let netconfs: Vec<Value> =
                rows.iter().map(|row| pod::netconf(device, &row.more)).collect();
            let found = found_in(&netconfs);
            let wanted = KEYS.iter().map(|key| key.name).filter(|key| !OF_A_BRIDGE.contains(key));
            let missing: Vec<&str> = wanted.filter(|key| !found.contains(*key)).collect();
            assert!(missing.is_empty(), "no NetConf for {name} has {missing:?}");
        }
    }

    #[test]
    fn every_word_of_an_annotation_is_in_a_table() {
        let netconfs = netconfs();
        let asked = netconfs.iter().filter_map(|conf| conf["args"]["cni"].as_object());
        let word = |name: &String| {
            let word = name.rsplit('/').next().unwrap_or_default();
            word.split('.').next().unwrap_or_default().to_owned()
        };
        let found: BTreeSet<String> = asked.flat_map(|asked| asked.keys().map(word)).collect();
        let missing: Vec<&str> =
            sriov_cni::conf::words().filter(|word| !found.contains(*word)).collect();
        assert!(missing.is_empty(), "no NetConf has {missing:?} in args.cni");
    }
}
