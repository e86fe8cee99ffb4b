//! Rules that a real Open vSwitch printed: each must print again exactly as OVS printed it.
//!
//! The dumps under `tests/data` were made by Open vSwitch 3.1 on a dummy datapath. Larger ones, of whole OVN nodes, are
//! read too where they lie beside the repository.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flow_compiler::openflow::text::{Names, parse_groups, parse_meters, parse_rules};
use flow_compiler::openflow::{Group, Meter};

/// What a dump with statistics says beside the rule.
const STATISTICS: [&str; 5] = ["duration=", "n_packets=", "n_bytes=", "idle_age=", "hard_age="];

#[test]
fn every_rule_of_our_dumps_prints_as_ovs_printed_it() {
    let dumps = dumps_under(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rulesets"));
    assert!(dumps.len() >= 3, "the dumps are missing: {dumps:?}");
    dumps.iter().for_each(|dump| check(dump));
}

#[test]
fn every_rule_of_whole_ovn_nodes_prints_as_ovs_printed_it() {
    let Some(dumps) = shared_rulesets() else {
        eprintln!(
            "no ../shared/rulesets beside the repository: only the committed dumps were read"
        );
        return;
    };
    assert!(dumps.len() >= 8, "fewer dumps than there should be: {dumps:?}");
    dumps.iter().for_each(|dump| check(dump));
}

/// The second word of each is what `ovs-ofctl parse-flow` prints.
#[test]
fn names_of_actions_are_read_in_any_case() {
    for (written, printed) in [
        ("coNtroller", "CONTROLLER:65535"),
        ("Controller(max_len=9)", "CONTROLLER:9"),
        ("Output:65533", "CONTROLLER:65535"),
        ("65533", "CONTROLLER:0"),
        ("Strip_vlan,Output:1", "strip_vlan,output:1"),
        ("Mod_Nw_Src:10.0.0.1", "mod_nw_src:10.0.0.1"),
        ("DROP", "drop"),
    ] {
        let rules = parse_rules(&format!("ip,actions={written}"), &Names::default()).unwrap();
        assert_eq!(rules[0].to_string(), format!("ip actions={printed}"));
    }
}

#[test]
fn every_group_prints_as_ovs_printed_it() {
    let ours =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rulesets/features/groups.of15.txt");
    let others = shared_rulesets().unwrap_or_default().into_iter().filter_map(groups_beside);
    for dump in [ours].into_iter().chain(others) {
        let text = fs::read_to_string(&dump).unwrap();
        let groups = parse_groups(&text, &Names::default()).unwrap();
        let printed: Vec<&str> =
            text.lines().filter(|line| line.contains("group_id=")).map(str::trim).collect();
        assert_eq!(
            groups.iter().map(Group::to_string).collect::<Vec<_>>(),
            printed,
            "{}",
            dump.display()
        );
    }
}

#[test]
fn every_meter_prints_as_ovs_printed_it() {
    let text = include_str!("data/rulesets/features/meters.of15.txt");
    let meters = parse_meters(text).unwrap();
    let printed: Vec<&str> = text.lines().skip(1).filter(|line| !line.is_empty()).collect();
    let ours: Vec<String> = meters.iter().map(Meter::to_string).collect();
    assert_eq!(ours.join("\n"), printed.join("\n"));
}

#[test]
fn a_meter_has_its_bands() {
    let text = include_str!("data/rulesets/features/meters.of15.txt");
    let meters = parse_meters(text).unwrap();
    let bands: BTreeMap<u32, Vec<u32>> = meters
        .iter()
        .map(|meter| (meter.id.0, meter.bands.iter().map(|band| band.rate).collect()))
        .collect();
    assert_eq!(bands, [(3, vec![1000]), (4, vec![10]), (6, vec![10, 50])].into());
}

/// `br-int.groups.txt` beside `br-int.flows.of15.txt`.
fn groups_beside(flows: PathBuf) -> Option<PathBuf> {
    let bridge = flows.file_name()?.to_str()?.strip_suffix(".flows.of15.txt")?;
    Some(flows.with_file_name(format!("{bridge}.groups.txt")))
}

fn check(dump: &Path) {
    let text = fs::read_to_string(dump).unwrap();
    let rules = parse_rules(&text, &Names::default())
        .unwrap_or_else(|error| panic!("{}: {error}", dump.display()));
    let printed: Vec<String> =
        text.lines().filter(|line| line.contains("actions=")).map(without_statistics).collect();
    assert_eq!(rules.len(), printed.len(), "{}", dump.display());
    for (rule, printed) in rules.iter().zip(printed) {
        assert_eq!(rule.to_string(), printed, "{}", dump.display());
    }
}

/// The line as `dump-flows --no-stats` would have it.
fn without_statistics(line: &str) -> String {
    let line = STATISTICS.iter().fold(line.trim().to_owned(), |line, key| without(&line, key));
    let line = line.strip_prefix("cookie=0x0, ").unwrap_or(&line);
    line.replacen("table=0, ", "", 1)
}

/// The line without `key=value, `.
fn without(line: &str, key: &str) -> String {
    let cut = line
        .split_once(key)
        .and_then(|(before, after)| Some(format!("{before}{}", after.split_once(", ")?.1)));
    cut.unwrap_or_else(|| line.to_owned())
}

fn dumps_under(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut dumps: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .flat_map(|path| if path.is_dir() { dumps_under(&path) } else { vec![path] })
        .filter(|path| {
            path.to_string_lossy().contains(".flows")
                && path.extension().is_some_and(|ext| ext == "txt")
        })
        .collect();
    dumps.sort();
    dumps
}

/// The rulesets beside the repository, wherever below it this crate was built.
fn shared_rulesets() -> Option<Vec<PathBuf>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found =
        here.ancestors().map(|above| above.join("shared/rulesets")).find(|path| path.is_dir())?;
    Some(dumps_under(&found))
}
