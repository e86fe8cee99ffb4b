//! A CNI plugin that gives a pod its VF and puts the VF's representor on the bridge, and gives both back as they were.

pub mod attach;
pub mod cli;
pub mod conf;
pub mod log;
pub mod protocol;
pub mod schema;
pub mod verbs;
