//! The learned addresses of a real Open vSwitch, over its control socket.

#![allow(clippy::unwrap_used, reason = "a test may")]

#[allow(dead_code, reason = "each test binary uses its part of this")]
mod private_ovs;

use std::collections::BTreeMap;

use flow_compiler::openflow::{BridgeName, OfPort};
use flow_compiler::ports::{Fdb, FdbEntry};
use offload_agent::ovs::{Unixctl, UnixctlError};
use private_ovs::PrivateOvs;

/// A switch that has learned one address from a packet and was told another.
fn learned() -> Option<PrivateOvs> {
    let ovs = PrivateOvs::with_bridge()?;
    ovs.add_flows("br0", "actions=NORMAL\n");
    ovs.vsctl("set port p2 tag=10");
    ovs.appctl("netdev-dummy/receive p2 in_port(2),eth(src=50:54:00:00:00:05,dst=ff:ff:ff:ff:ff:ff),eth_type(0x1234)");
    ovs.appctl("fdb/add br0 p1 0 50:54:00:00:00:06");
    Some(ovs)
}

#[tokio::test]
async fn what_a_bridge_has_learned_is_what_appctl_shows() {
    let Some(ovs) = learned() else { return };
    let shown = Fdb::parse(&ovs.appctl("fdb/show br0"), &BTreeMap::new()).unwrap();
    let mut switch = Unixctl::find(ovs.run_dir()).await.unwrap();
    let bridge = BridgeName::from("br0");
    let fdb = switch.fdb(&bridge).await.unwrap();
    assert_eq!(fdb, shown);
    let at = |vlan, mac| fdb.lookup(vlan, mac);
    assert_eq!(at(10, 0x5054_0000_0005), Some(FdbEntry { port: OfPort(2), is_static: false }));
    assert_eq!(at(0, 0x5054_0000_0006), Some(FdbEntry { port: OfPort(1), is_static: true }));
    ovs.appctl("fdb/flush br0");
    assert_eq!(switch.fdb(&bridge).await.unwrap().lookup(10, 0x5054_0000_0005), None);
}

#[tokio::test]
async fn what_the_switch_refuses_it_says_in_its_own_words() {
    let Some(ovs) = learned() else { return };
    let mut switch = Unixctl::find(ovs.run_dir()).await.unwrap();
    let error = switch.fdb(&BridgeName::from("br9")).await.unwrap_err();
    assert!(error.to_string().contains("no such bridge"), "{error}");
    let error = switch.call("no/such-command", &[]).await.unwrap_err();
    assert!(matches!(error, UnixctlError::Refused { .. }), "{error}");
    assert!(switch.call("version", &[]).await.unwrap().contains("Open vSwitch"));
}
