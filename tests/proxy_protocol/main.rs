//! A gateway on loopback behind a load balancer that is played by the test: whose header is believed,
//! what comes of it, and what strangers reach.
//!
//! | file | holds |
//! |---|---|
//! | `site.rs` | gateway, server, balancer and clients, and what they say to each other |
//! | `believed.rs` | whom the gateway takes for the client of a session |
//! | `refused.rs` | what is no header, or comes too slowly |
//! | `data.rs` | whose data connections pass the balancer |
//! | `sent.rs` | the headers that the gateway writes itself |

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

mod believed;
mod data;
mod refused;
mod sent;
mod site;
