//! Input that is not what it should be: one clear error, and never a panic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::collections::BTreeMap;

use flow_compiler::openflow::text::{
    Names, ParseError, Problem, parse_groups, parse_meters, parse_rules, parse_tunnel_options,
};
use flow_compiler::openflow::wire::{self, Header, VERSION};
use flow_compiler::openflow::{Field, Rule, Unsupported};
use flow_compiler::ports::{Database, Fdb};
use proptest::prelude::*;

const ACTIONS: &str = include_str!("data/rulesets/features/actions.flows.of15.txt");
const MATCHES: &str = include_str!("data/rulesets/features/matches.flows.of15.txt");

fn error_of(text: &str) -> ParseError {
    match parse_rules(text, &Names::default()) {
        Ok(rules) => panic!("{text} was read as {rules:?}"),
        Err(error) => error,
    }
}

#[test]
fn an_error_says_where_what_and_how_it_would_be_right() {
    let error = error_of("# our rules\n\npriority=5,ip,nw_dst=10.0.0.300,actions=drop\n");
    assert_eq!((error.line, error.column, error.token.as_str()), (3, 22, "10.0.0.300"));
    assert!(
        error.to_string().ends_with("write it like 10.0.0.1, 10.0.0.0/8 or 10.0.0.0/255.0.255.0"),
        "{error}"
    );
}

#[test]
fn each_mistake_has_its_own_error() {
    let problem = |text: &str| error_of(text).problem;
    assert_eq!(problem("priority=5,ip"), Problem::NoActions);
    assert_eq!(problem("priority=65536,actions=drop"), Problem::NotANumber { max: 65535 });
    assert_eq!(problem("table=255,actions=drop"), Problem::UnknownTable);
    assert_eq!(problem("in_port=eth0,actions=drop"), Problem::UnknownPort);
    assert_eq!(problem("dl_dst=1:2:3,actions=drop"), Problem::NotAMac);
    assert_eq!(
        problem("tp_dst=80,actions=drop"),
        Problem::NeedsProtocol { needs: "tcp, udp or sctp" }
    );
    assert_eq!(problem("ip,tcp6,actions=drop"), Problem::Twice { field: Field::EthType });
    assert_eq!(problem("actions=clone(output:1"), Problem::Unbalanced);
    assert_eq!(problem("actions=load:5->reg99[]"), Problem::UnknownField);
    assert!(matches!(problem("actions=output:"), Problem::Malformed { .. }));
    assert!(matches!(problem("actions=drop,output:1"), Problem::Malformed { .. }));
    assert!(matches!(
        problem("nw_ttl=5,actions=drop"),
        Problem::MissingPrerequisite { field: Field::NwTtl, .. }
    ));
    assert!(matches!(problem("ct_state=+nwe,actions=drop"), Problem::NotFlags { .. }));
}

#[test]
fn actions_may_not_be_nested_without_end() {
    let deep = format!("actions={}{}", "clone(".repeat(5000), ")".repeat(5000));
    assert_eq!(error_of(&deep).problem, Problem::TooDeep { limit: 32 });
}

#[test]
fn what_a_newer_open_vswitch_says_is_kept_and_prints_as_it_came() {
    let line = "priority=7,ip,frobnicate=0x5/0xff actions=output:1,teleport(to=mars)";
    let rule: Rule = line.parse().unwrap();
    let unknown = Unsupported::Text("frobnicate=0x5/0xff".into());
    assert!(rule.match_.unsupported().contains(&unknown));
    assert_eq!(rule.to_string(), line);
}

#[test]
fn no_translation_is_lost() {
    let line = "ip actions=ct(commit,nat(dst=1.2.3.4:80),nat(src=1.2.3.4))";
    let rule: Rule = line.parse().unwrap();
    assert_eq!(rule.to_string().parse(), Ok(rule));
}

#[test]
fn a_port_is_written_as_a_whole() {
    let error = error_of("actions=set_field:1/0xff->in_port");
    assert!(error.to_string().contains("1/0xff"), "{error}");
}

/// All that parts words parts them from the actions, too: what is read as a match would print as the start of the actions.
#[test]
fn the_actions_begin_with_the_first_word_of_that_name() {
    let error = error_of("tcp,frob\u{b}actions=dro:0 actions=drop");
    assert!(matches!(error.problem, Problem::Malformed { .. }), "{error}");
}

#[test]
fn names_of_ports_and_tables_stand_for_their_numbers() {
    let mut names = Names::default();
    names.ports.insert("pod0".into(), flow_compiler::openflow::OfPort(7));
    names.tables.insert("acl".into(), flow_compiler::openflow::TableId(3));
    let text = "table=acl,in_port=pod0,actions=output:\"pod0\",resubmit(pod0,acl),goto_table:acl";
    let [rule] = parse_rules(text, &names).unwrap().try_into().unwrap();
    assert_eq!(rule.to_string(), "table=3, in_port=7 actions=output:7,resubmit(7,3),goto_table:3");
}

fn decode(kind: u8, body: &[u8]) {
    let length = u16::try_from(wire::HEADER_LEN + body.len()).unwrap();
    let header = Header { version: VERSION, kind, length, xid: wire::Xid(0) };
    drop(wire::decode(&header, body));
}

/// A multipart reply of this kind with these bytes.
fn multipart(kind: u16, rest: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &[0; 6][..], rest].concat()
}

/// An entry of a flow monitor with these bytes for match and instructions.
fn flow_update(rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(32 + rest.len()).unwrap();
    [&length.to_be_bytes()[..], &[0, 1], &[0; 28][..], rest].concat()
}

proptest! {
    #[test]
    fn random_text_never_panics(text in "\\PC*") {
        drop(parse_rules(&text, &Names::default()));
        drop(parse_groups(&text, &Names::default()));
        drop(parse_meters(&text));
        drop(parse_tunnel_options(&text));
        drop(Fdb::parse(&text, &BTreeMap::new()));
        drop(Database::from_dump(&text));
    }

    #[test]
    fn a_damaged_rule_is_read_or_refused(line in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), with in "[ -~]{0,3}") {
        let lines: Vec<&str> = ACTIONS.lines().chain(MATCHES.lines()).collect();
        let line = line.get(&lines);
        let at = at.index(line.len());
        let damaged = format!("{}{with}{}", &line[..at], &line[at + 1..]);
        if let Ok(rule) = damaged.parse::<Rule>() {
            // What is read once is read again as the same.
            prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule));
        }
    }

    #[test]
    fn random_messages_never_panic(kind in 0u8..40, body in prop::collection::vec(any::<u8>(), 0..200)) {
        decode(kind, &body);
    }

    #[test]
    fn random_entries_of_answers_never_panic(kind in 0u16..20, body in prop::collection::vec(any::<u8>(), 0..200)) {
        decode(19, &multipart(kind, &body));
    }

    #[test]
    fn random_matches_and_instructions_never_panic(
        oxms in prop::collection::vec((0u16..3, any::<u8>(), 0u8..20, any::<[u8; 20]>()), 0..4),
        instructions in prop::collection::vec((0u16..7, 0u16..51, prop::collection::vec(any::<u8>(), 0..64)), 0..4),
    ) {
        let mut body = match_of(&oxms);
        for (kind, subtype, bytes) in &instructions {
            body.extend(instruction(*kind, *subtype, bytes));
        }
        decode(19, &multipart(16, &flow_update(&body)));
    }
}

fn match_of(oxms: &[(u16, u8, u8, [u8; 20])]) -> Vec<u8> {
    let mut fields = Vec::new();
    for (class, number, length, value) in oxms {
        let class = [0u16, 1, 0x8000][usize::from(*class)];
        fields.extend(
            [&class.to_be_bytes()[..], &[*number, *length], &value[..usize::from(*length)]]
                .concat(),
        );
    }
    let length = u16::try_from(4 + fields.len()).unwrap();
    let mut bytes = [&1u16.to_be_bytes()[..], &length.to_be_bytes(), &fields].concat();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// An instruction that holds one action of Open vSwitch with these bytes.
fn instruction(kind: u16, subtype: u16, bytes: &[u8]) -> Vec<u8> {
    let action_len = u16::try_from(10 + bytes.len()).unwrap();
    let action = [
        &[0xff, 0xff][..],
        &action_len.to_be_bytes(),
        &[0, 0, 0x23, 0x20],
        &subtype.to_be_bytes(),
        bytes,
    ]
    .concat();
    let length = u16::try_from(8 + action.len()).unwrap();
    [&kind.to_be_bytes()[..], &length.to_be_bytes(), &[0; 4], &action].concat()
}
