//! A pod's addresses are announced, it sends with no others, and the rules that see to it come back when they are lost.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::pod::netconf;
use super::site::{BRIDGE, FRESH, Site};
use super::table::{Bench, merged};
use crate::cases::Ctx;
use crate::guest::agent::Setup;
use crate::guest::packet_socket::PacketSocket;

/// The agent goes round at its start and then not again in this test, unless it hears that rules are gone.
const SELDOM: &str = "ledger:\n  interval: 60m\n";

pub(super) fn only(ctx: &mut Ctx) -> anyhow::Result<()> {
    let mut site = Site::new(ctx)?;
    let bench = site.bench(FRESH)?;
    let addresses = json!([{"address": "10.77.0.9/24"}, {"address": "fd77::9/64"}]);
    let ipam = json!({"type": "static", "addresses": addresses});
    let more = json!({"mac": "02:00:00:00:00:55", "portSecurity": true, "ipam": ipam});
    let conf = netconf(&bench.device, &merged(&site.on_ovs(), &more));
    let wire = PacketSocket::open("np0w")?;
    bench.pod.call("ADD", &conf)?;
    let looked = announced(&wire).and_then(|()| held(ctx, &mut site, &bench, &conf));
    let deleted = bench.pod.call("DEL", &conf).map(drop);
    looked.and(deleted)
}

fn held(ctx: &Ctx, site: &mut Site, bench: &Bench, conf: &Value) -> anyhow::Result<()> {
    let wire = PacketSocket::open("np0w")?;
    let inside = site.netns.enter(|| PacketSocket::open("net1"))?;
    let passes = |mac, arp_source| passes(&inside, &wire, &arp(mac, arp_source));
    ensure!(passes(MAC, OWN)?, "the pod's own frame did not pass");
    ensure!(!passes(OTHER_MAC, OWN)?, "a frame with another MAC address passed");
    ensure!(!passes([6, 0, 0, 0, 0, 0x55], OWN)?, "a frame with another MAC address passed");
    ensure!(!passes(MAC, [10, 77, 0, 1])?, "an ARP reply for the router's address passed");
    site.ovs.ofctl(&["-OOpenFlow13", "del-flows", BRIDGE])?;
    site.ovs.ofctl(&["-OOpenFlow13", "add-flow", BRIDGE, "actions=normal"])?;
    // OVS takes rules that are gone out of its datapath a moment later.
    let soon = |passing: bool| until(passing, || passes(OTHER_MAC, OWN));
    ensure!(soon(true)?, "without the rules nothing keeps it back, so this shows nothing");
    let error = bench.pod.call("CHECK", conf).err().context("CHECK did not miss the rules")?;
    ensure!(format!("{error:#}").contains("rules that hold the pod to"), "{error:#}");

    let setup = Setup::new(ctx.binary("offload-agent")?, &site.ovs, SELDOM)?;
    let agent = setup.start()?;
    let with_log = |when: &str| format!("{when}; the agent says:\n{}", agent.log());
    until_all_is_there(bench, conf).with_context(|| with_log("after the agent's start"))?;
    ensure!(soon(false)?, "the agent has put the rules back, and the frame passed");
    site.ovs.stop_vswitchd()?;
    site.ovs.start_vswitchd()?;
    until_all_is_there(bench, conf).with_context(|| with_log("with a new ovs-vswitchd"))?;
    ensure!(soon(false)?, "with a new ovs-vswitchd the frame passed");
    ensure!(passes(MAC, OWN)?, "with a new ovs-vswitchd the pod's own frame did not pass");
    Ok(())
}

/// The neighbours have heard of both addresses when ADD has succeeded.
fn announced(wire: &PacketSocket) -> anyhow::Result<()> {
    let is_arp = |frame: &[u8]| {
        frame.get(12..14) == Some(&[8, 6])
            && frame.get(28..32) == Some(&OWN)
            && frame.get(38..42) == Some(&OWN)
    };
    let is_advertisement = |frame: &[u8]| {
        let own = OWN_V6.octets();
        frame.get(20) == Some(&ICMPV6)
            && frame.get(54) == Some(&ADVERTISEMENT)
            && frame.get(62..78) == Some(&own)
    };
    let (mut arp, mut advertisement) = (false, false);
    let until = Instant::now() + PATIENCE;
    while !(arp && advertisement) {
        ensure!(
            Instant::now() < until,
            "heard: gratuitous ARP {arp}, unsolicited advertisement {advertisement}"
        );
        if let Some(frame) = wire.receive(Duration::from_millis(100))? {
            arp |= is_arp(&frame);
            advertisement |= is_advertisement(&frame);
        }
    }
    Ok(())
}

/// Whether a frame that is sent again and again passes at last, or at last does not.
fn until(passing: bool, passes: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<bool> {
    const TRIES: u32 = 10;
    for _ in 0..TRIES {
        if passes()? == passing {
            return Ok(true);
        }
    }
    Ok(false)
}

/// CHECK says so.
fn until_all_is_there(bench: &Bench, conf: &Value) -> anyhow::Result<()> {
    let until = Instant::now() + AGENT_LIMIT;
    loop {
        match bench.pod.call("CHECK", conf) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// For the agent to start, to hear of its bridge, and to act, on a busy machine that emulates.
const AGENT_LIMIT: Duration = Duration::from_secs(90);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x55];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x54];
const OWN: [u8; 4] = [10, 77, 0, 9];
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 9);
const ICMPV6: u8 = 58;
const ADVERTISEMENT: u8 = 136;
/// For a frame to come through switch and card, on a busy machine that emulates.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a frame that the pod sends is seen on the wire.
fn passes(pod: &PacketSocket, wire: &PacketSocket, frame: &[u8]) -> anyhow::Result<bool> {
    pod.send(frame)?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let seen = wire.receive(Duration::from_millis(100))?;
        if seen.is_some_and(|seen| seen.get(..frame.len()) == Some(frame)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A broadcast ARP reply, padded to the least frame.
fn arp(mac: [u8; 6], source: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    frame.extend(mac);
    frame.extend(source);
    frame.extend([0xff; 6]);
    frame.extend(source);
    frame.resize(60, 0);
    frame
}
