//! What a pod's annotation asks for, through `args.cni` (Multus: `cni-args`): ovs-cni's words, and Kube-OVN's vocabulary
//! for fixed addresses and rates, with or without its prefix (`ovn.kubernetes.io/`, `<provider>.kubernetes.io/`), and for
//! one interface of several with the interface's name behind it (`ip_address.net1`).
//!
//! Each word means a key of the configuration and goes before it. Annotations are text, so numbers and truth values may
//! be written as text.

use serde_json::{Map, Value, json};

use super::fields::wrong;
use super::nearest::nearest;
use super::problem::Problem;

/// What a word means.
#[derive(Clone, Copy)]
enum Meaning {
    /// This key, with the same text.
    Text(&'static str),
    /// This key, with a number.
    Number(&'static str),
    /// This key, with a truth value.
    Truth(&'static str),
    /// `ips`: one or two addresses with commas between.
    Addresses,
    /// `ip_pool`: addresses of which the first free one is taken.
    Pool,
    /// Part of Kube-OVN's mirror.
    Mirror,
    /// `routes`: JSON, perhaps as text.
    Routes,
    /// Done by somebody else.
    Elsewhere(&'static str),
}

/// The name of Kube-OVN's mirror, which copies what the pod gets.
const KUBE_OVN_MIRROR: &str = "m0";

const OVN: &str = "it is a property of OVN's logical port; set it there, the representor's port only names it by iface-id";
const NETEM: &str =
    "delay, jitter and loss are made by netem on the host, and no packet in hardware passes by it";

const WORDS: &[(&str, Meaning)] = &[
    ("mac", Meaning::Text("mac")),
    ("mac_address", Meaning::Text("mac")),
    ("ovnPort", Meaning::Text("ovnPort")),
    ("ips", Meaning::Addresses),
    ("ip_address", Meaning::Addresses),
    ("ip_pool", Meaning::Pool),
    ("vlan_id", Meaning::Number("vlan")),
    ("ingress_rate", Meaning::Number("ingress_rate")),
    ("ingress_burst", Meaning::Number("ingress_burst")),
    ("egress_rate", Meaning::Number("egress_rate")),
    ("egress_burst", Meaning::Number("egress_burst")),
    ("port_security", Meaning::Truth("portSecurity")),
    ("default_route", Meaning::Truth(DEFAULT_ROUTE)),
    ("routes", Meaning::Routes),
    ("mirror", Meaning::Mirror),
    (
        "ip_family",
        Meaning::Elsewhere("the IPAM plugin's configuration says which families there are"),
    ),
    ("logical_switch", Meaning::Elsewhere(OVN)),
    ("security_groups", Meaning::Elsewhere(OVN)),
    ("vip", Meaning::Elsewhere(OVN)),
    ("aaps", Meaning::Elsewhere(OVN)),
    ("layer2_forward", Meaning::Elsewhere(OVN)),
    ("activation_strategy", Meaning::Elsewhere(OVN)),
    ("latency", Meaning::Elsewhere(NETEM)),
    ("jitter", Meaning::Elsewhere(NETEM)),
    ("limit", Meaning::Elsewhere(NETEM)),
    ("loss", Meaning::Elsewhere(NETEM)),
];

/// Members that only wishes can bring, beside the keys of a configuration.
pub(crate) const ADDRESSES: &str = "wished addresses";
pub(crate) const POOL: &str = "wished pool";
pub(crate) const ROUTES: &str = "wished routes";
pub(crate) const DEFAULT_ROUTE: &str = "wished default route";

/// The words that mean a key, for whoever wants to see each at work.
pub fn words() -> impl Iterator<Item = &'static str> {
    let ours = WORDS.iter().filter(|(_, meaning)| !matches!(meaning, Meaning::Elsewhere(_)));
    ours.map(|(word, _)| *word)
}

/// The members that the wishes of `args.cni` mean for the interface of this name, where it is known already.
pub(crate) fn read(
    wishes: &Map<String, Value>,
    ifname: Option<&str>,
    problems: &mut Vec<Problem>,
) -> Map<String, Value> {
    let mut meant = Map::new();
    // What is said for one interface goes before what is said for all.
    for of_one in [false, true] {
        for (name, value) in wishes {
            let (meaning, interface) = meaning(name);
            let concerns = interface.is_none_or(|one| ifname.is_none_or(|ifname| ifname == one));
            if interface.is_some() != of_one || !concerns {
                continue;
            }
            match meaning {
                Some(meaning) => take(name, value, meaning, &mut meant, problems),
                None => problems.extend(slip(name)),
            }
        }
    }
    meant
}

/// The word, whatever stands before its last `/`, and the interface that it is for. Case does not count, as in ovs-cni.
fn meaning(name: &str) -> (Option<Meaning>, Option<&str>) {
    let word = name.rsplit('/').next().unwrap_or(name);
    let known = |word: &str| {
        WORDS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(word))
            .map(|(_, meaning)| *meaning)
    };
    match word.split_once('.') {
        Some((word, interface)) if known(word).is_some() => (known(word), Some(interface)),
        _ => (known(word), None),
    }
}

/// Other plugins have words of their own; only one that looks like ours is taken for a slip.
fn slip(name: &str) -> Option<Problem> {
    let nearest = nearest(name, WORDS.iter().map(|(word, _)| *word))?;
    Some(Problem::Unknown { field: field(name), nearest: Some(field(nearest)) })
}

fn field(name: &str) -> String {
    format!("args.cni.{name}")
}

fn take(
    name: &str,
    value: &Value,
    meaning: Meaning,
    meant: &mut Map<String, Value>,
    problems: &mut Vec<Problem>,
) {
    let read = match meaning {
        Meaning::Text(key) => Ok((key, value.clone())),
        Meaning::Number(key) => number(value).map(|number| (key, json!(number))),
        Meaning::Truth(key) => truth(value).map(|truth| (key, json!(truth))),
        Meaning::Addresses => texts(value).map(|texts| (ADDRESSES, json!(texts))),
        Meaning::Pool => texts(value).map(|texts| (POOL, json!(texts))),
        Meaning::Routes => routes(value).map(|routes| (ROUTES, routes)),
        Meaning::Mirror => truth(value).map(|on| ("mirrors", mirrors(on))),
        Meaning::Elsewhere(why) => {
            return problems.push(Problem::Elsewhere { field: field(name), why });
        }
    };
    match read {
        Ok((key, value)) => drop(meant.insert(key.to_owned(), value)),
        Err(wanted) => problems.push(wrong(&field(name), value, wanted)),
    }
}

fn mirrors(on: bool) -> Value {
    if on { json!([{"name": KUBE_OVN_MIRROR, "egress": true}]) } else { json!([]) }
}

fn number(value: &Value) -> Result<u64, &'static str> {
    let text = value.as_str().and_then(|text| text.trim().parse().ok());
    value.as_u64().or(text).ok_or("a whole number")
}

fn truth(value: &Value) -> Result<bool, &'static str> {
    match (value.as_bool(), value.as_str()) {
        (Some(truth), _) => Ok(truth),
        (None, Some("true")) => Ok(true),
        (None, Some("false" | "")) => Ok(false),
        _ => Err("true or false"),
    }
}

/// A list of texts, or one text with commas between.
fn texts(value: &Value) -> Result<Vec<String>, &'static str> {
    const WANTED: &str = "addresses, in a list or with commas between";
    let words: Vec<&str> = match value {
        Value::String(text) => {
            text.split([',', ';']).map(str::trim).filter(|word| !word.is_empty()).collect()
        }
        Value::Array(list) => {
            list.iter().map(|v| v.as_str().ok_or(WANTED)).collect::<Result<_, _>>()?
        }
        _ => return Err(WANTED),
    };
    let is_address = |word: &&str| {
        word.split('/').next().is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok())
    };
    if words.iter().all(is_address) {
        Ok(words.into_iter().map(str::to_owned).collect())
    } else {
        Err(WANTED)
    }
}

fn routes(value: &Value) -> Result<Value, &'static str> {
    const WANTED: &str = "a list of routes: [{\"dst\": \"10.1.0.0/16\", \"gw\": \"10.0.0.1\"}]";
    let parsed = match value {
        Value::String(text) => serde_json::from_str(text).map_err(|_| WANTED)?,
        other => other.clone(),
    };
    if parsed.is_array() { Ok(parsed) } else { Err(WANTED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(wishes: &Value) -> Result<Value, String> {
        let mut problems = Vec::new();
        let meant = read(wishes.as_object().unwrap(), Some("net1"), &mut problems);
        problems.pop().map_or(Ok(Value::Object(meant)), |problem| Err(problem.to_string()))
    }

    #[test]
    fn kube_ovns_words_mean_keys_with_any_prefix() {
        let meant = wish(&json!({
            "ovn.kubernetes.io/ip_address": "10.0.0.5,fd00::5",
            "net1.default.ovn.kubernetes.io/mac_address": "02:00:00:00:00:09",
            "vlan_id": "7", "ingress_rate": "100", "ovn.kubernetes.io/mirror": "true",
        }));
        assert_eq!(
            meant.unwrap(),
            json!({
                ADDRESSES: ["10.0.0.5", "fd00::5"], "mac": "02:00:00:00:00:09", "vlan": 7, "ingress_rate": 100,
                "mirrors": [{"name": "m0", "egress": true}],
            })
        );
    }

    #[test]
    fn a_word_for_one_interface_goes_before_the_word_for_all() {
        let meant = wish(&json!({
            "z.ovn.kubernetes.io/mac_address": "02:00:00:00:00:01",
            "ovn.kubernetes.io/mac_address.net1": "02:00:00:00:00:02",
            "ovn.kubernetes.io/mac_address.net2": "02:00:00:00:00:03",
            "vlan_id.net2": "not read here",
        }));
        assert_eq!(meant.unwrap(), json!({"mac": "02:00:00:00:00:02"}));
    }

    #[test]
    fn what_others_do_is_said_to_be_theirs() {
        let error = wish(&json!({"ovn.kubernetes.io/security_groups": "sg"})).unwrap_err();
        assert!(
            error.contains("security_groups is not done here: it is a property of OVN"),
            "{error}"
        );
        assert!(wish(&json!({"latency": "5"})).unwrap_err().contains("netem"));
    }

    #[test]
    fn a_slip_is_told_and_a_strangers_word_is_not() {
        assert!(
            wish(&json!({"ip_adress": "10.0.0.5"}))
                .unwrap_err()
                .contains("is args.cni.ip_address meant?")
        );
        assert_eq!(wish(&json!({"labels": []})), Ok(json!({})));
    }

    #[test]
    fn values_that_make_no_sense_are_named() {
        for (name, value, wanted) in [
            ("vlan_id", json!("seven"), "a whole number"),
            ("mirror", json!(5), "true or false"),
            ("ip_address", json!("10.0.0"), "addresses"),
            ("routes", json!("10.0.0.0/8"), "a list of routes"),
        ] {
            let error = wish(&json!({name: value})).unwrap_err();
            assert!(
                error.starts_with(&format!("args.cni.{name} is ")) && error.contains(wanted),
                "{error}"
            );
        }
    }
}
