//! Partial evaluation: what the tables of all bridges come to for a packet of which only the input port is known.
//!
//! A [`state::State`] knows the bits of registers and metadata as constants, or as aliases of the packet's own bits. A
//! match is decided if it can be; else it is a question to the packet, an [`graph::Edge`] of a [`graph::Node`]. Writes to
//! headers are kept in the tails and become edits only where the packet leaves.
//!
//! ```text
//! table 0  in_port=1          -> load:7->reg0,resubmit(,1)        ask
//! table 1  reg0=7             -> resubmit(,2)                       tcp: set eth_src, output 2
//! table 2  tcp                -> set_field:..->eth_src,output:2     any: done (drop)
//! table 2  any                -> drop
//! ```

mod act;
mod alike;
mod common;
mod conjunction;
mod ct;
mod doom;
mod explore;
pub(super) mod fragment;
pub(super) mod graph;
mod group;
mod lookup;
mod masks;
mod memo;
mod name;
pub(super) mod needs;
mod normal;
mod output;
mod question;
pub(super) mod reads;
mod sets;
pub(super) mod state;
mod table;
mod tie;
mod tunnel;
mod turns;
pub(super) mod value;

pub(super) use doom::Unwalked;
pub(super) use explore::Explorer;
pub(super) use output::problem as port_problem;
