//! What `ofproto/trace` is asked, and what it answers: for each start of the packet, the actions of the datapath.

use std::collections::{BTreeMap, VecDeque};

use flow_compiler::compile::interp::{Packet, State, TunnelHeader};
use flow_compiler::openflow::{BridgeRules, OfPort};

/// Which end is translated, in `ct_state`.
pub(crate) const TRANSLATED: [(u128, &str); 2] = [(0x40, "snat"), (0x80, "dnat")];

/// The words of a request: a packet as bytes, with what travels beside it, and what connection tracking is to say each
/// time the packet recirculates.
pub(crate) fn request(
    bridge: &str,
    port: OfPort,
    rules: Option<&BridgeRules>,
    packet: &Packet,
    states: &[State],
    translated: u128,
) -> Vec<String> {
    let tunnel = packet.tunnel.as_ref().map_or_else(String::new, |header| tunnel(header, rules));
    let mut words = vec![bridge.to_owned(), format!("in_port={}{tunnel}", port.0)];
    for state in states {
        words.extend(["--ct-next".to_owned(), ct_state(*state, translated)]);
    }
    words.push(packet.frame.0.iter().map(|byte| format!("{byte:02x}")).collect());
    words
}

fn tunnel(header: &TunnelHeader, rules: Option<&BridgeRules>) -> String {
    let ends = if header.dst.is_ipv6() {
        ("tun_ipv6_src", "tun_ipv6_dst")
    } else {
        ("tun_src", "tun_dst")
    };
    let mut words = format!(
        ",{}={},{}={},tun_tos={},tun_ttl={}",
        ends.0, header.src, ends.1, header.dst, header.tos, header.ttl
    );
    if let Some(id) = header.id {
        words.push_str(&format!(",tun_id={id:#x}"));
    }
    for (number, known) in rules.into_iter().flat_map(|rules| &rules.tunnel_options) {
        let carried = header.options.iter().find(|option| {
            (option.class, option.kind) == (known.class, known.kind)
                && option.data().len() == usize::from(known.length)
        });
        if let Some(option) = carried {
            let digits: String = option.data().iter().map(|byte| format!("{byte:02x}")).collect();
            words.push_str(&format!(",tun_metadata{number}=0x{digits}"));
        }
    }
    words
}

fn ct_state(state: State, translated: u128) -> String {
    let state = match state {
        State::New => "trk,new",
        State::Established => "trk,est",
        State::Reply => "trk,est,rpl",
        State::EstablishedRelated => "trk,est,rel",
        State::Related => "trk,rel",
        State::RelatedReply => "trk,rel,rpl",
        State::Invalid => return "trk,inv".to_owned(),
    };
    let at = TRANSLATED.iter().filter(|(bit, _)| translated & bit != 0);
    at.fold(state.to_owned(), |state, (_, end)| format!("{state},{end}"))
}

/// Whether the switch has learned an address on the way: also where only a longer or shorter packet goes
/// (`check_pkt_larger`), and where the packet is dropped in the end.
pub(crate) fn learned(answer: &str) -> bool {
    answer.lines().any(|line| line.trim_start().starts_with("-> learned that "))
}

/// The datapath's actions for the packet as it comes, and for each recirculation by its number, in the order in which
/// they are met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traced {
    pub(crate) first: String,
    pub(crate) again: BTreeMap<String, VecDeque<String>>,
    /// Whether the switch learned an address on the way.
    pub(crate) learned: bool,
}

impl Traced {
    /// Whether a branch for packets of another length may have taught the switch what the packet's own branch then knew:
    /// the trace goes through both, one after the other. A packet finds nothing learned that way.
    pub(crate) fn learned_by_length(&self) -> bool {
        let lists = self.again.values().flatten();
        self.learned && lists.chain([&self.first]).any(|actions| actions.contains("check_pkt_len("))
    }

    /// Reads an answer; `None` if it has no actions, as when the translation fails.
    pub(crate) fn parse(answer: &str) -> Option<Traced> {
        let mut traced = Traced { learned: learned(answer), ..Traced::default() };
        let mut current: Option<String> = None;
        let mut met = false;
        for line in answer.lines() {
            if line.starts_with("Translation failed") {
                return None;
            }
            if let Some(rest) = line.strip_prefix("recirc(") {
                current = rest.split(')').next().map(str::to_owned);
            }
            let Some(actions) = line.strip_prefix("Datapath actions: ") else { continue };
            let actions = actions.to_owned();
            match &current {
                None => traced.first = actions,
                Some(number) => traced.again.entry(number.clone()).or_default().push_back(actions),
            }
            met = true;
        }
        met.then_some(traced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_actions_for_every_start() {
        let answer = "Flow: ...\n\nDatapath actions: ct(zone=5),recirc(0x1)\n\n=====\nrecirc(0x1) - resume conntrack \
                      with ct_state=est|trk\n=====\n\nDatapath actions: 2\n";
        let traced = Traced::parse(answer).unwrap();
        assert_eq!(traced.first, "ct(zone=5),recirc(0x1)");
        assert_eq!(traced.again["0x1"], ["2"]);
    }

    #[test]
    fn what_is_invalid_is_nothing_else() {
        assert_eq!(ct_state(State::Reply, 0xc0), "trk,est,rpl,snat,dnat");
        assert_eq!(ct_state(State::New, 0x80), "trk,new,dnat");
        assert_eq!(ct_state(State::Invalid, 0xc0), "trk,inv");
    }

    #[test]
    fn an_address_is_learned_or_was_known() {
        assert!(learned(
            "  NORMAL\n     -> learned that 02:00:00:00:00:0d is on port vf3 in VLAN 0\n"
        ));
        assert!(!learned("  NORMAL\n     -> learned port is input port, dropping\n"));
    }

    #[test]
    fn a_branch_by_length_may_have_learned() {
        let by_length = "Datapath actions: check_pkt_len(size=100,gt(1),le(2))\n";
        let learns = "     -> learned that 02:00:00:00:00:0d is on port vf3 in VLAN 0\n";
        let asked = |answer: &str| Traced::parse(answer).unwrap().learned_by_length();
        assert!(asked(&format!("{learns}{by_length}")));
        assert!(!asked(by_length));
        assert!(!asked(&format!("{learns}Datapath actions: 2\n")));
    }

    #[test]
    fn a_failed_translation_says_nothing() {
        assert_eq!(
            Traced::parse("Translation failed (Recursion too deep), packet is dropped.\n"),
            None
        );
    }
}
