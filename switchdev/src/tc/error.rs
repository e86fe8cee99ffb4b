//! What can go wrong with a filter, by what it means to the caller.

use std::fmt;

/// The kernel's or the driver's own words for a refusal, or the name of its error number where it
/// had none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sentence(String);

impl Sentence {
    /// The words as they came.
    #[must_use]
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }

    /// The words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an op failed, or why nothing could be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TcError {
    /// EPERM: the process may not change TC in this network namespace.
    #[error(
        "TC may not be changed here: it needs root, or CAP_NET_ADMIN in this network namespace"
    )]
    NotPermitted,
    /// The kernel was built without a part, and no module brings it.
    #[error("the kernel has no {part} ({sentence}): it needs {option}")]
    KernelLacks {
        /// What is missing: `TC`, `clsact`, `flower`, an action.
        part: String,
        /// The kernel's configuration option that brings it.
        option: &'static str,
        /// The kernel's words.
        sentence: Sentence,
    },
    /// ENODEV: the device is gone.
    #[error("no such device: {0}")]
    NoDevice(Sentence),
    /// The device has no clsact qdisc to hang a filter on.
    #[error("the device has no clsact qdisc; add it before its filters: {0}")]
    NoClsact(Sentence),
    /// ENOENT: the filter or qdisc to delete is not there.
    #[error("not found: {0}")]
    NotFound(Sentence),
    /// EEXIST: the filter or qdisc is there already, or another filter of its prio has its key.
    #[error("exists already: {0}")]
    Exists(Sentence),
    /// ENOSPC: the card's table is full.
    #[error("no room left: {0}")]
    NoSpace(Sentence),
    /// EOPNOTSUPP: the driver, or this kernel, cannot do what the filter asks.
    #[error("not supported: {0}")]
    NotSupported(Sentence),
    /// Any other refusal.
    #[error("refused: {0} (errno {errno})", errno = .1)]
    Refused(Sentence, i32),
    /// The filter cannot be said to the kernel at all.
    #[error("not a filter the kernel could take: {0}")]
    Malformed(String),
    /// The kernel's answer was lost: it is not known whether the op was done. A dump tells.
    #[error("the kernel's answer was lost; dump to see what became of it")]
    AnswerLost,
    /// The netlink socket itself failed.
    #[error("netlink: {doing} failed: {error}")]
    Socket {
        /// What was tried.
        doing: &'static str,
        /// The system's words.
        error: String,
    },
    /// A dump that the kernel broke off, or an answer that cannot be read.
    #[error("the kernel's dump of filters is incomplete: {0}")]
    DumpBroken(String),
}
