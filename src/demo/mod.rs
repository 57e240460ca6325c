//! `ftpgate demo`: one process, three hosts. A client, an FTP server and a real gateway between
//! them, each in a network namespace of its own, with transfers that show what each side saw.
//!
//! | file | what it holds |
//! |---|---|
//! | `network` | the namespaces, the links between them, their addresses and routes |
//! | `dialogue` | a control connection as lines, and the record of what was said on it |
//! | `server` | a small FTP server with its files in memory |
//! | `client` | a small FTP client |
//! | `story` | the gateway, the four transfers, and what is printed about them |
//!
//! Not here: anything that the gateway itself needs. The demo is an ordinary user of
//! [`crate::app`]; it needs no other program on the machine and no privilege beyond user
//! namespaces, and where those are not to be had it runs on loopback.

mod client;
mod dialogue;
mod network;
mod server;
#[cfg(test)]
mod tests;
