//! Compiles an Open vSwitch ruleset to TC flower filters.
