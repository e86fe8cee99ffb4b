//! `PCIDEVICE_*`: the devices by name, and what is known of each as JSON.

use std::collections::BTreeMap;

use super::Given;
use super::files::{self, DeviceFile, HostFiles, TUN, VFIO_CONTROL, VHOST_NET};
use crate::config::{ResourceName, VdpaType};
use crate::device::UserspaceDriver;

/// What is known of a device: subjects, each with its keys.
type Info = BTreeMap<&'static str, BTreeMap<String, String>>;

/// Both variables of a container.
#[must_use]
pub fn variables(
    name: &ResourceName,
    devices: &[Given<'_>],
    host: HostFiles,
) -> BTreeMap<String, String> {
    let ids: Vec<&str> = devices.iter().map(|given| given.device.id.as_str()).collect();
    let infos: BTreeMap<&str, Info> =
        devices.iter().map(|given| (given.device.id.as_str(), info(*given, host))).collect();
    let json = serde_json::json!(infos).to_string();
    let variable = name.variable();
    [(format!("{variable}_INFO"), json), (variable, ids.join(","))].into()
}

/// In the layout of `sriov-network-device-plugin`: a subject is there when the device has it.
fn info(given: Given<'_>, host: HostFiles) -> Info {
    let subjects = [
        ("generic", Some(pairs([("deviceID", Some(given.device.id.to_string()))]))),
        ("vfio", vfio(given)),
        ("uio", uio(given)),
        ("rdma", rdma(given, host)),
        ("vhost", vhost(given, host)),
        ("vdpa", vdpa(given)),
        ("extra", extra(given)),
    ];
    subjects.into_iter().filter_map(|(name, keys)| Some((name, keys?))).collect()
}

type Keys = BTreeMap<String, String>;

fn vfio(given: Given<'_>) -> Option<Keys> {
    (given.device.userspace_driver() == Some(UserspaceDriver::Vfio)).then(|| {
        let group = given.device.userspace.vfio.map(|group| format!("/dev/vfio/{}", group.number));
        pairs([("mount", Some(VFIO_CONTROL.to_owned())), ("dev-mount", group)])
    })
}

fn uio(given: Given<'_>) -> Option<Keys> {
    (given.device.userspace_driver() == Some(UserspaceDriver::Uio)).then(|| {
        let file = given.device.userspace.uio.as_ref().map(|uio| format!("/dev/{uio}"));
        pairs([("mount", file)])
    })
}

fn rdma(given: Given<'_>, host: HostFiles) -> Option<Keys> {
    given.selector.is_rdma.then(|| {
        let files = files::of(given, host);
        let of = |kind: &str| {
            let is =
                |file: &&DeviceFile| file.container.starts_with(&format!("/dev/infiniband/{kind}"));
            files.iter().find(is).map(|file| file.container.clone())
        };
        let device = given.device.rdma_devices.first().cloned();
        pairs([
            ("uverbs", of("uverbs")),
            ("umad", of("umad")),
            ("issm", of("issm")),
            ("rdma_cm", of("rdma_cm")),
            ("rdma_dev", device),
        ])
    })
}

fn vhost(given: Given<'_>, host: HostFiles) -> Option<Keys> {
    (given.selector.need_vhost_net && host.vhost_net).then(|| {
        pairs([("net-mount", Some(VHOST_NET.to_owned())), ("tun-mount", Some(TUN.to_owned()))])
    })
}

fn vdpa(given: Given<'_>) -> Option<Keys> {
    let wanted = given.selector.vdpa_type?;
    let vhost =
        given.device.userspace.vdpa.as_ref()?.vhost.as_ref().filter(|_| wanted == VdpaType::Vhost);
    Some(pairs([("mount", vhost.map(|file| format!("/dev/{file}")))]))
}

/// Of an auxiliary device it is said under the address of its PCI function.
fn extra(given: Given<'_>) -> Option<Keys> {
    let info = || given.pool.info_for(&given.device.address.to_string());
    (!given.pool.additional_info.is_empty()).then(info)
}

fn pairs<const N: usize>(pairs: [(&str, Option<String>); N]) -> Keys {
    pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}
