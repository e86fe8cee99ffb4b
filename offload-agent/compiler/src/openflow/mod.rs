//! OpenFlow as Open vSwitch speaks it: rules, groups and meters as values, and the two languages they come in.
//!
//! Nothing here does I/O. What a rule says that this program does not know is kept as [`Unsupported`], never left out: a
//! match without one of its fields would take packets that belong to others.

mod action;
mod encoding;
mod field;
mod matches;
mod number;
mod ruleset;
pub mod text;
mod update;
pub mod wire;

pub use action::{
    Action, Alg, Assignment, Bundle, BundleAlgorithm, Controller, Ct, DebugAction, Encap,
    HashFields, Learn, LearnSpec, Multipath, MultipathAlgorithm, Nat, NatDirection, Resubmit,
    Sample, SampleDirection, SampleId, SetField, Subfield, Zone,
};
pub use field::{Field, FieldInfo, MaskRule, Notation, Prerequisite, low_bits};
pub use matches::{Masked, Match, MatchField, Unsupported, VLAN_PRESENT};
pub use number::{BridgeName, Cookie, GroupId, MeterId, OfPort, OfPriority, TableId};
pub use ruleset::{
    Band, BandKind, BridgeRules, Bucket, Group, GroupType, Meter, MeterUnit, Rule, RuleFlags,
    RuleKey, Ruleset, Selection, TunnelOption,
};
pub use update::RuleUpdate;
