//! Ports with our mark that belong to no entry of the ledger: left by a node that went down, or by a lost entry.

use std::collections::BTreeSet;
use std::time::Duration;

use ovsdb_client::value::{Uuid, key, map, uuids};
use ovsdb_client::{Client, Condition, OPEN_VSWITCH, OvsdbError, Remote, Transaction};
use serde_json::Value;
use switchdev::binding::{ExternalError, ReadEntries};
use switchdev::ledger::Entry;
use tc_filter::Mac;

use super::ovs::{OWNER, leave, without_limits};
use super::rules::PortRules;

/// For the switch to see what has become of a port.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// Removes the ports of one attachment, whose entry is not there any more; `None` where no OVS runs, so that nobody can
/// tell whether there are any.
pub(crate) fn remove_of(
    remote: &Remote,
    container: &str,
    ifname: &str,
) -> Result<Option<Vec<String>>, OvsdbError> {
    let marks = [("owner", OWNER), ("contId", container), ("contIface", ifname)];
    let Some((mut client, ports)) = ours(remote, &marks)? else { return Ok(None) };
    remove_all(&mut client, remote, ports.iter()).map(Some)
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
    let columns = ["_uuid", "name", "external_ids", "qos"];
    let ports = Transaction::on(OPEN_VSWITCH).select("Port", &ours, &columns);
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
        let interface = interface_of(client, port)?;
        remove_rules(client, remote, port, &interface)?;
        lift_limits(client, port, &interface)?;
        removed.extend(remove(client, port)?);
    }
    Ok(removed)
}

fn interface_of(client: &mut Client, port: &Value) -> Result<Value, OvsdbError> {
    let named = [Condition::is("name", port["name"].clone())];
    let columns = ["external_ids", "ingress_policing_rate"];
    let looked = Transaction::on(OPEN_VSWITCH).select("Interface", &named, &columns);
    Ok(client.transact(&looked)?.rows(0).first().cloned().unwrap_or_default())
}

/// The rules go before the port, for its number may be given to another.
fn remove_rules(
    client: &mut Client,
    remote: &Remote,
    port: &Value,
    interface: &Value,
) -> Result<(), OvsdbError> {
    let (Remote::Unix(database), Some(uuid)) = (remote, Uuid::from_json(&port["_uuid"])) else {
        return Ok(());
    };
    let on = [Condition::includes("ports", uuid.to_json())];
    let looked = Transaction::on(OPEN_VSWITCH).select("Bridge", &on, &["name"]);
    let looked = client.transact(&looked)?;
    let bridge = looked.rows(0).first().and_then(|row| row["name"].as_str());
    let vf = key(&interface["external_ids"], "vf-pci").and_then(|vf| vf.parse().ok());
    if let (Some(vf), Some(bridge)) = (vf, bridge) {
        // A switch that is down has no rules to remove.
        let _ = PortRules::new(database, bridge, vf, Mac([0; 6]), false).remove();
    }
    Ok(())
}

/// A switch that is down does not see it; the port goes all the same, for a netdev's limits are less than a port of nobody's.
fn lift_limits(client: &mut Client, port: &Value, interface: &Value) -> Result<(), OvsdbError> {
    let queued = !uuids(&port["qos"]).is_empty();
    let policed = interface["ingress_policing_rate"].as_u64().is_some_and(|rate| rate != 0);
    let (Some(uuid), Some(name)) = (Uuid::from_json(&port["_uuid"]), port["name"].as_str()) else {
        return Ok(());
    };
    if !queued && !policed {
        return Ok(());
    }
    let transaction = without_limits(Transaction::on(OPEN_VSWITCH), &uuid, name);
    match client.configure(transaction, PATIENCE) {
        Err(error) if error.is_wait_timeout() => Ok(()),
        done => done.map(drop),
    }
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
