//! YAML text to a tree of values, each with its place.
//!
//! The library resolves scalars (`0x2100` is a number, `"0x2100"` a text), expands anchors within
//! bounds, and finds duplicate keys.

use super::problem::{Place, Problem};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::options::DuplicateKeyPolicy;
use serde_yaml::{Location, Spanned, UserMessageFormatter};
use std::fmt;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) value: Value,
}

/// What YAML makes of a node.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a mapping, where it stands, and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: Place,
    pub(super) key: String,
    pub(super) node: Node,
}

/// What came of a text.
pub(super) struct Parsed {
    /// The tree, as far as there is one.
    pub(super) root: Option<Node>,
    /// What YAML itself complains about.
    pub(super) complaint: Option<Problem>,
}

/// Parses one YAML document.
pub(super) fn parse(text: &str) -> Parsed {
    match read(text, DuplicateKeyPolicy::Error) {
        Ok(root) => Parsed { root: Some(root), complaint: None },
        // A duplicate key hides no other problem: the second reading lets it pass.
        Err(complaint) => Parsed {
            root: read(text, DuplicateKeyPolicy::LastWins).ok(),
            complaint: Some(complaint),
        },
    }
}

fn read(text: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Node, Problem> {
    let options = serde_yaml::options! {
        duplicate_keys: duplicate_keys,
        // `on`, `off`, `yes` and `no` stay words.
        strict_booleans: true,
        with_snippet: false,
    };
    serde_yaml::from_str_with_options::<Spanned<Value>>(text, options).map(Node::from).map_err(
        |error| Problem {
            at: error.location().map(place).unwrap_or(Place { line: 1, column: 1 }),
            key: String::new(),
            message: format!("not valid YAML: {}", reason(&error)),
        },
    )
}

/// The library's words without the place, which stands ahead of the message already.
fn reason(error: &serde_yaml::Error) -> String {
    let text = error.without_snippet().render_with_formatter(&UserMessageFormatter);
    let text = text.lines().next().unwrap_or_default();
    match text.split_once(" at line ") {
        Some((reason, _)) => reason.to_owned(),
        None => text.to_owned(),
    }
}

fn place(location: Location) -> Place {
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Place { line: count(location.line()), column: count(location.column()) }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { at: place(spanned.referenced), value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            list.push(Node::from(item));
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, Spanned<Value>>()? {
            map.push(Entry { at: place(key.referenced), key: key.value, node: value.into() });
        }
        Ok(Value::Map(map))
    }
}
