//! `--traffic`: packets by name, and for each whether filters finish it; a table to accept a node by.
//!
//! ```text
//! pod to pod       tc    5 filters, leaves by pod5_h of br-int
//! pod to Service   ovs   br-int table=20,...: a group that chooses
//!
//! 1 of 2 finished by filters
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use flow_compiler::compile::interp::{Expected, Fate, openflow, outcomes};
use flow_compiler::openflow::Ruleset;
use flow_compiler::ports::PortMap;
use serde::Deserialize;
use tc_filter::FilterId;

use super::connection::{CtConnection, CtState, conntrack};
use super::error::{CompileError, PacketError};
use super::explain::{Asked, Explanation};
use super::ports::first_line;
use crate::cli::Exit;

/// One packet of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// What the table calls it.
    name: String,
    /// As for `--explain-packet`.
    packet: String,
    /// As for `--ct-state`.
    #[serde(default)]
    ct_state: CtState,
    /// Each as for `--ct-connection`.
    #[serde(default)]
    ct_connections: Vec<String>,
}

/// The packets of a file.
#[derive(Debug)]
pub(super) struct Traffic {
    packets: Vec<(String, Asked)>,
}

impl Traffic {
    /// Reads the file.
    pub(super) fn read(
        file: &Path,
        ports: &PortMap,
        ruleset: &Ruleset,
    ) -> Result<Traffic, CompileError> {
        let text = fs::read_to_string(file)
            .map_err(|problem| CompileError::Read { file: file.to_owned(), problem })?;
        let entries: Vec<Entry> = serde_saphyr::from_str(&text).map_err(|error| {
            CompileError::TrafficFile { file: file.to_owned(), reason: first_line(&error) }
        })?;
        let packets = entries.into_iter().map(|entry| {
            let asked = entry.asked(ports, ruleset);
            let name = entry.name;
            match asked {
                Ok(asked) => Ok((name, asked)),
                Err(problem) => Err(CompileError::Traffic { file: file.to_owned(), name, problem }),
            }
        });
        Ok(Traffic { packets: packets.collect::<Result<_, _>>()? })
    }

    /// Prints the table; the answer is no when OVS has to do some of it.
    pub(super) fn print(
        &self,
        explanation: &Explanation<'_>,
        to: &mut impl Write,
    ) -> io::Result<Exit> {
        let width = self.packets.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut finished = 0;
        for (name, asked) in &self.packets {
            let fate = fate(explanation, asked);
            finished += usize::from(fate.is_ok());
            match fate {
                Ok(where_to) => writeln!(to, "{name:width$}  tc   {where_to}")?,
                Err(why) => writeln!(to, "{name:width$}  ovs  {why}")?,
            }
        }
        let all = self.packets.len();
        writeln!(to, "\n{finished} of {all} finished by filters")?;
        Ok(if finished == all { Exit::Success } else { Exit::No })
    }
}

impl Entry {
    fn asked(&self, ports: &PortMap, ruleset: &Ruleset) -> Result<Asked, PacketError> {
        let named = self.ct_connections.iter().map(|text| text.parse::<CtConnection>());
        let named = named.collect::<Result<Vec<_>, _>>().map_err(PacketError::Connection)?;
        Asked::parse(&self.packet, conntrack(self.ct_state, &named), ports, ruleset)
    }
}

/// Where filters send the packet, or what leaves it to OVS.
fn fate(explanation: &Explanation<'_>, asked: &Asked) -> Result<String, String> {
    let world = explanation.world(asked);
    let followed = explanation.follow(asked);
    let expected = openflow(&world, &asked.ingress, &asked.packet);
    if !followed.fate.agrees(&expected) {
        return Err("NOT what the rules say: this is a fault of the compiler".to_owned());
    }
    match followed.fate {
        Fate::Delivered(effects) => {
            let places = effects.deliveries.iter().map(|one| explanation.place(&one.to));
            let places = places.collect::<Vec<_>>().join(", ");
            let end = if places.is_empty() {
                "dropped".to_owned()
            } else {
                format!("leaves by {places}")
            };
            let filters = if followed.hits.len() == 1 { "filter" } else { "filters" };
            Ok(format!("{} {filters}, {end}", followed.hits.len()))
        }
        Fate::Ovs | Fate::Spoiled => {
            if let Expected::Unknown(doubts) = &expected {
                let doubts: Vec<String> = doubts.iter().map(ToString::to_string).collect();
                return Err(format!("only OVS can do it: {}", doubts.join("; ")));
            }
            Err(why(explanation, asked, followed.hits.last()))
        }
    }
}

/// What the guard says that keeps the packet for OVS; where no filter takes it, all that keeps the rules' packets there.
fn why(explanation: &Explanation<'_>, asked: &Asked, last: Option<&FilterId>) -> String {
    let world = explanation.world(asked);
    let ways = outcomes(&world, &asked.ingress, &asked.packet);
    let guard = last.and_then(|last| explanation.guard(asked, last));
    let reasons = guard.unwrap_or_else(|| explanation.reasons(asked, &ways));
    let mut told = BTreeSet::new();
    let serious =
        reasons.iter().filter(|(.., reason)| !reason.is_marginal() && told.insert(*reason));
    let serious =
        serious.map(|(bridge, verdict, reason)| format!("{bridge} {}: {reason}", verdict.text));
    let serious: Vec<String> = serious.collect();
    if serious.is_empty() { "no filter takes it".to_owned() } else { serious.join("; ") }
}
