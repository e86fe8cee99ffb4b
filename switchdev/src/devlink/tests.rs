//! Bytes against what the `devlink` command and the kernel say, and the words operators read.

use proptest::prelude::*;

use super::*;
use crate::eswitch::{EncapMode, EswitchMode, InlineMode};
use crate::netlink::attr::{AttrError, Attributes};
use crate::phys_port::{Controller, PfNumber, VfIndex};

fn card() -> Handle {
    "pci/0000:01:00.0".parse().unwrap()
}

/// What `devlink` and the kernel said; see `tests/goldens/devlink/README.md`.
struct Golden {
    request: Vec<u8>,
    answers: Vec<Vec<u8>>,
}

fn golden(file: &str) -> Golden {
    let lines = |mark: &str| -> Vec<Vec<u8>> {
        file.lines().filter_map(|line| line.strip_prefix(mark)).map(unhex).collect()
    };
    Golden { request: lines("> ").remove(0), answers: lines("< ") }
}

fn unhex(hex: &str) -> Vec<u8> {
    let byte = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

macro_rules! golden {
    ($name:literal) => {
        golden(include_str!(concat!("../../tests/goldens/devlink/", $name, ".txt")))
    };
}

/// Our request is theirs: the same command, and the same value of every attribute either has.
fn check_request(golden: &Golden, command: u8, writer: Writer) {
    assert_eq!(golden.request[0], command);
    let ours = writer.into_bytes();
    let (ours, theirs) = (Attributes::parse(&ours), Attributes::parse(&golden.request[4..]));
    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
    for kind in 0..=u16::from(u8::MAX) {
        assert_eq!(padded(ours.get(kind)), padded(theirs.get(kind)), "attribute {kind}");
    }
}

/// iproute2 leaves the padding inside of nests out of their lengths.
fn padded(value: Option<&[u8]>) -> Option<Vec<u8>> {
    value.map(|value| {
        let mut value = value.to_vec();
        value.resize(value.len().next_multiple_of(4), 0);
        value
    })
}

fn answers<T>(golden: &Golden, read: impl Fn(&Attributes<'_>) -> Result<T, AttrError>) -> Vec<T> {
    let parse = |answer: &Vec<u8>| read(&Attributes::parse(&answer[4..]).unwrap()).unwrap();
    golden.answers.iter().map(parse).collect()
}

fn leaf() -> RateTarget {
    RateTarget::Leaf(PortIndex(1))
}

fn gold() -> RateTarget {
    RateTarget::Node("gold".to_owned())
}

#[test]
fn eswitch_requests_are_those_of_the_devlink_command() {
    let set = |change| eswitch::write(&card(), change);
    let mode = set(EswitchChange::Mode(EswitchMode::Switchdev));
    check_request(&golden!("eswitch_set_mode"), uapi::CMD_ESWITCH_SET, mode);
    let inline = set(EswitchChange::InlineMode(InlineMode::Transport));
    check_request(&golden!("eswitch_set_inline"), uapi::CMD_ESWITCH_SET, inline);
    let encap = set(EswitchChange::EncapMode(EncapMode::Basic));
    check_request(&golden!("eswitch_set_encap"), uapi::CMD_ESWITCH_SET, encap);
    check_request(&golden!("eswitch_show"), uapi::CMD_ESWITCH_GET, card().write());
}

#[test]
fn port_and_health_requests_are_those_of_the_devlink_command() {
    let mac = PortFunctionChange::HwAddr("02:00:00:00:00:07".parse().unwrap());
    let request = port::write_function(&card(), PortIndex(1), mac);
    check_request(&golden!("port_function"), uapi::CMD_PORT_SET, request);
    let recover = health::write_recover(&card(), "fw");
    check_request(&golden!("recover"), uapi::CMD_HEALTH_REPORTER_RECOVER, recover);
    check_request(&golden!("ports"), uapi::CMD_PORT_GET, Writer::default());
    check_request(&golden!("health"), uapi::CMD_HEALTH_REPORTER_GET, Writer::default());
    check_request(&golden!("info"), uapi::CMD_INFO_GET, card().write());
}

#[test]
fn rate_requests_are_those_of_the_devlink_command() {
    let max = RateChange::TxMax("1gbit".parse().unwrap());
    let request = rate::write(&card(), &gold(), &max);
    check_request(&golden!("rate_set"), uapi::CMD_RATE_SET, request);
    check_request(&golden!("rate_node"), uapi::CMD_RATE_NEW, rate::address(&card(), &gold()));
    check_request(&golden!("rates"), uapi::CMD_RATE_GET, Writer::default());
    // The command can change two things at once; ours are one a request.
    let share = rate::write(&card(), &leaf(), &RateChange::TxShare("100mbit".parse().unwrap()));
    check_request(
        &golden!("rate_leaf"),
        uapi::CMD_RATE_SET,
        share.string(uapi::RATE_PARENT_NODE_NAME, "gold"),
    );
    let parent = rate::write(&card(), &leaf(), &RateChange::Parent(Some("gold".to_owned())));
    check_request(
        &golden!("rate_leaf"),
        uapi::CMD_RATE_SET,
        parent.u64(uapi::RATE_TX_SHARE, 12_500_000),
    );
}

#[test]
fn the_kernels_answers_are_read() {
    let eswitch = answers(&golden!("eswitch_show"), eswitch::parse);
    assert_eq!(eswitch[0].to_string(), "mode switchdev inline-mode transport encap-mode basic");
    let info = answers(&golden!("info"), info::parse);
    assert_eq!(
        info[0].to_string(),
        "driver nicsim, serial NS-0000:01:00.0, fixed board.id NICSIM-25G-1P, \
         fixed fw.psid NSM0000000001, running fw 1.12.3, stored fw 1.12.3"
    );
    let health = answers(&golden!("health"), health::parse);
    assert_eq!(
        health[0].to_string(),
        "pci/0000:01:00.0: reporter fw state healthy error 0 recover 0"
    );
}

#[test]
fn the_kernels_ports_and_rates_are_read() {
    let shown = |lines: Vec<String>| lines.join("\n");
    let ports = answers(&golden!("ports"), port::parse);
    assert_eq!(
        shown(ports.iter().map(Port::to_string).collect()),
        "pci/0000:01:00.0/1: netdev np0r0 flavour pcivf controller 0 pfnum 0 vfnum 0 \
         hw_addr 00:00:00:00:00:00 state active opstate attached\n\
         pci/0000:01:00.0/2: netdev np0r1 flavour pcivf controller 0 pfnum 0 vfnum 1 \
         hw_addr 00:00:00:00:00:00 state active opstate attached\n\
         pci/0000:01:00.0/65535: netdev np0 flavour physical port 0"
    );
    let rates = answers(&golden!("rates"), rate::parse);
    assert_eq!(
        shown(rates.iter().map(RateObject::to_string).collect()),
        "pci/0000:01:00.0/gold: node tx_share 0bit tx_max 1gbit\n\
         pci/0000:01:00.0/1: leaf tx_share 100mbit tx_max 0bit parent gold\n\
         pci/0000:01:00.0/2: leaf tx_share 0bit tx_max 0bit"
    );
}

#[test]
fn an_empty_parent_detaches() {
    let bytes = rate::write(&card(), &leaf(), &RateChange::Parent(None)).into_bytes();
    let detach = Attributes::parse(&bytes).unwrap();
    assert_eq!(detach.get(uapi::RATE_PARENT_NODE_NAME), Some(&[0][..]));
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
