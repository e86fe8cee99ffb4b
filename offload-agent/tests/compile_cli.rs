//! `offload-agent compile` as an operator uses it: files in, text out, exit codes.

#![allow(clippy::unwrap_used, reason = "a test that cannot run the command fails")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile").join(name).display().to_string()
}

fn compile(arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_offload-agent"))
        .arg("compile")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn answer(arguments: &[&str]) -> String {
    let output = compile(arguments, "");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn both() -> [String; 4] {
    ["--flows".into(), data("flows.txt"), "--ports".into(), data("ports.yaml")]
}

fn with(more: &[&str]) -> String {
    let both = both();
    let mut arguments: Vec<&str> = both.iter().map(String::as_str).collect();
    arguments.extend(more);
    answer(&arguments)
}

#[test]
fn every_rule_gets_a_line_and_a_reason() {
    let text = with(&[]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("rule 0 hardware 2+0 br0 table=0,priority=100"), "{}", lines[0]);
    assert!(lines[2].ends_with("; NORMAL is not offloaded"), "{}", lines[2]);
    assert!(lines[3].ends_with("; rule 1 takes all its packets"), "{}", lines[3]);
    assert!(text.contains("8 rules, 7 reachable, 5 offloaded, 2 guarded"), "{text}");
}

#[test]
fn tc_lines_name_devices_and_can_be_read_back() {
    let text = with(&["--output", "tc"]);
    let first = "filter add dev np0r0 ingress chain 0 prio 2 ";
    assert!(text.lines().any(|line| line.starts_with(first)), "{text}");
    for line in text.lines() {
        let numbered = line
            .replace("dev np0r0", "dev if2")
            .replace("dev np0r1", "dev if3")
            .replace("dev np0", "dev if1");
        let filter = tc_filter::Filter::parse(&numbered, &tc_filter::text::Numbered).unwrap();
        assert!(filter.cookie.is_some_and(|cookie| cookie.is_ours()));
    }
}

#[test]
fn one_port_alone() {
    let text = with(&["--output", "tc", "--from-port", "np0r0"]);
    assert!(text.lines().all(|line| line.contains("add dev np0r0 ingress")), "{text}");
    assert_eq!(text, with(&["--output", "tc", "--from-port", "2"]), "by name or by number");
}

#[test]
fn json_has_filters_and_verdicts() {
    let json: serde_json::Value = serde_json::from_str(&with(&["--output", "json"])).unwrap();
    assert_eq!(json["summary"]["rules"], 8);
    assert_eq!(json["verdicts"][2]["kept"][0]["reason"], "NORMAL");
    let named = json["verdicts"][1]["filters"][0].as_str().unwrap();
    let filters = json["filters"].as_array().unwrap();
    assert!(filters.iter().any(|filter| filter["id"] == named), "a verdict names its filters");
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(with(&["--output", "json"]), with(&["--output", "json"]));
}

#[test]
fn rules_come_from_standard_input_too() {
    let ports = data("ports.yaml");
    let output = compile(&["--flows", "-", "--ports", &ports], "in_port=2 actions=output:3\n");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("rule 0 hardware 1+0"));
}

#[test]
fn a_card_can_be_described_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("card.yaml");
    fs::write(&file, "name: small\nvlan_pop: false\n").unwrap();
    let text = with(&["--capabilities", &file.display().to_string()]);
    assert!(text.lines().next().unwrap().ends_with("; the card cannot pop a VLAN tag"), "{text}");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let (flows, ports) = (data("flows.txt"), data("ports.yaml"));
    let cases: [(&[&str], &str, &str); 6] = [
        (&["--flows", "-", "--ports", "-"], "", "both standard input"),
        (&["--flows", "/nonexistent", "--ports", &ports], "", "/nonexistent: "),
        (
            &["--flows", "-", "--ports", &ports],
            "ip actions=drop\ntcp,tp_dst=x actions=drop\n",
            "-: line 2, column ",
        ),
        (&["--flows", &flows, "--ports", "-"], "ports: 5\n", "-: "),
        (
            &["--flows", &flows, "--ports", &ports, "--capabilities", "cx9"],
            "",
            "the profiles are nicsim",
        ),
        (
            &["--flows", &flows, "--ports", &ports, "--from-port", "eth9"],
            "",
            "the ports are np0, np0r0",
        ),
    ];
    for (arguments, stdin, message) in cases {
        let output = compile(arguments, stdin);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(message), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "one error: {error}");
    }
}

/// Rulesets of whole OVN nodes beside the repository, where there are any: each compiles, and every rule has a verdict.
#[test]
fn whole_nodes_compile() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(shared) = here.ancestors().map(|up| up.join("shared/rulesets")).find(|at| at.is_dir())
    else {
        return;
    };
    for flows in dumps(&shared) {
        let name = flows.file_name().unwrap().to_string_lossy().into_owned();
        let bridge = name.split(".flows").next().unwrap();
        let ports = flows.with_file_name(format!("{bridge}.ports.txt"));
        let files = [flows.display().to_string(), ports.display().to_string()];
        let text = answer(&["--flows", &files[0], "--ports", &files[1]]);
        let dump = fs::read_to_string(&flows).unwrap();
        let rules = dump.lines().filter(|line| line.contains("actions=")).count();
        let verdicts = text.lines().filter(|line| line.starts_with("rule ")).count();
        assert_eq!(verdicts, rules, "{}", flows.display());
    }
}

fn dumps(directory: &Path) -> Vec<PathBuf> {
    let nodes = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = nodes.filter(|node| node.is_dir()).flat_map(|node| fs::read_dir(node).unwrap());
    let files = files.map(|entry| entry.unwrap().path());
    files.filter(|file| file.to_string_lossy().contains(".flows")).collect()
}
