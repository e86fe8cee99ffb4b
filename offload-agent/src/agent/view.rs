//! What is known of Open vSwitch, and whether it is enough to act on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::openflow::{BridgeName, BridgeRules, Ruleset};
use flow_compiler::ports::{Fdb, PortMap};

use super::mirror::Wanted;
use super::watch::{Facts, News};
use crate::config::{Bridges, Config, HwPolicy};

/// What is known of Open vSwitch.
#[derive(Debug)]
pub(super) struct View {
    managed: Bridges,
    policy: HwPolicy,
    capabilities: Capabilities,
    database: Result<Facts, String>,
    rules: BTreeMap<BridgeName, Arc<BridgeRules>>,
    /// Bridges whose rules cannot be read now, and why.
    silent: BTreeMap<BridgeName, String>,
    /// What the bridges have learned. Without it `NORMAL` stays in OVS.
    addresses: BTreeMap<BridgeName, Fdb>,
}

/// Why the filters stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Hold {
    /// OVSDB does not answer.
    #[error("waiting for ovsdb-server: {0}")]
    NoDatabase(String),
    /// OVS would fight us for the filters.
    #[error(
        "Open_vSwitch other_config:hw-offload is true, so ovs-vswitchd manages the filters itself and would flush ours; \
         `ovs-vsctl remove Open_vSwitch . other_config hw-offload` and restart ovs-vswitchd"
    )]
    HwOffload,
    /// The controller has not put the rules back yet.
    #[error("Open_vSwitch other_config:flow-restore-wait is true: the rules are not complete yet")]
    Restoring,
    /// The rules of a bridge are not known.
    #[error("waiting for the rules of bridge {0}: {1}")]
    NoRules(BridgeName, String),
}

impl View {
    pub(super) fn new(config: &Config, capabilities: Capabilities) -> Self {
        Self {
            managed: config.ovs.bridges.clone(),
            policy: config.hardware.policy,
            capabilities,
            database: Err("not connected yet".to_owned()),
            rules: BTreeMap::new(),
            silent: BTreeMap::new(),
            addresses: BTreeMap::new(),
        }
    }

    /// Takes in what a watcher tells. Whether anything is another now.
    pub(super) fn take(&mut self, news: News) -> bool {
        match news {
            News::Database(facts) => self.database = Ok(facts),
            News::DatabaseLost(why) => self.database = Err(why),
            News::Rules { bridge, rules } => {
                self.silent.remove(&bridge);
                self.rules.insert(bridge, rules);
            }
            News::RulesLost { bridge, why } => {
                self.rules.remove(&bridge);
                self.silent.insert(bridge, why);
            }
            News::Addresses { bridge, fdb } => {
                let old = self.addresses.insert(bridge, fdb.clone()).unwrap_or_default();
                return old != fdb;
            }
            News::AddressesLost { bridge, why } => {
                let lost = self.addresses.remove(&bridge);
                if lost.is_some() {
                    tracing::warn!("NORMAL on bridge {bridge} stays in OVS: {why}");
                }
                return lost.is_some_and(|fdb| !fdb.entries.is_empty());
            }
        }
        let bridges = self.bridges();
        if self.database.is_ok() {
            self.rules.retain(|bridge, _| bridges.contains(bridge));
            self.silent.retain(|bridge, _| bridges.contains(bridge));
            self.addresses.retain(|bridge, _| bridges.contains(bridge));
        }
        true
    }

    /// The bridges to mirror: those of the configuration that exist and use the kernel datapath.
    pub(super) fn bridges(&self) -> BTreeSet<BridgeName> {
        self.ports().map(|ports| ports.bridges.into_keys().collect()).unwrap_or_default()
    }

    fn ports(&self) -> Result<PortMap, Hold> {
        let database = self.database.as_ref().map_err(|why| Hold::NoDatabase(why.clone()))?;
        let mut ports = database.ports.clone();
        ports.bridges.retain(|name, bridge| {
            let kernel = ["", "system"].contains(&bridge.datapath_type.as_str());
            kernel && self.managed.contains(&name.0)
        });
        Ok(ports)
    }

    /// Everything a turn needs, or why there is nothing to do yet.
    pub(super) fn wanted(&self) -> Result<Wanted, Hold> {
        let ports = self.ports()?;
        let flags = self.database.as_ref().ok();
        if flags.is_some_and(|database| database.hw_offload) {
            return Err(Hold::HwOffload);
        }
        if flags.is_some_and(|database| database.restoring) {
            return Err(Hold::Restoring);
        }
        let mut ports = ports;
        let mut ruleset = Ruleset::default();
        for (bridge, ports) in &mut ports.bridges {
            let rules = self.rules.get(bridge).ok_or_else(|| self.silence(bridge))?;
            ruleset.bridges.insert(bridge.clone(), BridgeRules::clone(rules));
            ports.fdb = self.addresses.get(bridge).cloned().unwrap_or_default();
        }
        Ok(Wanted {
            ruleset: Arc::new(ruleset),
            ports: Arc::new(ports),
            capabilities: Arc::new(Capabilities {
                vlan_limit: flags.and_then(|database| database.vlan_limit),
                ..self.capabilities.clone()
            }),
            policy: self.policy,
        })
    }

    fn silence(&self, bridge: &BridgeName) -> Hold {
        let why = self.silent.get(bridge).cloned();
        Hold::NoRules(bridge.clone(), why.unwrap_or_else(|| "not read yet".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use flow_compiler::ports::BridgePorts;

    use super::*;

    fn view(yaml: &str) -> View {
        View::new(&Config::parse(yaml).unwrap(), Capabilities::nicsim())
    }

    fn database(bridges: &[(&str, &str)]) -> Facts {
        let bridges = bridges.iter().map(|(name, datapath_type)| {
            let ports = BridgePorts {
                datapath_type: (*datapath_type).to_owned(),
                ..BridgePorts::default()
            };
            (BridgeName::from(*name), ports)
        });
        Facts { ports: PortMap { bridges: bridges.collect() }, ..Facts::default() }
    }

    fn rules(bridge: &str) -> News {
        News::Rules { bridge: BridgeName::from(bridge), rules: Arc::default() }
    }

    #[test]
    fn nothing_happens_before_the_rules_of_every_bridge_are_known() {
        let mut view = view("");
        assert!(matches!(view.wanted(), Err(Hold::NoDatabase(_))));
        view.take(News::Database(database(&[("br-int", ""), ("br-ex", "system")])));
        view.take(rules("br-int"));
        let hold = view.wanted().unwrap_err();
        assert!(hold.to_string().contains("br-ex"), "{hold}");
        view.take(rules("br-ex"));
        assert_eq!(view.wanted().unwrap().ruleset.bridges.len(), 2);
    }

    #[test]
    fn when_ovs_goes_its_old_rules_are_not_used_again() {
        let mut view = view("");
        view.take(News::Database(database(&[("br-int", "")])));
        view.take(rules("br-int"));
        let (bridge, why) = (BridgeName::from("br-int"), "closed".to_owned());
        view.take(News::RulesLost { bridge, why });
        assert!(matches!(view.wanted(), Err(Hold::NoRules(..))));
    }

    #[test]
    fn a_bridge_of_user_space_or_of_others_is_left_alone() {
        let mut view = view("ovs: {bridges: [br-int, br-dpdk]}");
        let bridges = [("br-int", ""), ("br-dpdk", "netdev"), ("br-other", "")];
        view.take(News::Database(database(&bridges)));
        assert_eq!(view.bridges(), [BridgeName::from("br-int")].into());
    }

    #[test]
    fn what_a_bridge_has_learned_is_known_until_it_cannot_be_read() {
        let mut view = view("");
        view.take(News::Database(database(&[("br-int", "")])));
        view.take(rules("br-int"));
        let bridge = BridgeName::from("br-int");
        let fdb = Fdb::parse("1 0 aa:55:aa:55:00:0f 3\n", &BTreeMap::new()).unwrap();
        let learned = || News::Addresses { bridge: bridge.clone(), fdb: fdb.clone() };
        let lost = || News::AddressesLost { bridge: bridge.clone(), why: "closed".to_owned() };
        let known = |view: &View| view.wanted().unwrap().ports.bridges[&bridge].fdb.clone();
        assert!(!view.take(lost()), "what was never known is not lost");
        assert!(view.take(learned()));
        assert!(!view.take(learned()), "the same again is no news");
        assert_eq!(known(&view), fdb);
        assert!(view.take(lost()));
        assert_eq!(known(&view), Fdb::default());
    }

    #[test]
    fn hw_offload_of_ovs_is_refused_with_what_to_set() {
        let mut view = view("");
        view.take(News::Database(Facts { hw_offload: true, ..database(&[]) }));
        let hold = view.wanted().unwrap_err();
        assert!(hold.to_string().contains("ovs-vsctl remove Open_vSwitch"), "{hold}");
    }

    #[test]
    fn what_ovs_looks_through_is_what_the_compiler_is_told() {
        let mut view = view("");
        view.take(News::Database(Facts { vlan_limit: Some(2), ..database(&[]) }));
        assert_eq!(view.wanted().unwrap().capabilities.vlan_limit, Some(2));
    }

    #[test]
    fn rules_that_are_being_restored_are_waited_for() {
        let mut view = view("");
        view.take(News::Database(Facts { restoring: true, ..database(&[]) }));
        assert_eq!(view.wanted().unwrap_err(), Hold::Restoring);
    }
}
