//! What OpenFlow 1.5, which rules are loaded with, makes of them on the wire.
//!
//! It has no `mod_vlan_vid` and no `mod_vlan_pcp`: ovs-ofctl writes a `set_field` in their place, and a `push_vlan` before it unless
//! the rule has made sure of a tag (`encode_SET_VLAN_VID`, `check_SET_VLAN_VID` in `lib/ofp-actions.c`). The switch then does
//! something else with a packet that has lost its tag in a table which the rule went through.

use flow_compiler::openflow::{Action, Field, Masked, Rule, Ruleset, SetField, VLAN_PRESENT};

const DOT1Q: u16 = 0x8100;

/// The rules as the switch has them.
pub(crate) fn carried(ruleset: &Ruleset) -> Ruleset {
    let mut ruleset = ruleset.clone();
    for bridge in ruleset.bridges.values_mut() {
        for rule in bridge.rules.values_mut() {
            let tagged = asks_for_a_tag(rule);
            rule.actions = actions(&rule.actions, tagged);
        }
    }
    ruleset
}

fn asks_for_a_tag(rule: &Rule) -> bool {
    rule.match_.get(Field::VlanTci).is_some_and(|tci| tci.value & present() != 0)
}

/// A list of actions, behind a match or actions that make sure of a tag or do not.
fn actions(list: &[Action], mut tagged: bool) -> Vec<Action> {
    let mut carried = Vec::new();
    for action in list {
        let written = match action {
            Action::ModVlanVid(id) => set(Field::VlanVid, u128::from(*id) | present()),
            Action::ModVlanPcp(pcp) => set(Field::VlanPcp, u128::from(*pcp)),
            Action::Clone(list) => Action::Clone(actions(list, tagged)),
            other => other.clone(),
        };
        let writes = matches!(action, Action::ModVlanVid(_) | Action::ModVlanPcp(_));
        if writes && !tagged {
            carried.push(Action::PushVlan(DOT1Q));
        }
        carried.push(written);
        tagged = match action {
            Action::PopVlan | Action::StripVlan => false,
            Action::PushVlan(_) => true,
            _ => tagged || writes,
        };
    }
    carried
}

fn present() -> u128 {
    VLAN_PRESENT.into()
}

fn set(field: Field, value: u128) -> Action {
    Action::SetField(SetField { field, masked: Masked::new(value, field.full_mask()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow_compiler::openflow::BridgeName;
    use flow_compiler::openflow::text::{Names, parse_rules};

    fn carries(rule: &str) -> String {
        let rules = parse_rules(rule, &Names::default()).unwrap().into_iter().collect();
        let ruleset = Ruleset { bridges: [(BridgeName::from("br0"), rules)].into() };
        let rules = carried(&ruleset).bridges.remove(&BridgeName::from("br0")).unwrap().rules;
        rules.values().next().unwrap().to_string()
    }

    #[test]
    fn a_tag_that_the_match_asks_for_is_written_and_never_pushed() {
        assert_eq!(
            carries("dl_vlan=5 actions=mod_vlan_pcp:2,resubmit(,1),mod_vlan_vid:6,output:1"),
            "dl_vlan=5 actions=set_field:2->vlan_pcp,resubmit(,1),set_field:4102->vlan_vid,output:1"
        );
    }

    #[test]
    fn a_tag_that_may_not_be_there_is_pushed_once() {
        assert_eq!(
            carries("ip actions=mod_vlan_vid:6,mod_vlan_pcp:2,output:1"),
            "ip actions=push_vlan:0x8100,set_field:4102->vlan_vid,set_field:2->vlan_pcp,output:1"
        );
    }

    #[test]
    fn a_copy_has_the_tag_that_the_packet_has() {
        assert_eq!(
            carries("dl_vlan=5 actions=clone(strip_vlan,output:2),mod_vlan_pcp:2,output:1"),
            "dl_vlan=5 actions=clone(strip_vlan,output:2),set_field:2->vlan_pcp,output:1"
        );
    }

    #[test]
    fn other_rules_stay_as_they_are() {
        let rule = "priority=3,ip actions=strip_vlan,set_field:4102->vlan_vid,output:1";
        assert_eq!(carries(rule), rule);
    }
}
