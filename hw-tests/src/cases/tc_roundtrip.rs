//! Filters to the real kernel and back: every key and every action, and that `tc` reads them as we do.

mod agree;

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, ensure};
use serde_json::Value;
use switchdev::tc::{Dump, Kernel, Observed, Op, Outcome, Sentence, Tc, TcError, contract};
use switchdev::tc_filter::{Attach, Filter, HwPolicy, IfIndex, InHw, Prio};

use super::{Case, Ctx, Kernels};
use crate::guest::netns::Netns;
use crate::guest::nicsim::Nicsim;
use crate::guest::tool::{json, run};
use crate::sim::kernel::Flavour;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "tc-roundtrip/contract",
        kernels: Kernels::All,
        run: the_kernel_keeps_the_contract,
    },
    Case {
        name: "tc-roundtrip/every-key-and-action",
        kernels: Kernels::All,
        run: every_key_and_action_comes_back,
    },
    Case {
        name: "tc-roundtrip/shared-block",
        kernels: Kernels::All,
        run: a_shared_block_holds_filters,
    },
    Case {
        name: "tc-roundtrip/refusals",
        kernels: Kernels::All,
        run: a_refusal_comes_with_the_drivers_words,
    },
    Case {
        name: "tc-roundtrip/no-flower",
        kernels: Kernels::Only(&[Flavour::Stock]),
        run: a_kernel_without_flower_is_named,
    },
];

/// The lines whose bytes are compared with those of `tc`; they cover every key and action it knows.
const LINES: &str = include_str!("../../../switchdev/tests/goldens/commands.txt");
/// What `tc` 6.1 has no words for.
const BEYOND_TC: [&str; 6] = [
    "dev eth0 ingress prio 1 handle 0x1 protocol ip flower enc_src_port 5/0xff enc_dst_port 4789/0xfff0 action pass",
    "dev eth0 ingress prio 1 handle 0x1 protocol ip flower dst_ip 10.0.0.1/255.0.255.255 action pass",
    "dev eth0 ingress prio 1 handle 0x1 protocol arp flower arp_op 1/3 action pass",
    "dev eth0 ingress prio 1 handle 0x1 protocol ip flower \
     action tunnel_key set src_ip 192.0.2.1 dst_ip 192.0.2.2 csum nofrag pipe",
    "dev eth0 ingress prio 1 handle 0x1 protocol ip flower \
     action pedit ex munge eth src set 02:00:00:00:00:01 retain ff:00:00:00:00:ff pipe",
    "dev eth0 ingress prio 1 handle 0x1 protocol ip flower enc_key_id 7 \
     geneve_opts 0102:80:00010002,0103:01:aabbccdd00000000/ffff:ff:7fffffff,ffff:ff:ffffffff00000000 action pass",
];

const ETH0: IfIndex = IfIndex(70);
const REP1: IfIndex = IfIndex(80);

/// Two devices with fixed numbers, in a namespace of their own.
struct Pair(Netns);

impl Pair {
    fn new(name: &str) -> anyhow::Result<Self> {
        let netns = Netns::new(name)?;
        netns.ip(&format!("link add eth0 index {ETH0} type veth peer name rep1 index {REP1}"))?;
        Ok(Self(netns))
    }

    fn names() -> BTreeMap<String, IfIndex> {
        BTreeMap::from([("eth0".to_owned(), ETH0), ("rep1".to_owned(), REP1)])
    }

    fn with_tc<T: Send>(
        &self,
        call: impl FnOnce(&mut Kernel) -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        self.0.enter(|| call(&mut Kernel::open()?))
    }

    fn show(&self, side: &str) -> anyhow::Result<Value> {
        json(&format!("tc -n {} -s -j filter show dev eth0 {side}", self.0.name()))
    }
}

fn the_kernel_keeps_the_contract(_: &mut Ctx) -> anyhow::Result<()> {
    Pair::new("tccontract")?.with_tc(|tc| Ok(contract::check(tc, ETH0)?))
}

fn every_key_and_action_comes_back(_: &mut Ctx) -> anyhow::Result<()> {
    let pair = Pair::new("tcround")?;
    let wanted = filters()?;
    let (ingress, egress) = pair.with_tc(|tc| {
        install(tc, &wanted)?;
        Ok((tc.dump(Attach::Ingress(ETH0))?, tc.dump(Attach::Egress(ETH0))?))
    })?;
    let seen: Vec<&Observed> = ingress.filters.iter().chain(&egress.filters).collect();
    check_undecoded(&ingress)?;
    check_undecoded(&egress)?;
    let lost: Vec<String> = wanted.iter().filter_map(|want| difference(want, &seen)).collect();
    ensure!(lost.is_empty(), "{}", lost.join("\n"));
    ensure!(seen.len() == wanted.len(), "{} filters sent, {} seen", wanted.len(), seen.len());
    let shown = [pair.show("ingress")?, pair.show("egress")?];
    agree::check(&wanted, &shown, &Pair::names())
}

/// How a filter came back otherwise than it was sent.
fn difference(want: &Filter, seen: &[&Observed]) -> Option<String> {
    match seen.iter().find(|seen| seen.filter.id() == want.id()) {
        None => Some(format!("not in the dump: {want}")),
        Some(found) if found.filter == *want => None,
        Some(found) => Some(format!("sent\n  {want}\nand got\n  {}", found.filter)),
    }
}

/// One filter a line, each in a prio of its own, where no card is asked.
fn filters() -> anyhow::Result<Vec<Filter>> {
    let lines = LINES.lines().filter(|line| line.starts_with("filter add")).chain(BEYOND_TC);
    let names = Pair::names();
    lines.zip(1u16..).map(|(line, prio)| placed(line, prio, &names)).collect()
}

fn placed(line: &str, prio: u16, names: &BTreeMap<String, IfIndex>) -> anyhow::Result<Filter> {
    let mut filter = Filter::parse(line, names).with_context(|| line.to_owned())?;
    filter.prio = Prio::new(prio)?;
    if let Attach::Block(_) = filter.attach {
        filter.attach = Attach::Ingress(ETH0);
    }
    if filter.hw == HwPolicy::SkipSw {
        filter.hw = HwPolicy::SkipHw;
    }
    Ok(filter.normalized())
}

fn install(tc: &mut Kernel, filters: &[Filter]) -> anyhow::Result<()> {
    let mut ops = vec![Op::AddClsact(ETH0)];
    ops.extend(filters.iter().cloned().map(Op::Add));
    let refused: Vec<String> = ops.iter().zip(tc.apply(&ops)?).filter_map(refusal).collect();
    ensure!(refused.is_empty(), "{}", refused.join("\n"));
    Ok(())
}

fn refusal((op, outcome): (&Op, Outcome)) -> Option<String> {
    let error = outcome.err()?;
    Some(match op {
        Op::Add(filter) => format!("{filter}: {error}"),
        other => format!("{other}: {error}"),
    })
}

fn check_undecoded(dump: &Dump) -> anyhow::Result<()> {
    ensure!(dump.undecoded.is_empty(), "not understood: {:?}", dump.undecoded);
    Ok(())
}

fn a_shared_block_holds_filters(_: &mut Ctx) -> anyhow::Result<()> {
    let pair = Pair::new("tcblock")?;
    run(&format!("tc -n {} qdisc add dev eth0 ingress_block 22 clsact", pair.0.name()))?;
    let line = "block 22 prio 1 handle 0x1 protocol ip flower dst_ip 192.0.2.1 action drop";
    let filter: Filter = line.parse()?;
    pair.with_tc(|tc| {
        let outcomes = tc.apply(&[Op::Add(filter.clone())])?;
        ensure!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        let dump = tc.dump(filter.attach)?;
        ensure!(dump.filters.iter().map(|seen| &seen.filter).eq([&filter]), "{dump:?}");
        let outcomes = tc.apply(&[Op::Delete(filter.id())])?;
        ensure!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        ensure!(tc.dump(filter.attach)?.filters.is_empty(), "the filter is still there");
        Ok(())
    })
}

/// What the card refuses it refuses in words, whether the filter may run in software or not.
fn a_refusal_comes_with_the_drivers_words(ctx: &mut Ctx) -> anyhow::Result<()> {
    let nic = Nicsim::load(ctx, "profile=ice")?;
    nic.set_vfs(1)?;
    nic.set_mode("switchdev")?;
    let device = index_of("np0r0")?;
    run("ethtool -K np0r0 hw-tc-offload on")?;
    let head = format!("dev if{device} ingress");
    let taken = format!("{head} prio 1 handle 0x1 protocol ip flower verbose action drop");
    let refused = "chain 1 prio 1 handle 0x1 protocol ip flower";
    let ops = [
        Op::AddClsact(device),
        Op::Add(taken.parse()?),
        Op::Add(format!("{head} {refused} action drop").parse()?),
        Op::Add(
            format!("{head} {} skip_sw action drop", refused.replace("prio 1", "prio 2"))
                .parse()?,
        ),
    ];
    let mut tc = Kernel::open()?;
    let outcomes = tc.apply(&ops)?;
    let words = |sentence: &Sentence| sentence.as_str().contains(' ');
    ensure!(outcomes[0].is_ok(), "{outcomes:?}");
    ensure!(matches!(&outcomes[1], Ok(applied) if applied.refusal.is_none()), "{outcomes:?}");
    ensure!(
        matches!(&outcomes[2], Ok(applied) if applied.refusal.as_ref().is_some_and(words)),
        "a filter that may run in software has no words of the driver: {outcomes:?}"
    );
    ensure!(
        matches!(&outcomes[3], Err(TcError::NotSupported(sentence)) if words(sentence)),
        "a filter for hardware alone is not refused in words: {outcomes:?}"
    );
    let dump = tc.dump(Attach::Ingress(device))?;
    let places: Vec<InHw> = dump.filters.iter().map(|seen| seen.in_hw).collect();
    ensure!(places == [InHw::Yes, InHw::No], "{dump:?}");
    Ok(())
}

fn index_of(netdev: &str) -> anyhow::Result<IfIndex> {
    let path = format!("/sys/class/net/{netdev}/ifindex");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(IfIndex(text.trim().parse()?))
}

/// The module is kept from loading, as on a kernel that was built without it.
fn a_kernel_without_flower_is_named(_: &mut Ctx) -> anyhow::Result<()> {
    const BLOCKED: &str = "/etc/modprobe.d/linerate-no-flower.conf";
    std::fs::create_dir_all("/etc/modprobe.d")?;
    // An absent or busy module is told by what follows.
    let _ = run("rmmod cls_flower");
    std::fs::write(BLOCKED, "install cls_flower /bin/false\n")?;
    let result = Pair::new("tcnoflower")?.with_tc(|tc| {
        let filter = contract::filters(ETH0).swap_remove(0);
        let outcomes = tc.apply(&[Op::AddClsact(ETH0), Op::Add(filter)])?;
        let outcome = outcomes.into_iter().next_back().context("no answer")?;
        outcome.err().ok_or_else(|| anyhow!("the filter was taken"))
    });
    std::fs::remove_file(BLOCKED)?;
    let error = result?;
    ensure!(
        matches!(&error, TcError::KernelLacks { part, .. } if part == "flower classifier"),
        "{error}"
    );
    Ok(())
}
