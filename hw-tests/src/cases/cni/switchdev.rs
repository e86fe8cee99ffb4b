//! nicsim in switchdev mode, with Open vSwitch on the kernel's datapath.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::pod::{Pod, netconf};
use crate::cases::Ctx;
use crate::guest::netns::Netns;
use crate::guest::nicsim::{Nicsim, UPLINK};
use crate::guest::ovs::Ovs;
use crate::guest::packet_socket::PacketSocket;

const BRIDGE: &str = "br0";

/// What the case runs on. What comes first goes first.
struct Site {
    ovs: Ovs,
    netns: Netns,
    nic: Nicsim,
}

impl Site {
    fn new(ctx: &Ctx) -> anyhow::Result<Self> {
        let nic = Nicsim::load(ctx, "")?;
        nic.switchdev(2)?;
        let netns = Netns::new("pod")?;
        let ovs = Ovs::start()?;
        ovs.bridge(BRIDGE, &[UPLINK])?;
        Ok(Self { ovs, netns, nic })
    }

    fn socket(&self) -> String {
        format!("unix:{}", self.ovs.dir().join("db.sock").display())
    }
}

/// Frames with the pod's own source leave by the wire, others do not; CHECK tells when the rules are gone.
pub(super) fn own_addresses_only(ctx: &mut Ctx) -> anyhow::Result<()> {
    let site = Site::new(ctx)?;
    let pod = Pod::new("web", "/run/netns/pod");
    let ipam = json!({"type": "static", "addresses": [{"address": "10.77.0.9/24"}]});
    let more = json!({"bridge": BRIDGE, "socket_file": site.socket(), "mac": "02:00:00:00:00:55",
        "portSecurity": true, "ipam": ipam});
    let conf = netconf(&site.nic.vf_address(0)?, &more);
    pod.call("ADD", &conf)?;
    let looked = held_to_its_own(&site, &pod, &conf);
    let deleted = pod.call("DEL", &conf).map(drop);
    looked.and(deleted)
}

fn held_to_its_own(site: &Site, pod: &Pod, conf: &Value) -> anyhow::Result<()> {
    let wire = PacketSocket::open("np0w")?;
    let inside = site.netns.enter(|| PacketSocket::open("net1"))?;
    let passes = |mac, arp_source| passes(&inside, &wire, &arp(mac, arp_source));
    ensure!(passes(MAC, OWN)?, "the pod's own frame did not pass");
    ensure!(!passes(OTHER_MAC, OWN)?, "a frame with another MAC address passed");
    ensure!(!passes([6, 0, 0, 0, 0, 0x55], OWN)?, "a frame with another MAC address passed");
    ensure!(!passes(MAC, [10, 77, 0, 1])?, "an ARP reply for the router's address passed");
    site.ovs.ofctl(&["-OOpenFlow13", "del-flows", BRIDGE])?;
    site.ovs.ofctl(&["-OOpenFlow13", "add-flow", BRIDGE, "actions=normal"])?;
    ensure!(
        passes(OTHER_MAC, OWN)?,
        "without the rules nothing keeps it back, so this shows nothing"
    );
    let error = pod.call("CHECK", conf).err().context("CHECK did not miss the rules")?;
    ensure!(format!("{error:#}").contains("rules that hold the pod to"), "{error:#}");
    Ok(())
}

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x55];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x54];
const OWN: [u8; 4] = [10, 77, 0, 9];
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
