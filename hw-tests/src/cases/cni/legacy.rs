//! Legacy SR-IOV, as sriov-cni does it, on nicsim in legacy mode, which has all settings.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;
use switchdev::Sysfs;
use switchdev::phys_port::VfIndex;
use switchdev::sriov::wait_for_netdevs;

use super::pod::{Pod, host_local};
use super::table::{At, Bench, Row, row};
use crate::cases::Ctx;
use crate::guest::netns::Netns;
use crate::guest::nicsim::{Nicsim, PF, UPLINK, write};
use crate::guest::node_state::Scope;
use crate::guest::tool::run;

/// The PF that stays with igb.
const IGB: &str = "0000:02:00.0";
const MAC: &str = "02:00:00:00:00:55";

fn bench(device: String, pf: &str) -> anyhow::Result<Bench> {
    std::fs::create_dir_all("/var/lib/linerate/ledger")?;
    Ok(Bench {
        device,
        pf: (pf.to_owned(), 0),
        pod: Pod::new("web", "/run/netns/pod"),
        scope: Scope { files: vec![PathBuf::from("/var/lib/linerate")], ovs: None },
    })
}

pub(super) fn netconfs_on_nicsim(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.set_vfs(2)?;
    let soon = Instant::now() + Duration::from_secs(30);
    wait_for_netdevs(&Sysfs::default(), PF.parse()?, &[VfIndex(0), VfIndex(1)], soon)?;
    let _pod = Netns::new("pod")?;
    let mut rows = common_rows();
    rows.extend(rows_with_all_settings());
    bench(nic.vf_address(0)?, UPLINK)?.run(&json!({}), &rows)
}

/// VFs of the igb PF, with the kernel's igbvf, until dropped.
pub(super) struct IgbVfs;

impl IgbVfs {
    pub(super) fn new(count: u16) -> anyhow::Result<Self> {
        let vfs = Self;
        run("modprobe igbvf").map(drop).or_else(|error| {
            if std::path::Path::new("/sys/bus/pci/drivers/igbvf").exists() {
                Ok(())
            } else {
                Err(error)
            }
        })?;
        switchdev::sriov::set_vf_count(&Sysfs::default(), IGB.parse()?, count)?;
        Ok(vfs)
    }
}

impl Drop for IgbVfs {
    fn drop(&mut self) {
        if let Err(error) = write(format!("/sys/bus/pci/devices/{IGB}/sriov_numvfs").into(), "0") {
            eprintln!("{error:#}");
        }
    }
}

pub(super) fn igb_vf(index: u16) -> anyhow::Result<String> {
    let link = std::fs::read_link(format!("/sys/bus/pci/devices/{IGB}/virtfn{index}"))?;
    Ok(link.file_name().context("a VF's address")?.to_string_lossy().into_owned())
}

pub(super) fn igb_netdev() -> anyhow::Result<String> {
    let mut names = std::fs::read_dir(format!("/sys/bus/pci/devices/{IGB}/net"))?;
    let name = names.next().context("the igb PF has no netdev")??;
    Ok(name.file_name().to_string_lossy().into_owned())
}

fn common_rows() -> Vec<Row> {
    use At::{Pod, Result, Routes, Vf};
    vec![
        row(json!({}), &[(Pod, "up"), (Vf, "spoof checking on"), (Vf, "trust off")]),
        row(json!({"cniVersion": "0.3.1"}), &[(Result, "\"0.3.1\"")]),
        row(json!({"vlan": 100}), &[(Vf, "vlan 100")]),
        row(json!({"vlan": 100, "vlanQoS": 3}), &[(Vf, "vlan 100 qos 3")]),
        row(json!({"vlan": 100, "vlanProto": "802.1q"}), &[(Vf, "vlan 100")]),
        row(json!({"vlan": 0}), &[(Vf, "!vlan")]),
        row(json!({"mac": MAC}), &[(Pod, MAC), (Vf, MAC), (Result, MAC)]),
        row(json!({"runtimeConfig": {"mac": MAC}}), &[(Vf, MAC)]),
        row(json!({"spoofchk": "off"}), &[(Vf, "spoof checking off")]),
        row(json!({"spoofchk": "on"}), &[(Vf, "spoof checking on")]),
        row(json!({"trust": "on"}), &[(Vf, "trust on")]),
        row(json!({"trust": "off"}), &[(Vf, "trust off")]),
        row(json!({"mtu": 1400}), &[(Pod, "mtu 1400")]),
        row(
            json!({"ipam": host_local()}),
            &[(Pod, "10.77.0."), (Pod, "fd77::"), (Routes, "10.88.0.0/16 via 10.77.0.1")],
        ),
    ]
}

fn rows_with_all_settings() -> Vec<Row> {
    use At::Vf;
    vec![
        row(json!({"vlan": 100, "vlanQoS": 5, "vlanProto": "802.1ad"}), &[(Vf, "proto 802.1ad")]),
        row(json!({"max_tx_rate": 100}), &[(Vf, "max_tx_rate 100")]),
        row(json!({"min_tx_rate": 10, "max_tx_rate": 100}), &[(Vf, "min_tx_rate 10")]),
        row(json!({"link_state": "enable"}), &[(Vf, "link-state enable")]),
        row(json!({"link_state": "disable"}), &[(Vf, "link-state disable")]),
        row(json!({"link_state": "auto"}), &[(Vf, "link-state auto")]),
    ]
}
