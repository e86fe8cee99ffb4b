//! Reads members of a JSON object by the table of keys, and keeps what is wrong with them.

use serde_json::{Map, Value};
use switchdev::PciAddress;
use tc_filter::Mac;

use super::keys::{Key, Kind, PASSED_OVER, RESERVED_PREFIX};
use super::nearest::nearest;
use super::problem::Problem;

/// Judges all members of an object by their keys.
pub(crate) fn check(
    object: &Map<String, Value>,
    keys: &[Key],
    place: &str,
    problems: &mut Vec<Problem>,
) {
    for (name, value) in object {
        let field = join(place, name);
        match keys.iter().find(|key| key.name == name) {
            Some(key) => check_value(&field, value, key.kind, problems),
            None if is_passed_over(name, place) => {}
            None => problems.push(unknown(field, name, keys)),
        }
    }
}

/// What a runtime hands on belongs to whoever declared the capability.
fn is_passed_over(name: &str, place: &str) -> bool {
    PASSED_OVER.contains(&name) || name.starts_with(RESERVED_PREFIX) || place == "runtimeConfig"
}

fn unknown(field: String, name: &str, keys: &[Key]) -> Problem {
    let place = field.strip_suffix(name).unwrap_or_default();
    let nearest = nearest(name, keys.iter().map(|key| key.name)).map(|key| format!("{place}{key}"));
    Problem::Unknown { field, nearest }
}

fn join(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}

fn check_value(field: &str, value: &Value, kind: Kind, problems: &mut Vec<Problem>) {
    match (kind, value) {
        // Go's encoders write null for what is not there.
        (_, Value::Null) => {}
        (Kind::Object(keys), Value::Object(object)) => check(object, keys, field, problems),
        (Kind::List(keys), Value::Array(elements)) => check_list(field, elements, keys, problems),
        _ if fits(value, kind) => {}
        _ => problems.push(wrong(field, value, &kind.wanted())),
    }
}

fn check_list(field: &str, elements: &[Value], keys: &[Key], problems: &mut Vec<Problem>) {
    for (at, element) in elements.iter().enumerate() {
        let place = format!("{field}[{at}]");
        match element {
            Value::Object(object) => check(object, keys, &place, problems),
            other => problems.push(wrong(&place, other, "an object")),
        }
    }
}

pub(crate) fn wrong(field: &str, value: &Value, wanted: &str) -> Problem {
    Problem::Value { field: field.to_owned(), value: shown(value), wanted: wanted.to_owned() }
}

/// A value as JSON, cut where it would fill the screen.
fn shown(value: &Value) -> String {
    const LIMIT: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn fits(value: &Value, kind: Kind) -> bool {
    let text = |right: &dyn Fn(&str) -> bool| value.as_str().is_some_and(right);
    match kind {
        Kind::Text => value.is_string(),
        Kind::OneOf(words) => text(&|text| text.is_empty() || words.contains(&text)),
        Kind::Number(min, max) => {
            value.as_u64().is_some_and(|number| (min..=max).contains(&number))
        }
        Kind::Bool => value.is_boolean(),
        Kind::Mac => text(&|text| text.is_empty() || unicast(text).is_some()),
        Kind::Pci => text(&|text| text.is_empty() || text.parse::<PciAddress>().is_ok()),
        Kind::Texts => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
        Kind::Object(_) | Kind::Opaque => value.is_object(),
        Kind::List(_) | Kind::OpaqueList => value.is_array(),
    }
}

/// An address that an interface may have: of one station, and not all zeros.
pub(crate) fn unicast(text: &str) -> Option<Mac> {
    let mac: Mac = text.parse().ok()?;
    (mac.0[0] & 1 == 0 && mac.0 != [0; 6]).then_some(mac)
}

impl Kind {
    /// In words, after "it must be".
    pub(crate) fn wanted(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
            Self::Number(min, u64::MAX) => format!("a whole number from {min}"),
            Self::Number(min, max) => format!("a whole number from {min} to {max}"),
            Self::Bool => "true or false".to_owned(),
            Self::Mac => "the MAC address of one station, such as 02:00:00:00:00:01".to_owned(),
            Self::Pci => "a PCI address, such as 0000:01:10.0".to_owned(),
            Self::Object(_) | Self::Opaque => "an object".to_owned(),
            Self::List(_) => "a list of objects".to_owned(),
            Self::OpaqueList => "a list".to_owned(),
            Self::Texts => "a list of texts".to_owned(),
        }
    }
}

/// Members of an object that was [`check`]ed: what does not fit was told already and reads as nothing.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(crate) fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    pub(crate) fn owned(self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    pub(crate) fn number<T: TryFrom<u64>>(self, name: &str) -> Option<T> {
        self.0.get(name)?.as_u64().and_then(|number| T::try_from(number).ok())
    }

    pub(crate) fn bool(self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    pub(crate) fn on_off(self, name: &str) -> Option<bool> {
        self.text(name).map(|text| text == "on")
    }

    pub(crate) fn mac(self, name: &str) -> Option<Mac> {
        unicast(self.text(name)?)
    }

    pub(crate) fn pci(self, name: &str) -> Option<PciAddress> {
        self.text(name)?.parse().ok()
    }

    pub(crate) fn object(self, name: &str) -> Option<&'a Map<String, Value>> {
        self.0.get(name)?.as_object()
    }

    pub(crate) fn fields(self, name: &str) -> Option<Fields<'a>> {
        self.object(name).map(Fields)
    }

    /// The objects of a list.
    pub(crate) fn list(self, name: &str) -> impl Iterator<Item = Fields<'a>> + use<'a> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_object).map(Fields)
    }

    pub(crate) fn texts(self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }
}
