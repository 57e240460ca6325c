//! TLS on the control connection, as far as the gateway has to do with it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`record`] | *pure*: where the records of one direction end and text begins again |
//! | [`ca`] | the local CA: made, kept in two files, read again |
//! | [`leaf`] | the certificate that is shown in a server's place |
//! | [`leaf_cache`] | leaves that were issued: one issue per server, however many wait |
//! | `name` | subjects of certificates that can be written again |
//!
//! TLS is not terminated yet: the CA and its leaves are ready for it, and nothing uses them.
//!
//! Not here: what the end of TLS means for the dialogue (see [`crate::session`]).

pub mod ca;
pub mod failure;
pub mod leaf;
pub mod leaf_cache;
mod name;
pub mod record;
