//! Fields with two names, or of which a part has a name of its own: one rule writes by one name, it or the next copies by another, and
//! a table behind asks for the copy.

use flow_compiler::openflow::Ruleset;

use super::super::chance::Chance;
use super::super::topology;
use super::lines;

/// A field with its names.
struct Aliased {
    /// The packets that have it.
    packets: &'static [&'static str],
    /// What writes it.
    writes: &'static [&'static str],
    /// What copies it to register 1.
    copies: &'static [&'static str],
    /// What asks for the copy, or for the field.
    asked: &'static [&'static str],
}

const TOS: Aliased = Aliased {
    packets: &["ip", "tcp", "ipv6", "ip,nw_tos=16"],
    writes: &[
        "mod_nw_tos:16",
        "mod_nw_tos:64",
        "set_field:4->ip_dscp",
        "load:4->OXM_OF_IP_DSCP[]",
        "load:16->NXM_OF_IP_TOS[]",
        "load:4->NXM_NX_REG2[],move:NXM_NX_REG2[0..5]->OXM_OF_IP_DSCP[]",
        "load:16->NXM_NX_REG2[],move:NXM_NX_REG2[0..7]->NXM_OF_IP_TOS[]",
        "load:4->NXM_NX_REG2[],push:NXM_NX_REG2[0..5],pop:OXM_OF_IP_DSCP[]",
        "load:64->NXM_NX_REG2[],push:NXM_NX_REG2[0..7],pop:NXM_OF_IP_TOS[]",
    ],
    copies: &[
        "move:OXM_OF_IP_DSCP[]->NXM_NX_REG1[0..5]",
        "move:NXM_OF_IP_TOS[]->NXM_NX_REG1[0..7]",
        "move:NXM_OF_IP_TOS[2..7]->NXM_NX_REG1[0..5]",
        "push:OXM_OF_IP_DSCP[],pop:NXM_NX_REG1[0..5]",
        "push:NXM_OF_IP_TOS[],pop:NXM_NX_REG1[0..7]",
    ],
    asked: &["reg1=4", "reg1=16", "reg1=64", "reg1=0", "ip,nw_tos=16", "ip,ip_dscp=16"],
};

const TAG: Aliased = Aliased {
    packets: &["dl_vlan=5", "dl_vlan=6", "vlan_tci=0x1000/0x1000", "dl_vlan=5,dl_vlan_pcp=3"],
    writes: &[
        "mod_vlan_vid:6",
        "mod_vlan_pcp:2",
        "set_field:4102->vlan_vid",
        "set_field:2->vlan_pcp",
        "load:2->OXM_OF_VLAN_PCP[]",
        "load:6->NXM_NX_REG2[],move:NXM_NX_REG2[0..11]->OXM_OF_VLAN_VID[0..11]",
        "load:2->NXM_NX_REG2[],move:NXM_NX_REG2[0..2]->OXM_OF_VLAN_PCP[]",
        "load:6->NXM_NX_REG2[],push:NXM_NX_REG2[0..11],pop:OXM_OF_VLAN_VID[0..11]",
        "push_vlan:0x8100,set_field:4102->vlan_vid",
    ],
    copies: &[
        "move:OXM_OF_VLAN_VID[]->NXM_NX_REG1[0..11]",
        "move:OXM_OF_VLAN_VID[0..11]->NXM_NX_REG1[0..11]",
        "move:OXM_OF_VLAN_PCP[]->NXM_NX_REG1[0..2]",
        "move:NXM_OF_VLAN_TCI[]->NXM_NX_REG1[0..15]",
        "push:OXM_OF_VLAN_VID[],pop:NXM_NX_REG1[0..11]",
        "push:OXM_OF_VLAN_PCP[],pop:NXM_NX_REG1[0..2]",
    ],
    asked: &[
        "reg1=0x1005",
        "reg1=0x1006",
        "reg1=5",
        "reg1=6",
        "reg1=2",
        "reg1=3",
        "reg1=0",
        "dl_vlan=6",
        "dl_vlan_pcp=2",
    ],
};

const PORT: Aliased = Aliased {
    packets: &["ip", "tcp", "arp"],
    writes: &[
        "load:2->NXM_OF_IN_PORT[]",
        "load:3->NXM_OF_IN_PORT[]",
        "load:0xffff->NXM_OF_IN_PORT[]",
        "load:0->NXM_OF_IN_PORT[]",
        "load:2->NXM_NX_REG2[],move:NXM_NX_REG2[0..15]->NXM_OF_IN_PORT[]",
        "load:3->NXM_NX_REG2[],move:NXM_NX_REG2[]->OXM_OF_IN_PORT[]",
        "load:2->NXM_NX_REG2[],push:NXM_NX_REG2[],pop:OXM_OF_IN_PORT[]",
    ],
    copies: &[
        "move:NXM_OF_IN_PORT[]->NXM_NX_REG1[0..15]",
        "move:OXM_OF_IN_PORT[]->NXM_NX_REG1[]",
        "move:OXM_OF_IN_PORT[0..15]->NXM_NX_REG1[0..15]",
        "push:OXM_OF_IN_PORT[],pop:NXM_NX_REG1[]",
        "push:NXM_OF_IN_PORT[],pop:NXM_NX_REG1[0..15]",
    ],
    asked: &[
        "reg1=1",
        "reg1=2",
        "reg1=3",
        "reg1=0xffff",
        "reg1=0xffffffff",
        "reg1=0",
        "in_port=2",
        "in_port=3",
    ],
};

/// A ruleset for the bridges of the topology.
pub(crate) fn ruleset(chance: &mut Chance) -> anyhow::Result<Ruleset> {
    let field = *chance.of(&[&TOS, &TAG, &PORT]);
    let mut lines = Vec::new();
    for port in topology::VFS {
        let (packets, edits) = (*chance.of(field.packets), edits(chance, field));
        lines.push(format!("priority=1,in_port={port},{packets} actions={edits},resubmit(,1)"));
    }
    for table in 1..=2 {
        for _ in 0..2 + chance.below(3) {
            let (priority, asked) = (1 + chance.below(3), *chance.of(field.asked));
            let does = does(chance, table);
            lines.push(format!("table={table},priority={priority},{asked} actions={does}"));
        }
        // What only some packets have can be copied only where they are asked for.
        let (packets, edits) = (*chance.of(field.packets), edits(chance, field));
        let does = does(chance, table);
        lines.push(format!("table={table},priority=2,{packets} actions={edits},{does}"));
        lines.push(format!("table={table},priority=0 actions={does}"));
    }
    lines::ruleset(&lines)
}

/// A write and a copy in either order, or one of them.
fn edits(chance: &mut Chance, field: &Aliased) -> String {
    let (write, copy) = (*chance.of(field.writes), *chance.of(field.copies));
    match chance.below(6) {
        0 => write.to_owned(),
        1 => copy.to_owned(),
        2 => format!("{copy},{write}"),
        _ => format!("{write},{copy}"),
    }
}

fn does(chance: &mut Chance, table: usize) -> String {
    let port = *chance.of(&topology::VFS);
    match chance.below(5) {
        0 if table < 2 => format!("resubmit(,{})", table + 1),
        1 if table < 2 => format!("output:{port},resubmit(,{})", table + 1),
        2 => "in_port".to_owned(),
        _ => format!("output:{port}"),
    }
}
