//! Keeps TC-flower filters that mirror an Open vSwitch ruleset.
