//! What `compile` prints: tc lines, JSON, or a table of verdicts on rules or on classes of packets.

use std::collections::BTreeMap;
use std::io::{self, Write};

use flow_compiler::Compiled;
use flow_compiler::compile;
use flow_compiler::compile::classes::PortVerdict;
use flow_compiler::compile::verdict::{Reason, Summary, Verdict};
use flow_compiler::ports::PortMap;
use serde_json::{Value, json};
use tc_filter::{Attach, Filter, FilterId, IfIndex};

use super::needs::Needs;
use super::{Output, classes};

/// What is shown of a compilation.
pub(super) struct Shown<'a> {
    filters: Vec<&'a Filter>,
    verdicts: Vec<&'a Verdict>,
    names: &'a BTreeMap<String, IfIndex>,
    compiled: &'a Compiled,
    ports: &'a PortMap,
    from_port: Option<Attach>,
}

impl<'a> Shown<'a> {
    /// All of it, or what concerns one input port.
    pub(super) fn new(
        compiled: &'a Compiled,
        ports: &'a PortMap,
        names: &'a BTreeMap<String, IfIndex>,
        from_port: Option<Attach>,
    ) -> Self {
        let here = |attach: Attach| from_port.is_none_or(|wanted| wanted == attach);
        let name = names.iter().find(|(_, index)| from_port == Some(Attach::Ingress(**index)));
        let concerns = |verdict: &&Verdict| {
            let filters = verdict.filters.iter().chain(&verdict.guards);
            from_port.is_none()
                || filters.into_iter().any(|id| here(id.attach))
                || verdict
                    .kept
                    .values()
                    .flatten()
                    .any(|port| name.is_some_and(|(name, _)| name == port))
        };
        Shown {
            filters: compiled.plan.filters.values().filter(|filter| here(filter.attach)).collect(),
            verdicts: compiled.verdicts.iter().filter(concerns).collect(),
            names,
            compiled,
            ports,
            from_port,
        }
    }

    /// Prints it.
    pub(super) fn print(&self, output: Output, to: &mut impl Write) -> io::Result<()> {
        match output {
            Output::Tc => {
                self.filters.iter().try_for_each(|filter| writeln!(to, "{}", self.tc(filter)))
            }
            Output::Json => writeln!(to, "{:#}", self.json()),
            Output::Verdicts => {
                self.verdicts.iter().try_for_each(|verdict| writeln!(to, "{verdict}"))?;
                writeln!(to, "\n{}", self.summary())
            }
            Output::Classes => classes::print(&self.classes(), self.names, to),
            Output::Summary => {
                writeln!(to, "{}", self.summary())?;
                write!(to, "{}", Needs::of(&self.filters))
            }
        }
    }

    fn tc(&self, filter: &Filter) -> String {
        filter.text(self.names).to_string()
    }

    fn summary(&self) -> Summary {
        Summary::of(self.verdicts.iter().copied())
    }

    fn classes(&self) -> Vec<PortVerdict> {
        compile::classes::classes(self.compiled, self.ports, self.from_port)
    }

    fn json(&self) -> Value {
        json!({
            "summary": self.summary(),
            "ports": self.classes().iter().map(|port| classes::json(port, self.names)).collect::<Vec<_>>(),
            "verdicts": self.verdicts.iter().map(|verdict| verdict_json(verdict)).collect::<Vec<_>>(),
            "filters": self.filters.iter().map(|filter| self.filter_json(filter)).collect::<Vec<_>>(),
        })
    }

    fn filter_json(&self, filter: &Filter) -> Value {
        let device = filter.attach.device();
        let name =
            self.names.iter().find(|(_, index)| Some(**index) == device).map(|(name, _)| name);
        json!({
            "id": id_text(&filter.id()),
            "dev": name,
            "chain": filter.chain.get(),
            "prio": filter.prio.get(),
            "handle": filter.handle.get(),
            "cookie": filter.cookie.as_ref().map(ToString::to_string),
            "tc": self.tc(filter),
        })
    }
}

fn verdict_json(verdict: &Verdict) -> Value {
    let ids =
        |ids: &std::collections::BTreeSet<FilterId>| ids.iter().map(id_text).collect::<Vec<_>>();
    json!({
        "number": verdict.rule.0,
        "bridge": verdict.bridge.0,
        "rule": verdict.text,
        "cookie": format!("{:016x}", verdict.cookie),
        "outcome": verdict.outcome,
        "offloaded_on": verdict.offloaded_on,
        "kept": verdict.kept.iter().map(|(reason, ports)| kept_json(reason, ports)).collect::<Vec<_>>(),
        "filters": ids(&verdict.filters),
        "guards": ids(&verdict.guards),
    })
}

fn kept_json(reason: &Reason, ports: &std::collections::BTreeSet<String>) -> Value {
    json!({
        "reason": reason.label(),
        "text": reason.to_string(),
        "odd_frames_only": reason.is_marginal(),
        "ports": ports,
    })
}

/// Device, chain, prio and handle: what names a filter in the kernel.
pub(super) fn id_text(id: &FilterId) -> String {
    let device = id.attach.device().map_or(0, |device| device.0);
    format!("{device}/{}/{}/{:#x}", id.chain, id.prio, id.handle.get())
}
