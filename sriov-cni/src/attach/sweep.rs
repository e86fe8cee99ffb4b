//! Ports with our mark that belong to no entry of the ledger: left by a node that went down, or by a lost entry.

use std::collections::BTreeSet;

use ovsdb_client::value::{Uuid, key, map};
use ovsdb_client::{Client, Condition, OPEN_VSWITCH, OvsdbError, Remote, Transaction};
use serde_json::Value;
use switchdev::binding::{ExternalError, ReadEntries};
use switchdev::ledger::Entry;
use tc_filter::Mac;

use super::ovs::{OWNER, leave};
use super::rules::PortRules;

/// Removes them from a database, and says which. Where no OVS runs there are none. The ledger is read after the database: an
/// ADD under way is in it before its port is on a bridge.
pub(crate) fn sweep(
    database: &Remote,
    entries: ReadEntries<'_>,
) -> Result<Vec<String>, ExternalError> {
    let Some((mut client, ports)) =
        ours(database, &[("owner", OWNER)]).map_err(ExternalError::new)?
    else {
        return Ok(Vec::new());
    };
    let entries = entries().map_err(ExternalError::new)?;
    let known: BTreeSet<(&str, &str)> = entries.iter().filter_map(holder).collect();
    let lost = ports.iter().filter(|port| !is_known(port, &known));
    remove_all(&mut client, database, lost).map_err(ExternalError::new)
}

/// Removes the ports of one attachment, whose entry is not there any more.
pub(crate) fn remove_of(
    remote: &Remote,
    container: &str,
    ifname: &str,
) -> Result<Vec<String>, OvsdbError> {
    let marks = [("owner", OWNER), ("contId", container), ("contIface", ifname)];
    let Some((mut client, ports)) = ours(remote, &marks)? else { return Ok(Vec::new()) };
    remove_all(&mut client, remote, ports.iter())
}

/// The ports with these marks; `None` where no OVS runs.
fn ours(
    remote: &Remote,
    marks: &[(&str, &str)],
) -> Result<Option<(Client, Vec<Value>)>, OvsdbError> {
    let mut client = match Client::connect(remote) {
        Err(OvsdbError::Connect { .. }) => return Ok(None),
        client => client?,
    };
    let ours = [Condition::includes("external_ids", map(marks.iter().copied()))];
    let ports =
        Transaction::on(OPEN_VSWITCH).select("Port", &ours, &["_uuid", "name", "external_ids"]);
    let ports = client.transact(&ports)?.rows(0).to_vec();
    Ok(Some((client, ports)))
}

fn remove_all<'a>(
    client: &mut Client,
    remote: &Remote,
    ports: impl Iterator<Item = &'a Value>,
) -> Result<Vec<String>, OvsdbError> {
    let mut removed = Vec::new();
    for port in ports {
        remove_rules(client, remote, port)?;
        removed.extend(remove(client, port)?);
    }
    Ok(removed)
}

/// The rules go before the port, for its number may be given to another.
fn remove_rules(client: &mut Client, remote: &Remote, port: &Value) -> Result<(), OvsdbError> {
    let (Remote::Unix(database), Some(uuid)) = (remote, Uuid::from_json(&port["_uuid"])) else {
        return Ok(());
    };
    let looked = client.transact(
        &Transaction::on(OPEN_VSWITCH)
            .select("Interface", &[Condition::is("name", port["name"].clone())], &["external_ids"])
            .select("Bridge", &[Condition::includes("ports", uuid.to_json())], &["name"]),
    )?;
    let (interface, bridge) = (looked.rows(0).first(), looked.rows(1).first());
    let vf = interface.and_then(|row| key(&row["external_ids"], "vf-pci")?.parse().ok());
    if let (Some(vf), Some(bridge)) = (vf, bridge.and_then(|row| row["name"].as_str())) {
        // A switch that is down has no rules to remove.
        let _ = PortRules::new(database, bridge, vf, Mac([0; 6]), false).remove();
    }
    Ok(())
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
    let marks = ["owner", "contId", "contIface"];
    let mark =
        map(marks.into_iter().filter_map(|name| Some((name, key(&port["external_ids"], name)?))));
    let marked = [Condition::includes("external_ids", mark)];
    let transaction =
        leave(Transaction::on(OPEN_VSWITCH), &uuid).delete("QoS", &marked).delete("Queue", &marked);
    client.transact(&transaction)?;
    let id = |name| key(&port["external_ids"], name).unwrap_or("?").to_owned();
    let name = port["name"].as_str().unwrap_or_default();
    Ok(Some(format!(
        "OVS port {name} of container {} ({}), which no entry knows, removed",
        id("contId"),
        id("contIface")
    )))
}
