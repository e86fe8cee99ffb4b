//! Actions as `ovs-ofctl` writes them. Each file reads and writes one kind.

mod choose;
mod control;
mod ct;
mod header;
mod learn;
mod output;
mod sample;
mod subfield;
mod write;

use std::borrow::Cow;
use std::fmt;

use super::error::{ParseError, Problem};
use super::names::Names;
use super::token::Token;
use crate::openflow::{Action, OfPort, Unsupported};

/// How deep `clone`, `ct` and `write_actions` may hold each other.
const NESTING_LIMIT: u8 = 32;

/// What the reader of an action knows beside its text.
#[derive(Clone, Copy)]
struct Context<'a> {
    names: &'a Names,
    depth: u8,
}

/// An action's name and what follows it: nothing, `:...` or `(...)`.
#[derive(Clone, Copy)]
struct Call<'a> {
    word: Token<'a>,
    name: Token<'a>,
    rest: Token<'a>,
}

impl<'a> Call<'a> {
    fn new(word: Token<'a>) -> Call<'a> {
        let text = word.text();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        Call { word, name: word.slice(0, end), rest: word.slice(end, text.len()) }
    }

    /// What follows the colon, or stands in the brackets.
    fn argument(self, example: &'static str) -> Result<Token<'a>, ParseError> {
        let argument = self.rest.strip_prefix(":").or_else(|| self.rest.bracketed("("));
        argument
            .filter(|argument| !argument.text().is_empty())
            .ok_or_else(|| self.malformed(example))
    }

    /// The pieces in the brackets; without brackets there are none.
    fn items(self, example: &'static str) -> Result<Vec<Token<'a>>, ParseError> {
        match self.rest.bracketed("(") {
            Some(inside) if inside.trim().text().is_empty() => Ok(Vec::new()),
            Some(inside) => inside.items(),
            None if self.rest.text().is_empty() => Ok(Vec::new()),
            None => Err(self.malformed(example)),
        }
    }

    /// The action itself, when nothing follows its name.
    fn alone(self, action: Action, example: &'static str) -> Result<Action, ParseError> {
        if self.rest.text().is_empty() { Ok(action) } else { Err(self.malformed(example)) }
    }

    fn malformed(self, example: &'static str) -> ParseError {
        self.word.error(Problem::Malformed { example })
    }
}

/// Reads a list of actions; `drop` is the empty one.
pub(super) fn parse_list(list: Token<'_>, names: &Names) -> Result<Vec<Action>, ParseError> {
    parse_nested(list, Context { names, depth: 0 })
}

fn parse_nested(list: Token<'_>, context: Context<'_>) -> Result<Vec<Action>, ParseError> {
    let words = list.words()?;
    let is_drop = |word: &Token<'_>| word.text().eq_ignore_ascii_case("drop");
    if words.iter().any(is_drop) && words.len() > 1 {
        return Err(list.error(Problem::Malformed { example: "actions=drop, on its own" }));
    }
    words.into_iter().filter(|word| !is_drop(word)).map(|word| parse_one(word, context)).collect()
}

/// Reads the actions inside another one.
fn parse_inner(list: Token<'_>, context: Context<'_>) -> Result<Vec<Action>, ParseError> {
    if context.depth >= NESTING_LIMIT {
        return Err(list.error(Problem::TooDeep { limit: NESTING_LIMIT }));
    }
    parse_nested(list, Context { depth: context.depth + 1, ..context })
}

fn parse_one(word: Token<'_>, context: Context<'_>) -> Result<Action, ParseError> {
    let call = Call::new(word);
    let name = in_lower_case(call.name.text());
    let call = Call { name: Token::line(&name), ..call };
    match call.name.text() {
        "output" => output::parse_output(call, context),
        "controller" => output::parse_controller(call),
        "group" => output::parse_group(call),
        "enqueue" => output::parse_enqueue(call, context),
        "set_queue" => Ok(Action::SetQueue(call.argument("set_queue:1")?.uint()?)),
        "pop_queue" => call.alone(Action::PopQueue, "pop_queue"),
        "bundle" => choose::parse_bundle(call, context),
        "bundle_load" => choose::parse_bundle_load(call, context),
        "multipath" => choose::parse_multipath(call),

        "set_field" => write::parse_set_field(call, context),
        "load" => write::parse_load(call),
        "move" => write::parse_move(call),
        "push" => write::parse_push(call),
        "pop" => write::parse_pop(call),
        "delete_field" => write::parse_delete_field(call),
        "mod_dl_src" | "mod_dl_dst" => write::parse_mod_mac(call),
        "mod_nw_src" | "mod_nw_dst" => write::parse_mod_ip(call),
        "mod_nw_tos" | "mod_nw_ecn" | "mod_nw_ttl" => write::parse_mod_ip_byte(call),
        "mod_tp_src" | "mod_tp_dst" => write::parse_mod_port(call),
        "mod_vlan_vid" | "set_vlan_vid" => write::parse_vlan_vid(call),
        "mod_vlan_pcp" | "set_vlan_pcp" => write::parse_vlan_pcp(call),
        "set_tunnel" | "set_tunnel64" => write::parse_set_tunnel(call),
        "set_mpls_label" | "set_mpls_tc" | "set_mpls_ttl" => write::parse_set_mpls(call),
        "dec_ttl" => write::parse_dec_ttl(call),
        "dec_mpls_ttl" => call.alone(Action::DecMplsTtl, "dec_mpls_ttl"),
        "dec_nsh_ttl" => call.alone(Action::DecNshTtl, "dec_nsh_ttl"),

        "push_vlan" | "push_mpls" | "pop_mpls" => header::parse_ethertype(call),
        "pop_vlan" => call.alone(Action::PopVlan, "pop_vlan"),
        "strip_vlan" => call.alone(Action::StripVlan, "strip_vlan"),
        "encap" => header::parse_encap(call),
        "decap" => header::parse_decap(call),

        "resubmit" => control::parse_resubmit(call, context),
        "goto_table" => Ok(Action::GotoTable(context.names.table(call.argument("goto_table:1")?)?)),
        "clone" => control::parse_clone(call, context),
        "write_actions" => control::parse_write_actions(call, context),
        "clear_actions" => call.alone(Action::ClearActions, "clear_actions"),
        "write_metadata" => control::parse_write_metadata(call, context),
        "meter" => control::parse_meter(call),
        "conjunction" => control::parse_conjunction(call),
        "fin_timeout" => control::parse_fin_timeout(call),
        "check_pkt_larger" => control::parse_check_pkt_larger(call),
        "note" => control::parse_note(call),
        "exit" => call.alone(Action::Exit, "exit"),
        "debug_slow" | "debug_recirc" => control::parse_debug(call),

        "ct" => ct::parse_ct(call, context),
        "ct_clear" => call.alone(Action::CtClear, "ct_clear"),
        "nat" => ct::parse_nat(call),
        "learn" => learn::parse_learn(call, context),
        "sample" => sample::parse_sample(call, context),
        _ => parse_bare_port_or_unknown(call, context),
    }
}

/// OVS compares the names of actions without regard to case (`ofpact_type_from_name`).
fn in_lower_case(name: &str) -> Cow<'_, str> {
    match name.contains(|c: char| c.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

/// A port on its own is an output, and the controller's sends no byte of the packet; any other word is an action of a newer OVS.
fn parse_bare_port_or_unknown(call: Call<'_>, context: Context<'_>) -> Result<Action, ParseError> {
    match context.names.port(call.word) {
        Ok(OfPort::CONTROLLER) => return Ok(Action::OutputController { max_len: 0 }),
        Ok(port) => return Ok(Action::Output(port)),
        Err(_) => {}
    }
    if !call.name.text().starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(call.word.error(Problem::UnknownPort));
    }
    let begins_arguments = call.rest.text().is_empty() || call.rest.text().starts_with([':', '(']);
    match begins_arguments {
        true => Ok(Action::Unsupported(Unsupported::Text(call.word.text().to_owned()))),
        false => Err(call.malformed("output:1, or another action")),
    }
}

/// A list of actions as OVS writes it.
pub(crate) struct ActionList<'a>(pub(crate) &'a [Action]);

impl fmt::Display for ActionList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("drop");
        }
        write_joined(f, self.0)
    }
}

/// Pieces with commas between them.
fn write_joined<T: fmt::Display>(f: &mut fmt::Formatter<'_>, pieces: &[T]) -> fmt::Result {
    pieces
        .iter()
        .enumerate()
        .try_for_each(|(n, piece)| write!(f, "{}{piece}", if n == 0 { "" } else { "," }))
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Output(port) => output::write_output(f, *port),
            Action::OutputController { max_len } => write!(f, "CONTROLLER:{max_len}"),
            Action::OutputReg { source, .. } => write!(f, "output:{source}"),
            Action::OutputTrunc { port, max_len } => {
                write!(f, "output(port={port},max_len={max_len})")
            }
            Action::Controller(controller) => output::write_controller(f, controller),
            Action::Group(group) => write!(f, "group:{group}"),
            Action::Enqueue { port, queue } => write!(f, "enqueue:{port}:{queue}"),
            Action::SetQueue(queue) => write!(f, "set_queue:{queue}"),
            Action::PopQueue => f.write_str("pop_queue"),
            Action::Bundle(bundle) => choose::write_bundle(f, bundle),
            Action::Multipath(multipath) => choose::write_multipath(f, multipath),

            Action::SetField(_)
            | Action::Load { .. }
            | Action::Move { .. }
            | Action::Push(_)
            | Action::Pop(_)
            | Action::DeleteField(_)
            | Action::SetTunnel { .. }
            | Action::DecTtl { .. }
            | Action::DecMplsTtl
            | Action::DecNshTtl => write::write_generic(f, self),
            Action::ModDlSrc(_)
            | Action::ModDlDst(_)
            | Action::ModNwSrc(_)
            | Action::ModNwDst(_)
            | Action::ModNwTos(_)
            | Action::ModNwEcn(_)
            | Action::ModNwTtl(_)
            | Action::ModTpSrc(_)
            | Action::ModTpDst(_)
            | Action::ModVlanVid(_)
            | Action::SetVlanVid(_)
            | Action::ModVlanPcp(_)
            | Action::SetVlanPcp(_)
            | Action::SetMplsLabel(_)
            | Action::SetMplsTc(_)
            | Action::SetMplsTtl(_) => write::write_by_name(f, self),

            Action::PushVlan(_)
            | Action::PopVlan
            | Action::StripVlan
            | Action::PushMpls(_)
            | Action::PopMpls(_)
            | Action::Encap(_)
            | Action::Decap { .. } => header::write(f, self),

            Action::Resubmit(resubmit) => control::write_resubmit(f, resubmit),
            Action::GotoTable(table) => write!(f, "goto_table:{table}"),
            Action::Clone(actions) => write!(f, "clone({})", ActionList(actions)),
            Action::WriteActions(actions) => write!(f, "write_actions({})", ActionList(actions)),
            Action::ClearActions => f.write_str("clear_actions"),
            Action::WriteMetadata(masked) => control::write_metadata(f, *masked),
            Action::Meter(meter) => write!(f, "meter:{meter}"),
            Action::Conjunction { id, clause, n_clauses } => {
                write!(f, "conjunction({id},{}/{n_clauses})", u16::from(*clause) + 1)
            }
            Action::FinTimeout { idle, hard } => control::write_fin_timeout(f, *idle, *hard),
            Action::CheckPktLarger { len, dst } => write!(f, "check_pkt_larger({len})->{dst}"),
            Action::Note(bytes) => write!(f, "note:{}", Dotted(bytes)),
            Action::Exit => f.write_str("exit"),
            Action::Debug(debug) => control::write_debug(f, *debug),

            Action::Ct(ct) => ct::write_ct(f, ct),
            Action::CtClear => f.write_str("ct_clear"),
            Action::Nat(nat) => ct::write_nat(f, nat),
            Action::Learn(learn) => learn::write_learn(f, learn),
            Action::Sample(sample) => sample::write_sample(f, sample),
            Action::Unsupported(raw) => raw.fmt(f),
        }
    }
}

/// Bytes as OVS writes them: `01.02.ff`.
struct Dotted<'a>(&'a [u8]);

impl fmt::Display for Dotted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .enumerate()
            .try_for_each(|(n, byte)| write!(f, "{}{byte:02x}", if n == 0 { "" } else { "." }))
    }
}

/// Reads bytes like `01.02.ff`; the dots may be left out.
fn parse_dotted(token: Token<'_>) -> Result<Vec<u8>, ParseError> {
    let digits: Vec<u32> =
        token.text().chars().filter(|c| *c != '.').map_while(|c| c.to_digit(16)).collect();
    let written = token.text().chars().filter(|c| *c != '.').count();
    if digits.len() != written || !digits.len().is_multiple_of(2) {
        return Err(token.error(Problem::Malformed { example: "bytes like 00.01.ff" }));
    }
    Ok(digits
        .chunks_exact(2)
        .filter_map(|pair| u8::try_from(pair.iter().fold(0, |n, digit| n << 4 | digit)).ok())
        .collect())
}
