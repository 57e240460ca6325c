//! Replays the seed corpora of the fuzz targets through the same checks, in the ordinary test run.

mod checks;

use std::fs;
use std::path::Path;

/// Runs `check` over every file of the corpus.
fn replay(corpus: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
    let entries = fs::read_dir(&folder).expect("the corpus is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(files.len() >= 8, "{} holds {} files", folder.display(), files.len());
    for file in files {
        // The captured output of a failing test names the file.
        println!("{}", file.display());
        check(&fs::read(&file).expect("a readable file"));
    }
}

#[test]
fn line() {
    replay("line", checks::line);
}

#[test]
fn command() {
    replay("command", checks::command);
}

#[test]
fn reply() {
    replay("reply", checks::reply);
}

#[test]
fn host_port() {
    replay("host_port", checks::host_port);
}

#[test]
fn proxy_header() {
    replay("proxy_header", checks::proxy_header);
}

#[test]
fn session() {
    replay("session", checks::session);
}

#[test]
fn session_policy() {
    replay("session_policy", checks::session_policy);
}

#[test]
fn observe() {
    replay("observe", checks::observe);
}

#[test]
fn tls_record() {
    replay("tls_record", checks::tls_record);
}

#[test]
fn certificate() {
    replay("certificate", checks::certificate);
}

#[test]
fn client_hello() {
    replay("client_hello", checks::client_hello);
}

#[test]
fn config() {
    replay("config", checks::config);
}

#[test]
fn feat() {
    replay("feat", checks::feat);
}

#[test]
fn session_model() {
    replay("session_model", checks::session_model);
}

#[test]
fn conntrack() {
    replay("conntrack", checks::conntrack);
}

#[test]
fn pattern() {
    replay("pattern", checks::pattern);
}
