//! What a container is given with a device of each kind: variables, files, device-info, NUMA node.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod cards;

use cards::{Node, config};
use device_plugin::allocate::given;
use device_plugin::answer::devinfo::DeviceInfo;
use device_plugin::answer::files::HostFiles;
use device_plugin::answer::{Given, env, files};
use device_plugin::holds::Holds;
use device_plugin::kubelet::list;
use device_plugin::pool::{Pool, Pools};
use serde_json::{Value, json};

/// A host with all the files that belong to no device.
const HOST: HostFiles = HostFiles { rdma_cm: true, vhost_net: true };

/// A node on which one device of each kind of driver for user space is, too.
fn node() -> Node {
    let node = Node::new();
    let rdma = node.tree.device("0000:03:00.2");
    rdma.join("infiniband_mad/umad2").unwrap();
    rdma.join("infiniband_mad/issm2").unwrap();
    let uio = node.tree.device("0000:05:02.0").driver("igb_uio").unwrap();
    uio.join("uio/uio3").unwrap();
    let sf = node.tree.device("0000:03:00.0").join("mlx5_core.sf.4").unwrap();
    sf.join("infiniband/mlx5_7").unwrap();
    sf.join("infiniband_verbs/uverbs7").unwrap();
    node
}

/// The only pool of the node, with these keys.
fn pool(node: &Node, keys: &str) -> Pool {
    let config = config(&format!(r#"{{"resourceName": "a", {keys}}}"#));
    let pools = node.pools(&config, &Holds::default(), &Pools::new());
    pools.into_values().next().unwrap()
}

/// What a container gets with one device.
#[derive(Debug, PartialEq)]
struct Answer {
    /// `_INFO` but for the subject `generic`, which is the device's name.
    info: Value,
    /// The device files, with `HOST:CONTAINER` where the two differ.
    files: Vec<String>,
    /// What the device-info file says of it.
    device_info: Option<Value>,
}

fn answer(pool: &Pool, device: &str) -> Answer {
    let member = pool.members.get(&device.into()).unwrap_or_else(|| panic!("no {device}"));
    let given = given(pool, member).unwrap();
    let variables = env::variables(&pool.config.name, &[given], HOST);
    assert_eq!(variables["PCIDEVICE_INTEL_COM_A"], device);
    let mut info: Value = serde_json::from_str(&variables["PCIDEVICE_INTEL_COM_A_INFO"]).unwrap();
    let mut info = info[device].take();
    let generic = info.as_object_mut().unwrap().remove("generic");
    assert_eq!(generic, Some(json!({"deviceID": device})));
    Answer { info, files: files(given), device_info: device_info(given) }
}

fn files(given: Given<'_>) -> Vec<String> {
    let shown = |file: files::DeviceFile| match file.host == file.container {
        true => file.host,
        false => format!("{}:{}", file.host, file.container),
    };
    files::of(given, HOST).into_iter().map(shown).collect()
}

fn device_info(given: Given<'_>) -> Option<Value> {
    let dir = tempfile::tempdir().unwrap();
    let files = DeviceInfo::new(dir.path().to_owned());
    files.save(given).unwrap();
    let text = std::fs::read(files.path(&given.pool.name, &given.device.id)).ok()?;
    let mut said: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(said["version"], "1.1.0");
    let kind = said["type"].as_str().unwrap().to_owned();
    Some(json!({ kind.clone(): said[kind.as_str()].take() }))
}

/// The part of every device-info of a VF in switchdev mode.
fn vf(address: &str, representor: &str) -> Value {
    json!({"pci": {"pci-address": address, "pf-pci-address": "0000:03:00.0", "representor-device": representor}})
}

/// The pool's keys, the device, and what is answered.
type Row = (&'static str, &'static str, Answer);

fn rows() -> Vec<Row> {
    let none = || json!({});
    let legacy =
        |address: &str| json!({"pci": {"pci-address": address, "pf-pci-address": "0000:05:00.0"}});
    let row = |keys, device, info, files: &[&str], device_info| {
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        (keys, device, Answer { info, files, device_info })
    };
    let mut rdma = vf("0000:03:00.2", "eth0_0");
    rdma["pci"]["rdma-device"] = json!("mlx5_2");
    let mut vhost = vf("0000:03:00.4", "eth0_2");
    vhost["pci"]["vhost-net"] = json!("/dev/vhost-net");
    vec![
        row(r#""selectors": {}"#, "0000:03:00.4", none(), &[], Some(vf("0000:03:00.4", "eth0_2"))),
        row(
            r#""selectors": {"isRdma": true}"#,
            "0000:03:00.2",
            json!({"rdma": {
                "uverbs": "/dev/infiniband/uverbs2", "umad": "/dev/infiniband/umad2",
                "issm": "/dev/infiniband/issm2", "rdma_cm": "/dev/infiniband/rdma_cm", "rdma_dev": "mlx5_2",
            }}),
            &[
                "/dev/infiniband/issm2",
                "/dev/infiniband/umad2",
                "/dev/infiniband/uverbs2",
                "/dev/infiniband/rdma_cm",
            ],
            Some(rdma),
        ),
        // RDMA is given to those who ask for it only.
        row(r#""selectors": {}"#, "0000:03:00.2", none(), &[], Some(vf("0000:03:00.2", "eth0_0"))),
        row(
            r#""selectors": {"needVhostNet": true}"#,
            "0000:03:00.4",
            json!({"vhost": {"net-mount": "/dev/vhost-net", "tun-mount": "/dev/net/tun"}}),
            &["/dev/vhost-net", "/dev/net/tun"],
            Some(vhost),
        ),
        row(
            r#""selectors": {"drivers": ["vfio-pci"]}"#,
            "0000:05:02.1",
            json!({"vfio": {"mount": "/dev/vfio/vfio", "dev-mount": "/dev/vfio/7"}}),
            &["/dev/vfio/vfio", "/dev/vfio/7"],
            Some(legacy("0000:05:02.1")),
        ),
        row(
            r#""selectors": {"drivers": ["igb_uio"]}"#,
            "0000:05:02.0",
            json!({"uio": {"mount": "/dev/uio3"}}),
            &["/dev/uio3"],
            Some(legacy("0000:05:02.0")),
        ),
        row(
            r#""selectors": {"vdpaType": "vhost"}"#,
            "0000:08:00.2",
            json!({"vdpa": {"mount": "/dev/vhost-vdpa-0"}}),
            &["/dev/vhost-vdpa-0"],
            Some(json!({"vdpa": {
                "parent-device": "vdpa0", "driver": "vhost", "path": "/dev/vhost-vdpa-0",
                "pci-address": "0000:08:00.2", "pf-pci-address": "0000:08:00.0",
            }})),
        ),
        // What is said of one device goes before what is said of all.
        row(
            r#""selectors": {"acpiIndexes": ["101"]},
               "additionalInfo": {"*": {"zone": "a", "rack": "1"}, "0000:06:00.0": {"zone": "b"}}"#,
            "0000:06:00.0",
            json!({"extra": {"zone": "b", "rack": "1"}}),
            &[],
            Some(json!({"pci": {"pci-address": "0000:06:00.0"}})),
        ),
        // Of a sub-function there is no device-info; `extra` goes by its PF's address.
        row(
            r#""deviceType": "auxNetDevice", "selectors": {"auxTypes": ["sf"], "isRdma": true},
               "additionalInfo": {"0000:03:00.0": {"zone": "c"}}"#,
            "mlx5_core.sf.4",
            json!({
                "rdma": {"uverbs": "/dev/infiniband/uverbs7", "rdma_cm": "/dev/infiniband/rdma_cm", "rdma_dev": "mlx5_7"},
                "extra": {"zone": "c"},
            }),
            &["/dev/infiniband/uverbs7", "/dev/infiniband/rdma_cm"],
            None,
        ),
        // Without an IOMMU group there is the control file only.
        row(
            r#""deviceType": "accelerator", "selectors": {}"#,
            "0000:09:00.0",
            json!({"vfio": {"mount": "/dev/vfio/vfio"}}),
            &["/dev/vfio/vfio"],
            None,
        ),
    ]
}

#[test]
fn each_kind_of_device_comes_with_what_it_needs() {
    let node = node();
    for (keys, device, wanted) in rows() {
        assert_eq!(answer(&pool(&node, keys), device), wanted, "{keys}");
    }
}

/// Multus may read it at any moment.
#[test]
fn a_device_info_file_is_whole_whenever_it_is_read() {
    let node = node();
    let pool = pool(&node, r#""selectors": {}"#);
    let given = given(&pool, &pool.members[&"0000:03:00.4".into()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let files = DeviceInfo::new(dir.path().to_owned());
    files.save(given).unwrap();
    let path = files.path(&given.pool.name, &given.device.id);
    let whole = std::fs::read(&path).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (0..200).try_for_each(|_| files.save(given)));
        while !writer.is_finished() {
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
        writer.join().unwrap().unwrap();
    });
}

#[test]
fn a_vdpa_device_of_the_kernels_own_has_no_file() {
    let node = node();
    node.tree.device("0000:08:00.2").join("vdpa0").unwrap().driver("virtio_vdpa").unwrap();
    let answer = answer(&pool(&node, r#""selectors": {"vdpaType": "virtio"}"#), "0000:08:00.2");
    assert_eq!((answer.info, answer.files), (json!({"vdpa": {}}), vec![]));
    assert_eq!(answer.device_info.unwrap()["vdpa"]["driver"], "virtio");
}

#[test]
fn without_an_iommu_the_group_has_another_name_on_the_host() {
    let node = node();
    std::fs::write(node.tree.path().join("kernel/iommu_groups/7/name"), "vfio-noiommu\n").unwrap();
    let answer = answer(&pool(&node, r#""selectors": {"drivers": ["vfio-pci"]}"#), "0000:05:02.1");
    assert_eq!(answer.files, ["/dev/vfio/vfio", "/dev/vfio/noiommu-7:/dev/vfio/7"]);
    assert_eq!(answer.info["vfio"]["dev-mount"], "/dev/vfio/7");
}

#[test]
fn a_host_without_vhost_net_gives_none() {
    let node = node();
    let pool = pool(&node, r#""selectors": {"needVhostNet": true}"#);
    let given = given(&pool, &pool.members[&"0000:03:00.4".into()]).unwrap();
    assert_eq!(files::of(given, HostFiles::default()), []);
    let info = &env::variables(&pool.config.name, &[given], HostFiles::default())["PCIDEVICE_INTEL_COM_A_INFO"];
    assert!(!info.contains("vhost"), "{info}");
}

#[test]
fn kubelet_is_told_the_numa_node_unless_it_is_not_to_know() {
    let node = node();
    node.tree.device("0000:06:00.0").file("numa_node", "1").unwrap();
    let nodes = |keys: &str| {
        let devices = list::devices(&pool(&node, keys)).into_iter();
        let numbers = |device: kubelet_api::deviceplugin::Device| {
            device
                .topology
                .map(|topology| topology.nodes.iter().map(|node| node.id).collect::<Vec<_>>())
        };
        devices.map(numbers).collect::<Vec<_>>()
    };
    let card = r#""selectors": {"pciAddresses": ["0000:06:00.0"]}"#;
    assert_eq!(nodes(card), [Some(vec![1])]);
    assert_eq!(nodes(&format!(r#""excludeTopology": true, {card}"#)), [None]);
}
