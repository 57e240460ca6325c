//! TLS on the control connection and its data connections, as far as the gateway has to do with it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`record`] | *pure*: where the records of one direction end and text begins again |
//! | [`client_side`] | TLS towards clients, by which the gateway is a TLS server |
//! | [`server_side`] | TLS towards servers, by which it is a TLS client |
//! | `verifier` | whether a server is who it should be |
//! | `store` | what data connections resume |
//! | `steady` | the clock by which that ages |
//! | [`again`] | tickets of TLS 1.3 that are used more than once |
//! | [`fixed`] | the certificate that is the gateway's own, read again when it changes |
//! | [`hello`] | *pure*: what a client offers, in words |
//! | `diagnosis` | what a failed handshake means, as a [`failure`] |
//! | [`ca`] | the local CA: made, kept in two files, read again |
//! | [`leaf`] | the certificate that is shown in a server's place, or for a name |
//! | [`leaf_cache`] | leaves that were issued: one issue per server, however many wait |
//! | [`material`] | certificates and keys in the owner's PEM files |
//! | `name` | subjects of certificates that can be written again |
//! | [`subject`] | who a certificate is about, for the audit |
//! | [`words`] | certificates in words |
//!
//! Not here: the connections, and what the end of TLS means for the dialogue (see [`crate::session`]).

pub mod again;
pub mod ca;
pub mod client_side;
mod diagnosis;
pub mod failure;
pub mod fixed;
pub mod hello;
pub mod leaf;
pub mod leaf_cache;
pub mod material;
mod name;
pub mod record;
pub mod server_side;
mod steady;
mod store;
pub mod subject;
#[cfg(test)]
mod tests;
mod verifier;
pub mod words;
