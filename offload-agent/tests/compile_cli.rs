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
    assert!(lines[2].contains("; NORMAL is not offloaded: "), "{}", lines[2]);
    assert!(lines[3].ends_with("; rule 1 takes all its packets"), "{}", lines[3]);
    assert!(text.contains("8 rules, 7 reachable, 5 offloaded, 3 guarded"), "{text}");
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
    let kept = json["verdicts"][2]["kept"].as_array().unwrap();
    assert!(kept.iter().any(|kept| kept["reason"] == "normal"), "{kept:?}");
    let named = json["verdicts"][1]["filters"][0].as_str().unwrap();
    let filters = json["filters"].as_array().unwrap();
    assert!(filters.iter().any(|filter| filter["id"] == named), "a verdict names its filters");
}

#[test]
fn each_port_tells_what_becomes_of_classes_of_packets() {
    let text = with(&["--output", "classes"]);
    let whole = "  hardware     1+0 VLAN 100: all packets\n                    TC: to np0r0 1\n";
    assert!(text.starts_with("np0 of br0: 12 filters in 1 chain\n"), "{text}");
    assert!(text.contains(whole), "{text}");
    let kept = "OVS by 1 filter: controller is not offloaded (rule 5)\n";
    let part = "  split        1+1 untagged, 802.1Q: IPv4 TCP\n";
    let part = format!("{part}                    TC: dropped 1\n                    {kept}");
    assert!(text.contains(&part), "{text}");
    assert!(text.contains("\nbr0 of br0: ovs; input port br0 is an internal port\n"), "{text}");
    let sum = "\n4 ports, 130 classes of packets: hardware 106, split 19, ovs 5\n";
    assert!(text.ends_with(sum), "{text}");
    let one = with(&["--output", "classes", "--from-port", "np0r0"]);
    let sum = "\n1 ports, 39 classes of packets: hardware 39\n";
    assert!(one.starts_with("np0r0 of br0: 1 filters") && one.ends_with(sum), "{one}");
}

#[test]
fn json_has_the_classes_of_each_port_with_their_filters() {
    let json: serde_json::Value = serde_json::from_str(&with(&["--output", "json"])).unwrap();
    let all = json["filters"].as_array().unwrap();
    let known = |id: &serde_json::Value| all.iter().any(|filter| filter["id"] == *id);
    let ports = json["ports"].as_array().unwrap();
    assert_eq!(ports.len(), 4);
    let class = |port: usize, lane: &str, traffic: &str| {
        let classes = ports[port]["classes"].as_array().unwrap();
        let found = classes.iter().find(|one| one["lane"] == lane && one["traffic"] == traffic);
        found.unwrap().clone()
    };
    let tcp = class(2, "untagged", "IPv4 TCP");
    assert_eq!(tcp["outcome"], "split");
    assert_eq!(tcp["kept"][0]["reason"], "controller");
    let ids = |value: &serde_json::Value| value.as_array().unwrap().clone();
    let named = [ids(&tcp["filters"]), ids(&tcp["kept"][0]["guards"])].concat();
    assert!(named.len() == 3 && named.iter().all(known), "{named:?}");
    assert_eq!(tcp["without_a_filter"], serde_json::Value::Null);
    assert_eq!(class(0, "VLAN 100", "ARP")["outcome"], "hardware");
    assert_eq!(ports[3]["idle"]["reason"], "ingress_port");
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
        (&["--flows", "-", "--ports", "-"], "", "two of the files are both standard input"),
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
        let beside = |name: String| flows.with_file_name(name).display().to_string();
        let dump = fs::read_to_string(&flows).unwrap();
        let rules = dump.lines().filter(|line| line.contains("actions=")).count();
        for ports in ["ovsdb-dump.txt".to_owned(), format!("{bridge}.ports.txt")] {
            let of_bridge = |kind: &str| beside(format!("{bridge}.{kind}.txt"));
            let files =
                [flows.display().to_string(), beside(ports), of_bridge("groups"), of_bridge("tlv")];
            let [flows, ports, groups, tlv] = files.each_ref().map(String::as_str);
            let text =
                answer(&["--flows", flows, "--ports", ports, "--groups", groups, "--tlv-map", tlv]);
            let verdicts = text.lines().filter(|line| line.starts_with("rule ")).count();
            assert_eq!(verdicts, rules, "{flows}");
        }
    }
}

/// A database dump tells of both bridges, and the files say by their names whose they are.
#[test]
fn several_bridges_are_compiled_together() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let ports = file(
        "ports.yaml",
        "bridges:\n- {bridge: br-int, ports: [{number: 1, name: pod0}, {number: 2, name: to-ex, kind: patch, peer: to-int}]}\n\
         - {bridge: br-ex, ports: [{number: 1, name: eth1, kind: uplink}, {number: 2, name: to-int, kind: patch, peer: to-ex}]}\n",
    );
    let inside = file("br-int.flows", "in_port=1 actions=output:2\n");
    let outside = file("out", "in_port=2 actions=output:1\n");
    let named = format!("br-ex={outside}");
    let both = answer(&["--ports", &ports, "--flows", &inside, "--flows", &named]);
    assert_eq!(both.lines().filter(|line| line.starts_with("rule ")).count(), 2, "{both}");
    let lost = compile(&["--ports", &ports, "--flows", &outside], "");
    let error = String::from_utf8_lossy(&lost.stderr).into_owned();
    assert!(error.contains("write BRIDGE=FILE; the bridges are br-ex, br-int"), "{error}");
    let one = compile(&["--ports", &ports, "--flows", &inside], "");
    let note = String::from_utf8_lossy(&one.stderr).into_owned();
    assert!(note.contains("no --flows of bridge br-ex; what goes there is left to OVS"), "{note}");
    assert!(String::from_utf8_lossy(&one.stdout).starts_with("rule 0 ovs"));
}

#[test]
fn groups_meters_options_and_addresses_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = [
        ("--groups", file("g", "group_id=1,type=indirect,bucket=actions=output:3\n")),
        ("--meters", file("m", "meter=1 kbps bands=\ntype=drop rate=1000\n")),
        ("--tlv-map", file("t", "0x102 0x80 4 tun_metadata0\n")),
        ("--fdb", file("f", "np0r0 0 aa:55:aa:55:00:0f 1\n")),
    ];
    let all: Vec<&str> = good.iter().flat_map(|(option, file)| [*option, file.as_str()]).collect();
    let text = with(&all);
    assert!(text.contains("8 rules"), "{text}");
    for (option, _) in &good {
        let bad = file("bad", "what is this\n");
        let both = both();
        let mut arguments: Vec<&str> = both.iter().map(String::as_str).collect();
        arguments.extend([*option, bad.as_str()]);
        let output = compile(&arguments, "");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{option}: {error}");
        assert!(error.contains("/bad: line 1"), "{option}: {error}");
    }
}

#[test]
fn the_summary_says_what_the_card_needs() {
    let text = with(&["--output", "summary"]);
    assert!(text.starts_with("8 rules, 7 reachable, 5 offloaded, 3 guarded"), "{text}");
    assert!(text.contains("tables of the card (chain, prio): "), "{text}");
}

#[test]
fn a_packet_is_followed_through_rules_and_filters() {
    let offloaded = with(&["--explain-packet", "ip,in_port=np0r1,dl_dst=02:00:00:00:00:02"]);
    assert!(
        offloaded.contains("br0 priority=50,in_port=3,dl_dst=02:00:00:00:00:02 actions=output:2"),
        "{offloaded}"
    );
    assert!(offloaded.contains("filter add dev np0r1 ingress chain 0"), "{offloaded}");
    assert_eq!(offloaded.matches("=> it leaves by np0r0 of br0").count(), 2, "{offloaded}");
    assert!(offloaded.ends_with("\nthe same end\n"), "{offloaded}");
    let told = with(&["--explain-packet", "tcp,in_port=3,tp_dst=80,dl_dst=02:00:00:00:00:09"]);
    assert!(told.contains("=> only OVS can do it: a controller is told"), "{told}");
    let why = "=> it reaches OVS as it came\n     br0 table=0,priority=";
    assert!(told.contains(why), "the rule and its reason are told: {told}");
    let both = both();
    let mut arguments: Vec<&str> = both.iter().map(String::as_str).collect();
    arguments.extend(["--explain-packet", "tcp,tp_dst=80"]);
    let error = compile(&arguments, "");
    assert_eq!(error.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&error.stderr).contains("in_port=NUMBER"));
}

#[test]
fn traffic_is_told_by_name_and_the_answer_may_be_no() {
    let directory = tempfile::tempdir().unwrap();
    let ask = |text: &str| {
        let file = directory.path().join("traffic.yaml");
        fs::write(&file, text).unwrap();
        let (both, file) = (both(), file.display().to_string());
        let mut arguments: Vec<&str> = both.iter().map(String::as_str).collect();
        arguments.extend(["--traffic", &file]);
        let output = compile(&arguments, "");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let there = "- {name: there, packet: 'ip,in_port=3,dl_dst=02:00:00:00:00:02'}\n";
    let (code, text) = ask(there);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("there  tc   1 filter, leaves by np0r0 of br0\n"), "{text}");

    let (code, text) = ask(&format!("{there}- {{name: web, packet: 'tcp,in_port=3,tp_dst=80'}}\n"));
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("\nweb    ovs  only OVS can do it: a controller is told\n"), "{text}");
    assert!(text.ends_with("\n1 of 2 finished by filters\n"), "{text}");

    for (wrong, says) in [
        ("- {name: x, packet: 'tcp,tp_dst=80'}", "x: it must say by which port"),
        ("- {name: x, packet: 'tcp,in_port=3,tp_dst=eighty'}", "x: "),
        ("- {name: x, packet: 'ip,in_port=3', ct_state: old}", "traffic.yaml: "),
        (
            "- {name: x, packet: 'ip,in_port=3', ct_connections: ['zone=x']}",
            "x: ct_connections: zone=x",
        ),
        ("- {name: x, paket: 'ip,in_port=3'}", "paket"),
    ] {
        let (code, text) = ask(wrong);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(says), "{wrong}: {text}");
    }
}

#[test]
fn only_the_devices_that_are_named_sit_on_the_card() {
    let text = with(&["--card", "np0", "--output", "tc"]);
    assert!(text.lines().all(|line| line.contains("add dev np0 ingress")), "{text}");
    let (flows, ports) = (data("flows.txt"), data("ports.yaml"));
    let output = compile(&["--flows", &flows, "--ports", &ports, "--card", "eth9"], "");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("there is no device `eth9`"), "{error}");
}

fn dumps(directory: &Path) -> Vec<PathBuf> {
    let nodes = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = nodes.filter(|node| node.is_dir()).flat_map(|node| fs::read_dir(node).unwrap());
    let files = files.map(|entry| entry.unwrap().path());
    files.filter(|file| file.to_string_lossy().contains(".flows")).collect()
}
