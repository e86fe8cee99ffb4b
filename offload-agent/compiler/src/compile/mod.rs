//! Compiles a ruleset to filters: [`compile`] is the list of passes.
//!
//! ```text
//! Ruleset ─► resolve ─► reach ─► specialize ─► simplify ─┐            Program: OpenFlow's view
//!            ┌───────────────────────────────────────────┘
//!            └► split ─► legalize ─► ground ─► shield ─► assign_chains ─► assign_prios ─► lower ─► Plan
//!                                                                     FlowerProgram: flower's view
//! ```
//!
//! All of it is pure: the same rules, ports and capabilities give the same bytes. From `split` on, an entry takes exactly
//! the packets OpenFlow gives its rule, or it passes them to OVS; no later pass has to think about OpenFlow again.

pub mod interp;
pub mod ir;
mod lower;
mod pass;
pub mod verdict;
pub mod verify;

use crate::capabilities::Capabilities;
use crate::openflow::Ruleset;
use crate::plan::Plan;
use crate::ports::PortMap;
use ir::{FlowerProgram, Program, Rules};
use verdict::Verdict;

/// What a ruleset comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// The filters.
    pub plan: Plan,
    /// One for every rule, in the order of bridge, table, priority and match.
    pub verdicts: Vec<Verdict>,
}

/// Compiles the rules of all bridges for the ports that sit on a card.
pub fn compile(ruleset: &Ruleset, ports: &PortMap, capabilities: &Capabilities) -> Compiled {
    let input = Input { rules: Rules::of(ruleset), ports, capabilities };
    let program = front(&input, Stage::Simplify);
    let program = back(program, &input, Stage::AssignPrios);
    lower::run(&program, &input)
}

/// What every pass may look at.
#[derive(Debug)]
pub struct Input<'a> {
    /// The rules.
    pub rules: Rules<'a>,
    /// The ports.
    pub ports: &'a PortMap,
    /// The card.
    pub capabilities: &'a Capabilities,
}

/// The passes, in order; tests stop after one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the pass of the same name")]
pub enum Stage {
    Resolve,
    Reach,
    Specialize,
    Simplify,
    Split,
    Legalize,
    Ground,
    Shield,
    AssignChains,
    AssignPrios,
}

/// The passes over OpenFlow's view, up to and with one of them.
pub fn front(input: &Input<'_>, last: Stage) -> Program {
    let mut program = pass::resolve::run(input);
    let mut step = |stage: Stage, pass: fn(&mut Program, &Input<'_>)| {
        if stage <= last {
            pass(&mut program, input);
            verify::checked(verify::program(&program, stage));
        }
    };
    step(Stage::Reach, pass::reach::run);
    step(Stage::Specialize, pass::specialize::run);
    step(Stage::Simplify, pass::simplify::run);
    program
}

/// The passes over flower's view, up to and with one of them.
pub fn back(program: Program, input: &Input<'_>, last: Stage) -> FlowerProgram {
    let mut program = pass::split::run(program, input);
    let mut step = |stage: Stage, pass: fn(&mut FlowerProgram, &Input<'_>)| {
        if stage <= last {
            pass(&mut program, input);
        }
        verify::checked(verify::flower(&program, stage.min(last)));
    };
    step(Stage::Split, |_, _| {});
    step(Stage::Legalize, pass::legalize::run);
    step(Stage::Ground, pass::ground::run);
    step(Stage::Shield, pass::shield::run);
    step(Stage::AssignChains, pass::assign_chains::run);
    step(Stage::AssignPrios, pass::assign_prios::run);
    program
}
