//! A rule on a line: what `ovs-ofctl dump-flows` prints, and what `ovs-ofctl add-flow` takes.

use std::fmt;
use std::str::FromStr;

use super::action::{self, ActionList};
use super::error::{ParseError, Problem};
use super::matches;
use super::names::Names;
use super::token::{Token, ends_word};
use crate::openflow::{Cookie, OfPriority, Rule, RuleFlags, TableId};

/// What a dump says of a rule beside the rule itself: it changes from second to second.
const STATISTICS: [&str; 5] = ["duration", "n_packets", "n_bytes", "idle_age", "hard_age"];

/// Reads one rule.
pub(super) fn parse(line: &str, names: &Names) -> Result<Rule, ParseError> {
    let line = Token::line(line).trim();
    let (head, actions) = split_actions(line).ok_or_else(|| line.error(Problem::NoActions))?;
    let mut rule = Rule { actions: action::parse_list(actions, names)?, ..Rule::default() };
    let mut about_packets = Vec::new();
    for word in head.words()? {
        if !attribute(&mut rule, word, names)? {
            about_packets.push(word);
        }
    }
    rule.match_ = matches::parse(&about_packets, names)?;
    Ok(rule)
}

/// The two sides of `actions=`, which stands at the beginning of a word.
fn split_actions(line: Token<'_>) -> Option<(Token<'_>, Token<'_>)> {
    const KEY: &str = "actions=";
    let starts_word = |at: usize| {
        let head = line.text().get(..at);
        head.is_some_and(|head| head.is_empty() || head.ends_with(ends_word))
    };
    let at = line.text().match_indices(KEY).map(|(at, _)| at).find(|at| starts_word(*at))?;
    Some((line.slice(0, at), line.slice(at + KEY.len(), line.text().len())))
}

/// Whether the word is about the rule rather than about its packets; if so it is taken.
fn attribute(rule: &mut Rule, word: Token<'_>, names: &Names) -> Result<bool, ParseError> {
    match word.split_once("=") {
        Some((key, value)) => number(rule, key.text(), value, names),
        None => Ok(flag(&mut rule.flags, word.text())),
    }
}

fn number(rule: &mut Rule, key: &str, value: Token<'_>, names: &Names) -> Result<bool, ParseError> {
    match key {
        "table" => rule.table = names.table(value)?,
        "priority" => rule.priority = OfPriority(value.uint()?),
        "cookie" => rule.cookie = Cookie(value.uint()?),
        "idle_timeout" => rule.idle_timeout = value.uint()?,
        "hard_timeout" => rule.hard_timeout = value.uint()?,
        "importance" => rule.importance = value.uint()?,
        _ => return Ok(STATISTICS.contains(&key)),
    }
    Ok(true)
}

fn flag(flags: &mut RuleFlags, word: &str) -> bool {
    let flag = match word {
        "send_flow_rem" => &mut flags.send_flow_rem,
        "check_overlap" => &mut flags.check_overlap,
        "reset_counts" => &mut flags.reset_counts,
        "no_packet_counts" => &mut flags.no_packet_counts,
        "no_byte_counts" => &mut flags.no_byte_counts,
        _ => return false,
    };
    *flag = true;
    true
}

impl FromStr for Rule {
    type Err = ParseError;

    fn from_str(line: &str) -> Result<Rule, ParseError> {
        parse(line, &Names::default())
    }
}

/// As `ovs-ofctl dump-flows --no-stats` writes it, without the blank in front.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_attributes(f, self)?;
        let match_ = self.match_.to_string();
        let priority =
            (self.priority != OfPriority::DEFAULT).then(|| format!("priority={}", self.priority));
        let head =
            [priority.unwrap_or_default(), match_].into_iter().filter(|part| !part.is_empty());
        let head = head.collect::<Vec<_>>().join(",");
        let blank = if head.is_empty() { "" } else { " " };
        write!(f, "{head}{blank}actions={}", ActionList(&self.actions))
    }
}

fn write_attributes(f: &mut fmt::Formatter<'_>, rule: &Rule) -> fmt::Result {
    if rule.cookie != Cookie::default() {
        write!(f, "cookie={}, ", rule.cookie)?;
    }
    if rule.table != TableId::default() {
        write!(f, "table={}, ", rule.table)?;
    }
    write_nonzero(f, "idle_timeout", rule.idle_timeout)?;
    write_nonzero(f, "hard_timeout", rule.hard_timeout)?;
    write_flags(f, &rule.flags)?;
    write_nonzero(f, "importance", rule.importance)
}

fn write_nonzero(f: &mut fmt::Formatter<'_>, key: &str, number: u16) -> fmt::Result {
    if number == 0 { Ok(()) } else { write!(f, "{key}={number}, ") }
}

fn write_flags(f: &mut fmt::Formatter<'_>, flags: &RuleFlags) -> fmt::Result {
    let words = [
        (flags.send_flow_rem, "send_flow_rem "),
        (flags.check_overlap, "check_overlap "),
        (flags.reset_counts, "reset_counts "),
        (flags.no_packet_counts, "no_packet_counts "),
        (flags.no_byte_counts, "no_byte_counts "),
    ];
    words.iter().filter(|(set, _)| *set).try_for_each(|(_, word)| f.write_str(word))
}
