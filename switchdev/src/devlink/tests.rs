//! Bytes against `linux/devlink.h`, and the words operators read.

use proptest::prelude::*;

use super::*;
use crate::eswitch::{EswitchMode, InlineMode};
use crate::netlink::attr::Attributes;
use crate::phys_port::{Controller, PfNumber, VfIndex};

fn card() -> Handle {
    "pci/0000:01:00.0".parse().unwrap()
}

/// `bus_name "pci"`, `dev_name "0000:01:00.0"`, as every request to the card starts.
const CARD: &str = "08000100706369001100020030303030 3a30313a30302e3000000000";

fn check(writer: Writer, rest: &str) {
    let hex: String = writer.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, format!("{CARD}{rest}").replace(' ', ""));
}

#[test]
fn a_change_of_mode_is_a_u16_and_of_the_others_a_u8() {
    check(
        eswitch::write(&card(), EswitchChange::Mode(EswitchMode::Switchdev)),
        "06001900 01000000",
    );
    let inline = EswitchChange::InlineMode(InlineMode::Transport);
    check(eswitch::write(&card(), inline), "05001a00 03000000");
}

#[test]
fn a_vfs_mac_is_nested_in_its_port() {
    let mac = PortFunctionChange::HwAddr("02:00:00:00:00:07".parse().unwrap());
    check(
        port::write_function(&card(), PortIndex(3), mac),
        "08000300 03000000 10009180 0a000100 020000000007 0000",
    );
}

#[test]
fn a_limit_is_in_bytes_on_the_wire() {
    let change = RateChange::TxMax("1gbit".parse().unwrap());
    let leaf = RateTarget::Leaf(PortIndex(3));
    check(rate::write(&card(), &leaf, &change), "08000300 03000000 0c00a700 4059730700000000");
}

#[test]
fn an_empty_parent_detaches() {
    let node = RateTarget::Node("a".to_owned());
    check(
        rate::write(&card(), &node, &RateChange::Parent(None)),
        "0600a800 61000000 0500a900 00000000",
    );
}

fn pcivf() -> Writer {
    let function = Writer::default().bytes(uapi::PORT_FUNCTION_HW_ADDR, &[2, 0, 0, 0, 0, 7]);
    card()
        .write()
        .u32(uapi::PORT_INDEX, 3)
        .u32(uapi::PORT_NETDEV_IFINDEX, 9)
        .string(uapi::PORT_NETDEV_NAME, "np0r2")
        .u16(uapi::PORT_FLAVOUR, 4)
        .u32(uapi::PORT_CONTROLLER_NUMBER, 0)
        .u16(uapi::PORT_PCI_PF_NUMBER, 0)
        .u16(uapi::PORT_PCI_VF_NUMBER, 2)
        .u8(uapi::PORT_EXTERNAL, 0)
        .nested(uapi::PORT_FUNCTION, function)
}

fn parse<T>(writer: Writer, parse: impl Fn(&Attributes<'_>) -> T) -> T {
    parse(&Attributes::parse(&writer.into_bytes()).unwrap())
}

#[test]
fn a_vfs_port_is_read_with_its_representor() {
    let port = parse(pcivf(), port::parse).unwrap();
    let (controller, pf, vf) = (Controller(0), PfNumber(0), VfIndex(2));
    assert_eq!(port.flavour, Flavour::PciVf { controller, pf, vf });
    assert_eq!(
        port.to_string(),
        "pci/0000:01:00.0/3: netdev np0r2 flavour pcivf controller 0 pfnum 0 vfnum 2 hw_addr 02:00:00:00:00:07"
    );
}

#[test]
fn a_vfs_port_without_its_number_is_refused() {
    let writer = card().write().u32(uapi::PORT_INDEX, 3).u16(uapi::PORT_FLAVOUR, 4);
    let error = parse(writer, port::parse).unwrap_err().to_string();
    assert_eq!(error, "attribute 128 (the VF's number) is missing");
}

#[test]
fn versions_are_told_apart_by_kind_and_name() {
    let version = |name, value| {
        let writer = Writer::default().string(uapi::INFO_VERSION_NAME, name);
        writer.string(uapi::INFO_VERSION_VALUE, value)
    };
    let writer = card()
        .write()
        .string(uapi::INFO_DRIVER_NAME, "nicsim")
        .nested(uapi::INFO_VERSION_RUNNING, version("fw", "1.2"))
        .nested(uapi::INFO_VERSION_RUNNING, version("fw.psid", "X1"))
        .nested(uapi::INFO_VERSION_STORED, version("fw", "1.3"));
    let info = parse(writer, info::parse).unwrap();
    assert_eq!(
        info.to_string(),
        "driver nicsim, running fw 1.2, running fw.psid X1, stored fw 1.3"
    );
}

#[test]
fn a_setting_unknown_to_us_is_not_known_rather_than_wrong() {
    let writer = card().write().u16(uapi::ESWITCH_MODE, 7).u8(uapi::ESWITCH_ENCAP_MODE, 1);
    assert_eq!(parse(writer, eswitch::parse).unwrap().to_string(), "encap-mode basic");
}

#[test]
fn rates_are_shown_in_the_largest_whole_unit() {
    for text in ["10gbit", "1500mbit", "8bit", "0bit"] {
        assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
    }
    assert_eq!("1000Mbit".parse::<Rate>().unwrap().to_string(), "1gbit");
    for text in ["", "10", "gbit", "-1gbit", "1.5gbit", "999999999999tbit"] {
        assert!(text.parse::<Rate>().is_err(), "{text}");
    }
}

#[test]
fn an_unhealthy_reporter_is_shown_with_its_counts() {
    let reporter = Writer::default()
        .string(uapi::HEALTH_REPORTER_NAME, "fw_fatal")
        .u8(uapi::HEALTH_REPORTER_STATE, 1)
        .u64(uapi::HEALTH_REPORTER_ERR_COUNT, 2)
        .u64(uapi::HEALTH_REPORTER_RECOVER_COUNT, 1);
    let writer = card().write().nested(uapi::HEALTH_REPORTER, reporter);
    assert_eq!(
        parse(writer, health::parse).unwrap().to_string(),
        "pci/0000:01:00.0: reporter fw_fatal state error error 2 recover 1"
    );
}

#[test]
fn a_handle_is_bus_and_device() {
    assert_eq!(card().pci_address(), "0000:01:00.0".parse().ok());
    assert_eq!("auxiliary/mlx5_core.sf.4".parse::<Handle>().unwrap().pci_address(), None);
    assert!("0000:01:00.0".parse::<Handle>().is_err());
}

proptest! {
    #[test]
    fn any_attributes_are_read_or_refused(values: Vec<(u8, Vec<u8>)>) {
        let write = |w: Writer, (k, v): &(u8, Vec<u8>)| w.bytes(u16::from(*k), v);
        let bytes = values.iter().fold(card().write(), write).into_bytes();
        let attributes = Attributes::parse(&bytes).unwrap();
        let _ = (port::parse(&attributes), info::parse(&attributes), eswitch::parse(&attributes));
        let _ = (rate::parse(&attributes), health::parse(&attributes), handle::parse(&attributes));
    }
}
