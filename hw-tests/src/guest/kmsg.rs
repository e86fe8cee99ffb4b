//! The kernel's log as it grows (`/dev/kmsg`, Documentation/ABI/testing/dev-kmsg).

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

/// A reader that remembers where it was.
#[derive(Debug)]
pub struct KernelLog {
    file: File,
}

impl KernelLog {
    /// Starts at the oldest line.
    pub fn open() -> std::io::Result<Self> {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        Ok(Self { file: OpenOptions::new().read(true).custom_flags(flags).open("/dev/kmsg")? })
    }

    /// The lines since the last call, without their numbers.
    pub fn take(&mut self) -> std::io::Result<String> {
        let mut lines = String::new();
        // One read gives one record, and none is longer (CONSOLE_EXT_LOG_MAX).
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(length) => lines.push_str(&message(&String::from_utf8_lossy(&record[..length]))),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(lines),
                // Records were overwritten before we read them; the next read goes on with the oldest there is.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Has the kernel log where its blocked tasks are.
    pub fn ask_for_blocked_tasks(&self) {
        // The log is then only less telling.
        let _ = fs::write("/proc/sysrq-trigger", "w");
    }
}

/// `6,339,5140900,-;text`, then lines of key=value, which start with a blank.
fn message(record: &str) -> String {
    let text = record.split_once(';').map_or(record, |(_, text)| text);
    format!("{}\n", text.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_its_text() {
        assert_eq!(
            message("6,339,5140900,-;NET: Registered protocol family 10\n SUBSYSTEM=net\n"),
            "NET: Registered protocol family 10\n"
        );
        assert_eq!(message("4,1,2,-;a;b\n"), "a;b\n");
    }
}
