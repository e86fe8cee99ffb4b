//! Who took the time of a call: a plugin's machine whose node and outside steps are watched.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;
use sriov_cni::attach::Steps;
use sriov_cni::verbs::Machine;
use switchdev::binding::{
    External, ExternalError, ExternalStep, KernelNode, ReadEntries, TracedNode,
};
use switchdev::ledger::Record;

/// The kernel: looks at the VF and changes of it.
const KERNEL: &str = "kernel";

/// What each took of the calls since it was last emptied.
#[derive(Clone, Debug, Default)]
pub(super) struct Times(Rc<RefCell<BTreeMap<String, Duration>>>);

impl Times {
    pub(super) fn take(&self) -> BTreeMap<String, Duration> {
        std::mem::take(&mut self.0.borrow_mut())
    }

    fn add(&self, what: &str, time: Duration) {
        *self.0.borrow_mut().entry(what.to_owned()).or_default() += time;
    }

    fn timed<T>(&self, what: &str, call: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let answer = call();
        self.add(what, began.elapsed());
        answer
    }
}

/// This machine, watched.
pub(super) fn machine(times: &Times) -> Machine {
    let plain = Machine::default();
    let sysfs = plain.sysfs.clone();
    let (kernel, outside) = (times.clone(), times.clone());
    let listener = move |_: &str, time, _: Option<&switchdev::CardError>| kernel.add(KERNEL, time);
    Machine {
        node: Box::new(TracedNode::new(KernelNode::new(sysfs.clone()), listener)),
        external: Box::new(Watched { steps: Steps::new(sysfs), times: outside }),
        ..plain
    }
}

struct Watched {
    steps: Steps,
    times: Times,
}

/// In an operator's words.
fn name(step: &ExternalStep) -> &str {
    match step.kind.as_str() {
        "ipam" => "IPAM",
        "ovs-port" => "OVSDB",
        "port-rules" => "OpenFlow rules",
        "pod" => KERNEL,
        other => other,
    }
}

impl External for Watched {
    fn take(&mut self, step: &ExternalStep, record: &Record) -> Result<Value, ExternalError> {
        self.times.timed(name(step), || self.steps.take(step, record))
    }

    fn take_back(&mut self, step: &ExternalStep, record: &Record) -> Result<(), ExternalError> {
        self.times.timed(name(step), || self.steps.take_back(step, record))
    }

    fn sweep(&mut self, entries: ReadEntries<'_>) -> Result<Vec<String>, ExternalError> {
        self.steps.sweep(entries)
    }
}
