//! What becomes of a packet that misses in a later chain of TC, or was tracked there, and then reaches Open vSwitch.
//!
//! This is what decides how a compiled ruleset must look: a kernel with NET_TC_SKB_EXT hands the chain on to OVS, which takes it for
//! a recirculation id that it never gave out, and drops the packet (tcf_classify in net/sched/cls_api.c, ovs_flow_key_extract in
//! net/openvswitch/flow.c). So every chain but 0 ends in a catch-all `pass`, behind `ct clear` where the packet may be tracked.

use std::net::Ipv4Addr;

use anyhow::{Context, ensure};

use super::{Case, Ctx, Kernels};
use crate::guest::frame::{Marker, Udp};
use crate::guest::ovs::Ovs;
use crate::guest::tool::run;
use crate::guest::traffic::{self, Capture};
use crate::guest::veth::{FAR_END, Veth};
use crate::sim::kernel::Flavour;

pub(super) const CASES: &[Case] =
    &[Case { name: "chain-miss/in-software", kernels: Kernels::All, run: in_software }];

/// How many packets are sent.
const SENT: usize = 3;
/// OVS drops what comes tracked, so that we see whether it does.
const DROP_TRACKED: &str = "priority=100,ip,ct_state=+trk,actions=drop";

/// What is at the input port, and how many of the packets come out of the other.
struct Row {
    what: &'static str,
    /// Filters, chain first.
    filters: &'static [&'static str],
    /// A rule of OVS beside NORMAL.
    rule: Option<&'static str>,
    with_skb_ext: usize,
    without: usize,
}

const ROWS: &[Row] = &[
    Row {
        what: "goto a chain that is empty",
        filters: &["chain 0 flower skip_hw action goto chain 5"],
        rule: None,
        with_skb_ext: 0,
        without: SENT,
    },
    Row {
        what: "goto a chain without a match",
        filters: &[
            "chain 5 flower skip_hw dst_ip 192.0.2.77 action pass",
            "chain 0 flower skip_hw action goto chain 5",
        ],
        rule: None,
        with_skb_ext: 0,
        without: SENT,
    },
    Row {
        what: "goto a chain that ends in pass",
        filters: &[
            "chain 5 flower skip_hw action pass",
            "chain 0 flower skip_hw action goto chain 5",
        ],
        rule: None,
        with_skb_ext: SENT,
        without: SENT,
    },
    Row {
        what: "ct, then pass: OVS sees the state that TC made",
        filters: &["chain 0 flower skip_hw action ct zone 7 pipe action pass"],
        rule: Some(DROP_TRACKED),
        with_skb_ext: 0,
        without: 0,
    },
    Row {
        what: "ct, then ct clear, then pass",
        filters: &["chain 0 flower skip_hw action ct zone 7 pipe action ct clear pipe action pass"],
        rule: Some(DROP_TRACKED),
        with_skb_ext: SENT,
        without: SENT,
    },
];

fn in_software(ctx: &mut Ctx) -> anyhow::Result<()> {
    let bench = Bench::set_up()?;
    for row in ROWS {
        let expected = if ctx.kernel == Flavour::Stock { row.without } else { row.with_skb_ext };
        let arrived = bench.measure(row, expected).with_context(|| row.what)?;
        ensure!(arrived == expected, "{}: {arrived} of {SENT} arrived, not {expected}", row.what);
    }
    Ok(())
}

/// Two ports of a bridge whose rule is NORMAL, and a place for filters at the first.
struct Bench {
    // Dropped in this order: OVS lets go of the ports before they go.
    ovs: Ovs,
    input: Veth,
    output: Veth,
}

impl Bench {
    fn set_up() -> anyhow::Result<Self> {
        let (input, output) = (Veth::create("in0")?, Veth::create("out0")?);
        let ovs = Ovs::start()?;
        ovs.bridge("br0", &[input.near(), output.near()])?;
        let bench = Self { ovs, input, output };
        // That nothing arrives later must not be because nothing can.
        let arrived = bench.exchange(SENT)?;
        ensure!(
            arrived == SENT,
            "{arrived} of {SENT} arrived before there was a filter; ovs-vswitchd says:\n{}",
            bench.ovs.log()
        );
        Ok(bench)
    }

    /// How many packets arrive with the row's filters and rule, which are gone afterwards.
    fn measure(&self, row: &Row, expected: usize) -> anyhow::Result<usize> {
        run("tc qdisc add dev in0 clsact")?;
        for filter in row.filters {
            run(&format!("tc filter add dev in0 ingress protocol ip pref 1 {filter}"))?;
        }
        if let Some(rule) = row.rule {
            self.ovs.ofctl(&["add-flow", "br0", rule])?;
        }
        let arrived = self.exchange(expected)?;
        run("tc qdisc delete dev in0 clsact")?;
        self.ovs.ofctl(&["del-flows", "br0", "ip"])?;
        Ok(arrived)
    }

    /// Sends the packets into the first port and gives how many came out of the second; `expected` only says how long to wait.
    fn exchange(&self, expected: usize) -> anyhow::Result<usize> {
        let marker = Marker::fresh();
        let capture = Capture::start(&self.output.netns, FAR_END, marker)?;
        let frame = PACKET.bytes(marker)?;
        traffic::send(&self.input.netns, FAR_END, &vec![frame; SENT])?;
        let frames = if expected == 0 { capture.expect_none() } else { capture.expect(expected) };
        Ok(frames.len())
    }
}

const PACKET: Udp = Udp {
    mac: ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]),
    vlan: None,
    ip: (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)),
    port: (1111, 2222),
};
