//! The ECN bits of an outer header. `tunnel_key` does not say them: the kernel's tunnel devices take them from the packet
//! (`ip_tunnel_ecn_encap`), each in its own way, and the card must write the same bits. The compiler relies on it (`encap_ecn`).

use anyhow::{Context, ensure};

use super::lab::{self, Lab, REP0, VF0, WIRE};
use super::packet::*;
use super::tunnels::{Tunnel, underlay};
use crate::cases::Ctx;
use crate::guest::tool::run;

/// A VLAN with both bits set where the ECN bits are looked for, should a tag be taken for an IP header.
const TAG: u16 = 7;
/// As inside, but that congestion was met (3) is not told outside: there the packet only can tell of it (2).
const COPIED: [u8; 4] = [0, 1, 2, 2];
const NOTHING: [u8; 4] = [0; 4];

/// A kind of tunnel device, and the outer bits of packets with ECN 0 to 3, without a tag and with one.
struct Kind {
    device: &'static str,
    link: &'static str,
    port: &'static str,
    untagged: [u8; 4],
    tagged: [u8; 4],
}

const KINDS: [Kind; 3] = [
    Kind {
        device: "vxlan0",
        link: "vxlan dstport 4789 external",
        port: "dst_port 4789",
        untagged: COPIED,
        tagged: COPIED,
    },
    Kind {
        device: "gen0",
        link: "geneve dstport 6081 external",
        port: "dst_port 6081",
        untagged: COPIED,
        tagged: COPIED,
    },
    // The kernel asks for the EtherType behind a tag when the GRE header is on already, and looks in the wrong place.
    Kind { device: "gre1", link: "gretap external", port: "", untagged: COPIED, tagged: NOTHING },
];

pub(super) fn as_the_kernel_writes_it(ctx: &mut Ctx) -> anyhow::Result<()> {
    let lab = Lab::new(ctx, "")?;
    underlay()?;
    for kind in &KINDS {
        let _tunnel = Tunnel::new(kind.device, kind.link)?;
        for place in ["skip_hw", "skip_sw"] {
            send_into(kind, place)?;
            check(&lab, kind).with_context(|| format!("{}, {place}", kind.device))?;
            lab::clear(REP0)?;
        }
    }
    Ok(())
}

/// What the VF sends goes into the tunnel, in the kernel or in the card.
fn send_into(kind: &Kind, place: &str) -> anyhow::Result<()> {
    let Kind { device, port, .. } = kind;
    run(&format!(
        "tc filter add dev {REP0} ingress protocol all flower {place} \
         action tunnel_key set id 5 src_ip 172.16.0.1 dst_ip 172.16.0.2 {port} nocsum \
         action mirred egress redirect dev {device}"
    ))
    .map(drop)
}

fn check(lab: &Lab, kind: &Kind) -> anyhow::Result<()> {
    let inner = |ecn: u8| Ip4 { tos: ecn, ..ip4() }.udp(1000, 2000);
    let inner6 = |ecn: u8| Ip6 { class: ecn, ..ip6() }.udp(1000, 2000);
    for ecn in 0..4 {
        let at = usize::from(ecn);
        for payload in [inner(ecn), inner6(ecn)] {
            let with_tag = tagged(VLAN, TAG, 0, payload.clone());
            for (name, payload, outer) in
                [("untagged", payload, kind.untagged[at]), ("tagged", with_tag, kind.tagged[at])]
            {
                // What the card does not take, the representor shows too.
                let seen = lab.send(VF0, &ether(payload), &[WIRE])?;
                let found = seen.at(WIRE)?[15];
                ensure!(
                    found == outer,
                    "{name}, ECN {ecn} inside: TOS {found:#x} outside, not {outer:#x}"
                );
            }
        }
    }
    Ok(())
}
