//! Numbers that look random, and are the same again for the same seed.

/// A plain generator: tests need no better one.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// One that `seed` decides.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`, which must not be 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// A place in something that is `length` long; 0 where it is empty.
    pub fn place(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        usize::try_from(self.below(length.max(1))).unwrap_or_default()
    }
}
