//! Counters and the time of last use, as actions carry them.

use std::time::Duration;

use netlink_packet_core::Nla;
use netlink_packet_route::tc::{TcStats2, TcStatsBasic};

use crate::tc::Counters;

/// `TCA_STATS_PKT64`: packets where 32 bits are too few; it follows the counter it belongs to.
const PACKETS_64: u16 = 8;
/// A clock tick in user space (`USER_HZ` is 100 on every Linux).
const TICK: Duration = Duration::from_millis(10);
/// Where `tcf_t` holds the time since last use.
const LAST_USE: std::ops::Range<usize> = 8..16;

/// What one action counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ActionStats {
    /// Software and hardware together.
    pub(super) all: Counters,
    /// Hardware alone.
    pub(super) hardware: Counters,
    /// Time since the last packet; meaningless before the first.
    pub(super) last_use: Duration,
}

impl ActionStats {
    /// What the kernel handled itself.
    pub(super) fn software(&self) -> Counters {
        Counters {
            packets: self.all.packets.saturating_sub(self.hardware.packets),
            bytes: self.all.bytes.saturating_sub(self.hardware.bytes),
        }
    }

    /// Time since the last packet, if there was one.
    pub(super) fn last_used(&self) -> Option<Duration> {
        (self.all.packets > 0).then_some(self.last_use)
    }

    pub(super) fn count(&mut self, stats: &[TcStats2]) {
        let mut hardware = false;
        for stat in stats {
            match stat {
                TcStats2::Basic(basic) => self.all = counters(basic),
                TcStats2::BasicHw(basic) => {
                    self.hardware = counters(basic);
                    hardware = true;
                }
                TcStats2::Other(other) if other.kind() == PACKETS_64 => {
                    let side = if hardware { &mut self.hardware } else { &mut self.all };
                    side.packets = number(other).unwrap_or(side.packets);
                }
                _ => {}
            }
        }
    }
}

fn counters(basic: &TcStatsBasic) -> Counters {
    Counters { packets: u64::from(basic.packets), bytes: basic.bytes }
}

fn number(nla: &impl Nla) -> Option<u64> {
    let mut value = vec![0; nla.value_len()];
    nla.emit_value(&mut value);
    value.try_into().ok().map(u64::from_ne_bytes)
}

/// Reads the time since last use out of an action's `tcf_t`.
pub(super) fn last_use(times: Option<&[u8]>) -> Duration {
    let ticks = times.and_then(|bytes| bytes.get(LAST_USE)?.try_into().ok());
    let ticks = ticks.map_or(0, u64::from_ne_bytes);
    TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}
