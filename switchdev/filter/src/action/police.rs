//! police: a token bucket, in bytes or in packets.
//!
//! The kernel keeps a burst as the time it takes at the given rate, in ticks of 64 ns. A burst is
//! kept here in the unit people use, and rounded as the kernel would in the normal form.

/// Limits the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Police {
    /// How fast, and how much at once. Without a rate only the length of the packet counts.
    pub rate: Option<PoliceRate>,
    /// The longest packet that conforms, in bytes; `None` is no limit.
    pub mtu: Option<u32>,
    /// What happens to a packet within the limits.
    pub conform: Conform,
    /// What happens to a packet beyond them.
    pub exceed: Exceed,
}

/// How fast, and how much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoliceRate {
    /// By bytes.
    Bytes {
        /// Bytes a second; `tc` writes it in bits.
        per_second: u64,
        /// Bytes at once.
        burst: Burst,
    },
    /// By packets.
    Packets {
        /// Packets a second.
        per_second: u64,
        /// Packets at once.
        burst: Burst,
    },
}

/// What fits into the bucket, in the unit of its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Burst(pub u64);

/// What happens to a packet within the limits. The kernel allows no `goto chain` here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Conform {
    /// Classification ends, the packet goes on.
    Pass,
    /// The next action.
    Pipe,
    /// The next filter.
    Continue,
    /// Dropped.
    Drop,
}

/// What happens to a packet beyond the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exceed {
    /// Dropped.
    Drop,
    /// Classification ends, the packet goes on.
    Pass,
    /// The next action.
    Pipe,
    /// The next filter.
    Continue,
}

/// Nanoseconds of one tick (`PSCHED_SHIFT`).
const TICK_NS: u128 = 64;
const NS_PER_SECOND: u128 = 1_000_000_000;

impl Burst {
    /// The time it takes at `per_second`, in the kernel's ticks, rounded up.
    #[must_use]
    pub fn to_ticks(self, per_second: u64) -> u64 {
        let ns_amount = u128::from(self.0) * NS_PER_SECOND;
        let ticks = ns_amount.div_ceil(u128::from(per_second.max(1)) * TICK_NS);
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// What passes in so many ticks at `per_second`.
    #[must_use]
    pub fn from_ticks(ticks: u64, per_second: u64) -> Self {
        let per_tick = u128::from(per_second) * TICK_NS;
        let amount = u128::from(ticks).saturating_mul(per_tick) / NS_PER_SECOND;
        Self(u64::try_from(amount).unwrap_or(u64::MAX))
    }

    fn rounded(self, per_second: u64) -> Self {
        Self::from_ticks(self.to_ticks(per_second), per_second)
    }
}

impl PoliceRate {
    fn normalized(self) -> Self {
        match self {
            Self::Bytes { per_second, burst } => {
                Self::Bytes { per_second, burst: burst.rounded(per_second) }
            }
            Self::Packets { per_second, burst } => {
                Self::Packets { per_second, burst: burst.rounded(per_second) }
            }
        }
    }
}

impl Police {
    pub(super) fn normalized(self) -> Self {
        Self { rate: self.rate.map(PoliceRate::normalized), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_at_a_low_rate_is_kept_exactly() {
        assert_eq!(Burst(15_000).rounded(125_000), Burst(15_000));
        assert_eq!(Burst(10).rounded(100), Burst(10));
    }

    #[test]
    fn a_burst_at_a_high_rate_is_rounded_up_to_a_tick_once() {
        let at_100_gigabit = 12_500_000_000;
        let once = Burst(1_000_001).rounded(at_100_gigabit);
        assert_eq!(once, Burst(1_000_800));
        assert_eq!(once.rounded(at_100_gigabit), once);
    }

    #[test]
    fn no_rate_and_no_burst_overflow() {
        assert_eq!(Burst(u64::MAX).to_ticks(0), u64::MAX);
        assert_eq!(Burst::from_ticks(u64::MAX, u64::MAX), Burst(u64::MAX));
    }
}
