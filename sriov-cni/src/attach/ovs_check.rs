//! Whether a port on an OVS bridge is still as it was made: one question to the database, and every column that was set is
//! held against the answer.

use ovsdb_client::value::{self, Uuid, key, set};
use ovsdb_client::{Client, Condition, OPEN_VSWITCH, Transaction};
use serde_json::{Value, json};

use super::ovs::{OvsError, OvsPort, mirror_columns, uuid};

/// What the database has of a port and of what refers to it.
struct Found {
    port: Value,
    interface: Value,
    /// The ports of the bridge.
    ports: Vec<Uuid>,
    mirrors: Vec<Value>,
    /// Rates that carry our mark.
    qos: Vec<Value>,
}

impl OvsPort {
    /// What is wrong with the port; `None` when it is as it was made.
    ///
    /// # Errors
    /// The database could not be asked.
    pub fn check(&self) -> Result<Option<String>, OvsError> {
        let Some(found) = self.ask()? else {
            return Ok(Some(self.not_on_the_bridge()));
        };
        let looks = [Self::place, Self::vlans, Self::interface, Self::rates, Self::copies];
        Ok(looks.iter().find_map(|look| look(self, &found)))
    }

    /// `None` where there is no port of this name.
    fn ask(&self) -> Result<Option<Found>, OvsError> {
        let named = [Condition::is("name", self.netdev.as_str())];
        let bridge = [Condition::is("name", self.bridge.as_str())];
        let marked = [Condition::includes("external_ids", self.mark())];
        let columns =
            ["_uuid", "external_ids", "tag", "trunks", "vlan_mode", "other_config", "qos"];
        let question = Transaction::on(OPEN_VSWITCH)
            .select("Port", &named, &columns)
            .select(
                "Interface",
                &named,
                &[
                    "ofport",
                    "error",
                    "external_ids",
                    "ingress_policing_rate",
                    "ingress_policing_burst",
                ],
            )
            .select("Bridge", &bridge, &["ports"])
            .select("Mirror", &[], &["name", "select_src_port", "select_dst_port"])
            .select("QoS", &marked, &["_uuid", "other_config"]);
        let answer = Client::connect(&self.remote()?)?.transact(&question)?;
        let Some(port) = answer.rows(0).first() else { return Ok(None) };
        let ports = answer.rows(2).iter().flat_map(|bridge| value::uuids(&bridge["ports"]));
        Ok(Some(Found {
            port: port.clone(),
            interface: answer.rows(1).first().cloned().unwrap_or_default(),
            ports: ports.collect(),
            mirrors: answer.rows(3).to_vec(),
            qos: answer.rows(4).to_vec(),
        }))
    }

    fn not_on_the_bridge(&self) -> String {
        format!("{} is no port of bridge {} any more", self.netdev, self.bridge)
    }

    fn place(&self, found: &Found) -> Option<String> {
        if !self.is_ours(&found.port) {
            return Some(format!("port {} does not carry our mark any more", self.netdev));
        }
        let there = uuid(&found.port).is_some_and(|port| found.ports.contains(&port));
        (!there).then(|| self.not_on_the_bridge())
    }

    /// What was not set is empty. Of `other_config` others may have a part.
    fn vlans(&self, found: &Found) -> Option<String> {
        let wanted = self.vlan_columns();
        let empty = set::<Value>([]);
        for column in ["tag", "trunks", "vlan_mode"] {
            let set = wanted.iter().find(|(name, _)| name == column).map(|(_, value)| value);
            let (is, wanted) = (&found.port[column], set.unwrap_or(&empty));
            if normal(is) != normal(wanted) {
                return Some(self.differs("port", column, is, wanted));
            }
        }
        let wanted = wanted.iter().find(|(name, _)| name == "other_config");
        let (_, wanted) = wanted?;
        let (is, wanted) = (key(&found.port["other_config"], QINQ), key(wanted, QINQ));
        (is != wanted).then(|| self.differs("port", QINQ, &json!(is), &json!(wanted)))
    }

    fn interface(&self, found: &Found) -> Option<String> {
        let ids = &found.interface["external_ids"];
        let changed = self.interface_ids.iter().find(|(name, value)| key(ids, name) != Some(value));
        if let Some((name, wanted)) = changed {
            let is = json!(key(ids, name));
            return Some(self.differs("interface", name, &is, &json!(wanted)));
        }
        self.number(&found.interface).err().map(|error| error.to_string())
    }

    /// Only what was asked for: another limit than none is somebody's business.
    fn rates(&self, found: &Found) -> Option<String> {
        if let Some((rate, burst)) = self.egress {
            for (column, wanted) in
                [("ingress_policing_rate", rate), ("ingress_policing_burst", burst)]
            {
                let is = &found.interface[column];
                if *is != json!(wanted) {
                    return Some(self.differs("interface", column, is, &json!(wanted)));
                }
            }
        }
        let (kbps, _) = self.ingress?;
        let wanted = (kbps * 1000).to_string();
        let is = value::uuids(&found.port["qos"]);
        let ours = found.qos.iter().find(|qos| uuid(qos).is_some_and(|qos| is.contains(&qos)));
        match ours.map(|qos| key(&qos["other_config"], "max-rate")) {
            None => Some(format!("port {} has not its rate any more", self.netdev)),
            Some(rate) if rate != Some(wanted.as_str()) => {
                Some(self.differs("QoS of port", "max-rate", &json!(rate), &json!(wanted)))
            }
            Some(_) => None,
        }
    }

    fn copies(&self, found: &Found) -> Option<String> {
        let port = uuid(&found.port)?;
        for (name, ingress, egress) in &self.mirrors {
            let mirror = found.mirrors.iter().find(|mirror| mirror["name"] == json!(name));
            let selects =
                |column| mirror.is_some_and(|mirror| value::uuids(&mirror[column]).contains(&port));
            if !mirror_columns(*ingress, *egress).all(selects) {
                return Some(format!("mirror {name} does not copy port {} any more", self.netdev));
            }
        }
        None
    }

    fn differs(&self, what: &str, column: &str, is: &Value, wanted: &Value) -> String {
        format!("{what} {}: {column} is {is}, not {wanted}", self.netdev)
    }
}

const QINQ: &str = "qinq-ethtype";

/// A set of one and that one are the same, and sets have no order.
fn normal(value: &Value) -> Vec<String> {
    let mut elements: Vec<String> =
        value::elements(value).into_iter().map(ToString::to_string).collect();
    elements.sort();
    elements
}
