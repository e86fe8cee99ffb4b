//! `hw-tests demo`: the main job on a simulated node, told step by step.
//!
//! The host boots a node with Debian's own kernel and runs the story in it ([`story`]). The story makes a card with four
//! VFs in switchdev mode, starts real Open vSwitch and `offload-agent`, has two pods come through the device plugin and
//! `sriov-cni` ([`cluster`]), and installs OpenFlow rules ([`stage`]). Then it sends packets ([`traffic`]), with offload and without, and judges what was counted ([`table`]).

mod cluster;
mod stage;
mod story;
mod table;
mod traffic;

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use crate::sim::job::Job;
use crate::sim::kernel::Flavour;
use crate::sim::node::{Node, Run, Stream};
use crate::sim::progress;

pub use story::run as in_guest;

/// The story takes half a minute on an idle machine.
const LIMIT: Duration = Duration::from_secs(600);

/// Boots a node and has the story told in it.
pub fn on_host() -> anyhow::Result<ExitCode> {
    let node = Node::prepare(Flavour::Stock)?;
    let program = std::env::current_exe()?.display().to_string();
    let job = Job::new([&program, "guest", "demo"].map(ToString::to_string).to_vec())?;
    let outcome = node.run(&Run::new(job, LIMIT), &mut tell)?;
    if let Some(report) = outcome.failure_report() {
        eprintln!("hw-tests: {report}");
    }
    progress::say(&outcome.timing());
    Ok(ExitCode::from(outcome.ending.exit_code()))
}

/// The guest's streams are ours. A reader that went away is no reason to stop.
fn tell(stream: Stream, bytes: &[u8]) -> ControlFlow<()> {
    let _ = match stream {
        Stream::Stdout => {
            std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush())
        }
        Stream::Stderr => std::io::stderr().write_all(bytes),
    };
    ControlFlow::Continue(())
}
