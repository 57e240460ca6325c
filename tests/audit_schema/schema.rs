//! The part of JSON Schema that `docs/audit.schema.json` is written in, and lines held against it.

use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// A file of `docs`.
pub(super) fn document(name: &str) -> String {
    std::fs::read_to_string(format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// `docs/audit.schema.json`.
pub(super) struct Schema(pub(super) Value);

pub(super) static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema(serde_json::from_str(&document("audit.schema.json")).unwrap()));

impl Schema {
    fn properties(of: &Value) -> &Map<String, Value> {
        of["properties"].as_object().unwrap()
    }

    /// The part about one event.
    pub(super) fn event(&self, name: &str) -> &Value {
        let reference = format!("#/$defs/{name}");
        let branches = self.0["oneOf"].as_array().unwrap();
        assert!(branches.iter().any(|branch| branch["$ref"] == reference.as_str()), "{name}");
        let event = &self.0["$defs"][name];
        assert_eq!(event["properties"]["event"]["const"], name);
        event
    }

    pub(super) fn events(&self) -> BTreeSet<&str> {
        words(&self.0["properties"]["event"])
    }

    /// All properties, as `event/key`, those of every line as `/key`.
    pub(super) fn keys(&self) -> BTreeSet<String> {
        let of = |event: &str, part: &Value| -> Vec<String> {
            let keys =
                Self::properties(part).keys().filter(|key| event.is_empty() || *key != "event");
            keys.map(|key| format!("{event}/{key}")).collect()
        };
        let events = self.events();
        let own = events.iter().flat_map(|event| of(event, self.event(event)));
        own.chain(of("", &self.0)).collect()
    }

    /// Asserts that the line is valid, and that it has nothing that the schema does not name. The keys
    /// that it has, as in [`Self::keys`].
    pub(super) fn check(&self, line: &Value) -> BTreeSet<String> {
        let event = line["event"].as_str().unwrap();
        let own = self.event(event);
        let mut keys = BTreeSet::new();
        for (prefix, part) in [(event, own), ("", &self.0)] {
            for key in part["required"].as_array().into_iter().flatten() {
                assert!(line.get(key.as_str().unwrap()).is_some(), "{key} is missing: {line}");
            }
            for (key, rule) in Self::properties(part) {
                if let Some(value) = line.get(key) {
                    check_value(rule, value, line);
                    // Of an event it only says which one.
                    if prefix.is_empty() || key != "event" {
                        keys.insert(format!("{prefix}/{key}"));
                    }
                }
            }
        }
        for key in line.as_object().unwrap().keys() {
            let named =
                keys.contains(&format!("/{key}")) || keys.contains(&format!("{event}/{key}"));
            assert!(named, "the schema does not name {key}: {line}");
        }
        keys
    }
}

fn check_value(rule: &Value, value: &Value, line: &Value) {
    let rule = rule.as_object().unwrap();
    for (word, bound) in rule {
        let holds = match word.as_str() {
            "description" | "format" => true,
            "const" => value == bound,
            "enum" => bound.as_array().unwrap().contains(value),
            "minimum" => value.as_f64() >= bound.as_f64(),
            "maximum" => value.as_f64() <= bound.as_f64(),
            "type" => match bound.as_str().unwrap() {
                "string" => value.is_string(),
                "integer" => value.is_u64(),
                "number" => value.is_number(),
                "boolean" => value.is_boolean(),
                other => panic!("the type {other} is not known here"),
            },
            other => panic!("the word {other} is not known here"),
        };
        assert!(holds, "{value} is not {word} {bound}: {line}");
    }
}

pub(super) fn words(rule: &Value) -> BTreeSet<&str> {
    rule["enum"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}
