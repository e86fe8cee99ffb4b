//! The blocking client against a real database server and switch.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "../../tests/private_ovs/mod.rs"]
#[allow(dead_code, reason = "each test binary uses its part of this")]
mod private_ovs;

use std::time::Duration;

use ovsdb_client::value::{self, set};
use ovsdb_client::{Client, Condition, Mutator, OPEN_VSWITCH, Remote, Transaction, Until, columns};
use private_ovs::PrivateOvs;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

fn client(ovs: &PrivateOvs) -> Client {
    Client::connect(&Remote::Unix(ovs.database_socket())).unwrap()
}

fn add_port(name: &str) -> Transaction {
    let interface = columns([("name", json!(name)), ("type", json!("dummy"))]);
    let port = columns([
        ("name", json!(name)),
        ("interfaces", value::named_uuid("interface")),
        ("tag", json!(7)),
    ]);
    let new = set([value::named_uuid("port")]);
    Transaction::on(OPEN_VSWITCH)
        .insert("Interface", "interface", interface)
        .insert("Port", "port", port)
        .mutate("Bridge", &[Condition::is("name", "br0")], "ports", Mutator::Insert, new)
}

#[test]
fn a_port_is_added_in_one_transaction_and_gets_its_number() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    let mut client = client(&ovs);
    let outcome = client.configure(add_port("p9"), PATIENCE).unwrap();
    let row = [Condition::row(&outcome.inserted(0).unwrap())];
    let found = client
        .transact(&Transaction::on(OPEN_VSWITCH).select("Interface", &row, &["ofport"]))
        .unwrap();
    assert!(found.rows(0)[0]["ofport"].as_u64().is_some(), "{found:?}");
    assert_eq!(ovs.vsctl("get port p9 tag").trim(), "7");
}

#[test]
fn of_a_transaction_that_fails_nothing_is_left() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    let stale = columns([("name", json!("another"))]);
    let guarded = add_port("p9").wait(
        "Bridge",
        &[Condition::is("name", "br0")],
        Until::Equal,
        &[stale],
        Duration::ZERO,
    );
    let error = client(&ovs).transact(&guarded).unwrap_err();
    assert!(error.is_wait_timeout(), "{error}");
    assert!(error.to_string().contains("took nothing of the transaction: wait Bridge"), "{error}");
    assert!(!ovs.vsctl("list-ports br0").contains("p9"));
    client(&ovs).transact(&add_port("p9").abort()).unwrap_err();
    assert!(!ovs.vsctl("list-ports br0").contains("p9"));
}

#[test]
fn a_wait_ends_when_somebody_else_makes_it_true() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    let row = [Condition::is("name", "p9"), Condition::at_least("ofport", 1)];
    let wait = Transaction::on(OPEN_VSWITCH).wait_for_a_row("Interface", &row, PATIENCE).select(
        "Interface",
        &row,
        &["name"],
    );
    let mut waiting = client(&ovs);
    std::thread::scope(|scope| {
        let waited = scope.spawn(|| waiting.transact_patiently(&wait, PATIENCE));
        client(&ovs).transact(&add_port("p9")).unwrap();
        assert_eq!(waited.join().unwrap().unwrap().rows(1), [json!({"name": "p9"})]);
    });
}

#[test]
fn what_is_wrong_with_a_request_is_told_in_the_servers_words() {
    let Some(ovs) = PrivateOvs::with_bridge() else { return };
    let nowhere = Transaction::on(OPEN_VSWITCH).delete("Prot", &[]);
    let error = client(&ovs).transact(&nowhere).unwrap_err().to_string();
    assert!(error.contains("No table named Prot"), "{error}");
    let twice: Value = set([1, 1]);
    let twice = Transaction::on(OPEN_VSWITCH).update("Port", &[], columns([("trunks", twice)]));
    assert!(client(&ovs).transact(&twice).is_err());
    client(&ovs).probe().unwrap();
}

#[test]
fn a_server_that_is_not_there_says_so() {
    let error = Client::connect(&"unix:/nowhere/db.sock".parse().unwrap()).unwrap_err();
    assert!(error.is_transient());
    assert!(error.to_string().starts_with("cannot connect to /nowhere/db.sock"), "{error}");
}
