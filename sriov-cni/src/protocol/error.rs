//! An error as a runtime wants it: a code it may act on, a sentence for people.

use std::fmt;

use serde_json::{Value, json};

use super::Version;

/// What kind of failure it is. Below 100 the numbers are the specification's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The version of the configuration is not spoken here.
    IncompatibleVersion,
    /// The container or its interface is not known.
    UnknownContainer,
    /// A variable of the environment is missing or wrong.
    InvalidEnvironment,
    /// A file, socket or process failed.
    Io,
    /// The configuration is no JSON.
    Decode,
    /// The configuration is wrong.
    InvalidConfig,
    /// The same call may succeed in a moment.
    TryAgainLater,
    /// STATUS: no ADD can succeed now.
    NotAvailable,
    /// The card or the kernel refused.
    Card,
    /// The bridge or its database refused.
    Bridge,
    /// The VF belongs to another pod, or is not what the runtime thinks.
    Identity,
    /// CHECK: the attachment is not as ADD left it.
    Drifted,
}

impl Code {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::IncompatibleVersion => 1,
            Self::UnknownContainer => 3,
            Self::InvalidEnvironment => 4,
            Self::Io => 5,
            Self::Decode => 6,
            Self::InvalidConfig => 7,
            Self::TryAgainLater => 11,
            Self::NotAvailable => 50,
            Self::Card => 100,
            Self::Bridge => 101,
            Self::Identity => 102,
            Self::Drifted => 103,
        }
    }
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniError {
    /// What kind of failure.
    pub code: u32,
    /// What failed.
    pub message: String,
    /// Anything more, a sentence a line.
    pub details: String,
}

impl CniError {
    /// One of ours.
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self { code: code.number(), message: message.to_string(), details: String::new() }
    }

    /// With more sentences.
    #[must_use]
    pub fn details(mut self, details: impl fmt::Display) -> Self {
        self.details = details.to_string();
        self
    }

    /// As JSON, in this version.
    #[must_use]
    pub fn to_json(&self, version: Version) -> Value {
        let mut error =
            json!({"cniVersion": version.to_string(), "code": self.code, "msg": self.message});
        if !self.details.is_empty() {
            error["details"] = json!(self.details);
        }
        error
    }
}

impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, " ({})", self.details) }
    }
}

impl std::error::Error for CniError {}
