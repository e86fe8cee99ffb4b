//! Ports with our mark that belong to no entry of the ledger: left by a node that went down, or by a lost entry.

use std::collections::BTreeSet;

use ovsdb_client::value::{Uuid, key, map};
use ovsdb_client::{Client, Condition, Mutator, OPEN_VSWITCH, OvsdbError, Remote, Transaction};
use serde_json::Value;
use switchdev::ledger::Entry;

use super::ovs::OWNER;

/// Removes them from the node's own database, and says which. Where no OVS runs there are none.
pub(crate) fn sweep(entries: &[Entry]) -> Result<Vec<String>, OvsdbError> {
    let remote = Remote::default_socket();
    let mut client = match Client::connect(&remote) {
        Err(OvsdbError::Connect { .. }) => return Ok(Vec::new()),
        client => client?,
    };
    let known: BTreeSet<(&str, &str)> = entries.iter().filter_map(holder).collect();
    let ours = [Condition::includes("external_ids", map([("owner", OWNER)]))];
    let ports =
        Transaction::on(OPEN_VSWITCH).select("Port", &ours, &["_uuid", "name", "external_ids"]);
    let ports = client.transact(&ports)?;
    let mut swept = Vec::new();
    for port in ports.rows(0).iter().filter(|port| !is_known(port, &known)) {
        swept.extend(remove(&mut client, port)?);
    }
    Ok(swept)
}

fn holder(entry: &Entry) -> Option<(&str, &str)> {
    let holder = &entry.record.as_ref()?.holder;
    Some((holder.container.as_str(), holder.ifname.as_str()))
}

fn is_known(port: &Value, known: &BTreeSet<(&str, &str)>) -> bool {
    let id = |name| key(&port["external_ids"], name).unwrap_or_default();
    known.contains(&(id("contId"), id("contIface")))
}

fn remove(client: &mut Client, port: &Value) -> Result<Option<String>, OvsdbError> {
    let Some(uuid) = Uuid::from_json(&port["_uuid"]) else { return Ok(None) };
    let on = [Condition::includes("ports", uuid.to_json())];
    let marks = ["owner", "contId", "contIface"];
    let mark =
        map(marks.into_iter().filter_map(|name| Some((name, key(&port["external_ids"], name)?))));
    let marked = [Condition::includes("external_ids", mark)];
    let transaction = Transaction::on(OPEN_VSWITCH)
        .mutate("Bridge", &on, "ports", Mutator::Delete, uuid.to_json())
        .delete("QoS", &marked)
        .delete("Queue", &marked);
    client.transact(&transaction)?;
    let id = |name| key(&port["external_ids"], name).unwrap_or("?").to_owned();
    let name = port["name"].as_str().unwrap_or_default();
    Ok(Some(format!(
        "OVS port {name} of container {} ({}), which no entry knows, removed",
        id("contId"),
        id("contIface")
    )))
}
