//! Runs cases one after another in the guest, and reports each as a line of JSON on standard output.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};

use super::kmsg::KernelLog;
use crate::cases::{self, Case, Ctx, Skipped};
use crate::sim::console;
use crate::sim::kernel::Flavour;

/// What a case is given. The slowest takes a few seconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(240);
/// Cases on the debug kernel cycle things a thousand times, slowly, and long forms leave nothing out.
const LONG_LIMIT: Duration = Duration::from_secs(9000);

/// What the guest says about its cases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseEvent {
    /// The case of that name begins.
    Begin(String),
    /// It ended.
    End {
        /// Its name.
        name: String,
        /// How.
        verdict: Verdict,
        /// How long it took.
        millis: u64,
    },
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All was as it should be.
    Passed,
    /// It was not; the message, with what the kernel logged meanwhile.
    Failed(String),
    /// It cannot be told here; the reason.
    Skipped(String),
    /// It did not end, and still runs.
    TimedOut(String),
}

/// Runs the named cases.
pub fn run(names: &[String]) -> anyhow::Result<()> {
    let mut log = KernelLog::open().context("cannot read the kernel's log")?;
    for name in names {
        let case = cases::all()
            .find(|case| case.name == name)
            .with_context(|| format!("there is no case {name}"))?;
        report(&CaseEvent::Begin(name.clone()))?;
        let start = Instant::now();
        let verdict = judge(case, &mut log)?;
        let stuck = matches!(verdict, Verdict::TimedOut(_));
        let millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        report(&CaseEvent::End { name: name.clone(), verdict, millis })?;
        if stuck {
            // The host starts the others on a fresh node; here a thread still holds who knows what.
            thread::sleep(LIMIT);
        }
    }
    Ok(())
}

fn report(event: &CaseEvent) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(event)?);
    Ok(())
}

/// Runs a case and looks at the kernel's log.
fn judge(case: &'static Case, log: &mut KernelLog) -> anyhow::Result<Verdict> {
    log.take()?;
    let ctx = Ctx::from_env()?;
    let limit = if ctx.long || ctx.kernel == Flavour::Debug { LONG_LIMIT } else { LIMIT };
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name(case.name.to_owned())
        .spawn(move || sender.send(attempt(case, ctx)))?;
    let result = receiver.recv_timeout(limit);
    if matches!(result, Err(RecvTimeoutError::Timeout)) {
        log.ask_for_blocked_tasks();
    }
    let lines = log.take()?;
    Ok(match result {
        Ok(Ok(())) => complaints(&lines),
        Ok(Err(error)) if error.is::<Skipped>() => Verdict::Skipped(error.to_string()),
        Ok(Err(error)) => Verdict::Failed(with_log(&format!("{error:#}"), &lines)),
        Err(_) => Verdict::TimedOut(with_log(
            &format!("it did not end within {} s", limit.as_secs()),
            &lines,
        )),
    })
}

/// A panic in a case is a failure like any other.
fn attempt(case: &Case, mut ctx: Ctx) -> anyhow::Result<()> {
    let result = catch_unwind(AssertUnwindSafe(|| (case.run)(&mut ctx)));
    result.unwrap_or_else(|_| Err(anyhow!("the case panicked; its message is above")))
}

fn complaints(lines: &str) -> Verdict {
    match console::complaints(lines).first() {
        None => Verdict::Passed,
        Some(line) => Verdict::Failed(with_log(&format!("the kernel complains: {line}"), lines)),
    }
}

fn with_log(message: &str, lines: &str) -> String {
    if lines.is_empty() {
        message.to_owned()
    } else {
        format!("{message}\n--- kernel log\n{}", console::excerpt(lines))
    }
}
