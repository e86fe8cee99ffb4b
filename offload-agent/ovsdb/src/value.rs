//! The values of OVSDB as JSON (RFC 7047, section 5.1): atoms stand for themselves, sets and maps are tagged.

use std::fmt;

use serde_json::{Value, json};

/// The name that the server gave to a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uuid(pub String);

impl Uuid {
    /// From `["uuid", TEXT]`.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        match value.as_array()?.as_slice() {
            [Value::String(tag), Value::String(text)] if tag == "uuid" => Some(Self(text.clone())),
            _ => None,
        }
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!(["uuid", self.0])
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A row that an earlier operation of the same transaction inserts.
#[must_use]
pub fn named_uuid(name: &str) -> Value {
    json!(["named-uuid", name])
}

/// A set of values.
pub fn set<V: Into<Value>>(values: impl IntoIterator<Item = V>) -> Value {
    json!(["set", values.into_iter().map(Into::into).collect::<Vec<Value>>()])
}

/// A map.
pub fn map<K: Into<Value>, V: Into<Value>>(pairs: impl IntoIterator<Item = (K, V)>) -> Value {
    let pairs = pairs.into_iter().map(|(key, value)| json!([key.into(), value.into()]));
    json!(["map", pairs.collect::<Vec<Value>>()])
}

/// The elements of a set. A set of one may be written as that one.
#[must_use]
pub fn elements(value: &Value) -> Vec<&Value> {
    match tagged(value, "set") {
        Some(elements) => elements.iter().collect(),
        None => vec![value],
    }
}

/// The UUIDs in a set.
#[must_use]
pub fn uuids(value: &Value) -> Vec<Uuid> {
    elements(value).into_iter().filter_map(Uuid::from_json).collect()
}

/// What is behind a key of a map of strings.
#[must_use]
pub fn key<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    let pairs = tagged(value, "map")?.iter().filter_map(Value::as_array);
    let found = pairs.filter(|pair| pair.first().and_then(Value::as_str) == Some(key));
    found.filter_map(|pair| pair.get(1)?.as_str()).next()
}

fn tagged<'a>(value: &'a Value, tag: &str) -> Option<&'a Vec<Value>> {
    match value.as_array()?.as_slice() {
        [Value::String(found), Value::Array(content)] if found == tag => Some(content),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_one_may_stand_without_its_tag() {
        let one = Uuid("1".into());
        assert_eq!(uuids(&one.to_json()), vec![one.clone()]);
        assert_eq!(
            uuids(&set([one.to_json(), Uuid("2".into()).to_json()])),
            [one, Uuid("2".into())]
        );
        assert_eq!(uuids(&set::<Value>([])), []);
    }

    #[test]
    fn a_map_is_read_by_key() {
        let ids = map([("iface-id", "pod"), ("owner", "us")]);
        assert_eq!((key(&ids, "owner"), key(&ids, "other")), (Some("us"), None));
        assert_eq!(key(&json!("no map"), "owner"), None);
    }
}
