//! ftpgate: an FTP-aware NAT and firewall gateway for Linux.
//!
//! The modules, in the order in which the bytes travel:
//!
//! | module | what it holds |
//! |---|---|
//! | [`addr`], [`terms`] | *pure*: addresses by the role they play; the small words that every module may use |
//! | [`net`] | the few socket options: original destination, transparent sockets, interfaces; sockets handed over at the start; the PROXY protocol |
//! | [`relay`] | the listener, the driver (the only executor of actions), TLS on connections, the data relay |
//! | [`ftp`] | *pure*: the language of RFC 959 and its successors: lines, commands, replies, host and port |
//! | [`tls`] | TLS that passes, up to where text begins again; TLS that ends here, on either side; the local CA |
//! | [`session`] | *pure*: the state machine: events and the time go in, actions come out |
//! | [`limits`] | *pure*: how fast, how much, how long: rates, back-off, shares |
//! | [`policy`] | *pure*: questions about what may pass, answered with values |
//! | [`pinhole`] | *pure*: what data connection may come, for whom, through which address |
//! | [`firewall`] | nftables and conntrack over netlink: the kernel's side of a pinhole |
//! | [`report`] | *pure*: the facts worth telling, and the reasons |
//! | [`telemetry`] | a [`report::Report`] in; log, audit, metric out, and a view of what runs |
//! | [`admin`] | HTTP: metrics, health and the status page; the control socket |
//! | [`confinement`] | what the process gives up at its start: root, capabilities, system calls, files |
//! | [`config`] | the YAML file, parsed once into types, all problems at once |
//! | [`app`] | wires the parts together; start, reload, drain and end |
//! | [`cli`] | one file a command |
//! | [`observe`] | a look from aside, at an interface or a capture file, through the same session |
//! | [`demo`] | three network namespaces, an FTP server and a client behind a real gateway |
//!
//! Five nouns carry the design: a [`session::Session`] is one control connection through the gateway
//! with its data connections; an [`session::Event`] is the only way into it and an
//! [`session::Action`] the only way out; a [`pinhole::Pinhole`] is the opening for exactly one data
//! connection; a [`report::Report`] is a fact that is told once and becomes log line, audit line,
//! metric and a row of what runs.

// Allowed at five places, each with its reason; tests/layering.rs names them.
#![deny(unsafe_code)]

pub mod addr;
pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod confinement;
pub mod demo;
pub mod firewall;
pub mod ftp;
pub mod limits;
pub mod net;
pub mod observe;
pub mod pinhole;
pub mod policy;
pub mod relay;
pub mod report;
pub mod session;
pub mod telemetry;
pub mod terms;
pub mod tls;
