//! Rust sources as far as a test of the layers needs them: without comments, strings and tests, and
//! the paths and identifiers in them.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of `src`.
pub struct Source {
    /// From `src` on, with `/`.
    pub path: String,
    /// The module path, outermost first; empty for `lib.rs` and `main.rs`.
    pub module: Vec<String>,
    /// As it stands there.
    pub text: String,
    /// Without comments, the contents of strings, and what is only there for tests.
    pub code: String,
}

/// Files of tests, and of what only they use.
fn ends_as_test(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.ends_with("tests.rs") || name.ends_with("testing.rs")
}

/// Every file below `src` that is not only there for tests, in order.
pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let is_test = |path: &Path| ends_as_test(path) || path.iter().any(|p| p == "tests");
    files
        .iter()
        .map(|file| (file, file.strip_prefix(&root).unwrap()))
        .filter(|(_, path)| !is_test(path))
        .map(|(file, path)| {
            let path = path.to_str().unwrap().to_owned();
            let text = fs::read_to_string(file).unwrap();
            let code = without_tests(&bare(&text));
            Source { module: module_of(&path), path, text, code }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn module_of(path: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    match stem {
        "lib" | "main" => Vec::new(),
        _ => stem.split('/').map(str::to_owned).collect(),
    }
}

/// The text with comments and the contents of string and character literals blanked out.
pub fn bare(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let starts = |at: usize, what: &str| {
        what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c))
    };
    let mut out = String::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let in_word = at > 0 && is_word(chars[at - 1]);
        let end = if starts(at, "//") {
            at + chars[at..].iter().position(|c| *c == '\n').unwrap_or(chars.len() - at)
        } else if starts(at, "/*") {
            (at..chars.len()).find(|at| starts(*at, "*/")).map_or(chars.len(), |at| at + 2)
        } else if c == '"' {
            end_of_quoted(&chars, at + 1, '"')
        } else if c == 'r' && !in_word && (starts(at, "r\"") || starts(at, "r#\"")) {
            let close = if starts(at, "r#") { "\"#" } else { "\"" };
            (at + 1 + close.len()..chars.len())
                .find(|at| starts(*at, close))
                .map_or(chars.len(), |at| at + close.len())
        } else if c == '\''
            && (chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\''))
        {
            end_of_quoted(&chars, at + 1, '\'')
        } else {
            out.push(c);
            at += 1;
            continue;
        };
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

fn end_of_quoted(chars: &[char], mut at: usize, quote: char) -> usize {
    while let Some(&c) = chars.get(at) {
        at += if c == '\\' { 2 } else { 1 };
        if c == quote {
            break;
        }
    }
    at.min(chars.len())
}

/// The code without the items that bear `#[cfg(test)]`.
pub fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some((before, item)) = rest.split_once("#[cfg(test)]") {
        out.push_str(before);
        let mut depth = 0;
        let end = item.char_indices().find(|(_, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0 && matches!(c, '}' | ';')
        });
        rest = end.map_or("", |(at, _)| &item[at + 1..]);
    }
    out + rest
}

/// Every path in the code, those of `use` written out: `["crate", "terms", "Side"]`.
pub fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(is_word) {
        let length = path_length(&rest[at..]);
        let path = &rest[at..at + length];
        rest = &rest[at + length..];
        if path == "use" {
            let (tree, after) = rest.split_once(';').unwrap_or((rest, ""));
            expand(&mut Vec::new(), tree, &mut found);
            rest = after;
        } else {
            found.push(path.split("::").map(str::to_owned).collect());
        }
    }
    found
}

/// How long the path is that the text begins with.
fn path_length(text: &str) -> usize {
    let mut end = 0;
    loop {
        end += text[end..].find(|c| !is_word(c)).unwrap_or(text.len() - end);
        let more = text[end..].strip_prefix("::").is_some_and(|next| next.starts_with(is_word));
        if !more {
            return end;
        }
        end += 2;
    }
}

/// Writes out one tree of a `use`.
fn expand(prefix: &mut Vec<String>, tree: &str, found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let depth = prefix.len();
    let (path, group) = match tree.split_once('{') {
        Some((path, group)) => (path, group.trim_end().strip_suffix('}')),
        None => (tree.split(" as ").next().unwrap_or_default(), None),
    };
    prefix.extend(path.split("::").map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned));
    match group {
        Some(group) => {
            let mut nesting = 0;
            let parts = group.split(|c| {
                match c {
                    '{' => nesting += 1,
                    '}' => nesting -= 1,
                    _ => {}
                }
                c == ',' && nesting == 0
            });
            for part in parts.filter(|part| !part.trim().is_empty()) {
                expand(prefix, part, found);
            }
        }
        None => found.push(prefix.clone()),
    }
    prefix.truncate(depth);
}

/// The words of an identifier, in small letters: `TproxyPort` and `tproxy_port` are `tproxy`, `port`.
pub fn words(identifier: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_small = false;
    for c in identifier.chars() {
        if c == '_' || (c.is_ascii_uppercase() && after_small) {
            words.push(String::new());
        }
        after_small = c.is_ascii_lowercase() || c.is_ascii_digit();
        if c != '_' {
            words.last_mut().unwrap().push(c.to_ascii_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
