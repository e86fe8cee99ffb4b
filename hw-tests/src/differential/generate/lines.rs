//! A ruleset from lines, each of which has to be a rule.

use std::collections::BTreeMap;

use anyhow::Context;
use flow_compiler::openflow::text::{Names, parse_groups, parse_rules};
use flow_compiler::openflow::{BridgeName, BridgeRules, Ruleset};

use super::super::topology;

/// These rules on the integration bridge; the provider bridge forwards as switches do.
pub(super) fn ruleset(lines: &[String]) -> anyhow::Result<Ruleset> {
    let mut integration = bridge(lines, &[])?;
    integration.tunnel_options = topology::options();
    Ok(Ruleset {
        bridges: BTreeMap::from([
            (BridgeName::from(topology::INTEGRATION), integration),
            (BridgeName::from(topology::PROVIDER), normal()?),
        ]),
    })
}

/// The rules and groups of a bridge.
pub(super) fn bridge(rules: &[String], groups: &[String]) -> anyhow::Result<BridgeRules> {
    let (rules, groups) = (rules.join("\n"), groups.join("\n"));
    let parsed = parse_rules(&rules, &Names::default()).with_context(|| rules.clone())?;
    let mut bridge: BridgeRules = parsed.into_iter().collect();
    let groups = parse_groups(&groups, &Names::default()).with_context(|| groups.clone())?;
    bridge.groups = groups.into_iter().map(|group| (group.id, group)).collect();
    Ok(bridge)
}

/// One rule: `NORMAL`.
pub(super) fn normal() -> anyhow::Result<BridgeRules> {
    bridge(&["priority=0 actions=NORMAL".to_owned()], &[])
}
