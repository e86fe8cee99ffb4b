//! Whether `tc -j filter show` says of a filter what we say.
//!
//! `tc` prints each value in its own way: a number as decimal or hexadecimal, a mask with or
//! without its prefix. So values are compared part by part as numbers where both can be read so, else
//! as words. Every key `tc` shows must be one of ours with an equal value, and we may have none
//! beside them; of the actions, their kinds in order and what each is given.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde_json::{Map, Value};
use switchdev::tc_filter::{Filter, IfIndex};

/// What JSON calls our words.
const RENAMED: [(&str, &str); 2] = [("type", "icmp_type"), ("code", "icmp_code")];
/// The kernel's view of the protocol, which we say with `protocol`.
const NOT_OURS: &str = "eth_type";

/// Compares all filters with what was shown.
pub(super) fn check(
    filters: &[Filter],
    shown: &[Value],
    names: &BTreeMap<String, IfIndex>,
) -> anyhow::Result<()> {
    let entries: Vec<&Value> = shown.iter().filter_map(Value::as_array).flatten().collect();
    let differences = filters.iter().filter_map(|filter| {
        let line = filter.text(names).to_string();
        check_one(filter, &line, &entries).err().map(|error| format!("{line}\n  {error:#}"))
    });
    let differences: Vec<String> = differences.collect();
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

fn check_one(filter: &Filter, line: &str, entries: &[&Value]) -> anyhow::Result<()> {
    let prio = u64::from(filter.prio.get());
    let is_it = |entry: &&&Value| entry["pref"] == prio && entry["options"]["handle"].is_number();
    let entry = entries.iter().find(is_it).context("tc shows no such filter")?;
    check_entry(filter, line, entry).with_context(|| format!("tc shows {entry}"))
}

fn check_entry(filter: &Filter, line: &str, entry: &Value) -> anyhow::Result<()> {
    ensure!(entry["chain"] == filter.chain.get(), "another chain");
    ensure!(entry["options"]["handle"] == filter.handle.get(), "another handle");
    let (keys, actions) = line
        .split_once(" flower")
        .context("no flower")?
        .1
        .split_once(" action ")
        .context("no action")?;
    check_keys(&said_keys(keys), &entry["options"]["keys"])?;
    let shown = entry["options"]["actions"].as_array().context("no actions")?;
    let said: Vec<&str> = actions.split(" action ").collect();
    ensure!(said.len() == shown.len(), "{} actions", shown.len());
    for ((action, said), shown) in filter.actions.iter().zip(said).zip(shown) {
        ensure!(shown["kind"] == action.kind(), "{said} is shown as {}", shown["kind"]);
        check_action(said, shown).with_context(|| format!("{said} is shown as {shown}"))?;
    }
    Ok(())
}

/// Our keys by the names of JSON.
fn said_keys(line: &str) -> BTreeMap<String, String> {
    let flags = ["verbose", "skip_sw", "skip_hw"];
    let mut words = line.split_whitespace().filter(|word| !flags.contains(word));
    let mut said = BTreeMap::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        let renamed = RENAMED.iter().find(|(ours, _)| *ours == name).map_or(name, |(_, json)| json);
        said.insert(renamed.to_owned(), value.to_owned());
    }
    said
}

fn check_keys(said: &BTreeMap<String, String>, shown: &Value) -> anyhow::Result<()> {
    let shown = shown_keys(shown.as_object().context("no keys")?);
    let mut rest = said.clone();
    for (name, value) in shown.iter().filter(|(name, _)| *name != NOT_OURS) {
        let ours = rest.remove(name).with_context(|| format!("we did not say {name}"))?;
        ensure!(agrees(&ours, value), "{name}: we say {ours}, tc {value}");
    }
    rest.retain(|name, _| !UNSHOWN.contains(&name.as_str()));
    ensure!(rest.is_empty(), "tc does not show {rest:?}");
    Ok(())
}

/// Keys that `tc` 6.1 does not know and therefore does not show.
const UNSHOWN: [&str; 1] = ["enc_src_port"];
/// Where JSON has a mask beside the value.
const MASK: &str = "_mask";
const GENEVE: (&str, &str) = ("geneve_opt_key", "geneve_opt_mask");

/// The keys as one line would say them.
fn shown_keys(keys: &Map<String, Value>) -> BTreeMap<String, String> {
    let mut words = BTreeMap::new();
    for (name, value) in keys.iter().filter(|(name, _)| !name.ends_with(MASK)) {
        let word = match (name.as_str(), value) {
            ("ip_flags", flags) => frag_word(flags),
            (_, Value::Object(range)) => range_word(range),
            (name, _) if name == GENEVE.0 => {
                words.insert("geneve_opts".to_owned(), geneve_word(value, &keys[GENEVE.1]));
                continue;
            }
            _ => masked_word(&text(value), keys.get(&format!("{name}{MASK}"))),
        };
        words.insert(name.clone(), word);
    }
    words
}

/// JSON's masks are hexadecimal without saying so; those of Ethernet addresses may be a length.
fn masked_word(value: &str, mask: Option<&Value>) -> String {
    match (mask, value.split_once('/')) {
        (Some(mask), _) => format!("{value}/0x{}", text(mask)),
        (None, Some((mac, length))) if mac.matches(':').count() == 5 && !length.contains(':') => {
            format!("{mac}/{}", mac_mask(length))
        }
        (None, _) => value.to_owned(),
    }
}

fn mac_mask(length: &str) -> String {
    let ones = length.parse::<u32>().unwrap_or(0).min(48);
    let [_, _, bytes @ ..] = (u64::MAX << (48 - ones)).to_be_bytes();
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

fn frag_word(flags: &Value) -> String {
    let flag = |name: &str| {
        Some(if flags.get(name)?.as_bool()? { name.to_owned() } else { format!("no{name}") })
    };
    [flag("frag"), flag("firstfrag")].into_iter().flatten().collect::<Vec<_>>().join("/")
}

fn range_word(range: &Map<String, Value>) -> String {
    let end = |name: &str| range.get(name).map(text).unwrap_or_default();
    format!("{}-{}", end("start"), end("end"))
}

fn geneve_word(values: &Value, masks: &Value) -> String {
    let (values, masks) = (geneve_list(values), geneve_list(masks));
    let exact = masks.chars().all(|c| matches!(c, 'f' | ':' | ','));
    if exact { values } else { format!("{values}/{masks}") }
}

fn geneve_list(options: &Value) -> String {
    let one = |option: &Value| {
        let number = |name: &str| option[name].as_u64().unwrap_or_default();
        let data = option["data"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        let data: String = data.map(|byte| format!("{byte:02x}")).collect();
        format!("{:04x}:{:02x}:{data}", number("class"), number("type"))
    };
    options.as_array().into_iter().flatten().map(one).collect::<Vec<_>>().join(",")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value as it stands in our line, and as `tc` has it.
fn agrees(ours: &str, shown: &str) -> bool {
    let (ours, shown): (Vec<&str>, Vec<&str>) =
        (ours.split('/').collect(), shown.split('/').collect());
    ours.len() == shown.len()
        && ours.iter().zip(&shown).all(|(a, b)| same_number(a, b) || same_word(a, b))
}

fn same_number(a: &str, b: &str) -> bool {
    let readings = |word: &str| {
        let hex = word.strip_prefix("0x").unwrap_or(word);
        [word.parse::<u128>().ok(), u128::from_str_radix(hex, 16).ok()]
    };
    readings(a).iter().flatten().any(|a| readings(b).iter().flatten().any(|b| a == b))
}

fn same_word(a: &str, b: &str) -> bool {
    const SYNONYMS: [(&str, &str); 3] = [("1", "request"), ("2", "reply"), ("ip", "ipv4")];
    a.eq_ignore_ascii_case(b) || SYNONYMS.contains(&(a, b))
}

/// What an action is given, by the names of JSON, must stand in our words.
const GIVEN: [&str; 23] = [
    "vlan_action",
    "id",
    "protocol",
    "priority",
    "mirred_action",
    "direction",
    "to_dev",
    "mode",
    "src_ip",
    "dst_ip",
    "key_id",
    "dst_port",
    "tos",
    "ttl",
    "zone",
    "mark",
    "label",
    "chain",
    "nat",
    "action",
    "type",
    "pkts_rate",
    "pkts_burst",
];

fn check_action(said: &str, shown: &Value) -> anyhow::Result<()> {
    let words: Vec<&str> = said.split_whitespace().collect();
    let fields = shown.as_object().context("no action")?;
    for (name, value) in fields.iter().filter(|(name, _)| GIVEN.contains(&name.as_str())) {
        let value = masked_word(&text(value), fields.get(&format!("{name}{MASK}")));
        let stands = |part: &str| words.iter().any(|word| agrees(word, part));
        ensure!(value.split_whitespace().all(stands), "tc shows {name} {value}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(said: &[(&str, &str)], shown: Value) -> bool {
        let said = said.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        check_keys(&said, &shown).is_ok()
    }

    #[test]
    fn values_agree_however_tc_writes_them() {
        assert!(check(&[("ip_tos", "0x10/0xfc")], json!({"ip_tos": 16, "ip_tos_mask": "fc"})));
        assert!(check(
            &[("ip_flags", "frag/nofirstfrag")],
            json!({"ip_flags": {"frag": true, "firstfrag": false}})
        ));
        assert!(check(&[("dst_port", "80-90")], json!({"dst_port": {"start": 80, "end": 90}})));
        assert!(check(
            &[("src_mac", "02:00:00:00:00:00/ff:ff:ff:00:00:00")],
            json!({"src_mac": "02:00:00:00:00:00/24"})
        ));
        let options = json!({"geneve_opt_key": [{"class": 258, "type": 128, "data": [0, 1, 0, 2]}],
            "geneve_opt_mask": [{"class": 65535, "type": 255, "data": [127, 255, 255, 255]}]});
        assert!(check(&[("geneve_opts", "0102:80:00010002/ffff:ff:7fffffff")], options));
    }

    #[test]
    fn another_value_another_mask_and_another_key_are_seen() {
        assert!(!check(&[("ip_ttl", "0x40")], json!({"ip_ttl": 65})));
        assert!(!check(&[("ct_mark", "0x1/0xff")], json!({"ct_mark": 1, "ct_mark_mask": "f"})));
        assert!(!check(&[("ct_mark", "0x1")], json!({"ct_mark": 1, "ct_mark_mask": "f"})));
        assert!(!check(&[], json!({"ip_ttl": 64})));
        assert!(!check(&[("ip_ttl", "0x40")], json!({})));
    }
}
