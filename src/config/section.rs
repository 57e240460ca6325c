//! Reading keys from the tree: each key is asked for once with its parser, and what nobody asked
//! for is unknown. Problems gather in [`Notes`]; reading never stops.

use super::problem::{Place, Problem};
use super::tree::{Entry, Node, Value};
use super::value;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// What reading a file leaves behind besides the values.
#[derive(Default)]
pub(super) struct Notes {
    problems: RefCell<Vec<Problem>>,
    keys: RefCell<BTreeSet<String>>,
}

impl Notes {
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    pub(super) fn into_keys(self) -> BTreeSet<String> {
        self.keys.into_inner()
    }

    /// Notes a problem at a place of the file.
    pub(super) fn problem(&self, at: Place, key: &str, message: impl Into<String>) {
        let problem = Problem { at, key: key.to_owned(), message: message.into() };
        self.problems.borrow_mut().push(problem);
    }

    /// True if a problem with this very key was noted; the empty key is the file as a whole.
    pub(super) fn complained_about(&self, key: &str) -> bool {
        self.problems.borrow().iter().any(|problem| problem.key == key)
    }

    /// True if a problem with a key of the section `key` was noted.
    pub(super) fn complained_below(&self, key: &str) -> bool {
        let below = |found: &str| found.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        self.problems.borrow().iter().any(|problem| below(&problem.key))
    }

    /// Notes a problem with a value that was read.
    pub(super) fn problem_with<T>(&self, found: &Found<T>, message: impl Into<String>) {
        self.problem(found.at, &found.key, message);
    }
}

/// A value, written or default, with the key and the place to complain about it.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) key: String,
    /// Of the value; of the section around it where the value is a default.
    pub(super) at: Place,
    /// What was written could not be read: complained about already, `value` is the default.
    bad: bool,
}

impl<T> Found<T> {
    /// The same with another value.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Found<U> {
        Found { value: change(self.value), key: self.key, at: self.at, bad: self.bad }
    }

    /// The value, unless it only stands in for one that could not be read: no complaint should rest
    /// on that.
    pub(super) fn good(&self) -> Option<&T> {
        (!self.bad).then_some(&self.value)
    }
}

/// A mapping of the file, present or not.
pub(super) struct Section<'a> {
    notes: &'a Notes,
    entries: &'a [Entry],
    key: String,
    /// The key with `[]` and `*` for what the owner counts and names.
    pattern: String,
    at: Place,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(node: &'a Node, notes: &'a Notes) -> Self {
        Self::open(Some(node), node.at, String::new(), String::new(), notes)
    }

    fn open(
        node: Option<&'a Node>,
        around: Place,
        key: String,
        pattern: String,
        notes: &'a Notes,
    ) -> Self {
        let at = node.map_or(around, |node| node.at);
        let entries: &[Entry] = match node.map(|node| &node.value) {
            Some(Value::Map(entries)) => entries,
            // A section whose keys are all commented out.
            None | Some(Value::Null) => &[],
            Some(other) => {
                let found = value::describe(other);
                notes.problem(at, &key, format!("needs keys and values here, not {found}"));
                &[]
            }
        };
        let section = Self { notes, entries, key, pattern, at, asked: Vec::new() };
        section.complain_about_duplicates();
        section
    }

    fn complain_about_duplicates(&self) {
        for (index, entry) in self.entries.iter().enumerate() {
            let same = |earlier: &&Entry| earlier.key == entry.key;
            if let Some(earlier) = self.entries.iter().take(index).find(same) {
                let message = format!(
                    "`{}` stands on line {} already: keep one of them",
                    entry.key.escape_debug(),
                    earlier.at.line
                );
                self.notes.problem(entry.at, &join(&self.key, &entry.key), message);
            }
        }
    }

    /// Notes a problem with the key `name`, at its place, or at the section's where it is missing.
    pub(super) fn problem(&self, name: &str, message: impl Into<String>) {
        self.notes.problem_with(&self.found(name), message);
    }

    /// Where the key `name` stands; the beginning of the file if it does not.
    pub(super) fn place_of(&self, name: &str) -> Place {
        let entry = self.entries.iter().find(|entry| entry.key == name);
        entry.map_or(Place { line: 1, column: 1 }, |entry| entry.at)
    }

    /// The dotted key of the section.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The key `name` with the place of its value, to complain about it; its section's place if it is
    /// not there.
    pub(super) fn found(&self, name: &str) -> Found<()> {
        let entry = self.entries.iter().rfind(|entry| entry.key == name);
        let at = entry.map_or(self.at, |entry| entry.node.at);
        Found { value: (), key: join(&self.key, name), at, bad: false }
    }

    fn find(&mut self, name: &'static str) -> Option<&'a Node> {
        self.asked.push(name);
        self.entries.iter().rfind(|entry| entry.key == name).map(|entry| &entry.node)
    }

    /// The value under `name`, which is no section.
    fn find_value(&mut self, name: &'static str) -> Option<&'a Node> {
        self.notes.keys.borrow_mut().insert(join(&self.pattern, name));
        self.find(name)
    }

    /// The section under `name`.
    pub(super) fn section(&mut self, name: &'static str) -> Section<'a> {
        let node = self.find(name);
        let (key, pattern) = (join(&self.key, name), join(&self.pattern, name));
        Section::open(node, self.at, key, pattern, self.notes)
    }

    /// The sections of the list under `name`; `None` if the key is missing or has no value.
    pub(super) fn list(&mut self, name: &'static str) -> Option<Vec<Section<'a>>> {
        let node = self.find(name)?;
        let key = join(&self.key, name);
        match &node.value {
            Value::List(items) => {
                let pattern = format!("{}[]", join(&self.pattern, name));
                let open = |(index, item)| {
                    let key = format!("{key}[{index}]");
                    Section::open(Some(item), node.at, key, pattern.clone(), self.notes)
                };
                Some(items.iter().enumerate().map(open).collect())
            }
            Value::Null => None,
            other => {
                let found = value::describe(other);
                let message = format!("needs a list here (items that begin with `-`), not {found}");
                self.notes.problem(node.at, &key, message);
                Some(Vec::new())
            }
        }
    }

    /// As [`Self::list`], of a list that has a default: the key takes a value then.
    pub(super) fn optional_list(&mut self, name: &'static str) -> Option<Vec<Section<'a>>> {
        let _ = self.find_value(name);
        self.list(name)
    }

    /// The sections under `name` whose keys are names of the owner's choice.
    pub(super) fn named(&mut self, name: &'static str) -> Vec<(&'a str, Section<'a>)> {
        let outer = self.section(name);
        let pattern = format!("{}.*", outer.pattern);
        let open = |entry: &'a Entry| {
            let key = join(&outer.key, &entry.key);
            let section =
                Section::open(Some(&entry.node), entry.at, key, pattern.clone(), outer.notes);
            (entry.key.as_str(), section)
        };
        outer.entries.iter().map(open).collect()
    }

    /// The value under `name`, or `default` if there is none.
    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&Node) -> Result<T, String>,
        default: T,
    ) -> Found<T> {
        let key = join(&self.key, name);
        let Some(node) = self.find_value(name) else {
            return Found { value: default, key, at: self.at, bad: false };
        };
        match parse(node) {
            Ok(value) => Found { value, key, at: node.at, bad: false },
            Err(message) => {
                self.notes.problem(node.at, &key, message);
                Found { value: default, key, at: node.at, bad: true }
            }
        }
    }

    /// The mapping under `name` whose keys are values as well; `None` if there is none, or something
    /// else. What cannot be read is noted and left out.
    pub(super) fn pairs<K: PartialEq, V>(
        &mut self,
        name: &'static str,
        parse_key: impl Fn(&str) -> Result<K, String>,
        parse: impl Fn(&K, &Node) -> Result<V, String>,
    ) -> Option<Vec<(K, V)>> {
        let node = &self.entries.iter().rfind(|entry| entry.key == name)?.node;
        let Value::Map(entries) = &node.value else { return None };
        let _ = self.find_value(name);
        let outer = join(&self.key, name);
        let mut pairs: Vec<(K, V)> = Vec::with_capacity(entries.len());
        for entry in entries {
            let key = join(&outer, &entry.key);
            match parse_key(&entry.key) {
                Err(message) => self.notes.problem(entry.at, &key, message),
                Ok(read) if pairs.iter().any(|(earlier, _)| *earlier == read) => {
                    self.notes.problem(entry.at, &key, "stands here twice: keep one of them");
                }
                Ok(read) => match parse(&read, &entry.node) {
                    Ok(value) => pairs.push((read, value)),
                    Err(message) => self.notes.problem(entry.node.at, &key, message),
                },
            }
        }
        Some(pairs)
    }

    /// Complains about every key that nobody asked for. Call it last.
    pub(super) fn finish(self) {
        for entry in self.entries.iter().filter(|entry| !self.asked.contains(&entry.key.as_str())) {
            let hint = match (value::nearest(&entry.key, &self.asked), homes(&entry.key).as_slice())
            {
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, []) => format!("the keys here are {}", self.asked.join(", ")),
                (None, homes) => {
                    let homes: Vec<&str> = homes.iter().map(String::as_str).collect();
                    format!("it belongs under {}", value::one_of(&homes))
                }
            };
            let key = join(&self.key, &entry.key);
            let message = format!("unknown key `{}`: {hint}", entry.key.escape_debug());
            self.notes.problem(entry.at, &key, message);
        }
    }
}

/// The sections that know the key `name`.
fn homes(name: &str) -> Vec<String> {
    let home = |key: String| {
        let segments: Vec<&str> = key.split('.').collect();
        let index = segments.iter().position(|segment| *segment == name)?;
        (index > 0).then(|| format!("`{}`", segments[..index].join(".")))
    };
    let mut homes: Vec<String> = super::keys().into_iter().filter_map(home).collect();
    homes.dedup();
    homes
}

fn join(section: &str, name: &str) -> String {
    // The owner's text, but a terminal prints it.
    let name = name.escape_debug();
    if section.is_empty() { name.to_string() } else { format!("{section}.{name}") }
}
