//! A copy of the sources, in which lines are broken and tests run.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::Outcome;
use super::list::{Judge, KeyLine};
use crate::sim::process;

/// Tests that take longer than this do not end.
const MOST_SECONDS: &str = "900";
/// What timeout(1) says then.
const TIMED_OUT: i32 = 124;
/// The tests of the small world begin with this.
const SMALL_WORLD: &str = "same_fate";
const TEST: [&str; 3] = ["test", "--package", "flow-compiler"];
const TEXTS: [&str; 2] = ["filetests", "classes"];
/// So many of them are named.
const MOST_SIGNS: usize = 4;
/// Enough for each of the lines that the differential has to miss.
const PAIRS: &str = "60000";

/// Where the project is.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The copy.
pub(super) struct Tree {
    root: PathBuf,
    target: PathBuf,
}

impl Tree {
    /// Copies all files that are not ignored. Those that are as they were stay untouched, so that they are not built again.
    pub(super) fn copied(number: usize) -> anyhow::Result<Tree> {
        let from = root();
        let home = from.join("target/key-lines").join(number.to_string());
        let tree = Tree { root: home.join("tree"), target: home.join("build") };
        let mut list = Command::new("git");
        list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let files = process::text(list.current_dir(&from))?;
        let mut kept = BTreeSet::new();
        for file in files.split('\0').filter(|file| !file.is_empty()) {
            // One that was removed and not yet committed is in the list, too.
            let Ok(text) = fs::read(from.join(file)) else { continue };
            let to = tree.root.join(file);
            write_if_other(&to, &text).with_context(|| format!("cannot write {}", to.display()))?;
            kept.insert(to);
        }
        remove_all_but(&kept, &tree.root)?;
        Ok(tree)
    }

    /// What the tests say without a line. Afterwards it is back.
    pub(super) fn without(&self, line: &KeyLine) -> anyhow::Result<Outcome> {
        let path = line.path(&self.root);
        let whole = fs::read_to_string(&path)?;
        fs::write(&path, line.broken(&whole)?)?;
        let outcome = self.judge(line.by, line.test.as_deref());
        fs::write(&path, whole)?;
        outcome
    }

    /// What the tests say, of the small world these first.
    pub(super) fn judge(&self, by: Judge, first: Option<&str>) -> anyhow::Result<Outcome> {
        match by {
            Judge::SmallWorld => self.tests(&self.small_world(first)?),
            Judge::Texts => self.tests(&TEXTS.map(str::to_owned)),
            Judge::Units => outcome(self.cargo(&TEST).arg("--lib")),
            Judge::Differential => self.differential(),
        }
    }

    /// The tests of the small world, by name, behind those that are asked first.
    fn small_world(&self, first: Option<&str>) -> anyhow::Result<Vec<String>> {
        let tests = fs::read_dir(self.root.join("offload-agent/compiler/tests"))?;
        let names = tests.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let names = names.filter_map(|name| name.strip_suffix(".rs").map(str::to_owned));
        let mut names: Vec<String> = names.filter(|name| name.starts_with(SMALL_WORLD)).collect();
        let first = first.map(|name| format!("{SMALL_WORLD}_{name}"));
        names.sort_by_key(|name| (first.as_ref() != Some(name), name.clone()));
        Ok(names)
    }

    /// One after the other, so that those behind the first that fails are not even built.
    fn tests(&self, names: &[String]) -> anyhow::Result<Outcome> {
        for name in names {
            let outcome = outcome(self.cargo(&TEST).args(["--test", name]))?;
            if !matches!(outcome, Outcome::NotMissed) {
                return Ok(outcome);
            }
        }
        Ok(Outcome::NotMissed)
    }

    fn differential(&self) -> anyhow::Result<Outcome> {
        let mut build = self.cargo(&["build", "--quiet", "--package", "hw-tests"]);
        if let Outcome::NoProgram(error) = outcome(&mut build)? {
            return Ok(Outcome::NoProgram(error));
        }
        let differential = ["differential", "--pairs", PAIRS];
        let run = ["run", "--quiet", "--package", "hw-tests", "--"];
        outcome(&mut self.cargo(&[run.as_slice(), &differential].concat()))
    }

    fn cargo(&self, words: &[&str]) -> Command {
        let mut cargo = Command::new("timeout");
        cargo.args([MOST_SECONDS, "cargo"]).args(words);
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        // A compiler that is a little slower is there much sooner.
        cargo.env("CARGO_PROFILE_DEV_LTO", "off");
        cargo
    }
}

fn write_if_other(path: &Path, text: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, text)
}

/// Takes files out of a directory and those in it, so that a test that is gone does not run on.
fn remove_all_but(kept: &BTreeSet<PathBuf>, directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            remove_all_but(kept, &path)?;
        } else if !kept.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn outcome(command: &mut Command) -> anyhow::Result<Outcome> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if output.status.success() {
        return Ok(Outcome::NotMissed);
    }
    if output.status.code() == Some(TIMED_OUT) {
        return Ok(Outcome::Hangs);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("could not compile") {
        let first = errors.lines().find(|line| line.starts_with("error")).unwrap_or_default();
        return Ok(Outcome::NoProgram(first.to_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut signs: Vec<String> = text.lines().filter_map(sign).collect();
    signs.dedup();
    signs.truncate(MOST_SIGNS);
    // An assertion of the compiler's own may be quicker than any judge.
    if signs.is_empty() {
        signs.extend(errors.lines().find(|line| line.contains("panicked at")).map(str::to_owned));
    }
    Ok(Outcome::Missed(signs))
}

/// What a line of a test's answer says of what it missed.
fn sign(line: &str) -> Option<String> {
    let failed = || line.strip_prefix("test ")?.strip_suffix(" ... FAILED");
    let differs = || line.starts_with("DIFFERENCE").then_some(line);
    failed().or_else(differs).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where each is, as a set.
    fn files(names: &[&str], directory: &Path) -> BTreeSet<PathBuf> {
        names.iter().map(|name| directory.join(name)).collect()
    }

    #[test]
    fn a_file_that_is_gone_goes_from_the_copy() {
        let directory = tempfile::tempdir().unwrap();
        let all = files(&["a.rs", "tests/b.rs", "tests/gone.rs"], directory.path());
        all.iter().for_each(|path| write_if_other(path, b"text").unwrap());
        let kept = files(&["a.rs", "tests/b.rs"], directory.path());
        remove_all_but(&kept, directory.path()).unwrap();
        let left: BTreeSet<PathBuf> = all.into_iter().filter(|path| path.exists()).collect();
        assert_eq!(left, kept);
    }
}
