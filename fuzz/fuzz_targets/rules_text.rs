//! Text: a rule that is read prints, and what it prints is read as the same rule.

#![no_main]

use std::collections::BTreeMap;

use flow_compiler::openflow::Rule;
use flow_compiler::openflow::text::{
    Names, parse_groups, parse_meters, parse_rules, parse_tunnel_options,
};
use flow_compiler::ports::{Database, Fdb};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for rule in parse_rules(text, &Names::default()).unwrap_or_default() {
        assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule));
    }
    drop(parse_groups(text, &Names::default()));
    drop(parse_meters(text));
    drop(parse_tunnel_options(text));
    drop(Fdb::parse(text, &BTreeMap::new()));
    drop(Database::from_dump(text).map(|database| database.ports()));
});
