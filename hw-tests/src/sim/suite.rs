//! Runs the guest's cases on a kernel: one boot for all of them, and a fresh one after a case that took the guest down.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::ensure;

use super::job::Job;
use super::kernel::Flavour;
use super::node::{Node, Run, Stream};
use super::progress;
use crate::cases::{Case, LONG};
use crate::guest::runner::{CaseEvent, Verdict};

/// A bound for a boot with all its cases; each case has its own, far below.
const LIMIT: Duration = Duration::from_secs(3 * 3600);

/// How many cases ended how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: usize,
    failed: usize,
    /// Names and reasons, to be listed at the end.
    skipped: Vec<String>,
}

impl Tally {
    /// Whether no case failed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failed == 0
    }

    /// The lines that end a report.
    #[must_use]
    pub fn closing(&self) -> String {
        let mut text: String =
            self.skipped.iter().map(|skipped| format!("skipped: {skipped}\n")).collect();
        text.push_str(&format!(
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failed,
            self.skipped.len()
        ));
        text
    }

    fn count(&mut self, label: &str, verdict: &Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed(_) | Verdict::TimedOut(_) => self.failed += 1,
            Verdict::Skipped(why) => self.skipped.push(format!("{label}: {why}")),
        }
    }
}

/// Runs the cases that are for this kernel, prints a line for each, and adds to the tally.
pub fn run(flavour: Flavour, cases: &[&Case], tally: &mut Tally) -> anyhow::Result<()> {
    let names = cases.iter().filter(|case| case.kernels.include(flavour)).map(|case| case.name);
    let mut suite =
        Suite { flavour, waiting: names.collect(), current: None, partial: Vec::new(), tally };
    if suite.waiting.is_empty() {
        return Ok(());
    }
    let node = Node::prepare(flavour)?;
    while !suite.waiting.is_empty() {
        suite.boot(&node)?;
    }
    Ok(())
}

struct Suite<'a> {
    flavour: Flavour,
    waiting: VecDeque<&'static str>,
    current: Option<&'static str>,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    tally: &'a mut Tally,
}

impl Suite<'_> {
    /// One boot: as many of the waiting cases as it bears.
    fn boot(&mut self, node: &Node) -> anyhow::Result<()> {
        let before = self.waiting.len();
        let program = std::env::current_exe()?.display().to_string();
        let arguments =
            [&program, "guest", "cases"].into_iter().chain(self.waiting.iter().copied());
        let mut job = Job::new(arguments.map(str::to_owned).collect())?;
        job.env.extend(std::env::var(LONG).map(|long| (LONG.to_owned(), long)));
        let outcome =
            node.run(&Run::new(job, LIMIT), &mut |stream, bytes| self.take(stream, bytes))?;
        progress::say(&outcome.timing());
        self.partial.clear();
        let report = outcome.failure_report();
        if let Some(name) = self.current.take() {
            self.end(
                name,
                &Verdict::Failed(
                    report
                        .unwrap_or_else(|| "the guest ended in the middle of the case".to_owned()),
                ),
                0,
            );
            return Ok(());
        }
        if let Some(report) = report {
            progress::say(&format!("after the last case: {report}"));
        }
        ensure!(self.waiting.len() < before, "the guest ran no case ({:?})", outcome.ending);
        Ok(())
    }

    fn take(&mut self, stream: Stream, bytes: &[u8]) -> ControlFlow<()> {
        if stream == Stream::Stderr {
            eprint!("{}", String::from_utf8_lossy(bytes));
            return ControlFlow::Continue(());
        }
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.line(&String::from_utf8_lossy(&line))?;
        }
        ControlFlow::Continue(())
    }

    /// A line is an event, or something a case printed.
    fn line(&mut self, line: &str) -> ControlFlow<()> {
        match serde_json::from_str(line) {
            Ok(CaseEvent::Begin(_)) => self.current = self.waiting.pop_front(),
            Ok(CaseEvent::End { verdict, millis, .. }) => {
                if let Some(name) = self.current.take() {
                    self.end(name, &verdict, millis);
                }
                if matches!(verdict, Verdict::TimedOut(_)) {
                    return ControlFlow::Break(());
                }
            }
            Err(_) => print!("    {line}"),
        }
        ControlFlow::Continue(())
    }

    fn end(&mut self, name: &str, verdict: &Verdict, millis: u64) {
        let label = format!("{} {name}", self.flavour);
        println!("{}", describe(&label, verdict, millis));
        self.tally.count(&label, verdict);
    }
}

fn describe(label: &str, verdict: &Verdict, millis: u64) -> String {
    let seconds = format!("({}.{} s)", millis / 1000, millis % 1000 / 100);
    match verdict {
        Verdict::Passed => format!("ok       {label} {seconds}"),
        Verdict::Skipped(why) => format!("skipped  {label}: {why}"),
        Verdict::Failed(why) | Verdict::TimedOut(why) => {
            let indented: String = why.lines().map(|line| format!("\n    {line}")).collect();
            format!("FAILED   {label} {seconds}{indented}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_and_skips_say_why() {
        let mut tally = Tally::default();
        tally.count("stock a/b", &Verdict::Passed);
        tally.count("stock a/c", &Verdict::Skipped("no KVM".to_owned()));
        assert_eq!(tally.closing(), "skipped: stock a/c: no KVM\n1 passed, 0 failed, 1 skipped");
        assert!(tally.is_good());
        tally.count("stock a/d", &Verdict::TimedOut("late".to_owned()));
        assert!(!tally.is_good());
    }

    #[test]
    fn events_become_lines_even_when_they_come_in_pieces() {
        let mut tally = Tally::default();
        let mut suite = Suite {
            flavour: Flavour::Own,
            waiting: ["a/b"].into(),
            current: None,
            partial: Vec::new(),
            tally: &mut tally,
        };
        let begin =
            format!("{}\n", serde_json::to_string(&CaseEvent::Begin("a/b".to_owned())).unwrap());
        let (head, tail) = begin.split_at(5);
        assert!(suite.take(Stream::Stdout, head.as_bytes()).is_continue());
        assert_eq!(suite.current, None);
        assert!(suite.take(Stream::Stdout, tail.as_bytes()).is_continue());
        assert_eq!(suite.current, Some("a/b"));
    }

    #[test]
    fn a_case_that_does_not_end_ends_the_boot() {
        let mut tally = Tally::default();
        let mut suite = Suite {
            flavour: Flavour::Own,
            waiting: VecDeque::new(),
            current: Some("a/b"),
            partial: Vec::new(),
            tally: &mut tally,
        };
        let end = CaseEvent::End {
            name: "a/b".to_owned(),
            verdict: Verdict::TimedOut("late".to_owned()),
            millis: 1,
        };
        assert!(suite.line(&serde_json::to_string(&end).unwrap()).is_break());
        assert_eq!(tally.failed, 1);
    }
}
