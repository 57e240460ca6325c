//! Every link of the documentation leads to a file that is there, and to a heading in it. What stands
//! on other hosts is not asked.

#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold no page of the project's own.
const ELSEWHERE: [&str; 3] = ["corpus", "fuzz", "target"];

/// Every page below `folder`.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !name.starts_with('.') && !ELSEWHERE.contains(&name) {
                pages(&path, found);
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The lines that are not inside a block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// What GitHub calls the headings of a page, without regard to those that stand twice.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let name = |heading: &str| {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        title.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(name).collect()
}

/// The targets of links inside the project.
fn links(text: &str) -> Vec<&str> {
    let targets = prose(text)
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split([')', ' ']).next());
    targets.filter(|target| !target.contains("://")).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut found = Vec::new();
    pages(Path::new(env!("CARGO_MANIFEST_DIR")), &mut found);
    let texts: BTreeMap<PathBuf, String> = found
        .into_iter()
        .map(|path| (path.canonicalize().unwrap(), fs::read_to_string(&path).unwrap()))
        .collect();
    let (mut seen, mut dead) = (0, Vec::new());
    for (page, text) in &texts {
        for link in links(text) {
            seen += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                Ok(page.clone())
            } else {
                page.parent().unwrap().join(file).canonicalize()
            };
            let leads = target.is_ok_and(|target| {
                let heading = |text: &String| anchors(text).contains(anchor);
                anchor.is_empty() || texts.get(&target).is_some_and(heading)
            });
            if !leads {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(seen > 100, "only {seen} links found");
    assert!(dead.is_empty(), "\n{}", dead.join("\n"));
}
