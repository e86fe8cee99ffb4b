//! The plugin's process in front of a kubelet: registration, lists, allocation, restarts, reload.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod node;

use std::fs;

use node::{EVERYTHING, Node, POOL};
use plugin_testkit::kubelet::Registration;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_pool_is_registered_by_the_watcher_and_listed() {
    let node = Node::new(Registration::Watcher);
    let _plugin = node.start(&[]);
    node.healthy(8);
    assert!(node.dirs.kubelet().join("plugins_registry/intel.com_net.sock").exists());
    let known = node.kubelet.known(POOL).unwrap();
    let numa: Vec<i64> =
        known.lists[0].1.iter().map(|d| d.topology.as_ref().unwrap().nodes[0].id).collect();
    assert_eq!(numa, [0, 0, 0, 0, 1, 1, 1, 1]);
    assert!(known.options.get_preferred_allocation_available && !known.options.pre_start_required);
}

#[test]
fn a_pool_registers_by_itself_where_there_is_no_watcher() {
    let node = Node::new(Registration::Legacy);
    let _plugin = node.start(&[]);
    node.healthy(8);
    assert!(node.dirs.kubelet().join("device-plugins/intel.com_net.sock").exists());
    assert_eq!(node.kubelet.registrations(), 1);
}

#[test]
fn a_restart_of_kubelet_is_seen_by_its_sockets() {
    for registration in [Registration::Watcher, Registration::Legacy] {
        let mut node = Node::new(registration);
        let mut plugin = node.start(&[]);
        node.healthy(8);
        for _ in 0..3 {
            node.kubelet.restart().unwrap();
            node.healthy(8);
        }
        assert!(plugin.is_running());
    }
}

#[test]
fn a_kubelet_that_left_our_socket_alone_is_seen_by_its_own() {
    let mut node = Node::new(Registration::Legacy);
    let _plugin = node.start(&[]);
    node.healthy(8);
    node.kubelet.reopen().unwrap();
    node.healthy(8);
    assert!(!node.dirs.said().contains("the socket is gone"), "{}", node.dirs.said());
}

#[test]
fn a_socket_that_is_deleted_is_made_again() {
    for (registration, dir) in
        [(Registration::Watcher, "plugins_registry"), (Registration::Legacy, "device-plugins")]
    {
        let node = Node::new(registration);
        let _plugin = node.start(&[]);
        node.healthy(8);
        let socket = node.dirs.kubelet().join(dir).join("intel.com_net.sock");
        fs::remove_file(&socket).unwrap();
        node.until("a new socket and registration", || {
            socket.exists() && node.kubelet.registrations() == 2
        });
        node.healthy(8);
    }
}

#[test]
fn a_plugin_that_was_there_first_waits_for_kubelet() {
    let mut node = Node::new(Registration::Legacy);
    node.kubelet.halt();
    let _plugin = node.start(&[]);
    node.says("is served on");
    node.kubelet.restart().unwrap();
    node.healthy(8);
}

#[test]
fn a_registration_that_is_refused_is_tried_again_after_longer_and_longer_pauses() {
    let node = Node::new(Registration::Legacy);
    node.kubelet.refuse(3);
    let _plugin = node.start(&[]);
    node.healthy(8);
    let said = node.dirs.said();
    let refused = "kubelet refused the registration";
    let pauses = said.lines().filter(|line| line.contains(refused));
    let pauses: Vec<&str> =
        pauses.filter_map(|line| line.split("trying again in ").nth(1)).collect();
    assert_eq!(pauses, ["200ms", "400ms", "800ms"]);
}

#[test]
fn a_container_gets_variables_and_a_device_info_file_and_the_ledger_knows() {
    let node = Node::new(Registration::Watcher);
    node.dirs
        .configure(r#"{"resourceList": [{"resourceName": "net", "selectors": {"vendors": ["15b3"]}, "additionalInfo": {"*": {"zone": "a"}}}]}"#)
        .unwrap();
    let _plugin = node.start(&[]);
    node.healthy(8);
    let given = node.kubelet.admit("web", POOL, 2).unwrap();
    let envs = &given.response.envs;
    assert_eq!(envs["PCIDEVICE_INTEL_COM_NET"], given.devices.join(","));
    let info = json(&envs["PCIDEVICE_INTEL_COM_NET_INFO"]);
    let device = &given.devices[0];
    assert_eq!(
        info[device],
        serde_json::json!({"generic": {"deviceID": device}, "extra": {"zone": "a"}})
    );
    for device in &given.devices {
        let file = json(&fs::read_to_string(node.device_info(device)).unwrap());
        assert_eq!((&file["type"], &file["version"]), (&"pci".into(), &"1.1.0".into()));
        assert_eq!(file["pci"]["pci-address"], **device);
        assert!(file["pci"]["pf-pci-address"].as_str().unwrap().ends_with(":00.0"));
        let entry =
            json(&fs::read_to_string(node.dirs.ledger().join(format!("{device}.json"))).unwrap());
        assert_eq!(entry["reservation"]["resource"], POOL);
    }
}

#[test]
fn several_containers_are_answered_each_with_its_own_devices() {
    let node = Node::new(Registration::Watcher);
    let _plugin = node.start(&[]);
    node.healthy(8);
    let free = node.kubelet.free(POOL);
    let containers = [free[..2].to_vec(), free[2..3].to_vec()];
    let responses = node.kubelet.allocate(POOL, &containers).unwrap();
    let variables: Vec<&String> =
        responses.iter().map(|r| &r.envs["PCIDEVICE_INTEL_COM_NET"]).collect();
    assert_eq!(variables, [&containers[0].join(","), &containers[1].join(",")]);
}

#[test]
fn what_cannot_be_given_is_refused_and_nothing_of_the_request_is_recorded() {
    let node = Node::new(Registration::Watcher);
    let _plugin = node.start(&[]);
    node.healthy(8);
    let device = node.kubelet.free(POOL).remove(0);
    let ask = |containers: &[Vec<String>]| {
        node.kubelet.allocate(POOL, containers).unwrap_err().to_string()
    };
    let stranger = ask(&[vec![device.clone()], vec!["0000:ff:00.0".to_owned()]]);
    assert!(stranger.contains("device 0000:ff:00.0 is not in pool intel.com/net"), "{stranger}");
    let twice = ask(&[vec![device.clone()], vec![device.clone()]]);
    assert!(twice.contains("asked for twice"), "{twice}");
    assert!(!node.dirs.ledger().join(format!("{device}.json")).exists());
}

#[test]
fn the_preferred_devices_are_on_one_pf() {
    let node = Node::new(Registration::Watcher);
    let _plugin = node.start(&[]);
    node.healthy(8);
    let free = node.kubelet.free(POOL);
    let must = [free[6].clone()];
    let chosen = node.kubelet.prefer(POOL, &free, &must, 2).unwrap();
    assert_eq!(chosen, free[6..8]);
}

#[test]
fn a_change_of_the_file_is_taken_up_and_a_bad_one_changes_nothing() {
    let node = Node::new(Registration::Watcher);
    let _plugin = node.start(&[]);
    node.healthy(8);
    node.dirs.configure(r#"{"resourceList": [{"resourceName": "net", "selectors": [{"pfNames": ["eth0", "eth1#0"]}]}]}"#).unwrap();
    node.kubelet.wait_for(POOL, node::PATIENCE, |devices| devices.len() == 3).unwrap();
    node.dirs
        .configure(
            r#"{"resourceList": [{"resourceName": "net", "selectors": [{"pfName": ["eth0"]}]}]}"#,
        )
        .unwrap();
    node.says("unknown field `pfName`");
    // The pool goes on to be looked after.
    let device = node.kubelet.free(POOL).remove(0);
    node.tree.unplug(&device).unwrap();
    let lost_one = |devices: &std::collections::BTreeMap<String, bool>| {
        devices.len() == 3 && devices.iter().all(|(id, healthy)| *healthy == (*id != device))
    };
    node.kubelet.wait_for(POOL, node::PATIENCE, lost_one).unwrap();
}

#[test]
fn a_device_in_a_pod_stays_when_the_file_no_longer_wants_it() {
    let node = Node::new(Registration::Watcher);
    let _plugin = node.start(&[]);
    node.healthy(8);
    let device = node.kubelet.admit("web", POOL, 1).unwrap().devices.remove(0);
    // Neither the other pool nor its own any more would have it.
    node.dirs.configure(&EVERYTHING.replace("\"net\"", "\"other\"")).unwrap();
    node.kubelet.wait_healthy("intel.com/other", 7, node::PATIENCE).unwrap();
    assert_eq!(node.kubelet.devices(POOL), [(device.clone(), true)].into());
    node.dirs.configure(EVERYTHING).unwrap();
    node.kubelet.wait_for(POOL, node::PATIENCE, |devices| devices.len() == 8).unwrap();
}

#[test]
fn a_graceful_stop_sends_no_empty_list_and_keeps_device_info() {
    let node = Node::new(Registration::Watcher);
    let mut plugin = node.start(&[]);
    node.healthy(8);
    let device = node.kubelet.admit("web", POOL, 1).unwrap().devices.remove(0);
    plugin.stop().unwrap();
    let known = node.kubelet.known(POOL).unwrap();
    assert!(known.lists.iter().all(|(_, devices)| devices.len() == 8));
    assert!(node.device_info(&device).exists());
    let _plugin = node.start(&[]);
    node.healthy(8);
    assert!(node.device_info(&device).exists());
}

#[test]
fn a_pod_whose_netdev_is_away_keeps_its_device_in_the_pool_over_a_restart() {
    let tree = plugin_testkit::Tree::new().unwrap();
    let pf = tree.pf("0000:03:00.0", "15b3:101d", "mlx5_core", "eth0", 4).unwrap();
    let vf = tree.vf(&pf, 0, "0000:03:00.2", "15b3:101e").unwrap().driver("mlx5_core").unwrap();
    vf.netdev("eth0v0").unwrap();
    let rdma = vf.join("infiniband/mlx5_2").unwrap();
    vf.join("infiniband_verbs/uverbs2").unwrap();
    let node = Node::with(tree, Registration::Watcher);
    let text = r#"{"resourceList": [{"resourceName": "net", "selectors": {"isRdma": true, "linkTypes": ["ether"]}}]}"#;
    node.dirs.configure(text).unwrap();
    let mut plugin = node.start(&[]);
    node.healthy(1);
    node.kubelet.admit("web", POOL, 1).unwrap();
    plugin.kill().unwrap();
    vf.hide_netdevs().unwrap();
    fs::remove_dir_all(rdma.path()).unwrap();
    let _plugin = node.start(&[]);
    node.healthy(1);
}

#[test]
fn what_kubelet_counts_is_known_though_the_ledger_was_lost() {
    let node = Node::new(Registration::Watcher);
    let mut plugin = node.start(&[]);
    node.healthy(8);
    let device = node.kubelet.admit("web", POOL, 1).unwrap().devices.remove(0);
    plugin.kill().unwrap();
    fs::remove_dir_all(node.dirs.ledger()).unwrap();
    let _plugin = node.start(&[]);
    node.healthy(8);
    // Another pool that is first in the file would get it, were it not known to be held.
    let two = r#"{"resourceList": [{"resourceName": "first"}, {"resourceName": "net"}]}"#;
    node.dirs.configure(two).unwrap();
    node.kubelet.wait_healthy("intel.com/first", 7, node::PATIENCE).unwrap();
    assert_eq!(node.kubelet.devices(POOL), [(device, true)].into());
}

#[test]
fn a_corrupt_ledger_entry_takes_its_device_out_and_no_other() {
    let node = Node::new(Registration::Watcher);
    let _plugin = node.start(&[]);
    node.healthy(8);
    let device = node.kubelet.free(POOL).remove(3);
    let entry = node.dirs.ledger().join(format!("{device}.json"));
    fs::write(&entry, "{ torn").unwrap();
    node.kubelet.wait_for(POOL, node::PATIENCE, |devices| !devices[&device]).unwrap();
    assert_eq!(node.kubelet.free(POOL).len(), 7);
    let refused = node.kubelet.allocate(POOL, &[vec![device.clone()]]).unwrap_err().to_string();
    assert!(refused.contains(&entry.display().to_string()), "{refused}");
    fs::remove_file(&entry).unwrap();
    node.healthy(8);
}

#[test]
fn a_device_in_a_live_pod_is_not_given_again_though_kubelet_lost_its_books() {
    let node = Node::new(Registration::Watcher);
    let _plugin = node.start(&[]);
    node.healthy(8);
    let device = node.kubelet.admit("web", POOL, 1).unwrap().devices;
    node::bind(&node.dirs.ledger(), &device[0], &node::live_netns());
    node.kubelet.lose_books().unwrap();
    let refused =
        node.kubelet.allocate(POOL, std::slice::from_ref(&device)).unwrap_err().to_string();
    assert!(refused.contains("is bound to pod default/web as net1"), "{refused}");
    // It is also the last that is preferred.
    node.until("the binding is known", || {
        let free = node.kubelet.free(POOL);
        !node.kubelet.prefer(POOL, &free, &[], 7).unwrap().contains(&device[0])
    });
    // A pod that has gone without giving it back is no reason.
    node::bind(&node.dirs.ledger(), &device[0], "/run/netns/no-such");
    node.kubelet.allocate(POOL, &[device]).unwrap();
}

#[test]
fn what_is_only_reserved_is_kubelets_to_decide() {
    let node = Node::new(Registration::Watcher);
    let _plugin = node.start(&[]);
    node.healthy(8);
    let device = node.kubelet.admit("web", POOL, 1).unwrap().devices;
    let refused =
        node.kubelet.allocate(POOL, std::slice::from_ref(&device)).unwrap_err().to_string();
    assert!(refused.contains("counted by kubelet as that of pod default/web"), "{refused}");
    node.kubelet.remove("web").unwrap();
    node.kubelet.allocate(POOL, &[device]).unwrap();
}

#[test]
fn device_info_goes_with_the_pod() {
    let node = Node::new(Registration::Watcher);
    let _plugin = node.start(&[]);
    node.healthy(8);
    let device = node.kubelet.admit("web", POOL, 1).unwrap().devices.remove(0);
    fs::write(
        node.dirs.device_info().join("vendor.com-net-0000:01:00.0-device.json"),
        "another plugin's",
    )
    .unwrap();
    fs::copy(node.device_info(&device), node.device_info("0000:ff:00.0")).unwrap();
    node.until("what nobody has is removed", || !node.device_info("0000:ff:00.0").exists());
    assert!(node.device_info(&device).exists());
    assert!(node.dirs.device_info().join("vendor.com-net-0000:01:00.0-device.json").exists());
}

/// The ledger is lost besides, so that only the checkpoint knows.
#[test]
fn a_kubelet_that_has_not_heard_of_its_pods_takes_no_device_info() {
    let node = Node::new(Registration::Watcher);
    let mut plugin = node.start(&[]);
    node.healthy(8);
    let device = node.kubelet.admit("web", POOL, 1).unwrap().devices.remove(0);
    plugin.kill().unwrap();
    fs::remove_dir_all(node.dirs.ledger()).unwrap();
    node.kubelet.hears_of_no_pod();
    fs::copy(node.device_info(&device), node.device_info("0000:ff:00.0")).unwrap();
    let _plugin = node.start(&[]);
    node.until("what nobody has is removed", || !node.device_info("0000:ff:00.0").exists());
    assert!(node.device_info(&device).exists());
}

/// As after a reboot, or after another plugin whose end was to remove all of them.
#[test]
fn device_info_that_is_missing_is_written_anew() {
    let node = Node::new(Registration::Watcher);
    let mut plugin = node.start(&[]);
    node.healthy(8);
    let device = node.kubelet.admit("web", POOL, 1).unwrap().devices.remove(0);
    let was = fs::read(node.device_info(&device)).unwrap();
    plugin.stop().unwrap();
    fs::remove_dir_all(node.dirs.device_info()).unwrap();
    let _plugin = node.start(&[]);
    node.until("a file again", || node.device_info(&device).exists());
    assert_eq!(fs::read(node.device_info(&device)).unwrap(), was);
    assert_eq!(fs::read_dir(node.dirs.device_info()).unwrap().count(), 1);
}

#[test]
fn device_info_goes_with_the_last_pod_of_a_pool_that_is_no_more() {
    let node = Node::new(Registration::Watcher);
    let _plugin = node.start(&[]);
    node.healthy(8);
    let device = node.kubelet.admit("web", POOL, 1).unwrap().devices.remove(0);
    node.dirs.configure(&EVERYTHING.replace("\"net\"", "\"other\"")).unwrap();
    node.kubelet.wait_healthy("intel.com/other", 7, node::PATIENCE).unwrap();
    assert!(node.device_info(&device).exists());
    node.kubelet.remove("web").unwrap();
    let ledger = switchdev::ledger::Ledger::open(node.dirs.ledger()).unwrap();
    ledger.unreserve(device.parse().unwrap(), node::PATIENCE).unwrap();
    node.until("the file is gone", || !node.device_info(&device).exists());
}

#[test]
fn device_files_go_by_cdi_where_asked() {
    let tree = plugin_testkit::Tree::new().unwrap();
    let pf = tree.pf("0000:03:00.0", "8086:1572", "i40e", "eth0", 4).unwrap();
    let vf = tree.vf(&pf, 0, "0000:03:02.0", "8086:154c").unwrap().driver("vfio-pci").unwrap();
    vf.iommu_group(42).unwrap();
    let node = Node::with(tree, Registration::Watcher);
    node.dirs.configure(r#"{"resourceList": [{"resourceName": "net", "selectors": {"drivers": ["vfio-pci"]}}]}"#).unwrap();
    let mut plugin = node.start(&[]);
    node.healthy(1);
    let plain = node.kubelet.admit("a", POOL, 1).unwrap().response;
    let paths: Vec<&str> = plain.devices.iter().map(|device| device.host_path.as_str()).collect();
    assert_eq!(paths, ["/dev/vfio/vfio", "/dev/vfio/42"]);
    let info = json(&plain.envs["PCIDEVICE_INTEL_COM_NET_INFO"]);
    assert_eq!(
        info["0000:03:02.0"]["vfio"],
        serde_json::json!({"mount": "/dev/vfio/vfio", "dev-mount": "/dev/vfio/42"})
    );
    node.kubelet.remove("a").unwrap();
    plugin.stop().unwrap();
    let _plugin = node.start(&["--use-cdi"]);
    node.healthy(1);
    let cdi = node.kubelet.admit("b", POOL, 1).unwrap().response;
    assert!(cdi.devices.is_empty());
    let name = &cdi.annotations["cdi.k8s.io/intel.com_net-pci_net"];
    assert_eq!(name, "intel.com/net-pci=0000:03:02.0");
    let spec = json(&fs::read_to_string(node.dirs.cdi().join(CDI_OF_NET)).unwrap());
    assert_eq!(spec["kind"], "intel.com/net-pci");
    assert_eq!(spec["devices"][0]["name"], "0000:03:02.0");
    assert_eq!(spec["devices"][0]["containerEdits"]["deviceNodes"][1]["path"], "/dev/vfio/42");
}

const CDI_OF_NET: &str = "sriov-dp-intel.com-net-pci-net.json";

/// Two specs with one device are an error to the runtime. Another's specs are not ours.
#[test]
fn a_spec_that_was_left_behind_goes_and_no_other() {
    let tree = plugin_testkit::Tree::new().unwrap();
    let pf = tree.pf("0000:03:00.0", "8086:1572", "i40e", "eth0", 4).unwrap();
    let vf = tree.vf(&pf, 0, "0000:03:02.0", "8086:154c").unwrap().driver("vfio-pci").unwrap();
    vf.iommu_group(42).unwrap();
    let node = Node::with(tree, Registration::Watcher);
    let pool = |name: &str| {
        let text = r#"{"resourceList": [{"resourceName": "NAME", "selectors": {"drivers": ["vfio-pci"]}}]}"#;
        node.dirs.configure(&text.replace("NAME", name)).unwrap();
    };
    let specs = || {
        let names = fs::read_dir(node.dirs.cdi()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    fs::write(node.dirs.cdi().join("vendor.json"), "").unwrap();
    fs::write(node.dirs.cdi().join("sriov-dp-intel.com-net-pci-was.yaml"), "").unwrap();
    pool("net");
    let mut plugin = node.start(&["--use-cdi"]);
    node.healthy(1);
    assert_eq!(specs(), [CDI_OF_NET, "vendor.json"]);
    plugin.kill().unwrap();
    pool("other");
    let _plugin = node.start(&["--use-cdi"]);
    node.kubelet.wait_healthy("intel.com/other", 1, node::PATIENCE).unwrap();
    assert_eq!(specs(), ["sriov-dp-intel.com-net-pci-other.json", "vendor.json"]);
    pool("third");
    node.kubelet.wait_healthy("intel.com/third", 1, node::PATIENCE).unwrap();
    assert_eq!(specs(), ["sriov-dp-intel.com-net-pci-third.json", "vendor.json"]);
}

#[test]
fn kubelet_asks_before_a_start_where_the_pool_wants_it() {
    let node = Node::new(Registration::Watcher);
    node.dirs.configure(&EVERYTHING.replace("}]}]}", "}], \"preStartCheck\": true}]}")).unwrap();
    let _plugin = node.start(&[]);
    node.healthy(8);
    assert!(node.kubelet.known(POOL).unwrap().options.pre_start_required);
    let device = node.kubelet.admit("web", POOL, 1).unwrap().devices;
    node.kubelet.pre_start(POOL, &device).unwrap();
    node.tree.unplug(&device[0]).unwrap();
    node.kubelet.wait_for(POOL, node::PATIENCE, |devices| !devices[&device[0]]).unwrap();
    let refused = node.kubelet.pre_start(POOL, &device).unwrap_err().to_string();
    assert!(refused.contains("is unhealthy: it is not there any more"), "{refused}");
}

/// Kubelet asks for the options only when a pool is registered; an empty list in between would take the
/// devices from running pods.
#[test]
fn a_pool_whose_options_change_is_registered_anew_without_an_empty_list() {
    let node = Node::new(Registration::Watcher);
    let _plugin = node.start(&[]);
    node.healthy(8);
    node.dirs.configure(&EVERYTHING.replace("}]}]}", "}], \"preStartCheck\": true}]}")).unwrap();
    node.until("the new options", || {
        node.kubelet.known(POOL).is_some_and(|known| known.options.pre_start_required)
    });
    node.healthy(8);
    assert!(node.kubelet.known(POOL).unwrap().lists.iter().all(|(_, devices)| devices.len() == 8));
}

#[test]
fn metrics_and_health_are_served() {
    let node = Node::new(Registration::Watcher);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _plugin = node.start(&["--metrics-listen", &port.to_string()]);
    node.healthy(8);
    node.kubelet.admit("web", POOL, 1).unwrap();
    let text = get(port, "/metrics");
    assert!(
        text.contains(r#"linerate_device_plugin_devices{pool="intel.com/net",state="healthy"} 8"#),
        "{text}"
    );
    assert!(
        text.contains(r#"allocations_total{pool="intel.com/net",outcome="given"} 1"#),
        "{text}"
    );
    assert!(get(port, "/healthz").starts_with("HTTP/1.1 200"));
    let device = node.kubelet.free(POOL).remove(0);
    node.tree.unplug(&device).unwrap();
    node.kubelet.wait_healthy(POOL, 7, node::PATIENCE).unwrap();
    let text = get(port, "/metrics");
    let gone = r#"health_changes_total{pool="intel.com/net",cause="gone"} 1"#;
    assert!(text.contains(gone), "{text}");
    node.says(&format!("{device} of pool intel.com/net is unhealthy: it is not there any more"));
    assert!(!text.contains("recoveries_total{"), "{text}");
}

fn get(address: std::net::SocketAddr, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
