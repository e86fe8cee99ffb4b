use super::*;

/// The example between the fences of the reference.
fn reference_example() -> String {
    let readme = include_str!("../../README.md");
    let after = readme.split_once("```yaml\n").expect("the README has a YAML example").1;
    after.split_once("```").expect("the example ends").0.to_owned()
}

fn error_of(text: &str) -> String {
    Config::parse(text).expect_err("the configuration is wrong").to_string()
}

#[test]
fn the_example_of_the_reference_is_the_default_configuration() {
    let example = Config::parse(&reference_example()).expect("the reference's example parses");
    assert_eq!(example, Config::parse("").expect("defaults"));
}

#[test]
fn a_file_of_comments_is_the_default_configuration() {
    assert_eq!(Config::parse("# nothing set\n").expect("blank"), Config::parse("").expect("empty"));
}

#[test]
fn the_database_is_in_the_run_directory_unless_said_otherwise() {
    let config = Config::parse("ovs: {runDir: /tmp/ovs}").expect("valid");
    assert_eq!(config.ovs.database, Path::new("/tmp/ovs/db.sock"));
}

#[test]
fn named_bridges_leave_the_others_alone() {
    let bridges = Config::parse("ovs: {bridges: [br-int]}").expect("valid").ovs.bridges;
    assert!(bridges.contains("br-int"));
    assert!(!bridges.contains("br-ex"));
    assert!(Bridges::All.contains("br-ex"));
}

#[test]
fn an_unknown_key_is_named() {
    assert!(error_of("ovs: {runDirectory: /tmp}").contains("runDirectory"));
}

#[test]
fn a_wrong_value_is_named_with_its_key_and_a_remedy() {
    for (text, key, value, remedy) in [
        ("ovs: {runDir: run}", "ovs.runDir", "\"run\"", "starts with '/'"),
        ("ovs: {bridges: [br/int]}", "ovs.bridges", "\"br/int\"", "1 to 15"),
        ("ovs: {bridges: ['']}", "ovs.bridges", "\"\"", "1 to 15"),
        ("reconcile: {interval: 10}", "reconcile.interval", "\"10\"", "10s"),
        ("reconcile: {interval: 0s}", "reconcile.interval", "\"0s\"", "1s"),
        ("metrics: {listen: '9478'}", "metrics.listen", "\"9478\"", "127.0.0.1:9478"),
        ("runDir: run", "runDir", "\"run\"", "'/'"),
    ] {
        let error = error_of(text);
        for part in [key, value, remedy] {
            assert!(error.contains(part), "{text}: {error} lacks {part}");
        }
    }
}

#[test]
fn an_unknown_policy_is_answered_with_those_there_are() {
    let error = error_of("hardware: {policy: hardware}");
    assert!(error.contains("skip_sw") && error.contains("skip_hw"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/nonexistent/agent.yaml")).expect_err("no such file");
    assert!(error.to_string().contains("/nonexistent/agent.yaml"), "{error}");
}
