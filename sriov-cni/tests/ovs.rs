//! Ports and rules on a real Open vSwitch with a dummy datapath.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "../../offload-agent/tests/private_ovs/mod.rs"]
#[allow(dead_code, reason = "each test binary uses its part of this")]
mod private_ovs;

use std::cell::Cell;
use std::net::IpAddr;

use private_ovs::PrivateOvs;
use sriov_cni::attach::{OWNER, OvsPort, PortRules, Step, Steps, Tagging};
use sriov_cni::conf::NetConf;
use switchdev::binding::External;
use switchdev::ledger::{Entry, Record};

/// A port `pod1` for this container, as a NetConf with these keys asks for it.
fn port(ovs: &PrivateOvs, container: &str, more: serde_json::Value, tagging: Tagging) -> OvsPort {
    let mut conf = serde_json::json!({"cniVersion": "1.1.0", "name": "n", "type": "sriov-cni", "bridge": "br0",
        "interface_type": "dummy", "socket_file": format!("unix:{}", ovs.path("db.sock")),
        "link_state_check_retries": 20, "link_state_check_interval": 500});
    conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let conf = NetConf::read(conf.to_string().as_bytes(), None).unwrap();
    let mut port = OvsPort::new(&conf.bridge.unwrap(), "pod1", tagging);
    port.port_ids = [("owner", OWNER), ("contId", container), ("contIface", "net1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    port
}

/// All that a port may have added anywhere.
fn everything(ovs: &PrivateOvs) -> String {
    let tables = ["Port", "Interface", "QoS", "Queue", "Mirror"];
    let columns = [
        "name,tag,trunks,external_ids",
        "name,external_ids",
        "external_ids",
        "external_ids",
        "name,select_src_port,select_dst_port",
    ];
    let table =
        |(table, columns): (&str, &str)| ovs.vsctl(&format!("--columns={columns} list {table}"));
    let mut lines: Vec<String> = tables.into_iter().zip(columns).map(table).collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn a_port_has_all_that_was_asked_for_and_leaves_nothing() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    ovs.vsctl("-- --id=@out get port p4 -- --id=@m create mirror name=m0 output-port=@out -- set bridge br0 mirrors=@m");
    let before = everything(&ovs);
    let more = serde_json::json!({"egress_rate": 20, "ingress_rate": 30, "ingress_burst": 1,
        "mirrors": [{"name": "m0", "ingress": true, "egress": true}], "ofport_request": 42});
    let port = port(&ovs, "c1", more, Tagging::Trunk(vec![5, 7]));
    assert_eq!(port.attach().unwrap(), 42);
    assert_eq!(port.attach().unwrap(), 42, "a second time changes nothing");
    assert_eq!(ovs.vsctl("get port pod1 trunks vlan_mode").trim(), "[5, 7]\ntrunk");
    assert_eq!(ovs.vsctl("get interface pod1 ingress_policing_rate").trim(), "20000");
    assert!(ovs.vsctl("list qos").contains("max-rate=\"30000000\""));
    assert_eq!(ovs.vsctl("get mirror m0 select_src_port select_dst_port").matches('[').count(), 2);
    assert_ne!(ovs.vsctl("get mirror m0 select_src_port").trim(), "[]");
    assert_eq!(port.check().unwrap(), None);
    ovs.vsctl("set port pod1 trunks=5");
    assert!(port.check().unwrap().unwrap().contains("port pod1: trunks is 5"));
    port.detach().unwrap();
    port.detach().unwrap();
    assert!(port.check().unwrap().unwrap().contains("is no port of bridge br0"));
    assert_eq!(everything(&ovs), before);
}

/// Every column that ADD sets is changed by somebody, told by CHECK, and changed back.
#[test]
fn check_tells_of_each_thing_that_was_changed() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    ovs.vsctl("-- --id=@out get port p4 -- --id=@m create mirror name=m0 output-port=@out -- set bridge br0 mirrors=@m");
    ovs.vsctl("add-br br1 -- set bridge br1 datapath_type=dummy");
    let more = serde_json::json!({"egress_rate": 20, "egress_burst": 2, "ingress_rate": 30,
        "mirrors": [{"name": "m0", "egress": true}], "bridge": "br0", "ovnPort": "lsp1"});
    let port = port(&ovs, "c1", more, Tagging::Access(7));
    port.attach().unwrap();
    let get = |what: &str| ovs.vsctl(&format!("get {what}")).trim().to_owned();
    let (id, qos, copied) =
        (get("port pod1 _uuid"), get("port pod1 qos"), get("mirror m0 select_dst_port"));
    let to = |from: &str, to: &str| {
        format!("remove bridge {from} ports {id} -- add bridge {to} ports {id}")
    };
    let changes = [
        ("set port pod1 tag=8".to_owned(), "set port pod1 tag=7".to_owned(), "tag is 8, not 7"),
        (
            "set port pod1 vlan_mode=trunk".into(),
            "set port pod1 vlan_mode=access".into(),
            "vlan_mode",
        ),
        ("set port pod1 trunks=5".into(), "clear port pod1 trunks".into(), "trunks is 5"),
        (
            "set interface pod1 ingress_policing_rate=1".into(),
            "set interface pod1 ingress_policing_rate=20000".into(),
            "ingress_policing_rate is 1, not 20000",
        ),
        (
            "set interface pod1 ingress_policing_burst=1".into(),
            "set interface pod1 ingress_policing_burst=2000".into(),
            "ingress_policing_burst is 1",
        ),
        ("clear port pod1 qos".into(), format!("set port pod1 qos={qos}"), "has not its rate"),
        (
            format!("set qos {qos} other_config:max-rate=1"),
            format!("set qos {qos} other_config:max-rate=30000000"),
            "max-rate is \"1\"",
        ),
        (
            "clear mirror m0 select_dst_port".into(),
            format!("set mirror m0 select_dst_port={copied}"),
            "mirror m0 does not copy port pod1",
        ),
        (
            "set interface pod1 external_ids:iface-id=lsp2".into(),
            "set interface pod1 external_ids:iface-id=lsp1".into(),
            "iface-id is \"lsp2\", not \"lsp1\"",
        ),
        (
            "remove port pod1 external_ids owner".into(),
            format!("set port pod1 external_ids:owner={OWNER}"),
            "does not carry our mark",
        ),
        (to("br0", "br1"), to("br1", "br0"), "pod1 is no port of bridge br0 any more"),
    ];
    for (change, undo, words) in changes {
        assert_eq!(port.check().unwrap(), None, "before {change}");
        ovs.vsctl(&change);
        let said = port.check().unwrap().unwrap_or_default();
        assert!(said.contains(words), "{change}: {said:?}");
        ovs.vsctl(&undo);
    }
    port.detach().unwrap();
}

#[test]
fn check_tells_of_a_tag_where_there_was_none_and_of_another_kind_of_tag() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    let plain = port(&ovs, "c1", serde_json::json!({}), Tagging::All);
    plain.attach().unwrap();
    ovs.vsctl("set port pod1 other_config:priority-tags=true");
    assert_eq!(plain.check().unwrap(), None, "what others set beside it is theirs");
    ovs.vsctl("set port pod1 tag=5");
    assert_eq!(plain.check().unwrap().unwrap(), "port pod1: tag is 5, not [\"set\",[]]");
    plain.detach().unwrap();
    let tunnel = port(&ovs, "c1", serde_json::json!({}), Tagging::Tunnel(7));
    tunnel.attach().unwrap();
    assert_eq!(tunnel.check().unwrap(), None);
    ovs.vsctl("set port pod1 other_config:qinq-ethtype=802.1q");
    assert!(tunnel.check().unwrap().unwrap().contains("qinq-ethtype is \"802.1q\""));
    tunnel.detach().unwrap();
}

#[test]
fn an_older_port_of_the_same_logical_port_makes_way() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    ovs.vsctl("set interface p1 external_ids:iface-id=lsp1");
    let port = port(&ovs, "c1", serde_json::json!({"ovnPort": "lsp1"}), Tagging::All);
    port.attach().unwrap();
    assert_eq!(
        ovs.vsctl("list-ports br0").split_whitespace().collect::<Vec<_>>(),
        ["p2", "p3", "p4", "pod1"]
    );
    port.detach().unwrap();
}

#[test]
fn anothers_port_is_left_alone() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    let first = port(&ovs, "c1", serde_json::json!({}), Tagging::Access(7));
    first.attach().unwrap();
    port(&ovs, "c2", serde_json::json!({}), Tagging::All).detach().unwrap();
    assert_eq!(first.check().unwrap(), None, "another container's DEL took the port");
    first.detach().unwrap();
    ovs.vsctl("add-port br0 pod1 -- set interface pod1 type=dummy");
    let error = first.attach().unwrap_err().to_string();
    assert!(error.contains("already a port of bridge br0, and not one of ours"), "{error}");
    first.detach().unwrap();
    assert!(ovs.vsctl("list-ports br0").contains("pod1"), "somebody's port was taken off");
}

#[test]
fn what_is_not_there_is_named_with_the_remedy() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    let error = |more| port(&ovs, "c1", more, Tagging::All).attach().unwrap_err().to_string();
    assert!(error(serde_json::json!({"bridge": "br9"})).contains("there is no OVS bridge \"br9\""));
    assert!(error(serde_json::json!({"bridge": "br9"})).ends_with("or name one of br0"));
    let unknown = error(serde_json::json!({"mirrors": [{"name": "m9", "egress": true}]}));
    assert!(unknown.contains("bridge br0 has no mirror \"m9\""), "{unknown}");
}

#[test]
fn rules_come_are_counted_and_go() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    let database = ovs.database_socket();
    let vf = "0000:01:10.0".parse().unwrap();
    let mac = "02:00:00:00:00:01".parse().unwrap();
    let pod: [IpAddr; 2] = ["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()];
    let rules = PortRules::new(&database, "br0", vf, mac, true);
    let before = ovs.ofctl(&["dump-flows", "br0", "--no-stats"]);
    let installed = rules.install(1, &pod).unwrap();
    assert_eq!(usize::try_from(rules.count().unwrap()).unwrap(), installed);
    let flows = ovs.ofctl(&["dump-flows", "br0", "--no-stats"]);
    assert!(
        flows.contains("priority=65535,in_port=1,dl_src=02:00:00:00:00:00 actions=drop"),
        "{flows}"
    );
    assert!(
        flows.contains("priority=65535,arp,in_port=1,arp_spa=128.0.0.0/1 actions=drop"),
        "{flows}"
    );
    rules.remove().unwrap();
    assert_eq!(ovs.ofctl(&["dump-flows", "br0", "--no-stats"]), before);
    let gone = PortRules::new(&database, "br9", vf, mac, false);
    gone.remove().unwrap();
}

#[test]
fn rules_that_were_lost_come_back_for_the_port_as_it_is_now() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    let (vf, mac) = ("0000:01:10.0".parse().unwrap(), "02:00:00:00:00:01".parse().unwrap());
    let rules = PortRules::new(&ovs.database_socket(), "br0", vf, mac, false);
    let port = port(&ovs, "c1", serde_json::json!({}), Tagging::All);
    let number = port.attach().unwrap();
    let count = rules.install(number, &[]).unwrap();
    let record = attached(port, rules.clone(), count);
    let mut steps = Steps::new(switchdev::Sysfs::default());
    assert_eq!(steps.mend(&record).unwrap(), None, "all rules are there");

    ovs.ofctl(&["del-flows", "br0", "in_port=pod1,dl_src=80:00:00:00:00:00/80:00:00:00:00:00"]);
    ovs.vsctl("set interface pod1 ofport_request=77");
    let said = steps.mend(&record).unwrap().unwrap();
    assert!(said.starts_with("bridge br0 had 47 of the 48 rules that hold the pod to"), "{said}");
    let flows = ovs.ofctl(&["dump-flows", "br0", "--no-stats", "--no-names"]);
    assert_eq!(flows.matches("priority=65535,in_port=77,dl_src=").count(), count, "{flows}");
    assert_eq!(usize::try_from(rules.count().unwrap()).unwrap(), count, "{flows}");

    let elsewhere = PortRules { socket: "/nowhere/br0.mgmt".into(), ..rules };
    let record = attached(
        OvsPort { database: "unix:/nowhere/db.sock".into(), ..port_of(&record) },
        elsewhere,
        count,
    );
    assert_eq!(steps.mend(&record).unwrap(), None, "a switch that is down has no rules to miss");
}

/// The record of a VF whose representor is on the bridge, with so many rules.
fn attached(port: OvsPort, rules: PortRules, count: usize) -> Record {
    let mut record = entry("c1").record.unwrap();
    let mut rules = Step::PortRules(rules).recorded().unwrap();
    rules.outcome = serde_json::json!({"rules": count});
    record.external = vec![Step::OvsPort(Box::new(port)).recorded().unwrap(), rules];
    record
}

fn port_of(record: &Record) -> OvsPort {
    let Step::OvsPort(port) = Step::from_record(&record.external[0]).unwrap() else { panic!() };
    *port
}

/// An ADD may begin whenever the ledger has just been read.
#[test]
fn a_lost_port_is_swept_and_one_that_is_being_added_is_not() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    let port = port(&ovs, "c1", serde_json::json!({}), Tagging::All);
    let database = format!("unix:{}", ovs.path("db.sock")).parse().unwrap();
    let mut steps = Steps::new(switchdev::Sysfs::default()).with_database(database);
    let asked = Cell::new(0);
    let before_an_add = || {
        asked.set(asked.get() + 1);
        if asked.get() == 2 {
            port.attach().unwrap();
        }
        Ok(Vec::new())
    };
    assert_eq!(steps.sweep(&before_an_add).unwrap(), Vec::<String>::new());
    assert_eq!(asked.get(), 2, "the ledger is read for its databases, and for its ports");
    assert!(ovs.vsctl("list-ports br0").contains("pod1"), "an ADD under way lost its port");
    assert_eq!(steps.sweep(&|| Ok(vec![entry("c1")])).unwrap(), Vec::<String>::new());
    let swept = steps.sweep(&|| Ok(vec![entry("c2")])).unwrap();
    assert_eq!(swept, ["OVS port pod1 of container c1 (net1), which no entry knows, removed"]);
    assert!(!ovs.vsctl("list-ports br0").contains("pod1"));
}

fn entry(container: &str) -> Entry {
    let entry = serde_json::json!({"version": 1, "checksum": 0, "vf": "0000:01:10.0", "record": {
        "phase": "binding", "boot": "a boot", "steps": [], "original": {"driver": null, "driver_override": null,
            "netdev": null, "legacy": null, "function": null, "representor": null},
        "holder": {"container": container, "ifname": "net1", "netns": "/run/netns/pod", "network": "n"},
        "place": {"pf": "0000:01:00.0", "index": 0, "mode": "switchdev"}}});
    serde_json::from_value(entry).unwrap()
}
