//! What can be asked of TC, and the answer.

use std::fmt;

use tc_filter::{Filter, FilterId, IfIndex};

use super::{Sentence, TcError};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Gives a device the clsact qdisc that filters hang on. It fails with
    /// [`TcError::Exists`] where the device has one.
    AddClsact(IfIndex),
    /// Takes it away, with every filter on it, ours or not.
    DelClsact(IfIndex),
    /// Adds a filter. It fails with [`TcError::Exists`] where its id is taken.
    Add(Filter),
    /// Adds a filter, or puts it in the place of the one that has its id.
    Replace(Filter),
    /// Takes a filter away.
    Delete(FilterId),
}

/// As `tc` takes it, the filter by its id only.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddClsact(device) => write!(f, "qdisc add dev if{device} clsact"),
            Self::DelClsact(device) => write!(f, "qdisc del dev if{device} clsact"),
            Self::Add(filter) => write!(f, "filter add {}", filter.id()),
            Self::Replace(filter) => write!(f, "filter replace {}", filter.id()),
            Self::Delete(id) => write!(f, "filter del {id}"),
        }
    }
}

/// What an op that was done had to tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Why no card took the filter although it was allowed to: the driver's words. The filter
    /// works in software.
    pub refusal: Option<Sentence>,
}

/// What came of one op.
pub type Outcome = Result<Applied, TcError>;
