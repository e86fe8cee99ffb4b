//! Whole rulesets through a real Open vSwitch: what our client reads by wire is what the text says, in every version of
//! OpenFlow, with names or numbers, with statistics or without; and what we print, OVS prints.
//!
//! The committed rulesets are read, and those of whole OVN nodes where they lie beside the repository. For others:
//! `RULESETS=DIRECTORY cargo test -p offload-agent --test rulesets`; a ruleset is a file `BRIDGE.flows*.txt`, with
//! `BRIDGE.groups.txt`, `BRIDGE.meters.txt` and `BRIDGE.tlv.txt` beside it where there are any.

#![expect(clippy::panic, reason = "a test that panics has failed")]
#![allow(clippy::unwrap_used, reason = "a test may")]

#[allow(dead_code, reason = "each test binary uses its part of this")]
mod private_ovs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use flow_compiler::openflow::text::{
    Names, parse_groups, parse_meters, parse_rules, parse_tunnel_options,
};
use flow_compiler::openflow::{BridgeRules, GroupId, OfPort, Rule, RuleFlags, RuleKey};
use offload_agent::ovs::OfConn;
use private_ovs::PrivateOvs;

const VERSIONS: [&str; 5] = ["OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14"];

/// The dumps of a directory and of those in it.
fn dumps(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| {
        panic!("{}: {error}; RULESETS must name a directory", directory.display())
    });
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = paths
        .flat_map(|path| if path.is_dir() { dumps(&path) } else { vec![path] })
        .filter(|path| path.to_string_lossy().contains(".flows"))
        .collect();
    found.sort();
    found
}

fn rulesets() -> Vec<PathBuf> {
    if let Some(directory) = std::env::var_os("RULESETS") {
        return dumps(Path::new(&directory));
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = here.ancestors().map(|up| up.join("shared/rulesets")).find(|at| at.is_dir());
    let committed = dumps(&here.join("compiler/tests/data/rulesets"));
    committed.into_iter().chain(beside.iter().flat_map(|at| dumps(at))).collect()
}

/// What the files say.
fn read(flows: &Path) -> BridgeRules {
    let name = flows.file_name().unwrap().to_string_lossy().into_owned();
    let bridge = name.split(".flows").next().unwrap();
    let beside = |kind: &str| {
        let plain = flows.with_file_name(format!("{bridge}.{kind}.txt"));
        let of15 = flows.with_file_name(format!("{kind}.of15.txt"));
        fs::read_to_string(plain).or_else(|_| fs::read_to_string(of15)).unwrap_or_default()
    };
    let names = Names::default();
    // Controllers can install this, `ovs-ofctl` cannot: it reads it as the form without brackets.
    let text = fs::read_to_string(flows).unwrap().replace("dec_ttl()", "dec_ttl");
    let mut rules: BridgeRules = parse_rules(&text, &names).unwrap().into_iter().collect();
    let groups = parse_groups(&beside("groups"), &names).unwrap();
    rules.groups = groups.into_iter().map(|group| (group.id, group)).collect();
    let meters = parse_meters(&beside("meters")).unwrap();
    rules.meters = meters.into_iter().map(|meter| (meter.id, meter)).collect();
    rules.tunnel_options = parse_tunnel_options(&beside("tlv")).unwrap();
    if rules.tunnel_options.is_empty() {
        // The committed rules name the options and come without their map.
        let options = "{class=0x102,type=0x80,len=4}->tun_metadata0,\
                       {class=0x103,type=0x1,len=8}->tun_metadata1,{class=0x104,type=0x1,len=0}->tun_metadata2";
        rules.tunnel_options = parse_tunnel_options(options).unwrap();
    }
    rules
}

/// A line for each, as OVS takes it.
fn lines(texts: impl Iterator<Item = String>) -> String {
    texts.map(|text| text + "\n").collect()
}

/// Puts a ruleset into the switch, from our own printing of it.
fn load(ovs: &PrivateOvs, rules: &BridgeRules) {
    // A new bridge has a rule that forwards as `NORMAL` does, where it is not told otherwise.
    ovs.ofctl(&["del-flows", "br0"]);
    let pairs: Vec<String> = rules
        .tunnel_options
        .iter()
        .map(|(index, option)| format!("{option}->tun_metadata{index}"))
        .collect();
    ovs.ofctl(&["add-tlv-map", "br0", &pairs.join(",")]);
    for meter in rules.meters.values() {
        // Where a meter is printed over several lines, it is taken on one.
        let line = meter.to_string().replacen("bands=\n", "bands=", 1).replace('\n', " ");
        ovs.ofctl(&["add-meter", "br0", &line.replace(' ', ",")]);
    }
    let flows = lines(rules.rules.values().map(Rule::to_string));
    let groups = rules.groups.values().map(ToString::to_string);
    let unknown = groups_of(&flows).into_iter().filter(|id| !rules.groups.contains_key(id));
    let unknown = unknown.map(|id| format!("group_id={id},type=all"));
    let file = ovs.path("groups");
    fs::write(&file, lines(groups.chain(unknown))).unwrap();
    ovs.ofctl(&["add-groups", "br0", &file]);
    ovs.add_flows("br0", &flows);
}

/// The groups that rules name; OVS wants them to exist.
fn groups_of(flows: &str) -> BTreeSet<GroupId> {
    let words = flows.split("group:").skip(1);
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    words.filter_map(|rest| digits(rest).parse().ok().map(GroupId)).collect()
}

/// What the flow monitor tells of a rule.
fn as_monitored(rules: &BTreeMap<RuleKey, Rule>) -> BTreeMap<RuleKey, Rule> {
    let rules = rules.iter();
    let plain = |rule: &Rule| Rule { flags: RuleFlags::default(), importance: 0, ..rule.clone() };
    rules.map(|(key, rule)| (key.clone(), plain(rule))).collect()
}

fn parse(text: &str, names: &Names) -> BTreeMap<RuleKey, Rule> {
    BridgeRules::from_iter(parse_rules(text, names).unwrap()).rules
}

/// The rules of a dump, as they are printed without statistics.
fn printed(text: &str) -> BTreeSet<String> {
    let rules = text.lines().filter(|line| line.contains("actions="));
    rules.map(|line| without_whole_masks(line.trim())).collect()
}

/// A field that does not fill its bytes OVS shows with or without its whole mask, by how the rule came to it: as `load`,
/// or as `set_field`. It means the same, and we show it without.
fn without_whole_masks(line: &str) -> String {
    const WHOLE: [(&str, &str); 3] = [
        ("/0x3->nw_ecn", "->nw_ecn"),
        ("/0xfffff->ipv6_label", "->ipv6_label"),
        ("/0xfffff->mpls_label", "->mpls_label"),
    ];
    WHOLE.iter().fold(line.to_owned(), |line, (mask, none)| line.replace(mask, none))
}

/// What OVS shows in another version says the same of where each rule stands, and prints as OVS prints it.
fn check_version(ovs: &PrivateOvs, version: &str, rules: &BTreeMap<RuleKey, Rule>) {
    let Some(plain) = ovs.shown_in(version, &["dump-flows", "br0", "--no-stats", "--no-names"])
    else {
        assert_ne!(version, "OpenFlow15", "our version can say everything");
        return eprintln!("  {version} has no way to say all of these rules");
    };
    let read = parse(&plain, &Names::default());
    assert!(read.keys().eq(rules.keys()), "{version}: the rules stand elsewhere");
    let ours: BTreeSet<String> = read.values().map(Rule::to_string).collect();
    let theirs = printed(&plain);
    let differ: Vec<&String> = ours.symmetric_difference(&theirs).collect();
    assert!(differ.is_empty(), "{version}: {differ:#?}");
    let ports = (1..=4).map(|port| (format!("p{port}"), OfPort(port))).collect();
    let names = Names { ports, ..Names::default() };
    let wordy = ovs.ofctl_in(version, &["dump-flows", "br0", "--stats", "--names"]);
    assert_eq!(parse(&wordy, &names), read, "{version}: with names and statistics");
}

#[tokio::test]
async fn every_ruleset_is_the_same_by_text_and_by_wire() {
    let files = rulesets();
    assert!(!files.is_empty(), "no *.flows* there");
    for file in files {
        let Some(ovs) = PrivateOvs::with_bridge() else { return };
        eprintln!("{}", file.display());
        let told = read(&file);
        load(&ovs, &told);
        let mut conn = OfConn::connect(&ovs.bridge_socket("br0")).await.unwrap();
        let wired = conn.watch().await.unwrap();
        // Older versions spell some actions otherwise; OVS keeps one spelling and shows it in ours.
        let shown = parse(&ovs.ofctl(&["dump-flows", "br0"]), &Names::default());
        let is_ours = file.to_string_lossy().contains(".of15.");
        for (key, rule) in as_monitored(if is_ours { &told.rules } else { &shown }) {
            assert_eq!(Some(&rule), wired.rules.get(&key), "by text, by wire: {rule}");
        }
        assert!(wired.rules.keys().eq(told.rules.keys()));
        for (id, group) in &told.groups {
            assert_eq!(Some(group), wired.groups.get(id));
        }
        assert_eq!(told.meters, wired.meters);
        assert_eq!(told.tunnel_options, wired.tunnel_options);
        VERSIONS.iter().for_each(|version| check_version(&ovs, version, &told.rules));
        check_version(&ovs, "OpenFlow15", &told.rules);
    }
}
