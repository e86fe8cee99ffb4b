//! What is wrong with a configuration: each problem names the field, what it holds, and what would be right.

use std::fmt;

use crate::protocol::UnknownVersion;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not JSON.
    #[error("the configuration is not JSON: {0}")]
    NotJson(String),
    /// JSON, and no object.
    #[error("the configuration is {0}; it must be a JSON object: {{\"cniVersion\": …}}")]
    NotObject(String),
    /// A version that is not spoken.
    #[error(transparent)]
    Version(#[from] UnknownVersion),
    /// A key that nobody knows.
    #[error("{field} is no key of sriov-cni{}", hint(.nearest))]
    Unknown {
        /// The key, with its place.
        field: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A key that is known, and belongs to somebody else.
    #[error("{field} is not done here: {why}")]
    Elsewhere {
        /// The key.
        field: String,
        /// Who does it, and what to do.
        why: &'static str,
    },
    /// A value that makes no sense.
    #[error("{field} is {value}; it must be {wanted}")]
    Value {
        /// The field.
        field: String,
        /// What it holds, as JSON.
        value: String,
        /// What would be right.
        wanted: String,
    },
    /// A key that must be there.
    #[error("{field} is missing; {remedy}")]
    Missing {
        /// The field.
        field: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Two keys that exclude each other, or one that needs another.
    #[error("{one} and {other} contradict each other: {why}")]
    Conflict {
        /// A field, with its value.
        one: String,
        /// The other.
        other: String,
        /// Why, and what to do.
        why: &'static str,
    },
    /// A key that means nothing without another.
    #[error("{field} needs {needs}: {why}")]
    Needs {
        /// The field.
        field: String,
        /// What it needs.
        needs: &'static str,
        /// Why.
        why: &'static str,
    },
    /// A file that the configuration names cannot be used.
    #[error("{field}: cannot read {path}: {reason}")]
    File {
        /// The field that names it.
        field: &'static str,
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
}

fn hint(nearest: &Option<String>) -> String {
    match nearest {
        Some(nearest) => format!("; is {nearest} meant?"),
        None => "; `sriov-cni schema` lists the keys".to_owned(),
    }
}

/// All that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    /// One a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}
