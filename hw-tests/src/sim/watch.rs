//! How a run stands: what the guest reported and which deadline comes next. Time comes in as an argument.

use std::time::{Duration, Instant};

use super::job::Event;
use super::{console, exit};

/// A boot takes 3 to 8 s; a debug kernel on a busy machine far more.
const BOOT_LIMIT: Duration = Duration::from_secs(360);
/// The guest reports every second, and while it boots the console is hardly ever silent; a busy host delays both.
const SILENCE_LIMIT: Duration = Duration::from_secs(120);
/// From the end of the command to QEMU's.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(60);

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The command ended; the code is the one a shell would give.
    Exited(u8),
    /// The guest could not be set up.
    NotSetUp(String),
    /// The kernel panicked or had an oops.
    Panicked,
    /// The command took too long.
    TimedOut(Duration),
    /// The guest stopped answering; the text says when.
    Hung(&'static str),
    /// We ended it, because there was nothing more to learn.
    Stopped,
    /// QEMU ended without a word from the guest; the text is its own.
    QemuEnded(String),
}

impl Ending {
    /// The exit code of `hw-tests sim`.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exited(code) => *code,
            Self::NotSetUp(_) | Self::Stopped => exit::FAILED,
            Self::Panicked => exit::PANIC,
            Self::TimedOut(_) => exit::TIMEOUT,
            Self::Hung(_) => exit::HANG,
            Self::QemuEnded(_) => exit::QEMU,
        }
    }

    /// Whether it is the machine that did not come up, before the command was started.
    #[must_use]
    pub fn is_of_boot(&self, boot: Option<Duration>) -> bool {
        boot.is_none() && matches!(self, Self::Hung(_) | Self::Panicked)
    }

    /// What went wrong, unless it is the command's own affair.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        match self {
            Self::Exited(_) | Self::Stopped => None,
            Self::NotSetUp(why) => Some(format!("the guest could not be set up: {why}")),
            Self::Panicked => Some("kernel panic in the guest".to_owned()),
            Self::TimedOut(limit) => {
                Some(format!("time-out: the command did not end within {} s", limit.as_secs()))
            }
            Self::Hung(when) => Some(format!("the guest hangs: {when}")),
            Self::QemuEnded(words) => Some(format!("QEMU ended unexpectedly: {words}")),
        }
    }
}

/// The state of a run.
#[derive(Debug)]
pub struct Watch {
    powered_on: Instant,
    limit: Option<Duration>,
    started: Option<Instant>,
    last_word: Instant,
    ended: Option<(u8, Instant)>,
    failed: Option<String>,
}

impl Watch {
    /// A run that begins now.
    #[must_use]
    pub fn new(now: Instant, limit: Option<Duration>) -> Self {
        Self { powered_on: now, limit, started: None, last_word: now, ended: None, failed: None }
    }

    /// Takes a report of the guest into account.
    pub fn take(&mut self, event: Event, now: Instant) {
        self.last_word = now;
        match event {
            Event::Started => self.started = Some(now),
            Event::Alive => {}
            Event::Ended(code) => self.ended = Some((code, now)),
            Event::Failed(why) => self.failed = Some(why),
        }
    }

    /// The console said something, which counts until the guest reports by itself.
    pub fn hear_console(&mut self, now: Instant) {
        if self.started.is_none() {
            self.last_word = now;
        }
    }

    /// How long it took from power-on to the command's start.
    #[must_use]
    pub fn boot_time(&self) -> Option<Duration> {
        self.started.map(|started| started - self.powered_on)
    }

    /// The ending, if a deadline has passed.
    #[must_use]
    pub fn overdue(&self, now: Instant) -> Option<Ending> {
        let Some(started) = self.started else {
            let late = now - self.powered_on > BOOT_LIMIT || now - self.last_word > SILENCE_LIMIT;
            return late.then_some(Ending::Hung("it did not boot"));
        };
        if let Some((_, ended)) = self.ended {
            return (now - ended > POWER_OFF_LIMIT)
                .then_some(Ending::Hung("the command ended, but it did not power off"));
        }
        if now - self.last_word > SILENCE_LIMIT {
            return Some(Ending::Hung("it did not answer for two minutes while the command ran"));
        }
        let limit = self.limit.filter(|limit| now - started > *limit)?;
        Some(Ending::TimedOut(limit))
    }

    /// The ending, once QEMU has ended by itself.
    #[must_use]
    pub fn ending(&self, log: &str, last_words: &str) -> Ending {
        if console::panicked(log) {
            return Ending::Panicked;
        }
        match (&self.failed, self.ended) {
            (Some(why), _) => Ending::NotSetUp(why.clone()),
            (None, Some((code, _))) => Ending::Exited(code),
            (None, None) => Ending::QemuEnded(last_words.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn started(limit: Option<Duration>) -> (Watch, Instant) {
        let now = Instant::now();
        let mut watch = Watch::new(now, limit);
        watch.take(Event::Started, now + 7 * SECOND);
        (watch, now + 7 * SECOND)
    }

    #[test]
    fn the_commands_code_passes_through() {
        let (mut watch, now) = started(None);
        watch.take(Event::Ended(3), now);
        assert_eq!(watch.ending("", ""), Ending::Exited(3));
        assert_eq!(Ending::Exited(3).exit_code(), 3);
        assert_eq!(watch.boot_time(), Some(7 * SECOND));
    }

    #[test]
    fn a_panic_is_a_panic_even_after_the_command_ended() {
        let (mut watch, now) = started(None);
        watch.take(Event::Ended(0), now);
        assert_eq!(
            watch.ending("Kernel panic - not syncing: Fatal exception", ""),
            Ending::Panicked
        );
    }

    #[test]
    fn the_time_out_counts_from_the_commands_start() {
        let (mut watch, now) = started(Some(10 * SECOND));
        watch.take(Event::Alive, now + 9 * SECOND);
        assert_eq!(watch.overdue(now + 9 * SECOND), None);
        assert_eq!(watch.overdue(now + 11 * SECOND), Some(Ending::TimedOut(10 * SECOND)));
    }

    #[test]
    fn a_guest_that_falls_silent_hangs() {
        let (watch, now) = started(None);
        assert_eq!(watch.overdue(now + 119 * SECOND), None);
        assert!(matches!(watch.overdue(now + 121 * SECOND), Some(Ending::Hung(_))));
    }

    #[test]
    fn a_guest_that_does_not_boot_or_power_off_hangs() {
        let now = Instant::now();
        assert!(matches!(
            Watch::new(now, None).overdue(now + BOOT_LIMIT + SECOND),
            Some(Ending::Hung(_))
        ));
        let (mut watch, now) = started(None);
        watch.take(Event::Ended(0), now);
        assert!(matches!(watch.overdue(now + POWER_OFF_LIMIT + SECOND), Some(Ending::Hung(_))));
    }

    #[test]
    fn a_boot_that_falls_silent_hangs_and_is_the_machines_fault() {
        let now = Instant::now();
        let mut watch = Watch::new(now, None);
        watch.hear_console(now + 100 * SECOND);
        assert_eq!(watch.overdue(now + 200 * SECOND), None);
        let ending = watch.overdue(now + 221 * SECOND).unwrap();
        assert!(ending.is_of_boot(watch.boot_time()));
        assert!(!ending.is_of_boot(Some(SECOND)), "it came up");
        assert!(!Ending::QemuEnded(String::new()).is_of_boot(None), "it would do so again");
    }

    #[test]
    fn an_end_without_a_word_is_qemus() {
        let (watch, _) = started(None);
        assert_eq!(watch.ending("", "out of memory").exit_code(), exit::QEMU);
    }

    #[test]
    fn each_ending_of_ours_has_its_own_code() {
        let endings = [
            Ending::NotSetUp(String::new()),
            Ending::Panicked,
            Ending::TimedOut(SECOND),
            Ending::Hung(""),
            Ending::QemuEnded(String::new()),
        ];
        let codes: std::collections::BTreeSet<u8> = endings.iter().map(Ending::exit_code).collect();
        assert_eq!(codes.len(), endings.len());
    }
}
