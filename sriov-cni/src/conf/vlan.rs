//! Which VLANs a pod is in, or may use, in the terms of ovs-cni: `vlan`, `vlanProto`, `trunk[{id, minID, maxID}]`.

use std::collections::BTreeSet;

use switchdev::link::VlanProtocol;

use super::fields::Fields;
use super::problem::Problem;

/// The highest VLAN there is; 4095 stands for "any" in the card's and the kernel's tables.
pub(crate) const LAST_VLAN: u16 = 4094;

/// A VLAN that the pod does not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// Its number, from 1.
    pub id: u16,
    /// The priority in the tag.
    pub qos: u8,
    /// The kind of tag.
    pub protocol: VlanProtocol,
}

/// `vlan`, with `vlanQoS` and `vlanProto`. Number 0 is none.
pub(crate) fn read(conf: Fields<'_>) -> Option<Vlan> {
    let id = conf.number("vlan").filter(|id| *id != 0)?;
    let protocol = conf.text("vlanProto").unwrap_or("802.1q");
    Some(Vlan {
        id,
        qos: conf.number("vlanQoS").unwrap_or(0),
        protocol: if protocol.eq_ignore_ascii_case("802.1ad") {
            VlanProtocol::Dot1ad
        } else {
            VlanProtocol::Dot1q
        },
    })
}

/// `trunk`: single VLANs and ranges.
pub(crate) fn read_trunk(conf: Fields<'_>, problems: &mut Vec<Problem>) -> BTreeSet<u16> {
    let mut vlans = BTreeSet::new();
    for (at, element) in conf.list("trunk").enumerate() {
        match vlans_of(element) {
            Ok(range) => vlans.extend(range),
            Err(wanted) => problems.push(Problem::Value {
                field: format!("trunk[{at}]"),
                value: serde_json::Value::Object(element.0.clone()).to_string(),
                wanted: wanted.to_owned(),
            }),
        }
    }
    vlans
}

fn vlans_of(element: Fields<'_>) -> Result<std::ops::RangeInclusive<u16>, &'static str> {
    let number = |name| element.number::<u16>(name);
    let range = match (number("id"), number("minID"), number("maxID")) {
        (Some(id), None, None) => id..=id,
        (None, Some(min), Some(max)) if min <= max => min..=max,
        (None, Some(_), Some(_)) => return Err("a range whose minID is not larger than its maxID"),
        _ => return Err("either id, or both of minID and maxID"),
    };
    if *range.start() == 0 || *range.end() > LAST_VLAN {
        return Err("of VLANs from 1 to 4094");
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn trunk(value: &serde_json::Value) -> Result<Vec<u16>, String> {
        let mut problems = Vec::new();
        let vlans = read_trunk(Fields(value.as_object().unwrap()), &mut problems);
        match problems.pop() {
            None => Ok(vlans.into_iter().collect()),
            Some(problem) => Err(problem.to_string()),
        }
    }

    #[test]
    fn single_vlans_and_ranges_make_a_set() {
        let vlans = trunk(&json!({"trunk": [{"id": 7}, {"minID": 5, "maxID": 8}, {"id": 100}]}));
        assert_eq!(vlans, Ok(vec![5, 6, 7, 8, 100]));
    }

    #[test]
    fn a_range_that_is_none_is_told() {
        for (element, sentence) in [
            (json!({"id": 1, "minID": 2}), "either id, or both"),
            (json!({"minID": 9}), "either id, or both"),
            (json!({"minID": 9, "maxID": 3}), "minID is not larger"),
            (json!({"id": 4095}), "from 1 to 4094"),
            (json!({"minID": 0, "maxID": 3}), "from 1 to 4094"),
        ] {
            let error = trunk(&json!({"trunk": [element]})).unwrap_err();
            assert!(error.starts_with("trunk[0] is ") && error.contains(sentence), "{error}");
        }
    }
}
