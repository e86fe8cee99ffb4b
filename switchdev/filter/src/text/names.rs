//! Device names: a filter holds numbers, people read names.

use std::collections::BTreeMap;

use crate::IfIndex;

/// Both directions between a device's number and its name, in one network namespace.
pub trait IfNames {
    /// The name of a device, where it has one.
    fn name(&self, device: IfIndex) -> Option<String>;
    /// The device of that name.
    fn index(&self, name: &str) -> Option<IfIndex>;
}

/// Device 7 is called `if7`, which is also how `tc` prints a device that is gone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Numbered;

impl IfNames for Numbered {
    fn name(&self, device: IfIndex) -> Option<String> {
        Some(format!("if{device}"))
    }

    fn index(&self, name: &str) -> Option<IfIndex> {
        name.strip_prefix("if")?.parse().ok().map(IfIndex)
    }
}

/// Known devices by name; any other is called by its number.
impl IfNames for BTreeMap<String, IfIndex> {
    fn name(&self, device: IfIndex) -> Option<String> {
        let known = self.iter().find(|(_, index)| **index == device);
        known.map(|(name, _)| name.clone()).or_else(|| Numbered.name(device))
    }

    fn index(&self, name: &str) -> Option<IfIndex> {
        self.get(name).copied().or_else(|| Numbered.index(name))
    }
}
