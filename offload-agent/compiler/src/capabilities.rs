//! What a card and its driver can take: the compiler asks nothing else about them.
//!
//! A value comes from a probe of the card, from a file, or from one of the named profiles. The profiles are what the
//! drivers' sources say; a probe knows better.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::compile::ir::KeyField;
use crate::compile::verdict::Reason;

/// What a card and its driver can take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capabilities {
    /// What these capabilities are called; for people only.
    pub name: String,
    /// Whether filters go to a card or stay in the kernel's software TC.
    pub target: Target,
    /// The fields it can match.
    pub keys: BTreeSet<KeyField>,
    /// It can tell LLC frames from others (`protocol 802_2`). Where it cannot, such a frame may take the path of a rule
    /// that names no EtherType; no card is known to care.
    pub llc: bool,
    /// It can match the ports of SCTP.
    pub sctp: bool,
    /// It can match a second VLAN tag behind the first (`vlan_ethtype 802.1Q`).
    pub qinq: bool,
    /// `action pass`. Without it there are no guards: nothing below a rule of OVS's can be offloaded.
    pub pass: bool,
    /// `action drop`.
    pub drop: bool,
    /// `action vlan push`.
    pub vlan_push: bool,
    /// `action vlan pop`.
    pub vlan_pop: bool,
    /// The most VLAN tags a packet may have after a push.
    pub max_tags: usize,
    /// The most ports one packet goes to.
    pub max_outputs: usize,
    /// The packet may change between two outputs.
    pub edit_between_outputs: bool,
    /// A packet may leave by the representor it came in by.
    pub hairpin: bool,
    /// A packet may leave by the uplink it came in by.
    pub uplink_hairpin: bool,
    /// The most actions in one filter.
    pub max_actions: usize,
    /// `action pedit` and `csum`.
    pub edit: bool,
    /// `action ct`.
    pub ct: bool,
    /// `action ct nat`.
    pub nat: bool,
    /// `action tunnel_key`, and the `enc_*` keys.
    pub tunnels: bool,
    /// The outer header of a packet that goes into a tunnel gets the packet's own ECN bits, as from the kernel
    /// (`ip_tunnel_ecn_encap`). A card that writes a header made beforehand needs a filter for each value of them.
    pub encap_ecn: bool,
    /// `action police` as one of several actions.
    pub meters: bool,
    /// What may be compiled although a filter is not quite what OVS does. A wrong filter is worse than none, so no profile
    /// names anything here.
    pub tolerates: BTreeSet<Inexact>,
    /// The most chains it has; 1 is a card that takes chain 0 only.
    pub max_chains: u32,
    /// The most (chain, prio) pairs it has, all ports together.
    pub max_tables: usize,
    /// The most prios it has; what comes after them stays in OVS.
    pub max_prios: u16,
    /// How many VLAN tags OVS looks through (`other_config:vlan-limit`, 1 when not set); `None` when not known.
    pub vlan_limit: Option<u8>,
}

/// What a filter can only do almost as OVS does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inexact {
    /// Meters: what passes the filter and what passes OVS is counted apart, and each gets the whole rate.
    Meter,
    /// `NORMAL`: an address that moved is known to us up to a second after OVS.
    Normal,
}

/// Where filters run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// In the card, and not in software TC (`skip_sw`): a filter is in hardware, or it is refused.
    #[default]
    Hardware,
    /// In software TC only (`skip_hw`).
    Software,
}

/// A name that is no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no profile of capabilities: the profiles are {names}", names = Capabilities::PROFILES.join(", "))]
pub struct UnknownProfile(pub String);

/// Chains as far as the kernel goes (`TC_ACT_EXT_VAL_MASK`).
const KERNEL_CHAINS: u32 = 0x0fff_ffff;
/// Tables of more than 126 rules that the driver makes (`fs_ft_pool.c`): 4 + 16 + 256.
const MLX5_LARGE_TABLES: usize = 276;
/// The actions of one filter as far as the kernel goes (`TCA_ACT_MAX_PRIO`).
const KERNEL_MAX_ACTIONS: usize = 32;

impl Default for Capabilities {
    fn default() -> Self {
        Capabilities::nicsim()
    }
}

impl Capabilities {
    /// The names that [`Capabilities::profile`] knows.
    pub const PROFILES: [&'static str; 5] = ["nicsim", "software", "mlx5", "mlx5-basic", "ice"];

    /// A profile by its name.
    ///
    /// # Errors
    ///
    /// [`UnknownProfile`] lists the names there are.
    pub fn profile(name: &str) -> Result<Capabilities, UnknownProfile> {
        match name {
            "nicsim" => Ok(Capabilities::nicsim()),
            "software" => Ok(Capabilities::software()),
            "mlx5" => Ok(Capabilities::mlx5()),
            "mlx5-basic" => Ok(Capabilities::mlx5_basic()),
            "ice" => Ok(Capabilities::ice()),
            other => Err(UnknownProfile(other.to_owned())),
        }
    }

    /// The simulated card: all that flower has.
    pub fn nicsim() -> Capabilities {
        Capabilities {
            name: "nicsim".to_owned(),
            target: Target::Hardware,
            keys: KeyField::ALL.into_iter().collect(),
            llc: true,
            sctp: true,
            qinq: true,
            pass: true,
            drop: true,
            vlan_push: true,
            vlan_pop: true,
            max_tags: 2,
            max_outputs: KERNEL_MAX_ACTIONS,
            edit_between_outputs: true,
            hairpin: true,
            uplink_hairpin: true,
            max_actions: KERNEL_MAX_ACTIONS,
            edit: true,
            ct: true,
            nat: true,
            tunnels: true,
            encap_ecn: true,
            meters: true,
            tolerates: BTreeSet::new(),
            max_chains: KERNEL_CHAINS,
            max_tables: usize::MAX,
            max_prios: u16::MAX,
            vlan_limit: Some(1),
        }
    }

    /// The kernel's own TC.
    pub fn software() -> Capabilities {
        Capabilities {
            name: "software".to_owned(),
            target: Target::Software,
            ..Capabilities::nicsim()
        }
    }

    /// ConnectX-5 and later, by the driver's source (`en_tc.c`, `parse_flower_attr`): no ARP fields, no SCTP ports,
    /// no first-fragment bit, no way back out of the uplink; tunnel headers are made beforehand (`tc_tun.c`).
    pub fn mlx5() -> Capabilities {
        Capabilities {
            name: "mlx5".to_owned(),
            keys: without(&ARP_FIELDS, &[KeyField::FirstFrag]),
            llc: false,
            sctp: false,
            uplink_hairpin: false,
            encap_ecn: false,
            max_tables: MLX5_LARGE_TABLES,
            ..Capabilities::nicsim()
        }
    }

    /// The same without `ignore_flow_level`: few chains and prios, and none of them leads back
    /// (`mlx5_chains_get_chain_range`, `mlx5_chains_get_prio_range`).
    pub fn mlx5_basic() -> Capabilities {
        Capabilities {
            name: "mlx5-basic".to_owned(),
            max_chains: 4,
            max_prios: 16,
            ..Capabilities::mlx5()
        }
    }

    /// E810 in switchdev mode, by the driver's source (`ice_tc_lib.c`): no ARP fields, fragments or TCP flags; the actions
    /// are drop and one output (`ice_eswitch_tc_parse_action`).
    pub fn ice() -> Capabilities {
        const NO_KEY: [KeyField; 5] = [
            KeyField::Frag,
            KeyField::FirstFrag,
            KeyField::TcpFlags,
            KeyField::IcmpType,
            KeyField::IcmpCode,
        ];
        Capabilities {
            name: "ice".to_owned(),
            keys: without(&ARP_FIELDS, &NO_KEY),
            llc: false,
            sctp: false,
            qinq: false,
            pass: false,
            vlan_push: false,
            vlan_pop: false,
            max_tags: 0,
            max_outputs: 1,
            edit_between_outputs: false,
            hairpin: false,
            uplink_hairpin: false,
            edit: false,
            ct: false,
            nat: false,
            tunnels: false,
            encap_ecn: false,
            meters: false,
            max_chains: 1,
            ..Capabilities::nicsim()
        }
    }

    /// Whether a filter may lead to another chain.
    pub fn has_chains(&self) -> bool {
        self.max_chains > 1
    }

    /// The same, for whoever takes all of that.
    pub fn tolerant(self) -> Capabilities {
        Capabilities { tolerates: [Inexact::Meter, Inexact::Normal].into(), ..self }
    }

    /// Why something is left to OVS that a filter could only do almost.
    pub(crate) fn refuses(&self, what: Inexact) -> Option<Reason> {
        (!self.tolerates.contains(&what)).then_some(Reason::Inexact(what))
    }

    /// Whether an outer header gets the packet's ECN bits without being asked. Where OVS looks through more than one tag, nobody says whether
    /// the kernel finds the same bits.
    pub fn copies_ecn(&self) -> bool {
        self.encap_ecn && self.vlan_limit == Some(1)
    }

    /// Whether a packet can be tracked and be looked at again.
    pub fn has_ct(&self) -> bool {
        self.ct && self.has_chains()
    }
}

const ARP_FIELDS: [KeyField; 5] =
    [KeyField::ArpOp, KeyField::ArpSip, KeyField::ArpTip, KeyField::ArpSha, KeyField::ArpTha];

fn without(some: &[KeyField], others: &[KeyField]) -> BTreeSet<KeyField> {
    let missing = |field: &KeyField| some.contains(field) || others.contains(field);
    KeyField::ALL.into_iter().filter(|field| !missing(field)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_called_by_its_name() {
        for name in Capabilities::PROFILES {
            assert_eq!(Capabilities::profile(name).unwrap().name, name);
        }
    }

    #[test]
    fn a_wrong_name_is_told_the_right_ones() {
        let error = Capabilities::profile("cx6").unwrap_err().to_string();
        assert_eq!(
            error,
            "`cx6` is no profile of capabilities: the profiles are nicsim, software, mlx5, mlx5-basic, ice"
        );
    }
}
