//! One file a fact: rules, and what the compiler makes of them after a pass. `BLESS=1 cargo test` writes the files anew;
//! the difference is for review.
//!
//! A file has a comment, settings, the rules, and after `----` what is expected. `stage` is a pass, or `tc`,
//! `verdicts` or `classes`; `card` is a profile; `limit` is OVS's `vlan-limit`, or `unknown`; `chains` is how many
//! the card has. The bridge is that of `world`.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its files fails")]

mod world;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::classes::{self, Shown};
use flow_compiler::compile::{Input, Stage, back, compile, front};
use flow_compiler::openflow::Ruleset;
use flow_compiler::openflow::text::{Names, parse_rules};
use flow_compiler::ports::PortMap;
use tc_filter::IfIndex;

const STAGES: [(&str, Stage); 10] = [
    ("unfold", Stage::Unfold),
    ("split", Stage::Split),
    ("legalize", Stage::Legalize),
    ("nested", Stage::Nested),
    ("ground", Stage::Ground),
    ("hoist", Stage::Hoist),
    ("shield", Stage::Shield),
    ("assign_chains", Stage::AssignChains),
    ("budget", Stage::Budget),
    ("assign_prios", Stage::AssignPrios),
];

#[test]
fn every_file() {
    let mut wrong = Vec::new();
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let (input, expected) = text.split_once("----\n").unwrap();
        let found = run(input);
        if found == expected {
            continue;
        }
        if std::env::var_os("BLESS").is_some() {
            fs::write(&file, format!("{input}----\n{found}")).unwrap();
        } else {
            wrong.push(format!("{}:\n{found}\ninstead of\n{expected}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\nBLESS=1 takes what was found", wrong.join("\n"));
}

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("filetests");
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 10, "the files are gone");
    files
}

fn run(input: &str) -> String {
    let (settings, rules) = input.split_once("rules:\n").unwrap();
    let settings: BTreeMap<&str, &str> = settings
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(key, _)| !key.starts_with('#'))
        .collect();
    let card = card(&settings);
    let ruleset = world::ruleset(parse_rules(rules, &Names::default()).unwrap());
    let ports = world::ports();
    match settings["stage"] {
        "tc" => tc(&ruleset, &ports, &card),
        "verdicts" => verdicts(&ruleset, &ports, &card),
        "classes" => classes(&ruleset, &ports, &card),
        stage => program(&ruleset, &ports, &card, stage),
    }
}

fn card(settings: &BTreeMap<&str, &str>) -> Capabilities {
    let mut card =
        Capabilities::profile(settings.get("card").unwrap_or(&"nicsim")).unwrap().tolerant();
    if let Some(limit) = settings.get("limit") {
        card.vlan_limit = limit.parse().ok();
    }
    if let Some(chains) = settings.get("chains") {
        card.max_chains = chains.parse().unwrap();
    }
    card
}

/// What concerns port 1, or the whole program where there are no ports yet.
fn program(ruleset: &Ruleset, ports: &PortMap, card: &Capabilities, stage: &str) -> String {
    let input = Input::new(ruleset, ports, card);
    let (_, last) = STAGES.into_iter().find(|(name, _)| *name == stage).unwrap();
    let mut program = front(&input);
    program.idle.clear();
    program.ports.retain(|ingress, _| *ingress == world::port(1));
    program
        .settled
        .retain(|settled| settled.ingress.as_ref().is_none_or(|at| *at == world::port(1)));
    if last == Stage::Unfold {
        program.to_string()
    } else {
        back(program, &input, last).to_string()
    }
}

fn devices(ports: &PortMap) -> BTreeMap<String, IfIndex> {
    let all = ports.bridges.values().flat_map(|bridge| bridge.ports.values());
    all.map(|port| (port.name.clone(), IfIndex(port.ifindex.unwrap().0))).collect()
}

fn tc(ruleset: &Ruleset, ports: &PortMap, card: &Capabilities) -> String {
    let names = devices(ports);
    let compiled = compile(ruleset, ports, card);
    compiled.plan.filters.values().map(|filter| format!("{}\n", filter.text(&names))).collect()
}

fn verdicts(ruleset: &Ruleset, ports: &PortMap, card: &Capabilities) -> String {
    let compiled = compile(ruleset, ports, card);
    compiled.verdicts.iter().map(|verdict| format!("{verdict}\n")).collect()
}

fn classes(ruleset: &Ruleset, ports: &PortMap, card: &Capabilities) -> String {
    let devices = &devices(ports);
    let verdicts = classes::classes(&compile(ruleset, ports, card), ports, None);
    verdicts.iter().map(|port| Shown { port, devices }.to_string()).collect()
}
