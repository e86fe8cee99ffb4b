//! The log: one line an event, appended to the file that the configuration names.
//!
//! A plugin lives for milliseconds and its stderr is often lost, so without a file there is no log; what failed is told
//! to the runtime in any case.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// How much weight an event has, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Each step.
    Debug,
    /// Each call.
    Info,
    /// What an operator should look at.
    Warning,
    /// What failed.
    Error,
}

/// What the configuration says of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConf {
    /// Where it goes.
    pub file: Option<PathBuf>,
    /// What is too light for it.
    pub level: Level,
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    file: Option<File>,
    level: Level,
    /// What all lines of this call have: verb, container, interface.
    context: String,
}

impl Level {
    /// By sriov-cni's words, of which the heaviest two are one.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warning" => Self::Warning,
            "error" | "panic" => Self::Error,
            _ => return None,
        })
    }
}

impl Log {
    /// Opens it. A log that cannot be opened must not cost a pod its network: the reason goes to stderr.
    #[must_use]
    pub fn open(conf: &LogConf, context: String) -> Self {
        let open = |path: &PathBuf| OpenOptions::new().create(true).append(true).open(path);
        let file = conf.file.as_ref().and_then(|path| match open(path) {
            Ok(file) => Some(file),
            Err(error) => {
                eprintln!("logFile {}: {error}; nothing is logged", path.display());
                None
            }
        });
        Self { file, level: conf.level, context }
    }

    /// Writes a line.
    pub fn line(&self, level: Level, message: impl fmt::Display) {
        if level < self.level {
            return;
        }
        if let Some(mut file) = self.file.as_ref() {
            let message = message.to_string().replace('\n', " | ");
            let line = format!("{} {level} {} {message}\n", now(), self.context);
            // One write a line, so that lines of plugins that run at once do not mix. A full disk must not fail a pod.
            let _ = file.write_all(line.as_bytes());
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    timestamp(since.as_secs(), since.subsec_millis())
}

/// RFC 3339, in UTC. The day is counted in years that begin in March, so that the leap day is the last
/// (H. Hinnant, "chrono-compatible low-level date algorithms").
fn timestamp(seconds: u64, millis: u32) -> String {
    const DAY: u64 = 86_400;
    const ERA: u64 = 146_097;
    let days = seconds / DAY + 719_468;
    let (era, of_era) = (days / ERA, days % ERA);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_date_command() {
        assert_eq!(timestamp(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(951_782_400, 5), "2000-02-29T00:00:00.005Z");
        assert_eq!(timestamp(1_798_761_599, 999), "2026-12-31T23:59:59.999Z");
    }

    #[test]
    fn a_line_has_its_context_and_what_is_too_light_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let conf = LogConf { file: Some(dir.path().join("log")), level: Level::Info };
        let log = Log::open(&conf, "ADD c1 net1".into());
        log.line(Level::Debug, "step");
        log.line(Level::Error, "two\nlines");
        let text = std::fs::read_to_string(dir.path().join("log")).unwrap();
        assert!(text.ends_with(" error ADD c1 net1 two | lines\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
