//! Which rule of a table takes a packet, conjunctions included (`classifier_lookup__` in `lib/classifier.c`).

use std::collections::{BTreeMap, BTreeSet};

use super::flow::{Flow, is_known};
use crate::openflow::{Action, Field, Match, OfPriority, Rule};

/// The rules that OVS may take; more than one if they have the same priority.
pub(super) struct Found<'a> {
    pub(super) rules: Vec<&'a Rule>,
    /// A rule that might take the packet asks for something this reading does not know.
    pub(super) unsure: bool,
}

/// Looks the packet up.
pub(super) fn classify<'a>(rules: impl Iterator<Item = &'a Rule>, flow: &Flow) -> Found<'a> {
    let mut unsure = false;
    let mut table: Vec<&'a Rule> = Vec::new();
    for rule in rules {
        match matches(&rule.match_, flow) {
            Some(false) => {}
            Some(true) => table.push(rule),
            None => {
                unsure = true;
                table.push(rule);
            }
        }
    }
    let (rules, muddled) = best(&table, flow);
    // What is unknown does not matter below the rule that is taken.
    let taken = rules.first().map(|rule| rule.priority);
    let unsure = unsure
        && table.iter().any(|rule| {
            taken.is_none_or(|taken| rule.priority >= taken)
                && matches(&rule.match_, flow).is_none()
        });
    Found { unsure: unsure || muddled, rules }
}

/// Of the rules that match but for `conj_id`: hard ones from above, until a conjunction above them is complete; and whether that can be
/// told.
fn best<'a>(table: &[&'a Rule], flow: &Flow) -> (Vec<&'a Rule>, bool) {
    let hard = top(table, flow.get(Field::ConjId));
    let hard_priority = hard.first().map(|rule| rule.priority);
    let soft: Vec<&Rule> = table.iter().copied().filter(|rule| is_clause(rule)).collect();
    let mut priorities: BTreeSet<OfPriority> = soft.iter().map(|rule| rule.priority).collect();
    let mut muddled = false;
    while let Some(priority) = priorities.pop_last() {
        if hard_priority.is_some_and(|hard| hard >= priority) {
            break;
        }
        let mut clauses = soft.clone();
        clauses.retain(|rule| rule.priority == priority);
        muddled |= is_muddled(&clauses);
        let found: Vec<&Rule> =
            complete(&clauses).into_iter().flat_map(|id| top(table, id)).collect();
        if !found.is_empty() {
            return (found, muddled);
        }
    }
    (hard, muddled)
}

fn is_clause(rule: &Rule) -> bool {
    rule.actions.iter().any(|action| matches!(action, Action::Conjunction { .. }))
}

/// The highest rules that are no clauses, with this `conj_id`.
fn top<'a>(table: &[&'a Rule], id: u128) -> Vec<&'a Rule> {
    let asks = |rule: &Rule| rule.match_.get(Field::ConjId).is_none_or(|asked| asked.covers(id));
    let hard = || table.iter().filter(|rule| !is_clause(rule) && asks(rule));
    let priority = hard().map(|rule| rule.priority).max();
    hard().filter(|rule| Some(rule.priority) == priority).copied().collect()
}

/// Whether clauses of one conjunction disagree on how many there are, and all that the fewest speak of match: OVS takes the word of the one
/// that it happens to find first.
fn is_muddled(clauses: &[&Rule]) -> bool {
    let mut found: BTreeMap<u32, [BTreeSet<u8>; 2]> = BTreeMap::new();
    for action in clauses.iter().flat_map(|rule| &rule.actions) {
        if let Action::Conjunction { id, clause, n_clauses } = action {
            let [counts, met] = found.entry(*id).or_default();
            counts.insert(*n_clauses);
            met.insert(*clause);
        }
    }
    found.values().any(|[counts, met]| {
        let fewest = counts.first().copied().unwrap_or_default();
        counts.len() > 1 && (0..fewest).all(|clause| met.contains(&clause))
    })
}

/// The conjunctions of which every clause matches.
fn complete(clauses: &[&Rule]) -> Vec<u128> {
    let mut met: BTreeMap<u32, (u8, BTreeSet<u8>)> = BTreeMap::new();
    for action in clauses.iter().flat_map(|rule| &rule.actions) {
        if let Action::Conjunction { id, clause, n_clauses } = action {
            met.entry(*id).or_insert((*n_clauses, BTreeSet::new())).1.insert(*clause);
        }
    }
    let whole = met
        .into_iter()
        .filter(|(_, (wanted, met))| (0..*wanted).all(|clause| met.contains(&clause)));
    whole.map(|(id, _)| u128::from(id)).collect()
}

/// Whether a match holds but for `conj_id`; `None` if it asks for something that is not known.
fn matches(takes: &Match, flow: &Flow) -> Option<bool> {
    let mut sure = takes.unsupported().is_empty();
    for asked in takes.fields() {
        match asked.field {
            Field::ConjId => {}
            // An option that is not there is not 0.
            Field::TunMetadata(number) if !flow.has_option(number) => return Some(false),
            field if is_known(field) => {
                if !asked.masked.covers(flow.get(field)) {
                    return Some(false);
                }
            }
            field if !flow.has(field) => return Some(false),
            _ => sure = false,
        }
    }
    sure.then_some(true)
}
