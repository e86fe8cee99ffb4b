//! Filters as `tc` writes them, both ways.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use tc_filter::{Filter, IfIndex, any};

/// A line is read and printed again; what is read the second time is the same filter.
fn check(line: &str) {
    let names = BTreeMap::from([("eth0".to_owned(), IfIndex(7)), ("rep1".to_owned(), IfIndex(8))]);
    let filter = Filter::parse(line, &names).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(filter.text(&names).to_string(), format!("filter add {line}"));
}

fn refused(line: &str, sentence: &str) {
    let error = line.parse::<Filter>().unwrap_err();
    assert_eq!(error.to_string(), sentence);
}

const HEAD: &str = "dev if7 ingress prio 1 handle 0x1 protocol";

#[test]
fn a_filter_that_takes_everything() {
    check("dev eth0 ingress chain 0 prio 1 handle 0x1 protocol all flower verbose action drop");
}

#[test]
fn a_vlan_filter_that_sends_to_a_representor() {
    check(
        "dev eth0 ingress chain 0 prio 3 handle 0x2a protocol 802.1Q flower \
         dst_mac 02:00:00:00:00:01 src_mac 02:00:00:00:00:00/ff:ff:ff:00:00:00 vlan_id 100 \
         vlan_prio 3 vlan_ethtype ip ip_proto tcp dst_ip 10.0.0.0/8 dst_port 80 \
         tcp_flags 0x2/0x17 skip_sw verbose action vlan pop pipe cookie 6c6e7274 \
         action mirred egress redirect dev rep1 cookie 6c6e7274",
    );
}

#[test]
fn a_mask_with_holes_is_written_out() {
    check(
        "dev eth0 egress chain 1 prio 1 handle 0x1 protocol ip flower dst_ip 10.0.1.0/255.0.255.0 \
         ip_tos 0x10/0xfc ip_ttl 0x40 ip_flags nofrag verbose action goto chain 5",
    );
}

#[test]
fn a_tunnel_with_options_and_tracking() {
    check(
        "block 22 chain 0 prio 1 handle 0x1 protocol ip flower enc_dst_ip 192.0.2.1 enc_key_id 7 \
         enc_dst_port 6081 geneve_opts 0102:80:00010002/ffff:ff:7fffffff ct_state +trk-new \
         ct_zone 5 ct_mark 0x1/0xff skip_hw verbose action ct clear pipe action tunnel_key set \
         src_ip 192.0.2.1 dst_ip 192.0.2.2 id 5 dst_port 4789 tos 0x10 ttl 64 nocsum pipe",
    );
}

#[test]
fn a_rewrite_with_its_checksums() {
    check(
        "dev eth0 ingress chain 0 prio 1 handle 0x1 protocol ip flower ip_proto udp verbose \
         action pedit ex munge eth src set 02:00:00:00:00:01 munge ip ttl add 0xff \
         munge udp dport set 0x35 pipe action csum ip4h and udp pipe \
         action ct commit force zone 9 mark 0x1/0xff nat src addr 192.0.2.1-192.0.2.9 port 1-9 pipe \
         action police rate 8000bit burst 1000b mtu 9000 conform-exceed drop/pipe action pass",
    );
}

#[test]
fn what_is_wrong_is_named() {
    refused("", "the line ends where dev should follow");
    refused("dev eth0 ingress", "`eth0` is not a device");
    refused(&format!("{HEAD} ip flower vlan_id 5000 action drop"), "`5000` is not a VLAN id");
    refused(&format!("{HEAD} ip flower colour red"), "`colour` is not known here");
    refused(&format!("{HEAD} ip flower action fly"), "`fly` is not an action");
    refused(
        &format!("{HEAD} ip flower action csum ip4h"),
        "the line ends where pipe should follow",
    );
    refused(
        "dev if7 ingress prio 0 handle 0x1 protocol ip flower action drop",
        "`0` is not a prio of 1 to 65535",
    );
}

proptest! {
    #[test]
    fn every_filter_is_read_as_it_was_printed(filter in any::filter()) {
        let line = filter.to_string();
        prop_assert_eq!(line.parse::<Filter>().map(Filter::normalized), Ok(filter), "{}", line);
    }

    #[test]
    fn no_line_makes_the_parser_panic(line in "(dev if7 ingress prio 1 handle 0x1 protocol ip flower )?[a-z0-9_/:+, -]{0,60}") {
        let _ = line.parse::<Filter>();
    }
}
