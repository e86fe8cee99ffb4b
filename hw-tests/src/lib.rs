//! The simulated node, its tests and benches.
