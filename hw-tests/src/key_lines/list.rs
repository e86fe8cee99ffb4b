//! The list, and what makes an entry of it sound.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

/// Where the list is, and where its files begin.
const LIST: &str = "offload-agent/compiler/key-lines.yaml";
const SOURCES: &str = "offload-agent/compiler/src/compile";

/// A line, and what is wrong without it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyLine {
    /// The pass, or the part of the walk.
    pub pass: String,
    /// What is wrong without it.
    pub loses: String,
    /// The tests of the small world that are asked first.
    pub(super) test: Option<String>,
    file: PathBuf,
    line: String,
    #[serde(default)]
    instead: String,
    #[serde(default)]
    pub(super) by: Judge,
}

/// What has to fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Judge {
    /// All rulesets and packets of a small world.
    #[default]
    SmallWorld,
    /// Texts that the compiler has to say.
    Texts,
    /// The tests of single modules.
    Units,
    /// Open vSwitch itself.
    Differential,
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Judge::SmallWorld => "the small world",
            Judge::Texts => "the test of texts",
            Judge::Units => "the tests of single modules",
            Judge::Differential => "the differential",
        })
    }
}

impl fmt::Display for KeyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pass, self.loses)
    }
}

impl KeyLine {
    pub(super) fn is_one_of(&self, words: &[String]) -> bool {
        let name = self.to_string();
        words.is_empty() || words.iter().any(|word| name.contains(word.as_str()))
    }

    /// The file under a directory of sources.
    pub(super) fn path(&self, root: &Path) -> PathBuf {
        root.join(SOURCES).join(&self.file)
    }

    /// The text of its file without it.
    pub(super) fn broken(&self, text: &str) -> anyhow::Result<String> {
        let times = text.matches(&self.line).count();
        anyhow::ensure!(
            times == 1,
            "{LIST}: {self}: the line is in {} {times} times, and not once; write it as it stands there now:\n{}",
            self.file.display(),
            self.line
        );
        anyhow::ensure!(self.line != self.instead, "{LIST}: {self}: `instead` is the line itself");
        Ok(text.replacen(&self.line, &self.instead, 1))
    }
}

/// All lines.
pub fn read() -> anyhow::Result<Vec<KeyLine>> {
    let path = super::tree::root().join(LIST);
    let text =
        fs::read_to_string(&path).with_context(|| format!("{} is missing", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{LIST} is no list of key lines"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Files that no packet's fate hangs on.
    const ONLY_LISTS: [&str; 2] = ["pass/mod.rs", "pass/split/mod.rs"];

    #[test]
    fn every_line_is_in_its_file_once() {
        let root = crate::key_lines::tree::root();
        for line in read().unwrap() {
            line.broken(&fs::read_to_string(line.path(&root)).unwrap()).unwrap();
        }
    }

    #[test]
    fn every_pass_has_one() {
        let known: BTreeSet<PathBuf> = read().unwrap().into_iter().map(|line| line.file).collect();
        let sources = crate::key_lines::tree::root().join(SOURCES);
        for directory in ["pass", "pass/split"] {
            for entry in fs::read_dir(sources.join(directory)).unwrap() {
                let path = Path::new(directory).join(entry.unwrap().file_name());
                let is_file = sources.join(&path).is_file();
                let counts = is_file && !ONLY_LISTS.iter().any(|list| Path::new(list) == path);
                assert!(!counts || known.contains(&path), "{} has no key line", path.display());
            }
        }
    }

    #[test]
    fn the_tests_to_ask_first_are_there() {
        let tests = crate::key_lines::tree::root().join("offload-agent/compiler/tests");
        for line in read().unwrap() {
            let Some(test) = &line.test else { continue };
            let file = tests.join(format!("same_fate_{test}.rs"));
            assert!(file.is_file(), "{line}: {} is not there", file.display());
        }
    }

    #[test]
    fn no_two_have_one_name() {
        let lines = read().unwrap();
        let names: BTreeSet<String> = lines.iter().map(KeyLine::to_string).collect();
        assert_eq!(names.len(), lines.len());
    }
}
