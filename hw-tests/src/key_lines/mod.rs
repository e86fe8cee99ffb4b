//! The lines of the compiler that the fate of packets hangs on, broken one at a time: a test has to fail for each.
//!
//! A line that no test misses is not needed, or not tested. The list is `offload-agent/compiler/key-lines.yaml`. It is a copy
//! of the sources that is broken, so nothing happens to those that one works on.

mod list;
mod tree;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub use list::{KeyLine, read};

use list::Judge;
use tree::Tree;

/// What came of one line.
enum Outcome {
    /// These tests failed.
    Missed(Vec<String>),
    /// The tests did not end.
    Hangs,
    /// No test failed.
    NotMissed,
    /// The broken sources are no program.
    NoProgram(String),
}

/// Breaks the lines whose name or pass has one of these words in it, or all, in as many copies at once; whether a test misses
/// each.
pub fn run(words: &[String], jobs: usize) -> anyhow::Result<bool> {
    let lines = read()?;
    let chosen: Vec<&KeyLine> = lines.iter().filter(|line| line.is_one_of(words)).collect();
    anyhow::ensure!(!chosen.is_empty(), "no key line has any of {words:?} in its name");
    let next = AtomicUsize::new(0);
    let workers = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|number| {
                let (chosen, next) = (&chosen, &next);
                scope.spawn(move || work(number, chosen, next))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join()).collect::<Vec<_>>()
    });
    let mut not_missed = Vec::new();
    for worker in workers {
        not_missed.extend(worker.map_err(|_| anyhow::anyhow!("a worker panicked"))??);
    }
    println!("{} of {} lines are missed by a test", chosen.len() - not_missed.len(), chosen.len());
    not_missed.iter().for_each(|line| println!("  not missed: {line}"));
    Ok(not_missed.is_empty())
}

/// Breaks one line after the other in a copy of its own, until none is left; those that no test misses.
fn work<'a>(
    copy: usize,
    chosen: &[&'a KeyLine],
    next: &AtomicUsize,
) -> anyhow::Result<Vec<&'a KeyLine>> {
    let tree = Tree::copied(copy)?;
    passes_unbroken(&tree, chosen)?;
    let mut not_missed = Vec::new();
    while let Some((number, line)) = take(chosen, next) {
        let started = Instant::now();
        let outcome = tree.without(line)?;
        let (place, all) = (number + 1, chosen.len());
        println!("[{place:3}/{all}] {line}: {} ({})", outcome.text(), seconds(started.elapsed()));
        if !matches!(outcome, Outcome::Missed(_) | Outcome::Hangs) {
            not_missed.push(line);
        }
    }
    Ok(not_missed)
}

/// The next line that nobody has taken.
fn take<'a>(chosen: &[&'a KeyLine], next: &AtomicUsize) -> Option<(usize, &'a KeyLine)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    Some((number, chosen.get(number)?))
}

/// A judge that fails anyway would say that every line is missed.
fn passes_unbroken(tree: &Tree, chosen: &[&KeyLine]) -> anyhow::Result<()> {
    let mut judges: Vec<Judge> = chosen.iter().map(|line| line.by).collect();
    judges.sort_unstable();
    judges.dedup();
    for judge in judges {
        let outcome = tree.judge(judge, None)?;
        let whole = matches!(outcome, Outcome::NotMissed);
        anyhow::ensure!(whole, "{judge} fails though nothing is broken: {}", outcome.text());
        println!("nothing broken: {judge} passes");
    }
    Ok(())
}

impl Outcome {
    fn text(&self) -> String {
        match self {
            Outcome::Missed(tests) if tests.is_empty() => "missed".to_owned(),
            Outcome::Missed(tests) => format!("missed by {}", tests.join(", ")),
            Outcome::Hangs => "missed: the tests do not end".to_owned(),
            Outcome::NotMissed => "NOT MISSED".to_owned(),
            Outcome::NoProgram(error) => format!("DOES NOT COMPILE: {error}"),
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}
