//! C1 to C3 of the contract for conjunctions: looked for twice, with clauses about one address, with clauses that others
//! share, and so large that they are not written out.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its world fails")]

mod world;

use flow_compiler::capabilities::Capabilities;
use flow_compiler::compile::interp::Frame;
use world::{check, few_packets, frame, ports, rule, ruleset, tcp};

/// What a packet was taken for by one look into the table says nothing of the next look, which all its ways have in common.
#[test]
fn a_conjunction_that_is_looked_for_twice() {
    let (ports, packets) = (ports(), few_packets());
    for other in ["10.0.0.0", "10.0.0.2/31", "192.168.0.1"] {
        let rules = [
            "priority=2 actions=resubmit(,1),goto_table:1".to_owned(),
            "table=1,priority=4,tcp,tp_dst=443 actions=output:1".to_owned(),
            "table=1,priority=3,conj_id=7,ip actions=output:3".to_owned(),
            "table=1,priority=3,ip,nw_src=10.0.0.1 actions=conjunction(7,1/2)".to_owned(),
            format!("table=1,priority=3,ip,nw_src={other} actions=conjunction(7,1/2)"),
            "table=1,priority=3,ip,nw_dst=10.0.0.0/30 actions=conjunction(7,2/2)".to_owned(),
            "table=1,priority=0 actions=set_field:02:00:00:00:00:0c->eth_dst,output:2".to_owned(),
        ];
        for name in Capabilities::PROFILES {
            let card = Capabilities { llc: true, ..Capabilities::profile(name).unwrap() };
            check(&ruleset(rules.iter().map(|text| rule(text))), &ports, &card, &packets);
        }
    }
}

/// Two clauses about one address both have to hold, also where it is asked in which sets the address is before anything else.
#[test]
fn a_conjunction_with_two_clauses_about_one_address() {
    let ends: Vec<u16> = (1..=12).collect();
    let pairs = ends.iter().flat_map(|src| ends.iter().map(move |dst| (*src, *dst)));
    let packets: Vec<Frame> =
        pairs.map(|(src, dst)| frame(&[], &world::ipv4(6, 0, &tcp(src, dst, 0x10)))).collect();
    let clause = |field: &str, value: u16, clause: u8| {
        let takes = format!("table=1,priority=5,tcp,{field}={value}");
        rule(&format!("{takes} actions=conjunction(7,{clause}/3)"))
    };
    for (first, second) in [(1..9, 5..13), (1..7, 7..13), (1..13, 1..13), (2..5, 1..9)] {
        let clauses = first.map(|value| clause("tp_src", value, 1));
        let clauses = clauses.chain(second.map(|value| clause("tp_src", value, 2)));
        let clauses = clauses.chain((3..11).map(|value| clause("tp_dst", value, 3)));
        let others = [
            "priority=1,tcp actions=resubmit(,1)",
            "table=1,priority=5,tcp,conj_id=7 actions=output:3",
            "table=1,priority=1,tcp actions=output:2",
        ];
        let rules = clauses.chain(others.map(rule));
        check(&ruleset(rules), &ports(), &Capabilities::nicsim(), &packets);
    }
}

/// A rule may be a clause of two conjunctions, of which only one is asked by its field before anything else.
#[test]
fn rules_that_are_clauses_of_two_conjunctions() {
    let ends: Vec<u16> = (1..=12).collect();
    let pairs = ends.iter().flat_map(|src| ends.iter().map(move |dst| (*src, *dst)));
    let packets: Vec<Frame> =
        pairs.map(|(src, dst)| frame(&[], &world::ipv4(6, 0, &tcp(src, dst, 0x10)))).collect();
    let of =
        |takes: String, of: &str| rule(&format!("table=1,priority=5,tcp,{takes} actions={of}"));
    for other in ["nw_src=10.0.0.1", "nw_src=10.0.0.7", "tp_dst=11"] {
        // Only the first clause of 7 is about one field alone.
        let both =
            (1..4).map(|n| of(format!("tp_src={n}"), "conjunction(7,1/2),conjunction(9,1/2)"));
        let one = (4..10).map(|n| of(format!("tp_src={n}"), "conjunction(7,1/2)"));
        let second = (4..11).map(|n| of(format!("tp_dst={n}"), "conjunction(7,2/2)")).chain([
            of("tp_dst=3".to_owned(), "conjunction(7,2/2),conjunction(9,2/2)"),
            of("nw_dst=10.0.0.9".to_owned(), "conjunction(7,2/2)"),
        ]);
        let others = [
            "priority=1,tcp actions=resubmit(,1)".to_owned(),
            format!("table=1,priority=5,tcp,{other} actions=conjunction(9,1/2)"),
            "table=1,priority=5,tcp,conj_id=7 actions=output:3".to_owned(),
            "table=1,priority=5,tcp,conj_id=9 actions=output:3".to_owned(),
            "table=1,priority=1,tcp actions=output:2".to_owned(),
        ];
        let rules = both.chain(one).chain(second).chain(others.iter().map(|text| rule(text)));
        check(&ruleset(rules), &ports(), &Capabilities::nicsim(), &packets);
    }
}

/// Conjunctions of so many rules that they are not written out, beside and over others.
#[test]
fn large_conjunctions() {
    let ends: Vec<u16> = (1..=14).collect();
    let pairs = ends.iter().flat_map(|src| ends.iter().map(move |dst| (*src, *dst)));
    let packets: Vec<Frame> =
        pairs.map(|(src, dst)| frame(&[], &world::ipv4(6, 0, &tcp(src, dst, 0x10)))).collect();
    let each = |of: &[u16]| of.iter().map(u16::to_string).collect::<Vec<_>>();
    let and = |mut one: Vec<String>, more: &[&str]| {
        one.extend(more.iter().map(|text| (*text).to_owned()));
        one
    };
    let sets: [(Vec<String>, Vec<String>); 5] = [
        (each(&ends[..10]), each(&ends[..9])),
        (and(each(&ends[1..8]), &["0x8/0xfff8"]), each(&ends[3..12])),
        (
            and(each(&ends[8..13]), &["0x2/0xfffe", "0x4/0xfffc"]),
            and(each(&ends[5..]), &["0x2/0xfffe"]),
        ),
        (and(each(&ends[..7]), &["0x0/0xfff0"]), each(&[1, 3, 5, 7, 9, 11, 13])),
        (each(&ends[..12]), and(each(&[2, 4, 6]), &["1/1", "0x8/0xfff8"])),
    ];
    let others = ["tcp,tp_src=3", "tcp,tp_dst=4", "tcp,tp_src=2,tp_dst=5", "tcp"];
    for first in 0..sets.len() {
        for second in 0..sets.len() {
            for (number, other) in others.iter().enumerate() {
                for (one, two) in [(8, 8), (8, 7)] {
                    let priority = 6 + number;
                    let ends = [(7, one, "output:3"), (9, two, ["output:3", "drop"][number % 2])];
                    let mut rules = vec![
                        rule("priority=1,tcp actions=resubmit(,1)"),
                        rule(&format!("table=1,priority={priority},{other} actions=in_port")),
                        rule("table=1,priority=1,tcp actions=output:2"),
                    ];
                    for ((id, level, does), set) in ends.into_iter().zip([first, second]) {
                        let clause = |field: &str, value: &str, clause: u8| {
                            rule(&format!(
                                "table=1,priority={level},tcp,{field}={value} actions=conjunction({id},{clause}/2)"
                            ))
                        };
                        rules.extend(sets[set].0.iter().map(|value| clause("tp_src", value, 1)));
                        rules.extend(sets[set].1.iter().map(|value| clause("tp_dst", value, 2)));
                        rules.push(rule(&format!(
                            "table=1,priority={level},tcp,conj_id={id} actions={does}"
                        )));
                    }
                    let (ports, card) = (ports(), Capabilities::nicsim());
                    check(&ruleset(rules), &ports, &card, &packets);
                }
            }
        }
    }
}

/// OVS takes the word of whichever clause it finds first on how many there are.
#[test]
fn clauses_that_disagree_on_their_number() {
    let (ports, packets, card) = (ports(), few_packets(), Capabilities::nicsim());
    for (one, two, three) in
        [("1/3", "2/2", "3/3"), ("1/2", "2/3", "3/3"), ("1/2", "2/2", "1/3"), ("1/3", "2/3", "1/2")]
    {
        for id in [7, 8] {
            let texts = [
                format!("priority=5,tcp,nw_src=10.0.0.1 actions=conjunction(7,{one})"),
                format!("priority=5,tcp,tp_dst=80 actions=conjunction(7,{two})"),
                format!("priority=5,tcp,nw_dst=10.0.0.9 actions=conjunction({id},{three})"),
                "priority=5,tcp,conj_id=7 actions=output:2".to_owned(),
                "priority=1 actions=output:3".to_owned(),
            ];
            check(&ruleset(texts.map(|text| rule(&text))), &ports, &card, &packets);
        }
    }
}
