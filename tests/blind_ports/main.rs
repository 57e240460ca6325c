//! The ports of sessions that cannot be read, against the real kernel: client – gateway – server, and
//! a stranger, in namespaces of their own, behind an owner's policy that drops what bears no mark.
//! Needs root or user namespaces; skips loudly where there are neither.
//!
//! | file | holds |
//! |---|---|
//! | `range.rs` | the ranges that these tests open, and connections through them |
//! | `reach.rs` | who passes a range, and what the server sees |
//! | `hold.rs` | how long a range is open, which are refused, and what SIGKILL leaves |
//! | `flows.rs` | what is told of connections through a range, and through a pinhole inside one |

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

mod flows;
#[path = "../support/hello.rs"]
mod hello;
mod hold;
#[path = "../support/netns.rs"]
#[allow(dead_code, reason = "shared with tests of more")]
mod netns;
#[path = "../support/nft.rs"]
mod nft;
mod range;
mod reach;
#[path = "../support/table.rs"]
mod table;
#[path = "../support/victim.rs"]
mod victim;
