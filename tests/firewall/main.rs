//! The firewall against the real kernel, in namespaces of its own: client – gateway – server, and
//! a stranger. Needs root or user namespaces; skips loudly where there are neither.
//!
//! | file | holds |
//! |---|---|
//! | `opening.rs` | what most of these tests open |
//! | `pinholes.rs` | who passes a pinhole, how often, and until when |
//! | `flows.rs` | what is told of connections that came through one |
//! | `capture.rs` | connections that are delivered to listeners of the gateway |
//! | `starts.rs` | what a start takes, finds and leaves when it fails |
//! | `ends.rs` | what goes on, and what does not, after an orderly end and after SIGKILL |
//! | `ruleset.rs` | the rules as `nft` tells them, and beside the owner's |
//!
//! Ranges of ports are in `tests/blind_ports`.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

mod capture;
mod ends;
mod flows;
#[path = "../support/hello.rs"]
mod hello;
#[path = "../support/netns.rs"]
mod netns;
#[path = "../support/nft.rs"]
mod nft;
mod opening;
mod pinholes;
mod ruleset;
mod starts;
#[path = "../support/table.rs"]
mod table;
#[path = "../support/victim.rs"]
mod victim;

/// The table of routes that policy routing uses here.
const ROUTES: u32 = 2100;
