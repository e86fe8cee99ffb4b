//! What a rule does: the actions and instructions of OpenFlow 1.0 to 1.5 and of Open vSwitch, in one list as OVS keeps
//! them.
//!
//! One effect may have several spellings (`mod_dl_src`, `load`, `set_field`). They are kept apart so that a rule prints
//! as it was written; [`Action::assignment`] gives their common meaning.

use std::net::IpAddr;

use super::field::{Field, low_bits};
use super::matches::{Masked, Unsupported};
use super::number::{Cookie, GroupId, MeterId, OfPort, OfPriority, TableId};

/// Some consecutive bits of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subfield {
    /// Which field.
    pub field: Field,
    /// The lowest bit.
    pub offset: u16,
    /// How many bits.
    pub n_bits: u16,
}

impl Subfield {
    /// All bits of a field.
    pub const fn whole(field: Field) -> Subfield {
        Subfield { field, offset: 0, n_bits: field.bits() }
    }

    /// The bits as a mask over the field.
    pub const fn mask(self) -> u128 {
        low_bits(self.n_bits) << self.offset
    }

    /// Whether these are all bits of the field.
    pub const fn is_whole(self) -> bool {
        self.offset == 0 && self.n_bits == self.field.bits()
    }
}

/// One thing a rule does. A rule without actions drops.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// `output:N`, `LOCAL`, `IN_PORT`, `NORMAL`, `FLOOD`, `ALL`: send the packet as it is now.
    Output(OfPort),
    /// `CONTROLLER:len`: send at most this many bytes to the controller.
    OutputController {
        /// Bytes of the packet; 65535 is all of it.
        max_len: u16,
    },
    /// `output:reg0[0..15]`: send to the port whose number the field holds.
    OutputReg {
        /// Where the port number is.
        source: Subfield,
        /// Bytes of the packet, should the port be the controller.
        max_len: u16,
    },
    /// `output(port=N,max_len=N)`: send a shortened packet.
    OutputTrunc {
        /// To which port.
        port: OfPort,
        /// Bytes to keep.
        max_len: u32,
    },
    /// `controller(...)`: send to the controller, with what OVS adds to the plain form.
    Controller(Controller),
    /// `group:N`.
    Group(GroupId),
    /// `enqueue:port:queue`: send through a queue of a port.
    Enqueue {
        /// To which port.
        port: OfPort,
        /// Which of its queues.
        queue: u32,
    },
    /// `bundle(...)` and `bundle_load(...)`: choose one of several ports by hash.
    Bundle(Bundle),

    /// `set_field:value/mask->field`.
    SetField(SetField),
    /// `load:value->field[bits]`.
    Load {
        /// What to write, right-justified.
        value: u128,
        /// Where to.
        dst: Subfield,
    },
    /// `move:field[bits]->field[bits]`.
    Move {
        /// Where from.
        src: Subfield,
        /// Where to; as wide as the source.
        dst: Subfield,
    },
    /// `push:field[bits]` on the pipeline's stack.
    Push(Subfield),
    /// `pop:field[bits]` from the pipeline's stack.
    Pop(Subfield),
    /// `delete_field:field`, for tunnel options.
    DeleteField(Field),
    /// `mod_dl_src:MAC`.
    ModDlSrc(u64),
    /// `mod_dl_dst:MAC`.
    ModDlDst(u64),
    /// `mod_nw_src:IP`.
    ModNwSrc(u32),
    /// `mod_nw_dst:IP`.
    ModNwDst(u32),
    /// `mod_nw_tos:N`: the six DSCP bits, in place (a multiple of 4).
    ModNwTos(u8),
    /// `mod_nw_ecn:N`.
    ModNwEcn(u8),
    /// `mod_nw_ttl:N`.
    ModNwTtl(u8),
    /// `mod_tp_src:N`, of whichever of TCP, UDP and SCTP the packet has.
    ModTpSrc(u16),
    /// `mod_tp_dst:N`.
    ModTpDst(u16),
    /// `mod_vlan_vid:N`: sets the VLAN, and pushes a tag when the packet has none.
    ModVlanVid(u16),
    /// `set_vlan_vid:N`: sets the VLAN of the tag there is.
    SetVlanVid(u16),
    /// `mod_vlan_pcp:N`: sets the priority, and pushes a tag when the packet has none.
    ModVlanPcp(u8),
    /// `set_vlan_pcp:N`: sets the priority of the tag there is.
    SetVlanPcp(u8),
    /// `set_tunnel:N` or `set_tunnel64:N`.
    SetTunnel {
        /// The tunnel's key.
        id: u64,
        /// Whether it is written `set_tunnel64`; a key of more than 32 bits always is.
        wide: bool,
    },
    /// `set_queue:N`.
    SetQueue(u32),
    /// `pop_queue`.
    PopQueue,
    /// `set_mpls_label:N`.
    SetMplsLabel(u32),
    /// `set_mpls_tc:N`.
    SetMplsTc(u8),
    /// `set_mpls_ttl:N`.
    SetMplsTtl(u8),
    /// `dec_mpls_ttl`.
    DecMplsTtl,
    /// `dec_ttl` and `dec_ttl(id,...)`: one off the TTL, or to these controllers when it runs out.
    DecTtl {
        /// Controller ids; plain `dec_ttl` has no list and tells controller 0, `dec_ttl()` tells nobody.
        controllers: Option<Vec<u16>>,
    },
    /// `dec_nsh_ttl`.
    DecNshTtl,

    /// `push_vlan:ethertype`.
    PushVlan(u16),
    /// `pop_vlan`.
    PopVlan,
    /// `strip_vlan`: what OpenFlow 1.0 calls `pop_vlan`.
    StripVlan,
    /// `push_mpls:ethertype`.
    PushMpls(u16),
    /// `pop_mpls:ethertype`: what follows the label is this.
    PopMpls(u16),
    /// `encap(...)`.
    Encap(Encap),
    /// `decap(...)`.
    Decap {
        /// What the packet is afterwards; `None` is what its header says.
        packet_type: Option<u32>,
    },

    /// `resubmit(port,table)`: run another table as a subroutine, then go on.
    Resubmit(Resubmit),
    /// `clone(...)`: run these on a copy.
    Clone(Vec<Action>),
    /// `ct(...)`.
    Ct(Ct),
    /// `ct_clear`.
    CtClear,
    /// `nat(...)`, only inside `ct(...)`.
    Nat(Nat),
    /// `conjunction(id,k/n)`.
    Conjunction {
        /// What the other rule matches as `conj_id`.
        id: u32,
        /// Which clause this is, from 0 (text counts from 1).
        clause: u8,
        /// How many clauses there are.
        n_clauses: u8,
    },
    /// `learn(...)`.
    Learn(Box<Learn>),
    /// `multipath(...)`.
    Multipath(Multipath),
    /// `fin_timeout(...)`: shorten the rule's timeouts once a TCP connection ends.
    FinTimeout {
        /// Seconds.
        idle: u16,
        /// Seconds.
        hard: u16,
    },
    /// `check_pkt_larger(N)->field[bit]`.
    CheckPktLarger {
        /// Bytes, from the Ethernet header on.
        len: u16,
        /// The bit that holds the answer.
        dst: Subfield,
    },
    /// `sample(...)`.
    Sample(Sample),
    /// `note:bytes`.
    Note(Vec<u8>),
    /// `exit`: end all processing, the callers' too.
    Exit,
    /// `debug_slow` or `debug_recirc`: test aids of OVS.
    Debug(DebugAction),

    /// `meter:N`.
    Meter(MeterId),
    /// `clear_actions`: empty the action set.
    ClearActions,
    /// `write_actions(...)`: add to the action set.
    WriteActions(Vec<Action>),
    /// `write_metadata:value/mask`.
    WriteMetadata(Masked),
    /// `goto_table:N`.
    GotoTable(TableId),

    /// An action that this program does not know.
    Unsupported(Unsupported),
}

/// A field, and the bits to write into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetField {
    /// Which field.
    pub field: Field,
    /// What to write, and where.
    pub masked: Masked,
}

/// The common meaning of `load`, `set_field`, `mod_*` and their like: these bits of this field become this value.
pub type Assignment = SetField;

impl Action {
    /// What this writes into one field, when that is all it does.
    ///
    /// `mod_tp_src` and `mod_tp_dst` have none (the field depends on the packet), nor has `mod_vlan_*`, which may push a
    /// tag.
    pub fn assignment(&self) -> Option<Assignment> {
        let exact = |field: Field, value: u128| {
            Some(SetField { field, masked: Masked::new(value, field.full_mask()) })
        };
        match self {
            Action::SetField(set) => Some(*set),
            Action::Load { value, dst } => Some(SetField {
                field: dst.field,
                masked: Masked::new(value << dst.offset, dst.mask()),
            }),
            Action::ModDlSrc(mac) => exact(Field::EthSrc, u128::from(*mac)),
            Action::ModDlDst(mac) => exact(Field::EthDst, u128::from(*mac)),
            Action::ModNwSrc(ip) => exact(Field::IpSrc, u128::from(*ip)),
            Action::ModNwDst(ip) => exact(Field::IpDst, u128::from(*ip)),
            Action::ModNwTos(tos) => exact(Field::NwTos, u128::from(*tos)),
            Action::ModNwEcn(ecn) => exact(Field::NwEcn, u128::from(*ecn)),
            Action::ModNwTtl(ttl) => exact(Field::NwTtl, u128::from(*ttl)),
            Action::SetTunnel { id, .. } => exact(Field::TunId, u128::from(*id)),
            Action::SetMplsLabel(label) => exact(Field::MplsLabel, u128::from(*label)),
            Action::SetMplsTc(tc) => exact(Field::MplsTc, u128::from(*tc)),
            Action::SetMplsTtl(ttl) => exact(Field::MplsTtl, u128::from(*ttl)),
            Action::WriteMetadata(masked) => {
                Some(SetField { field: Field::Metadata, masked: *masked })
            }
            _ => None,
        }
    }
}

/// `resubmit(port,table)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resubmit {
    /// The input port for the look-up; `None` leaves it as it is.
    pub in_port: Option<OfPort>,
    /// The table; `None` is the current one.
    pub table: Option<TableId>,
    /// Whether the look-up uses the original direction of the conntrack tuple (`resubmit(,table,ct)`).
    pub ct: bool,
}

/// `ct(...)`: sends the packet through conntrack.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ct {
    /// Remember the connection.
    pub commit: bool,
    /// Replace a connection that goes the other way.
    pub force: bool,
    /// The conntrack zone; without one it is zone 0.
    pub zone: Zone,
    /// Where a copy of the packet starts again after conntrack; `None` only tracks.
    pub table: Option<TableId>,
    /// The application helper.
    pub alg: Option<Alg>,
    /// `nat(...)`, and what `exec(...)` sets in the connection, in order.
    pub actions: Vec<Action>,
}

impl Ct {
    /// The address translation, if there is one.
    pub fn nat(&self) -> Option<&Nat> {
        self.nats().next()
    }

    /// The same, where somebody wrote several.
    pub fn nats(&self) -> impl Iterator<Item = &Nat> {
        self.actions.iter().filter_map(|action| match action {
            Action::Nat(nat) => Some(nat),
            _ => None,
        })
    }

    /// What `exec(...)` holds: all but the address translation.
    pub fn exec(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter().filter(|action| !matches!(action, Action::Nat(_)))
    }
}

/// The conntrack zone of `ct(...)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Zone {
    /// A number.
    Immediate(u16),
    /// What 16 bits of a field hold.
    From(Subfield),
}

impl Default for Zone {
    fn default() -> Self {
        Zone::Immediate(0)
    }
}

/// The application helper of `ct(...)`, named by its well-known port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alg {
    /// `ftp`.
    Ftp,
    /// `tftp`.
    Tftp,
    /// Another, by its port number.
    Other(u16),
}

/// `nat(...)` inside `ct(...)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nat {
    /// What to translate; `None` translates as the connection was committed.
    pub direction: Option<NatDirection>,
    /// The lowest address to use.
    pub addr_min: Option<IpAddr>,
    /// The highest, when it is a range.
    pub addr_max: Option<IpAddr>,
    /// The lowest port to use.
    pub port_min: Option<u16>,
    /// The highest, when it is a range.
    pub port_max: Option<u16>,
    /// Keep the choice over a restart.
    pub persistent: bool,
    /// Choose by hash.
    pub hash: bool,
    /// Choose at random.
    pub random: bool,
}

/// Which end of the connection `nat(...)` translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NatDirection {
    /// `src`.
    Src,
    /// `dst`.
    Dst,
}

/// `controller(...)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Controller {
    /// Bytes of the packet; 65535, the default, is all of it.
    pub max_len: u16,
    /// Which controller.
    pub id: u16,
    /// Why, as a number of OpenFlow's packet-in reasons.
    pub reason: u8,
    /// Opaque bytes for the controller.
    pub userdata: Vec<u8>,
    /// Whether the pipeline waits for the controller.
    pub pause: bool,
    /// The meter that limits the packets.
    pub meter: Option<MeterId>,
}

impl Controller {
    /// The packet-in reason of an action, which OVS does not print.
    pub const REASON_ACTION: u8 = 1;
    /// The whole packet, which OVS does not print.
    pub const WHOLE_PACKET: u16 = u16::MAX;
}

impl Default for Controller {
    fn default() -> Self {
        Controller {
            max_len: Self::WHOLE_PACKET,
            id: 0,
            reason: Self::REASON_ACTION,
            userdata: Vec::new(),
            pause: false,
            meter: None,
        }
    }
}

/// `learn(...)`: installs a rule made from the packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Learn {
    /// The table the rule goes to.
    pub table: TableId,
    /// Its priority.
    pub priority: OfPriority,
    /// Its cookie.
    pub cookie: Cookie,
    /// Seconds without a packet until it goes; 0 is never.
    pub idle_timeout: u16,
    /// Seconds until it goes; 0 is never.
    pub hard_timeout: u16,
    /// Idle seconds once a TCP connection ends.
    pub fin_idle_timeout: u16,
    /// Hard seconds once a TCP connection ends.
    pub fin_hard_timeout: u16,
    /// Tell the controller when the rule goes.
    pub send_flow_rem: bool,
    /// The learned rules go with this one.
    pub delete_learned: bool,
    /// At most so many rules; 0 is no limit.
    pub limit: u32,
    /// The bit that says whether the limit let the rule in.
    pub result_dst: Option<Subfield>,
    /// How the rule is made.
    pub specs: Vec<LearnSpec>,
}

/// One piece of a learned rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LearnSpec {
    /// The rule matches in `dst` what the packet has in `src`.
    MatchField {
        /// Of the packet.
        src: Subfield,
        /// Of the rule's match.
        dst: Subfield,
    },
    /// The rule matches a constant.
    MatchValue {
        /// The constant, right-justified.
        value: u128,
        /// Of the rule's match.
        dst: Subfield,
    },
    /// The rule loads what the packet has in `src`.
    LoadField {
        /// Of the packet.
        src: Subfield,
        /// Of the packets that hit the rule.
        dst: Subfield,
    },
    /// The rule loads a constant.
    LoadValue {
        /// The constant, right-justified.
        value: u128,
        /// Of the packets that hit the rule.
        dst: Subfield,
    },
    /// The rule sends to the port whose number the packet has in this field.
    Output(Subfield),
}

/// What a hash of a packet covers; the spelling is that of `ovs-actions(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is the OVS name of the hash")]
pub enum HashFields {
    EthSrc,
    SymmetricL4,
    SymmetricL3L4,
    SymmetricL3L4Udp,
    NwSrc,
    NwDst,
    SymmetricL3,
}

/// How `bundle(...)` chooses a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BundleAlgorithm {
    /// The first port that is up.
    ActiveBackup,
    /// Highest random weight of the hash.
    Hrw,
}

/// `bundle(...)` and `bundle_load(...)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bundle {
    /// What the hash covers.
    pub fields: HashFields,
    /// The hash's seed.
    pub basis: u16,
    /// How a member is chosen.
    pub algorithm: BundleAlgorithm,
    /// Where the port number goes (`bundle_load`); `None` sends the packet.
    pub dst: Option<Subfield>,
    /// The ports to choose from.
    pub members: Vec<OfPort>,
}

/// How `multipath(...)` turns a hash into a link number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is the OVS name of the algorithm")]
pub enum MultipathAlgorithm {
    ModuloN,
    HashThreshold,
    Hrw,
    IterHash,
}

/// `multipath(...)`: writes a link number chosen by hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Multipath {
    /// What the hash covers.
    pub fields: HashFields,
    /// The hash's seed.
    pub basis: u16,
    /// How the hash becomes a number.
    pub algorithm: MultipathAlgorithm,
    /// How many links there are.
    pub n_links: u32,
    /// The algorithm's own argument.
    pub arg: u32,
    /// Where the number goes.
    pub dst: Subfield,
}

/// `encap(...)`: puts a header in front of the packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Encap {
    /// The packet type of the new header: name space in the upper 16 bits, type in the lower.
    pub packet_type: u32,
    /// The NSH metadata format, when given.
    pub nsh_md_type: Option<u8>,
    /// The NSH type-length-values: class, type, value.
    pub nsh_tlvs: Vec<(u16, u8, Vec<u8>)>,
}

/// `sample(...)`: sends some packets to collectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sample {
    /// Of 65535 packets, how many.
    pub probability: u16,
    /// Which set of collectors.
    pub collector_set: u32,
    /// IPFIX observation domain.
    pub domain: SampleId,
    /// IPFIX observation point.
    pub point: SampleId,
    /// The port the sample is said to come from.
    pub sampling_port: Option<OfPort>,
    /// Which side of that port.
    pub direction: Option<SampleDirection>,
}

/// An observation domain or point of `sample(...)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SampleId {
    /// A number.
    Immediate(u32),
    /// What a field holds.
    From(Subfield),
}

/// Which side of its port a sample is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is the direction by its own name")]
pub enum SampleDirection {
    Ingress,
    Egress,
}

/// Test aids of OVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DebugAction {
    /// `debug_slow`: every packet goes to user space.
    Slow,
    /// `debug_recirc`: every packet is recirculated.
    Recirc,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_and_set_field_mean_the_same() {
        let load = Action::Load {
            value: 3,
            dst: Subfield { field: Field::Reg(10), offset: 4, n_bits: 8 },
        };
        let set =
            Action::SetField(SetField { field: Field::Reg(10), masked: Masked::new(0x30, 0xff0) });
        assert_eq!(load.assignment(), set.assignment());
    }

    #[test]
    fn a_vlan_that_may_be_pushed_is_more_than_an_assignment() {
        assert_eq!(Action::ModVlanVid(10).assignment(), None);
    }
}
