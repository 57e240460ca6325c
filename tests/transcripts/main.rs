//! Runs every conversation of `tests/transcripts/*.ftp` through a `Session`, with no I/O.
//!
//! The first column says who speaks: `C>` the client sends, `s>` the server receives, `S>` the
//! server sends, `c>` the client receives; `!` is what happens around it. Whatever the session does
//! must stand there, in order, before the next input; nothing may be left over.
//!
//! A line ends with CRLF unless it ends with `\` here; `\r`, `\n`, `\0`, `\xHH`, `\\` are escapes.
//! `\{handshake}`, `\{change}`, `\{data}` and `\{alert}` are whole records of TLS.
//!
//! `stage` plays a conversation, and reads and writes this notation.
//!
//! | `@` settings | |
//! |---|---|
//! | `@ client ADDR`, `@ dialled ADDR gateway\|server` | who the client is and what it dialled |
//! | `@ server ADDR seen-as ADDR` | the server and whom it sees; makes the connection |
//! | `@ blind-ports`, `@ tls required`, `@ tls-start S` | |
//! | `@ kernel`, `@ path P`, `@ mode M`, `@ source S`, `@ strict`, `@ low-ports` | |
//! | `@ tls MODE`, `@ tls-required`, `@ tls-start S`, `@ client-start S`, `@ server-start S` | |
//! | `@ server-ccc C`, `@ bypass NAME`, `@ wants-certificate` (the server), `@ blind-ports` | |
//! | `@ advertise client\|server IP\|unknown`, `@ advertise client\|server IP for OWN` | |
//! | `@ rule VERDICT if CONDITIONS`, see `support/rules.rs`; `@ fxp same-net`, `@ fxp NET…`; `@ server-name NAME` | the owner's rules, named by their number |
//! | `@ in-use` | the next withdrawal finds that the connection has come |
//! | `@ logged-in` | greeting and login are taken for done |
//!
//! | `!` in | `!` out |
//! |---|---|
//! | `opened`, `failed`, `used SIDE`, `joined`, `ended OUTCOME` | `open PATH: LEG; LEG`, `dial SIDE`, `withdraw` |
//! | `wait SECONDS`, `SIDE closes`, `SIDE resets`, `SIDE loses` (bytes, where it is only observed) | `refused REASON`, `distrusted REASON`, `urgent` |
//! | `hello [NAME]`, `secured SIDE [untrusted]`, `tls-fails SIDE FAULT`, `data-tls-fails SIDE FAULT` | `accept-tls`, `connect-tls`, `present WHAT`, `carry-tls`, `end-tls SIDE` |
//! | `owner-closes`, `drain`, `shutdown`, `range-fails` (the next one) | `close CAUSE`, `closed OUTCOME` (a pinhole) |
//! | `blind N starts`, `blind N ends OUTCOME` (through the range) | `open-range`, `close-range` |
//! | | `ccc OUTCOME[, N passed]`, `control STATE`, `data LEVEL` (at its end) |

#[path = "../support/rules.rs"]
#[allow(unreachable_pub, reason = "a module of a test")]
mod rules;
mod stage;

use stage::Stage;
use std::path::Path;

#[test]
fn every_transcript_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "ftp"));
    files.sort();
    assert!(files.len() >= 20, "only {} transcripts found", files.len());
    let mut failures = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        if let Err(reason) = Stage::default().play(&text) {
            failures.push(format!("{}:{reason}", file.display()));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
