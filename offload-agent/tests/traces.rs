//! What `ofproto/trace` said on a real node is what `compile --explain-packet` says: the same rules, one after the other.

#![expect(clippy::panic, reason = "a test that panics has failed")]
#![allow(clippy::unwrap_used, reason = "a test that cannot run the command fails")]

mod nodes;

use std::fs;

const NODE: &str = "overlay-small";

/// A table, and the rule's priority and cookie; none if no rule of the table takes the packet.
type Hop = (String, Option<(String, String)>);

/// OVS leaves out what is 0 for a cookie, and its default for a priority.
fn rule(priority: Option<&str>, cookie: Option<&str>) -> Option<(String, String)> {
    Some((priority.unwrap_or("32768").to_owned(), cookie.unwrap_or("0x0").to_owned()))
}

/// `15. ct_state=+trk,metadata=0x2, priority 4, cookie 0x2d6cd596`, and `73. No match.`
fn traced(answer: &str) -> Vec<Hop> {
    answer.lines().filter_map(traced_hop).collect()
}

fn traced_hop(line: &str) -> Option<Hop> {
    let (table, rest) = line.trim_start().split_once(". ")?;
    table.parse::<u8>().ok()?;
    if rest.starts_with("No match") {
        return Some((table.to_owned(), None));
    }
    let after =
        |word: &str| rest.split(", ").find_map(|part| part.strip_prefix(word)).map(str::trim_end);
    // A rule for all packets has nothing before its priority.
    let priority = after("priority ").or_else(|| rest.strip_prefix("priority "));
    Some((table.to_owned(), rule(priority, after("cookie "))))
}

/// `  br-int cookie=0x1, table=8, priority=50,metadata=0x2 actions=...` and `  br-int table=73: no rule takes it`
fn explained_hop(line: &str) -> Option<Hop> {
    let line = line.strip_prefix("  br-int ")?;
    if let Some(table) = line.strip_suffix(": no rule takes it") {
        return Some((table.trim_start_matches("table=").to_owned(), None));
    }
    let words: Vec<&str> = line.split(" actions=").next()?.split([',', ' ']).collect();
    let of = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
    let table = of("table=").unwrap_or("0").to_owned();
    Some((table, rule(of("priority="), of("cookie="))))
}

/// Each way that the packet may go.
fn explained(packet: &str, connection: &[&str]) -> Vec<Vec<Hop>> {
    let mut arguments = nodes::files(NODE, &["br-int"], "nicsim");
    arguments.extend(["--explain-packet", packet].map(str::to_owned));
    arguments.extend(connection.iter().map(|&word| word.to_owned()));
    let output = nodes::compile(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let openflow = text.split("\nTC\n").next().unwrap();
    let ways = openflow.split("\nOpenFlow").skip(1);
    ways.map(|way| way.lines().filter_map(explained_hop).collect()).collect()
}

fn check(name: &str, connection: &[&str]) {
    let answer = fs::read_to_string(nodes::node(NODE).join(format!("trace-{name}.txt"))).unwrap();
    let flow = answer.lines().find_map(|line| line.strip_prefix("Flow: "));
    // OVS prints no key of a packet whose flags do not say that it has one.
    let flow = flow.unwrap().replacen("tcp,tun_src=", "tcp,tun_id=0x2,tun_src=", 1);
    let traced = traced(&answer);
    assert!(traced.len() > 15, "{traced:?}");
    let ways = explained(&flow, connection);
    assert!(ways.contains(&traced), "{name}\ntraced {traced:?}\nexplained {ways:?}");
}

#[test]
fn an_arp_request_that_the_node_answers() {
    check("arp", &[]);
}

#[test]
fn to_a_pod_on_the_node() {
    check("local", &["--ct-state", "est"]);
}

#[test]
fn to_a_remote_pod() {
    check("remote", &["--ct-state", "est"]);
}

#[test]
fn from_a_remote_pod() {
    check("tun-in", &["--ct-state", "rpl"]);
}

#[test]
fn to_outside_by_the_router() {
    check("l3-join", &["--ct-state", "est"]);
}

#[test]
fn a_new_connection_to_a_service() {
    let translated = "zone=10,state=new,dst=10.16.0.2:8080";
    check("svc-new", &["--ct-state", "new", "--ct-connection", translated]);
}
