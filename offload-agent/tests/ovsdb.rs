//! The OVSDB client against a real database server and switch.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[allow(dead_code, reason = "each test binary uses its part of this")]
mod private_ovs;

use std::time::Duration;

use flow_compiler::openflow::{BridgeName, OfPort};
use flow_compiler::ports::{Database, PortKind, TunnelKind, VlanMode};
use offload_agent::ovs::OvsdbConn;
use private_ovs::PrivateOvs;
use tokio::time::timeout;

/// Longer than the server ever takes, so that a lost change is a failure and not a hang.
const UPDATE_TIMEOUT: Duration = Duration::from_secs(20);

async fn wait_until(
    conn: &mut OvsdbConn,
    database: &mut Database,
    done: impl Fn(&Database) -> bool,
) {
    while !done(database) {
        let updates = timeout(UPDATE_TIMEOUT, conn.next_updates()).await;
        database.apply_all(updates.unwrap_or_else(|_| panic!("the change was not told")).unwrap());
    }
}

#[tokio::test]
async fn the_ports_of_a_bridge_are_those_that_were_added() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    ovs.vsctl("set port p1 tag=10 -- set port p2 trunks=20,30 -- set interface p2 external_ids:iface-id=pod2");
    ovs.vsctl(
        "add-port br0 vx -- set interface vx type=vxlan options:remote_ip=flow options:key=flow",
    );
    let mut conn = OvsdbConn::connect(&ovs.database_socket()).await.unwrap();
    let ports = conn.watch().await.unwrap().ports();
    let bridge = BridgeName::from("br0");
    let port = |number: u16| ports.port(&bridge, OfPort(number)).unwrap();
    assert_eq!((port(1).tag, port(1).vlan_mode), (Some(10), VlanMode::Access));
    assert_eq!(port(2).trunks.iter().copied().collect::<Vec<_>>(), [20, 30]);
    assert_eq!(port(2).external_ids.get("iface-id").map(String::as_str), Some("pod2"));
    assert_eq!(ports.port(&bridge, OfPort::LOCAL).unwrap().kind, PortKind::Internal);
    let (_, tunnel) = ports.find("vx").unwrap();
    let PortKind::Tunnel(tunnel) = &ports.port(&bridge, tunnel).unwrap().kind else {
        panic!("vx is a tunnel")
    };
    assert_eq!(
        (tunnel.kind, tunnel.options.get("key").map(String::as_str)),
        (TunnelKind::Vxlan, Some("flow"))
    );
}

#[tokio::test]
async fn a_port_that_comes_changes_and_goes_is_told() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    let mut conn = OvsdbConn::connect(&ovs.database_socket()).await.unwrap();
    let mut database = conn.watch().await.unwrap();
    let tag = |database: &Database| {
        let ports = database.ports();
        ports.port(&BridgeName::from("br0"), OfPort(9)).map(|port| port.tag)
    };
    ovs.vsctl("add-port br0 p9 -- set interface p9 type=dummy ofport_request=9");
    wait_until(&mut conn, &mut database, |database| tag(database) == Some(None)).await;
    ovs.vsctl("set port p9 tag=7");
    wait_until(&mut conn, &mut database, |database| tag(database) == Some(Some(7))).await;
    ovs.vsctl("del-port br0 p9");
    wait_until(&mut conn, &mut database, |database| tag(database).is_none()).await;
}

#[tokio::test]
async fn hardware_offload_by_ovs_itself_is_seen() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    let mut conn = OvsdbConn::connect(&ovs.database_socket()).await.unwrap();
    let mut database = conn.watch().await.unwrap();
    assert!(!database.hw_offload());
    ovs.vsctl("set Open_vSwitch . other_config:hw-offload=true");
    wait_until(&mut conn, &mut database, Database::hw_offload).await;
}

#[tokio::test]
async fn a_dump_by_hand_describes_the_same_ports() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    ovs.vsctl("set port p1 tag=10 -- set interface p2 external_ids:note=\"a,b\"");
    let mut conn = OvsdbConn::connect(&ovs.database_socket()).await.unwrap();
    let watched = conn.watch().await.unwrap().ports();
    let dumped = Database::from_dump(&ovs.database_dump()).unwrap().ports();
    assert_eq!(watched, dumped);
}

#[tokio::test]
async fn a_server_that_is_not_there_says_so() {
    let error = OvsdbConn::connect("/nowhere/db.sock".as_ref()).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot connect to /nowhere/db.sock"), "{error}");
}

#[tokio::test]
async fn a_bridge_with_in_band_control_is_seen() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    let mut conn = OvsdbConn::connect(&ovs.database_socket()).await.unwrap();
    let mut database = conn.watch().await.unwrap();
    let hides = |database: &Database| {
        let bridges = database.ports().bridges;
        bridges.get(&BridgeName::from("br0")).is_some_and(|bridge| bridge.hidden_rules.is_some())
    };
    assert!(!hides(&database));
    ovs.vsctl("set-controller br0 tcp:127.0.0.1:6653");
    wait_until(&mut conn, &mut database, hides).await;
    ovs.vsctl("set controller br0 connection_mode=out-of-band");
    wait_until(&mut conn, &mut database, |database| !hides(database)).await;
    ovs.vsctl("set-manager tcp:127.0.0.1:6640");
    wait_until(&mut conn, &mut database, hides).await;
    ovs.vsctl("set bridge br0 other_config:disable-in-band=true");
    wait_until(&mut conn, &mut database, |database| !hides(database)).await;
}
