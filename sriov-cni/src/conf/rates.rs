//! How much a pod may send and get over its bridge, in Kube-OVN's words and in the runtime's.
//!
//! Directions are the pod's: *ingress* is what it gets, *egress* what it sends. What the VF itself may send is another
//! matter, `max_tx_rate`, and the card's.

use super::fields::Fields;

/// A rate and a burst, in OVS's units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// kbit/s.
    pub kbps: u64,
    /// kbit; 0 leaves it to the switch.
    pub burst_kbits: u64,
}

/// The limits of a pod's port; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// What the pod gets.
    pub ingress: Option<Limit>,
    /// What the pod sends.
    pub egress: Option<Limit>,
}

const KBITS_PER_MBIT: u64 = 1000;
const BITS_PER_KBIT: u64 = 1000;

/// The runtime's `bandwidth` goes before the configuration's own keys.
pub(crate) fn read(conf: Fields<'_>, runtime: Option<Fields<'_>>) -> Rates {
    let bandwidth = runtime.and_then(|runtime| runtime.fields("bandwidth"));
    let asked = |rate, burst| bandwidth.and_then(|fields| limit(fields, rate, burst, from_bits));
    let own = |rate, burst| limit(conf, rate, burst, |mbits| mbits * KBITS_PER_MBIT);
    Rates {
        ingress: asked("ingressRate", "ingressBurst")
            .or_else(|| own("ingress_rate", "ingress_burst")),
        egress: asked("egressRate", "egressBurst").or_else(|| own("egress_rate", "egress_burst")),
    }
}

fn limit(
    fields: Fields<'_>,
    rate: &str,
    burst: &str,
    to_kbits: impl Fn(u64) -> u64,
) -> Option<Limit> {
    let kbps = fields.number(rate).filter(|rate| *rate != 0).map(&to_kbits)?;
    Some(Limit { kbps, burst_kbits: fields.number(burst).map(to_kbits).unwrap_or_default() })
}

/// Rounded up, so that a small limit does not become none.
fn from_bits(bits: u64) -> u64 {
    bits.div_ceil(BITS_PER_KBIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rates(conf: serde_json::Value, runtime: serde_json::Value) -> Rates {
        read(Fields(conf.as_object().unwrap()), runtime.as_object().map(Fields))
    }

    #[test]
    fn both_units_come_to_kbits() {
        let conf = json!({"ingress_rate": 10, "ingress_burst": 1, "egress_rate": 0});
        let limits = rates(conf.clone(), json!({}));
        assert_eq!(limits.ingress, Some(Limit { kbps: 10_000, burst_kbits: 1_000 }));
        assert_eq!(limits.egress, None);
        let limits = rates(conf, json!({"bandwidth": {"ingressRate": 1, "egressRate": 5_000_000}}));
        assert_eq!(limits.ingress, Some(Limit { kbps: 1, burst_kbits: 0 }));
        assert_eq!(limits.egress, Some(Limit { kbps: 5_000, burst_kbits: 0 }));
    }
}
