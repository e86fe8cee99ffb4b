//! What becomes of a packet that misses in a later chain of TC, or was tracked there, and then reaches Open vSwitch; in software and
//! in hardware.
//!
//! This is what decides how a compiled ruleset must look: a kernel with NET_TC_SKB_EXT hands the chain on to OVS, which takes it for
//! a recirculation id that it never gave out, and drops the packet (tcf_classify in net/sched/cls_api.c, ovs_flow_key_extract in
//! net/openvswitch/flow.c). So every chain but 0 ends in a catch-all `pass`, behind `ct clear` where the packet may be tracked.

use std::net::Ipv4Addr;

use anyhow::{Context, ensure};

use super::{Case, Ctx, Kernels};
use crate::guest::frame::{Marker, Udp};
use crate::guest::netns::Netns;
use crate::guest::nicsim::{self, Nicsim};
use crate::guest::ovs::Ovs;
use crate::guest::tool::run;
use crate::guest::traffic::{self, Capture};
use crate::guest::veth::{FAR_END, Veth};
use crate::sim::kernel::Flavour;

pub(super) const CASES: &[Case] = &[
    Case { name: "chain-miss/in-software", kernels: Kernels::All, run: in_software },
    Case { name: "chain-miss/in-hardware", kernels: Kernels::All, run: in_hardware },
];

/// How many packets are sent.
const SENT: usize = 3;
/// OVS drops what comes tracked, so that we see whether it does.
const DROP_TRACKED: &str = "priority=100,ip,ct_state=+trk,actions=drop";

/// What is at the input port, and how many of the packets come out of the other, each as it was sent.
struct Row {
    what: &'static str,
    /// Filters: the chain first, the one that leads there last.
    filters: &'static [&'static str],
    /// A rule of OVS beside NORMAL.
    rule: Option<&'static str>,
    with_skb_ext: usize,
    without: usize,
}

const SOFTWARE: &[Row] = &[
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

/// Where the filter that leads to chain 5 is in hardware only, a packet that software finds in chain 5 was put there by the card:
/// the kernel restored the chain. Without NET_TC_SKB_EXT it cannot, and software knows of no filter.
const HARDWARE: &[Row] = &[
    Row {
        what: "goto a chain that is empty",
        filters: &["chain 0 flower skip_sw action goto chain 5"],
        rule: None,
        with_skb_ext: 0,
        without: SENT,
    },
    Row {
        what: "goto a chain without a match",
        filters: &[
            "chain 5 flower skip_sw dst_ip 192.0.2.77 action pass",
            "chain 0 flower skip_sw action goto chain 5",
        ],
        rule: None,
        with_skb_ext: 0,
        without: SENT,
    },
    Row {
        what: "goto a chain whose catch-all drops in software: the chain was restored",
        filters: &[
            "chain 5 flower skip_hw action drop",
            "chain 0 flower skip_sw action goto chain 5",
        ],
        rule: None,
        with_skb_ext: 0,
        without: SENT,
    },
    Row {
        what: "goto a chain that ends in pass",
        filters: &["chain 5 flower action pass", "chain 0 flower skip_sw action goto chain 5"],
        rule: None,
        with_skb_ext: SENT,
        without: SENT,
    },
    Row {
        what: "ct, then pass: OVS sees the state that TC made",
        filters: &["chain 0 flower action ct zone 7 pipe action pass"],
        rule: Some(DROP_TRACKED),
        with_skb_ext: 0,
        without: 0,
    },
    Row {
        what: "ct, then ct clear, then pass",
        filters: &["chain 0 flower action ct zone 7 pipe action ct clear pipe action pass"],
        rule: Some(DROP_TRACKED),
        with_skb_ext: SENT,
        without: SENT,
    },
];

fn in_software(ctx: &mut Ctx) -> anyhow::Result<()> {
    let (input, output) = (Veth::create("in0")?, Veth::create("out0")?);
    let bench = Bench::set_up(Port::of_veth(&input), Port::of_veth(&output))?;
    SOFTWARE.iter().try_for_each(|row| bench.check(row, ctx.kernel))
}

fn in_hardware(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "")?;
    nic.switchdev(2)?;
    let (input, output) = (Netns::new("in0")?, Netns::new("out0")?);
    input.take(&nicsim::vf(0), "192.0.2.1/24")?;
    output.take(&nicsim::vf(1), "192.0.2.2/24")?;
    let bench = Bench::set_up(Port::of_vf(0, &input), Port::of_vf(1, &output))?;
    HARDWARE.iter().try_for_each(|row| bench.check(row, ctx.kernel))
}

/// A port of the bridge, and where its packets come from and go to.
struct Port<'a> {
    near: String,
    netns: &'a Netns,
    far: String,
}

impl<'a> Port<'a> {
    fn of_veth(veth: &'a Veth) -> Self {
        Self { near: veth.near().to_owned(), netns: &veth.netns, far: FAR_END.to_owned() }
    }

    fn of_vf(index: u16, netns: &'a Netns) -> Self {
        Self { near: nicsim::representor(index), netns, far: nicsim::vf(index) }
    }
}

/// Two ports of a bridge whose rule is NORMAL, and a place for filters at the first.
struct Bench<'a> {
    ovs: Ovs,
    input: Port<'a>,
    output: Port<'a>,
}

impl<'a> Bench<'a> {
    fn set_up(input: Port<'a>, output: Port<'a>) -> anyhow::Result<Self> {
        let ovs = Ovs::start()?;
        ovs.bridge("br0", &[&input.near, &output.near])?;
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

    fn check(&self, row: &Row, kernel: Flavour) -> anyhow::Result<()> {
        let expected = if kernel == Flavour::Stock { row.without } else { row.with_skb_ext };
        let arrived = self.measure(row, expected).with_context(|| row.what)?;
        ensure!(arrived == expected, "{}: {arrived} of {SENT} arrived, not {expected}", row.what);
        Ok(())
    }

    /// How many packets arrive with the row's filters and rule, which are gone afterwards.
    fn measure(&self, row: &Row, expected: usize) -> anyhow::Result<usize> {
        let link = &self.input.near;
        run(&format!("tc qdisc add dev {link} clsact"))?;
        for filter in row.filters {
            run(&format!("tc filter add dev {link} ingress protocol ip pref 1 {filter}"))?;
        }
        if let Some(rule) = row.rule {
            self.ovs.ofctl(&["add-flow", "br0", rule])?;
        }
        let arrived = self.exchange(expected)?;
        run(&format!("tc qdisc delete dev {link} clsact"))?;
        self.ovs.ofctl(&["del-flows", "br0", "ip"])?;
        Ok(arrived)
    }

    /// Sends the packets into the first port and gives how many came out of the second; `expected` only says how long to wait.
    fn exchange(&self, expected: usize) -> anyhow::Result<usize> {
        let marker = Marker::fresh();
        let capture = Capture::start(self.output.netns, &self.output.far, marker)?;
        let sent = PACKET.bytes(marker)?;
        traffic::send(self.input.netns, &self.input.far, &vec![sent.clone(); SENT])?;
        let frames = if expected == 0 { capture.expect_none() } else { capture.expect(expected) };
        ensure!(
            frames.iter().all(|frame| *frame == sent),
            "a packet was changed on the way: {frames:02x?}"
        );
        Ok(frames.len())
    }
}

const PACKET: Udp = Udp {
    mac: ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]),
    vlan: None,
    ip: (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)),
    port: (1111, 2222),
};
