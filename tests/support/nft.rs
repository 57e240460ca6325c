//! The program `nft`, which shows what stands in the kernel and writes the owner's own rules.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

use std::io::Write;
use std::process::{Command, Stdio};

/// What `nft` prints; `None` where there is no such program.
pub(crate) fn nft(arguments: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new("nft");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "nft {arguments:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// A rule of the owner that has everything leave with the gateway's own address; `None` where there is
/// no such program.
pub(crate) fn masquerade() -> Option<String> {
    let rules = "add table inet owner\n\
                 add chain inet owner nat { type nat hook postrouting priority srcnat; }\n\
                 add rule inet owner nat masquerade\n";
    nft(&["-f", "-"], rules)
}
