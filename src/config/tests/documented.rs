//! What `config/reference.yaml` and `docs/config.md` say is what the code does.

use super::*;

#[test]
fn the_documentation_shows_what_is_printed() {
    let text =
        "listeners:\n  - name: outbound\n    capture: tproxi\n\n\n\ndata:\n  ports: 600-500\n";
    let printed = parse("gateway.yaml", text).unwrap_err().to_string();
    let shown = include_str!("../../../docs/config.md").split("```\n").nth(1).unwrap();
    assert_eq!(shown.trim_end(), printed);
}

/// Every key with a value in `node`, as [`keys`] writes it, with the value.
fn leaves(node: &tree::Node, key: &str, into: &mut Vec<(String, String)>) {
    match &node.value {
        tree::Value::Map(entries) => {
            for entry in entries {
                let name = if key == "policies" { "*" } else { entry.key.as_str() };
                let dot = if key.is_empty() { "" } else { "." };
                leaves(&entry.node, &format!("{key}{dot}{name}"), into);
            }
        }
        tree::Value::List(items) if key == "listeners" => {
            items.iter().for_each(|item| leaves(item, &format!("{key}[]"), into));
        }
        value => into.push((key.to_owned(), value::shown(value))),
    }
}

#[test]
fn the_reference_file_holds_every_key() {
    let root = tree::parse(include_str!("../../../config/reference.yaml")).root.unwrap();
    let mut found = Vec::new();
    leaves(&root, "", &mut found);
    let found: BTreeSet<String> = found.into_iter().map(|(key, _)| key).collect();
    // By default there is no rule.
    let keys = keys().into_iter().filter(|key| !key.starts_with("policies.*.rules[]."));
    assert_eq!(found, keys.collect());
}

#[test]
fn the_documentation_tells_the_defaults() {
    let root = tree::parse(include_str!("../../../config/reference.yaml")).root.unwrap();
    let mut found = Vec::new();
    leaves(&root, "", &mut found);
    for (key, value) in found {
        let default = match key.as_str() {
            // The reference needs a listener that can be, and YAML knows no base.
            "listeners[].server" => "original".to_owned(),
            "firewall.mark" => "0x2100".to_owned(),
            _ => value,
        };
        let row = include_str!("../../../docs/config.md")
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")))
            .unwrap_or_else(|| panic!("{key} is not documented"));
        let cell = row.split(" | ").nth(2).unwrap();
        assert_eq!(cell, format!("`{default}`"), "{key}");
    }
}
