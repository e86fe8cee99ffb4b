//! What can go wrong between this program and the kernel's netlink families.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use super::attr::AttrError;

/// A netlink request that did not get the answer it asked for.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket itself failed.
    #[error("{request}: netlink socket: {source}")]
    Socket {
        /// What was being done.
        request: String,
        /// What the socket call answered.
        source: io::Error,
    },
    /// The kernel or the driver refused, with its own sentence where it gave one.
    #[error("{request}: {}{}", described(*.errno), said(.sentence.as_deref()))]
    Refused {
        /// What was asked for.
        request: String,
        /// The errno, positive.
        errno: i32,
        /// The extended acknowledgement's text.
        sentence: Option<String>,
    },
    /// No answer came in time.
    #[error("{request}: no answer from the kernel in {} s", .after.as_secs())]
    TimedOut {
        /// What was asked for.
        request: String,
        /// How long was waited.
        after: Duration,
    },
    /// The list changed each time it was read.
    #[error("{request}: the list changed while it was read, {attempts} times in a row; try again")]
    Interrupted {
        /// What was asked for.
        request: String,
        /// How often it was asked for.
        attempts: u32,
    },
    /// The answer makes no sense.
    #[error("{request}: the kernel's answer cannot be read: {reason}")]
    Malformed {
        /// What was asked for.
        request: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The kernel has no such family.
    #[error("this kernel has no generic netlink family {family:?}: it needs {option}")]
    NoFamily {
        /// The family.
        family: &'static str,
        /// The kernel option that brings it.
        option: &'static str,
    },
}

impl NetlinkError {
    /// The errno of a refusal.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Socket { source, .. } => source.raw_os_error(),
            Self::TimedOut { .. }
            | Self::Interrupted { .. }
            | Self::Malformed { .. }
            | Self::NoFamily { .. } => None,
        }
    }

    /// The driver's or the kernel's own sentence.
    #[must_use]
    pub fn sentence(&self) -> Option<&str> {
        match self {
            Self::Refused { sentence, .. } => sentence.as_deref(),
            _ => None,
        }
    }

    /// Whether the kernel answered with `errno`.
    #[must_use]
    pub fn is(&self, errno: Errno) -> bool {
        self.errno() == Some(errno.raw_os_error())
    }

    pub(crate) fn malformed(request: &str, reason: &AttrError) -> Self {
        Self::Malformed { request: request.to_owned(), reason: reason.to_string() }
    }
}

/// The errno's text, with the remedy where there is but one.
fn described(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno);
    match Errno::from_raw_os_error(errno) {
        Errno::PERM | Errno::ACCESS => format!("{text}: run as root or with CAP_NET_ADMIN"),
        _ => text.to_string(),
    }
}

fn said(sentence: Option<&str>) -> String {
    sentence.map(|sentence| format!(": {sentence}")).unwrap_or_default()
}
