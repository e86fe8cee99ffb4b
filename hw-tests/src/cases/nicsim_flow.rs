//! nicsim's flow table: what filters match, what they do, what is refused, and what becomes of a miss.

mod actions;
mod chains;
mod conntrack;
mod ecn;
mod keys;
mod lab;
mod packet;
mod refusals;
mod tunnels;

use super::{Case, Kernels};

pub(super) const CASES: &[Case] = &[
    all("nicsim-flow/every-key-hits-and-misses", keys::every_key_hits_and_misses),
    all("nicsim-flow/counters-reach-tc", keys::counters_reach_tc),
    all("nicsim-flow/every-action-does-what-it-says", actions::every_action_does_what_it_says),
    all("nicsim-flow/order-of-actions", actions::order_matters),
    all("nicsim-flow/from-the-wire", actions::from_the_wire),
    all("nicsim-flow/shared-block", actions::shared_block),
    all("nicsim-flow/police", actions::police),
    all("nicsim-flow/police-limits-length", actions::police_limits_length),
    all("nicsim-flow/prios", chains::prios),
    all("nicsim-flow/replace", chains::replace),
    all("nicsim-flow/goto-sees-edits", chains::goto_sees_edits),
    all("nicsim-flow/goto-loop-ends", chains::goto_loop_ends),
    all("nicsim-flow/miss-in-a-later-chain", chains::miss_in_a_later_chain),
    all("nicsim-flow/pass-in-a-later-chain", chains::pass_in_a_later_chain),
    all("nicsim-flow/miss-after-an-edit", chains::miss_after_an_edit),
    all("nicsim-flow/each-profile-says-why", refusals::each_profile_says_why),
    all("nicsim-flow/refused-stays-in-software", refusals::refused_filters_stay_in_software),
    all("nicsim-flow/capacity", refusals::capacity),
    all("nicsim-flow/insertion-fault", refusals::insertion_fault),
    all("nicsim-flow/offload-must-be-on", refusals::offload_must_be_on),
    all("nicsim-flow/mlx5-without-ignore-flow-level", refusals::mlx5_without_ignore_flow_level),
    all("nicsim-flow/ct-udp", conntrack::udp),
    all("nicsim-flow/ct-tcp", conntrack::tcp),
    all("nicsim-flow/ct-nat", conntrack::nat),
    all("nicsim-flow/ct-clear", conntrack::clear),
    all("nicsim-flow/vxlan", tunnels::vxlan_both_ways),
    all("nicsim-flow/geneve-options", tunnels::geneve_with_options),
    all("nicsim-flow/gre-key", tunnels::gre_with_a_key),
    all("nicsim-flow/outer-ecn", ecn::as_the_kernel_writes_it),
    all("nicsim-flow/unknown-neighbour", tunnels::unknown_neighbour),
    all("nicsim-flow/tunnel-refusals", tunnels::refused),
    all("nicsim-flow/tunnel-device-goes-away", tunnels::device_goes_away),
];

const fn all(name: &'static str, run: fn(&mut super::Ctx) -> anyhow::Result<()>) -> Case {
    Case { name, kernels: Kernels::All, run }
}
