//! Meters, as `act_police` takes them.

use tc_filter::action::{Burst, Conform, Exceed, Police, PoliceRate};

use crate::openflow::{BandKind, Meter, MeterUnit};

/// A kilobit in bytes.
const KILOBIT: u64 = 1000 / 8;

/// The limit of a meter with one band that drops; `None` for any other.
pub(in crate::compile) fn meter(meter: &Meter) -> Option<Police> {
    let [band] = meter.bands.as_slice() else { return None };
    if band.kind != BandKind::Drop || band.rate == 0 {
        return None;
    }
    let rate = u64::from(band.rate);
    // Without a burst size OVS's own datapath takes one second's worth.
    let burst = if meter.burst && band.burst_size != 0 { u64::from(band.burst_size) } else { rate };
    let rate = match meter.unit {
        MeterUnit::Kbps => {
            PoliceRate::Bytes { per_second: rate * KILOBIT, burst: Burst(burst * KILOBIT) }
        }
        MeterUnit::Pktps => PoliceRate::Packets { per_second: rate, burst: Burst(burst) },
    };
    Some(Police { rate: Some(rate), mtu: None, conform: Conform::Pipe, exceed: Exceed::Drop })
}
