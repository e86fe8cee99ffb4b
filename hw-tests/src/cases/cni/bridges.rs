//! The keys of a NetConf on bridges: of Open vSwitch, of Linux, and without one in switchdev mode.

use serde_json::{Value, json};

use super::pod::host_local;
use super::site::{FRESH, LINUX_BRIDGE, READY, Site};
use super::table::{At, Row, row};
use crate::cases::Ctx;

const MAC: &str = "02:00:00:00:00:55";
/// A device-info that the runtime has put there, as Multus does from the device plugin's.
const GIVEN_INFO: &str = "/run/cni-devinfo/net1.json";
/// One that is not there yet.
pub(super) const NEW_INFO: &str = "/run/cni-devinfo/net2.json";
/// A file with more keys, as ovs-cni has on its nodes.
pub(super) const FLAT_FILE: &str = "/run/cni-flat.json";

/// Writes it.
pub(super) fn write_flat_file() -> anyhow::Result<()> {
    Ok(std::fs::write(FLAT_FILE, json!({"mtu": 1300, "vlan": 9}).to_string())?)
}

pub(super) fn on_ovs(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::new(ctx)?;
    site.add_ovn_and_mirrors()?;
    let bench = site.bench(READY)?;
    let pci = json!({"pci-address": bench.device, "rdma-device": "kept"});
    std::fs::write(GIVEN_INFO, json!({"type": "pci", "version": "1.0.0", "pci": pci}).to_string())?;
    write_flat_file()?;
    bench.run(&site.on_ovs(), &ovs_rows(&bench.device))
}

pub(super) fn on_linux_and_without(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::new(ctx)?;
    site.bench(FRESH)?.run(&json!({"bridge": LINUX_BRIDGE}), &linux_rows())?;
    site.bench(READY)?.run(&json!({}), &plain_rows())
}

fn with_args(args: &'static str, more: Value, seen: &[(At, &'static str)]) -> Row {
    Row { args, ..row(more, seen) }
}

/// Everything on a bridge of Open vSwitch but addresses.
pub(super) fn ovs_rows(device: &str) -> Vec<Row> {
    use At::{Info, Ovs, Pod, Rates, Result};
    vec![
        row(
            json!({}),
            &[
                (Result, "np0r0"),
                (Result, "net1"),
                (Result, "pciID"),
                (Ovs("Port"), "sriov-cni.linerate.dev"),
            ],
        ),
        row(
            json!({"cniVersion": "0.3.1"}),
            &[(Result, "\"0.3.1\""), (Result, "!pciID"), (Result, "!mtu")],
        ),
        row(json!({"cniVersion": "0.4.0"}), &[(Result, "\"0.4.0\""), (Result, "!pciID")]),
        row(json!({"cniVersion": "1.0.0"}), &[(Result, "\"1.0.0\""), (Result, "!pciID")]),
        row(
            json!({"vlan": 100}),
            &[(Ovs("Port"), "\"tag\":100"), (Ovs("Port"), "\"vlan_mode\":\"access\"")],
        ),
        row(json!({"vlan": 0}), &[(Ovs("Port"), "\"tag\":[\"set\",[]]")]),
        row(json!({"vlan": 7, "vlanProto": "802.1q"}), &[(Ovs("Port"), "\"tag\":7")]),
        row(
            json!({"vlan": 7, "vlanProto": "802.1ad"}),
            &[(Ovs("Port"), "dot1q-tunnel"), (Ovs("Port"), "qinq-ethtype")],
        ),
        row(
            json!({"trunk": [{"id": 5}]}),
            &[(Ovs("Port"), "\"trunks\":5"), (Ovs("Port"), "\"vlan_mode\":\"trunk\"")],
        ),
        row(json!({"trunk": [{"id": 5}, {"minID": 7, "maxID": 9}]}), &[(Ovs("Port"), "[5,7,8,9]")]),
        row(
            json!({"mac": MAC}),
            &[
                (Pod, MAC),
                (Result, MAC),
                (Ovs("Interface"), "[\"attached-mac\",\"02:00:00:00:00:55\"]"),
            ],
        ),
        row(json!({"args": {"cni": {"mac": MAC}}}), &[(Pod, MAC)]),
        row(json!({"runtimeConfig": {"mac": MAC}, "mac": "02:00:00:00:00:56"}), &[(Pod, MAC)]),
        with_args(";MAC=02:00:00:00:00:55", json!({}), &[(Pod, MAC)]),
        row(json!({"mtu": 1400}), &[(Pod, "mtu 1400"), (Result, "\"mtu\":1400")]),
        row(json!({"max_tx_rate": 100}), &[(Rates, "tx_max 100mbit")]),
        row(
            json!({"min_tx_rate": 10, "max_tx_rate": 100}),
            &[(Rates, "tx_share 10mbit tx_max 100mbit")],
        ),
        row(json!({"spoofchk": "on", "trust": "off", "link_state": "auto"}), &[(Pod, "up")]),
        row(json!({"spoofchk": "off"}), &[(Pod, "up")]),
        row(json!({"ofport_request": 42}), &[(Ovs("Interface"), "\"ofport\":42")]),
        row(json!({"interface_type": "system"}), &[(Ovs("Interface"), "np0r0")]),
        row(
            json!({"ovnPort": "lsp1", "bridge": null}),
            &[(Ovs("Interface"), "[\"iface-id\",\"lsp1\"]")],
        ),
        with_args(";OvnPort=lsp2", json!({}), &[(Ovs("Interface"), "[\"iface-id\",\"lsp2\"]")]),
        row(
            json!({"args": {"cni": {"ovnPort": "lsp3"}}}),
            &[(Ovs("Interface"), "[\"iface-id\",\"lsp3\"]")],
        ),
        row(
            json!({"provider": "net.demo.ovn"}),
            &[(Ovs("Interface"), "[\"iface-id\",\"web.demo.net.demo.ovn\"]")],
        ),
        row(
            json!({"mirrors": [{"name": "m1", "ingress": true, "egress": true}]}),
            &[(Ovs("Mirror"), "uuid")],
        ),
        row(
            json!({"args": {"cni": {"ovn.kubernetes.io/mirror": "true"}}}),
            &[(Ovs("Mirror"), "\"name\":\"m0\"")],
        ),
        row(
            json!({"egress_rate": 20, "egress_burst": 2}),
            &[
                (Ovs("Interface"), "\"ingress_policing_rate\":20000"),
                (Ovs("Interface"), "\"ingress_policing_burst\":2000"),
            ],
        ),
        row(
            json!({"ingress_rate": 30, "ingress_burst": 3}),
            &[
                (Ovs("QoS"), "[\"max-rate\",\"30000000\"]"),
                (Ovs("Queue"), "[\"burst\",\"3000000\"]"),
            ],
        ),
        row(
            json!({"runtimeConfig": {"bandwidth": {"ingressRate": 1_000_000, "ingressBurst": 500_000,
                "egressRate": 2_000_000, "egressBurst": 100_000}}}),
            &[(Ovs("QoS"), "1000000"), (Ovs("Interface"), "\"ingress_policing_rate\":2000")],
        ),
        row(
            json!({"args": {"cni": {"vlan_id": "9", "ingress_rate": "5", "egress_rate": "6"}}}),
            &[(Ovs("Port"), "\"tag\":9"), (Ovs("Interface"), "\"ingress_policing_rate\":6000")],
        ),
        row(
            json!({"args": {"cni": {"ovn.kubernetes.io/mac_address": "02:00:00:00:00:56",
                "ovn.kubernetes.io/mac_address.net1": MAC, "mac_address.net2": "02:00:00:00:00:57",
                "ingress_rate": "5", "ingress_burst": "1", "egress_rate": "6", "egress_burst": "2"}}}),
            &[
                (Pod, MAC),
                (Ovs("Queue"), "[\"burst\",\"1000000\"]"),
                (Ovs("Interface"), "\"ingress_policing_burst\":2000"),
            ],
        ),
        row(
            json!({"bridgeType": "ovs", "resourceName": "linerate.dev/any", "pciBusID": device}),
            &[(Pod, "up")],
        ),
        row(json!({"runtimeConfig": {"deviceID": device}, "deviceID": null}), &[(Pod, "up")]),
        row(
            json!({"link_state_check_retries": 20, "link_state_check_interval": 500}),
            &[(Pod, "up")],
        ),
        row(json!({"logFile": "/run/cni-test.log", "logLevel": "debug"}), &[(Pod, "up")]),
        row(
            json!({"capabilities": {"mac": true, "ips": true}, "dns": {"nameservers": ["10.0.0.2"]}}),
            &[(Result, "10.0.0.2")],
        ),
        row(
            json!({"runtimeConfig": {"CNIDeviceInfoFile": GIVEN_INFO}}),
            &[
                (Info(GIVEN_INFO), "\"representor-device\":\"np0r0\""),
                (Info(GIVEN_INFO), "\"rdma-device\":\"kept\""),
            ],
        ),
        row(
            json!({"runtimeConfig": {"CNIDeviceInfoFile": NEW_INFO}}),
            &[(Info(NEW_INFO), "\"pf-pci-address\":\"0000:01:00.0\"")],
        ),
        row(
            json!({"configuration_path": FLAT_FILE}),
            &[(Pod, "mtu 1300"), (Ovs("Port"), "\"tag\":9")],
        ),
    ]
}

/// A bridge of Linux that filters VLANs.
pub(super) fn linux_rows() -> Vec<Row> {
    use At::{Bridge, Pod};
    vec![
        row(json!({}), &[(Bridge, "master lbr0"), (Bridge, "locked on")]),
        row(
            json!({"bridgeType": "linux", "mac": MAC}),
            &[(Bridge, "02:00:00:00:00:55"), (Bridge, "static")],
        ),
        row(json!({"vlan": 100}), &[(Bridge, "100 PVID Egress Untagged")]),
        row(
            json!({"trunk": [{"id": 5}, {"minID": 7, "maxID": 8}]}),
            &[(Bridge, "5"), (Bridge, "8"), (Bridge, "!PVID")],
        ),
        row(json!({"spoofchk": "off"}), &[(Bridge, "locked off")]),
        row(json!({"mtu": 1400, "ipam": host_local()}), &[(Pod, "mtu 1400"), (Pod, "10.77.0.")]),
    ]
}

/// Switchdev mode without a bridge: the representor is somebody else's business.
pub(super) fn plain_rows() -> Vec<Row> {
    vec![
        row(json!({}), &[(At::Result, "!np0r0"), (At::Pod, "up")]),
        row(
            json!({"ipam": host_local(), "max_tx_rate": 50}),
            &[(At::Pod, "10.77.0."), (At::Rates, "tx_max 50mbit")],
        ),
    ]
}
