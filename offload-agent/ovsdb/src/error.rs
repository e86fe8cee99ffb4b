//! What goes wrong between us and the database server.

use std::io;

use crate::{Refusal, Remote};

/// What went wrong between us and the database server.
#[derive(Debug, thiserror::Error)]
pub enum OvsdbError {
    /// Nobody listens.
    #[error(
        "cannot connect to {remote}: {source}; ovsdb-server must run, and this must be its socket"
    )]
    Connect {
        /// Where.
        remote: Remote,
        /// Why not.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to {remote} broke: {source}")]
    Io {
        /// Where to.
        remote: Remote,
        /// How.
        source: io::Error,
    },
    /// The server hung up.
    #[error("ovsdb-server closed the connection to {remote}")]
    Closed {
        /// Where to.
        remote: Remote,
    },
    /// The server does not answer.
    #[error("ovsdb-server says nothing on {remote} for {seconds} s")]
    Silent {
        /// Where.
        remote: Remote,
        /// For how long.
        seconds: u64,
    },
    /// The server refused a request.
    #[error("ovsdb-server refused a request on {remote}: {error}")]
    Refused {
        /// Where.
        remote: Remote,
        /// What it says.
        error: String,
    },
    /// The server did not do what a transaction says; nothing of it was done.
    #[error("ovsdb-server on {remote} took nothing of the transaction: {refusal}")]
    Transaction {
        /// Where.
        remote: Remote,
        /// Which operation, and why.
        refusal: Refusal,
    },
    /// A message is larger than any node's database should be.
    #[error("a message on {remote} is larger than {limit} bytes")]
    TooLarge {
        /// Where.
        remote: Remote,
        /// The most that is taken.
        limit: usize,
    },
    /// The server sent bytes that are not JSON.
    #[error("on {remote}: {source}")]
    Decode {
        /// Where.
        remote: Remote,
        /// What is wrong with them.
        source: serde_json::Error,
    },
}

impl OvsdbError {
    /// Whether the same request may succeed a moment later, since the server was not there, or is not any more.
    ///
    /// A transaction whose connection broke may have been done all the same: look before it is sent again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Io { .. } | Self::Closed { .. } | Self::Silent { .. }
        )
    }

    /// Whether a [`Transaction::wait`](crate::Transaction::wait) was in vain.
    #[must_use]
    pub fn is_wait_timeout(&self) -> bool {
        matches!(self, Self::Transaction { refusal, .. } if refusal.error == "timed out")
    }
}
