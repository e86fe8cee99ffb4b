//! The JSON schema of a NetConf, made from the table of keys, for editors and admission checks.

use serde_json::{Map, Value, json};

use crate::conf::keys::{KEYS, Key, Kind, PASSED_OVER};

/// The schema (JSON Schema, draft 2020-12). It refuses nothing that `validate` takes, but for null; what contradicts each
/// other it cannot say, and `validate` does.
#[must_use]
pub fn schema() -> Value {
    let mut schema = object(KEYS);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("NetConf of sriov-cni");
    schema["required"] = json!(["cniVersion", "name", "type"]);
    schema["patternProperties"] = json!({"^cni\\.dev/": {}});
    for member in PASSED_OVER {
        schema["properties"][member] = json!({"description": "The runtime's; not used here."});
    }
    schema
}

fn object(keys: &[Key]) -> Value {
    let properties: Map<String, Value> =
        keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

fn property(key: &Key) -> Value {
    let mut property = shape(key.kind);
    property["description"] = json!(key.help);
    // The runtime hands on what other plugins declared.
    if key.name == "runtimeConfig" {
        property["additionalProperties"] = json!(true);
    }
    property
}

fn shape(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!({"type": "string"}),
        // Generators write nothing as an empty text.
        Kind::OneOf(words) => {
            let words: Vec<&str> = words.iter().copied().chain([""]).collect();
            json!({"enum": words})
        }
        Kind::Number(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Mac => {
            json!({"type": "string", "pattern": "^(([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2})?$"})
        }
        Kind::Pci => {
            let pattern = "^(([0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\\.[0-7])?$";
            json!({"type": "string", "pattern": pattern})
        }
        Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Object(keys) => object(keys),
        Kind::List(keys) => json!({"type": "array", "items": object(keys)}),
        Kind::Opaque => json!({"type": "object"}),
        Kind::OpaqueList => json!({"type": "array"}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_reference() {
        let reference = include_str!("../README.md");
        for key in KEYS {
            assert!(
                reference.contains(&format!("| `{}` |", key.name)),
                "README.md says nothing of {}",
                key.name
            );
        }
    }

    #[test]
    fn every_key_is_in_it_with_its_sentence() {
        let schema = schema();
        for key in KEYS {
            assert_eq!(schema["properties"][key.name]["description"], json!(key.help));
        }
        assert_eq!(
            schema["properties"]["trunk"]["items"]["properties"]["minID"]["maximum"],
            json!(4095)
        );
        assert_eq!(schema["additionalProperties"], json!(false));
        for member in PASSED_OVER {
            assert!(
                schema["properties"].get(member).is_some(),
                "{member} is taken, and not in the schema"
            );
        }
    }
}
