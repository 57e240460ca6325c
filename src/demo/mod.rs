//! `ftpgate demo`: one process, three hosts. A client, an FTP server and a real gateway between
//! them, each in a network namespace of its own, with transfers that show what each side saw.
//!
//! | file | what it holds |
//! |---|---|
//! | `network` | the namespaces, the links between them, their addresses and routes |
//! | `dialogue` | a control connection as lines, and the record of what was said on it |
//! | `server` | a small FTP server with its files in memory |
//! | `client` | a small FTP client |
//! | `account` | one transfer as it is told afterwards |
//! | `page` | the texts around the transfers |
//! | `story` | the gateway, the four transfers, what is printed, and `--hold` |
//!
//! Not here: anything that the gateway itself needs. The demo is an ordinary user of
//! [`crate::app`]; it needs no other program on the machine and no privilege beyond user
//! namespaces, and where those are not to be had it runs on loopback.

mod account;
mod client;
mod dialogue;
mod network;
mod page;
mod server;
mod story;

use std::fmt;
#[cfg(test)]
mod tests;

/// What `ftpgate demo` is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Keep everything up after the transfers, until Ctrl-C.
    pub hold: bool,
}

/// Runs the demo and prints it. True if every transfer succeeded.
///
/// To be called before the process has any thread or runtime, since it moves the calling thread
/// into namespaces of its own.
///
/// # Errors
///
/// Where neither namespaces nor loopback would do.
pub fn run(options: Options) -> anyhow::Result<bool> {
    story::run(&options)
}

/// Moves the calling thread, and every thread that it starts from now on, into a network
/// namespace of its own, for trying things that must leave no trace.
///
/// # Errors
///
/// In words: what kind of namespace is not to be had, and what the kernel says.
pub(crate) fn enter_namespace() -> Result<(), impl fmt::Display> {
    network::enter_namespace().map(drop)
}
