//! Actions that send the packet somewhere.

use std::fmt;

use super::{Call, Context, Dotted, ParseError, Problem, Token, parse_dotted, subfield};
use crate::openflow::{Action, Controller, GroupId, MeterId, OfPort};

const OUTPUT_EXAMPLE: &str = "output:1, output:reg0[0..15] or output(port=1,max_len=64)";
const CONTROLLER_EXAMPLE: &str =
    "CONTROLLER:65535 or controller(max_len=128,id=1,userdata=00.01,pause)";
/// The reasons of a packet-in, by their numbers.
const REASONS: [&str; 6] =
    ["no_match", "action", "invalid_ttl", "action_set", "group", "packet_out"];

pub(super) fn parse_output(call: Call<'_>, context: Context<'_>) -> Result<Action, ParseError> {
    if let Some(arguments) = call.rest.bracketed("(") {
        return parse_truncated(call, arguments, context);
    }
    let target = call.argument(OUTPUT_EXAMPLE)?;
    match context.names.port(target) {
        Ok(OfPort::CONTROLLER) => {
            Ok(Action::OutputController { max_len: Controller::WHOLE_PACKET })
        }
        Ok(port) => Ok(Action::Output(port)),
        Err(not_a_port) => match subfield::parse(target) {
            Ok(source) => Ok(Action::OutputReg { source, max_len: Controller::WHOLE_PACKET }),
            Err(bad) if target.text().contains('[') => Err(bad),
            Err(_) => Err(not_a_port),
        },
    }
}

fn parse_truncated(
    call: Call<'_>,
    arguments: Token<'_>,
    context: Context<'_>,
) -> Result<Action, ParseError> {
    let (mut port, mut max_len) = (None, None);
    for item in arguments.items()? {
        match item.split_once("=") {
            Some((key, value)) if key.text() == "port" => port = Some(context.names.port(value)?),
            Some((key, value)) if key.text() == "max_len" => max_len = Some(value.uint()?),
            _ => return Err(call.malformed(OUTPUT_EXAMPLE)),
        }
    }
    match (port, max_len) {
        (Some(port), Some(max_len)) => Ok(Action::OutputTrunc { port, max_len }),
        _ => Err(call.malformed(OUTPUT_EXAMPLE)),
    }
}

pub(super) fn parse_controller(call: Call<'_>) -> Result<Action, ParseError> {
    match call.rest.strip_prefix(":") {
        Some(max_len) => Ok(Action::OutputController { max_len: max_len.uint()? }),
        None => parse_controller_call(call),
    }
}

/// `controller(...)` that says no more than `CONTROLLER:...` does is the same action to OVS.
fn parse_controller_call(call: Call<'_>) -> Result<Action, ParseError> {
    let mut controller = Controller::default();
    for item in call.items(CONTROLLER_EXAMPLE)? {
        parse_controller_item(&mut controller, item, call)?;
    }
    let plain = Controller { max_len: controller.max_len, ..Controller::default() };
    match controller == plain {
        true => Ok(Action::OutputController { max_len: plain.max_len }),
        false => Ok(Action::Controller(controller)),
    }
}

fn parse_controller_item(
    controller: &mut Controller,
    item: Token<'_>,
    call: Call<'_>,
) -> Result<(), ParseError> {
    match item.split_once("=") {
        None if item.text() == "pause" => controller.pause = true,
        None => return Err(call.malformed(CONTROLLER_EXAMPLE)),
        Some((key, value)) => match key.text() {
            "max_len" => controller.max_len = value.uint()?,
            "id" => controller.id = value.uint()?,
            "reason" => controller.reason = parse_reason(value)?,
            "userdata" => controller.userdata = parse_dotted(value)?,
            "meter_id" => controller.meter = Some(MeterId(value.uint()?)),
            _ => return Err(call.malformed(CONTROLLER_EXAMPLE)),
        },
    }
    Ok(())
}

fn parse_reason(value: Token<'_>) -> Result<u8, ParseError> {
    let named = REASONS.iter().zip(0u8..).find(|(name, _)| **name == value.text());
    let bad =
        |_| value.error(Problem::Malformed { example: "reason=action, no_match or invalid_ttl" });
    named.map_or_else(|| value.uint().map_err(bad), |(_, number)| Ok(number))
}

pub(super) fn parse_group(call: Call<'_>) -> Result<Action, ParseError> {
    Ok(Action::Group(GroupId(call.argument("group:1")?.uint()?)))
}

pub(super) fn parse_enqueue(call: Call<'_>, context: Context<'_>) -> Result<Action, ParseError> {
    const EXAMPLE: &str = "enqueue:1:0";
    let argument = call.argument(EXAMPLE)?;
    let pair = argument.rsplit_once(":").or_else(|| argument.rsplit_once(","));
    let (port, queue) = pair.ok_or_else(|| call.malformed(EXAMPLE))?;
    Ok(Action::Enqueue { port: context.names.port(port.trim())?, queue: queue.trim().uint()? })
}

pub(super) fn write_output(f: &mut fmt::Formatter<'_>, port: OfPort) -> fmt::Result {
    match port.reserved_name() {
        Some(name) => f.write_str(name),
        None => write!(f, "output:{port}"),
    }
}

pub(super) fn write_controller(f: &mut fmt::Formatter<'_>, controller: &Controller) -> fmt::Result {
    let mut parts = Vec::new();
    if controller.reason != Controller::REASON_ACTION {
        let name = REASONS.get(usize::from(controller.reason)).map(|name| (*name).to_owned());
        parts.push(format!("reason={}", name.unwrap_or_else(|| controller.reason.to_string())));
    }
    if controller.max_len != Controller::WHOLE_PACKET {
        parts.push(format!("max_len={}", controller.max_len));
    }
    if controller.id != 0 {
        parts.push(format!("id={}", controller.id));
    }
    if !controller.userdata.is_empty() {
        parts.push(format!("userdata={}", Dotted(&controller.userdata)));
    }
    if controller.pause {
        parts.push("pause".to_owned());
    }
    if let Some(meter) = controller.meter {
        parts.push(format!("meter_id={meter}"));
    }
    write!(f, "controller({})", parts.join(","))
}
