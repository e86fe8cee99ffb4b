//! NetConfs, right and wrong.

use serde_json::{Value, json};

use super::*;

fn base() -> Map<String, Value> {
    let base = json!({"cniVersion": "1.1.0", "name": "underlay", "type": "sriov-cni", "deviceID": "0000:01:10.0"});
    base.as_object().unwrap().clone()
}

fn with(more: &Value) -> Map<String, Value> {
    let mut conf = base();
    conf.extend(more.as_object().unwrap().clone());
    conf
}

fn read(more: Value) -> Result<NetConf, String> {
    NetConf::from_object(with(&more), None).map_err(|problems| problems.to_string())
}

fn call(args: &[(&str, &str)]) -> Call {
    let mut variables: std::collections::BTreeMap<&str, String> = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_IFNAME", "net1"),
        ("CNI_NETNS", "/run/netns/a"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    let args: Vec<String> = args.iter().map(|(name, value)| format!("{name}={value}")).collect();
    variables.insert("CNI_ARGS", args.join(";"));
    Call::read(|name| variables.get(name).cloned()).unwrap()
}

#[test]
fn the_least_there_can_be_is_enough() {
    let conf = read(json!({})).unwrap();
    assert_eq!(conf.device, "0000:01:10.0".parse().ok());
    assert_eq!((conf.bridge, conf.vlan, conf.ipam, conf.vf), (None, None, None, VfConf::default()));
}

#[test]
fn all_keys_of_sriov_cni_are_read() {
    let conf = read(json!({
        "vlan": 100, "vlanQoS": 3, "vlanProto": "802.1ad", "mac": "02:00:00:00:00:09", "min_tx_rate": 10,
        "max_tx_rate": 100, "spoofchk": "off", "trust": "on", "link_state": "enable", "mtu": 9000,
        "logFile": "/tmp/x", "logLevel": "debug", "pciBusID": "0000:01:10.0",
    })).unwrap();
    let vlan = conf.vlan.unwrap();
    assert_eq!((vlan.id, vlan.qos), (100, 3));
    assert_eq!(vlan.protocol, switchdev::link::VlanProtocol::Dot1ad);
    assert_eq!(
        (conf.vf.min_tx_rate, conf.vf.max_tx_rate, conf.vf.mtu),
        (Some(10), Some(100), Some(9000))
    );
    assert_eq!((conf.vf.spoof_check, conf.vf.trust), (Some(false), Some(true)));
    assert_eq!(conf.log.level, Level::Debug);
}

#[test]
fn all_keys_of_ovs_cni_are_read() {
    let bridge = read(json!({
        "bridge": "br0", "trunk": [{"id": 5}, {"minID": 7, "maxID": 9}], "ofport_request": 42,
        "interface_type": "system", "socket_file": "unix:/run/x.sock", "link_state_check_retries": 2,
        "link_state_check_interval": 100, "mirrors": [{"name": "m", "ingress": true}],
    })).unwrap().bridge.unwrap();
    assert_eq!(bridge.trunk.into_iter().collect::<Vec<_>>(), [5, 7, 8, 9]);
    assert_eq!((bridge.ofport_request, bridge.patience), (Some(42), Duration::from_millis(200)));
    assert_eq!(bridge.socket, Remote::Unix("/run/x.sock".into()));
    assert_eq!(bridge.mirrors, [MirrorConf { name: "m".into(), ingress: true, egress: false }]);
}

#[test]
fn the_mac_comes_from_the_first_that_says_it() {
    let conf = json!({"mac": "02:00:00:00:00:01", "args": {"cni": {"mac": "02:00:00:00:00:02"}}});
    let read = |conf: &Value, call: &Call| {
        NetConf::from_object(with(conf), Some(call)).unwrap().vf.mac.unwrap().0[5]
    };
    assert_eq!(read(&json!({"mac": "02:00:00:00:00:01"}), &call(&[])), 1);
    assert_eq!(read(&conf, &call(&[])), 2);
    let args = call(&[("MAC", "02:00:00:00:00:03"), ("IgnoreUnknown", "1")]);
    assert_eq!(read(&conf, &args), 3);
    let mut all = conf;
    all["runtimeConfig"] = json!({"mac": "02:00:00:00:00:04"});
    assert_eq!(read(&all, &args), 4);
}

#[test]
fn ovn_and_kube_ovn_name_their_ports() {
    let iface = |more: &Value, args: &[(&str, &str)]| {
        let bridge = NetConf::from_object(with(more), Some(&call(args))).unwrap().bridge.unwrap();
        (bridge.name, bridge.iface_id.unwrap())
    };
    let pod = [("K8S_POD_NAMESPACE", "shop"), ("K8S_POD_NAME", "web")];
    assert_eq!(iface(&json!({"ovnPort": "lsp1"}), &[]), ("br-int".into(), "lsp1".into()));
    assert_eq!(
        iface(&json!({"bridge": "br1"}), &[("OvnPort", "lsp2")]),
        ("br1".into(), "lsp2".into())
    );
    assert_eq!(iface(&json!({"provider": "net.ns.ovn"}), &pod).1, "web.shop.net.ns.ovn");
    assert_eq!(iface(&json!({"provider": "ovn"}), &pod).1, "web.shop");
}

#[test]
fn a_file_gives_what_the_netconf_does_not() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        r#"{"mtu": 9000, "vlan": 5, "socket_file": "unix:/run/other.sock"}"#,
    )
    .unwrap();
    let conf =
        read(json!({"bridge": "br0", "vlan": 7, "configuration_path": file.path()})).unwrap();
    assert_eq!((conf.vf.mtu, conf.vlan.unwrap().id), (Some(9000), 7));
    assert_eq!(conf.bridge.unwrap().socket, Remote::Unix("/run/other.sock".into()));
}

#[test]
fn what_generators_write_for_nothing_is_nothing() {
    let conf = read(
        json!({"vlan": 0, "vlanQoS": 0, "mac": "", "trunk": [], "spoofchk": "", "mtu": null, "ipam": {}}),
    );
    assert_eq!(
        conf.unwrap(),
        NetConf {
            raw: with(&json!({"vlan": 0, "vlanQoS": 0, "mac": "", "trunk": [],
        "spoofchk": "", "mtu": null, "ipam": {}})),
            ..read(json!({})).unwrap()
        }
    );
}

/// Wrong NetConfs, each with the words that its sentence must have.
fn wrong() -> Vec<(Value, &'static [&'static str])> {
    vec![
        (json!({"cniVersion": "2.0.0"}), &["\"2.0.0\" is not spoken here", "1.1.0"]),
        (json!({"cniVersion": 1.1}), &["cniVersion is 1.1", "as text"]),
        (json!({"cniVersion": null}), &["cniVersion is missing"]),
        (json!({"name": ""}), &["name is missing; give the network a name"]),
        (json!({"type": null}), &["type is missing"]),
        (json!({"deviceId": "0000:01:10.0"}), &["deviceId is no key", "is deviceID meant?"]),
        (json!({"deviceID": "01:10"}), &["deviceID is \"01:10\"", "0000:01:10.0"]),
        (json!({"deviceID": 5}), &["deviceID is 5", "a PCI address"]),
        (json!({"Vlan": 5}), &["Vlan is no key", "is vlan meant?"]),
        (json!({"vlan": 4095}), &["vlan is 4095", "from 0 to 4094"]),
        (json!({"vlan": "5"}), &["vlan is \"5\"", "a whole number"]),
        (json!({"vlan": -1}), &["vlan is -1"]),
        (json!({"vlan": 5, "vlanQoS": 8}), &["vlanQoS is 8", "from 0 to 7"]),
        (json!({"vlanQoS": 3}), &["vlanQoS 3 needs vlan"]),
        (json!({"vlanProto": "802.1ad"}), &["vlanProto \"802.1ad\" needs vlan"]),
        (json!({"vlan": 5, "vlanProto": "802.1x"}), &["one of 802.1q, 802.1ad"]),
        (json!({"mac": "02:00:00:00:00"}), &["mac is", "02:00:00:00:00:01"]),
        (json!({"mac": "01:00:5e:00:00:01"}), &["mac is", "of one station"]),
        (json!({"mac": "00:00:00:00:00:00"}), &["mac is", "of one station"]),
        (json!({"runtimeConfig": {"mac": "x"}}), &["runtimeConfig.mac is \"x\""]),
        (json!({"runtimeConfig": 5}), &["runtimeConfig is 5; it must be an object"]),
        (json!({"runtimeConfig": {"ips": "10.0.0.1"}}), &["runtimeConfig.ips", "a list of texts"]),
        (
            json!({"runtimeConfig": {"deviceID": "0000:01:10.1"}}),
            &["contradict each other", "names two VFs"],
        ),
        (
            json!({"min_tx_rate": 100, "max_tx_rate": 10}),
            &["min_tx_rate 100 and max_tx_rate 10", "more than the most"],
        ),
        (json!({"maxTxRate": 10}), &["is max_tx_rate meant?"]),
        (json!({"max_tx_rate": 1.5}), &["max_tx_rate is 1.5"]),
        (json!({"spoofchk": true}), &["spoofchk is true", "one of on, off"]),
        (json!({"spoofcheck": "on"}), &["is spoofchk meant?"]),
        (json!({"trust": "yes"}), &["trust is \"yes\""]),
        (json!({"link_state": "up"}), &["one of auto, enable, disable"]),
        (json!({"logLevel": "verbose"}), &["one of panic, error, warning"]),
        (json!({"mtu": 60}), &["mtu is 60", "from 68"]),
        (json!({"MTU": 9000}), &["is mtu meant?"]),
        (json!({"trunk": [{"id": 5}]}), &["needs bridge", "without one, vlan is the card's"]),
        (json!({"bridge": "br0", "trunk": [{"minID": 9}]}), &["trunk[0]", "either id, or both"]),
        (
            json!({"bridge": "br0", "trunk": [{"ID": 9}]}),
            &["trunk[0].ID is no key", "is trunk[0].id"],
        ),
        (
            json!({"bridge": "br0", "trunk": {"id": 9}}),
            &["trunk is {\"id\":9}", "a list of objects"],
        ),
        (json!({"bridge": "br0", "trunk": [5]}), &["trunk[0] is 5; it must be an object"]),
        (
            json!({"bridge": "br0", "vlan": 5, "trunk": [{"id": 9}]}),
            &["vlan 5 and trunk", "say one of them"],
        ),
        (json!({"bridge": "br0", "vlan": 5, "vlanQoS": 1}), &["a bridge port writes no priority"]),
        (
            json!({"bridge": "br0", "trust": "on"}),
            &["trust \"on\" and bridge \"br0\"", "spoofchk off"],
        ),
        (
            json!({"bridge": "br0", "spoofchk": "off", "portSecurity": true}),
            &["portSecurity true and spoofchk"],
        ),
        (json!({"portSecurity": true}), &["portSecurity true needs bridge"]),
        (json!({"mirrors": [{"name": "m"}]}), &["needs bridge: only a bridge mirrors"]),
        (
            json!({"bridge": "br0", "mirrors": [{"name": "m", "egres": true}]}),
            &["is mirrors[0].egress meant?"],
        ),
        (json!({"ofport_request": 5}), &["ofport_request 5 needs bridge"]),
        (json!({"bridge": "br0", "ofport_request": 65280}), &["from 1 to 65279"]),
        (json!({"egress_rate": 5}), &["needs bridge", "max_tx_rate makes the card limit"]),
        (json!({"bridge": "br0", "egress_burst": 5}), &["egress_burst 5 needs egress_rate"]),
        (json!({"bridge": "br0", "bridgeType": "ovn"}), &["one of ovs, linux"]),
        (
            json!({"bridge": "br0", "bridgeType": "linux", "mirrors": [{"name": "m"}]}),
            &["mirrors are rows of OVSDB"],
        ),
        (
            json!({"bridge": "br0", "bridgeType": "linux", "vlan": 5, "vlanProto": "802.1ad"}),
            &["vlan_protocol"],
        ),
        (json!({"ovnPort": "a", "provider": "b"}), &["both say the port's iface-id"]),
        (json!({"ovnPort": "a", "portSecurity": true}), &["set port_security on the logical port"]),
        (
            json!({"bridge": "br0", "socket_file": "ssl:1.2.3.4:6640"}),
            &["socket_file", "asks for TLS"],
        ),
        (json!({"bridge": "br0", "socket_file": "db.sock"}), &["socket_file is \"db.sock\""]),
        (
            json!({"configuration_path": "/nowhere.conf"}),
            &["cannot read /nowhere.conf: there is no such file"],
        ),
        (json!({"args": {"cni": {"ip_adress": "10.0.0.5"}}}), &["is args.cni.ip_address meant?"]),
        (json!({"args": {"cni": {"ip_address": "10.0.0.5"}}}), &["args.cni.ip_address needs ipam"]),
        (
            json!({"ipam": {"type": "static"}, "args": {"cni": {"ip_address": "10.0.0.5", "ip_pool": "10.0.0.6"}}}),
            &["several to choose from"],
        ),
        (
            json!({"args": {"cni": {"security_groups": "sg"}}}),
            &["is not done here", "OVN's logical port"],
        ),
        (json!({"args": {"cni": {"latency": 5}}}), &["netem"]),
        (json!({"args": {"cni": {"routes": [{"dst": "10.0.0.0"}]}}}), &["args.cni.routes[0].dst"]),
        (
            json!({"cni.dev/valid-attachments": [{"containerID": "c1"}]}),
            &["cni.dev/valid-attachments is", "a list of attachments"],
        ),
        (json!({"vlanId": 5}), &["vlanId is no key of sriov-cni"]),
        (json!({"frobnicate": 5}), &["frobnicate is no key", "`sriov-cni schema` lists the keys"]),
    ]
}

#[test]
fn each_wrong_netconf_has_its_sentence() {
    let wrong = wrong();
    assert!(wrong.len() >= 40);
    for (more, words) in wrong {
        let error = read(more.clone()).expect_err(&more.to_string());
        for word in words {
            assert!(error.contains(word), "{more}\n says {error:?}\n without {word:?}");
        }
        assert_eq!(error.lines().count(), 1, "one mistake, one sentence: {error}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let error = read(json!({"vlna": 5, "mtu": "big", "trust": "maybe"})).unwrap_err();
    assert_eq!(error.lines().count(), 3, "{error}");
}

#[test]
fn what_is_no_object_is_told() {
    let error = |bytes: &[u8]| NetConf::read(bytes, None).unwrap_err().to_string();
    assert!(error(b"").starts_with("the configuration is not JSON"));
    assert!(error(b"[]").starts_with("the configuration is a list; it must be a JSON object"));
    assert!(error(b"5").starts_with("the configuration is 5"));
    assert!(error(b"\xff").starts_with("the configuration is not JSON"));
}

mod garbage {
    use proptest::prelude::*;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any_key(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Mostly keys that are known, so that what is behind them is reached.
    fn any_key() -> impl Strategy<Value = String> {
        let known: Vec<String> = keys::KEYS.iter().map(|key| key.name.to_owned()).collect();
        let deeper = [
            "cni",
            "id",
            "minID",
            "ip_address",
            "routes",
            "mirror",
            "ips",
            "cni.dev/valid-attachments",
        ];
        let deeper: Vec<String> = deeper.map(str::to_owned).into();
        prop_oneof![4 => prop::sample::select(known), 2 => prop::sample::select(deeper), 1 => "\\PC{0,8}"]
    }

    proptest! {
        #[test]
        fn any_json_is_read_or_refused(members in prop::collection::btree_map(any_key(), any_json(), 0..8)) {
            let more = Value::Object(members.into_iter().collect());
            let _ = read(more);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = NetConf::read(&bytes, Some(&call(&[])));
        }
    }
}
