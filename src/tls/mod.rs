//! TLS on the control connection, as far as the gateway has to do with it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`record`] | *pure*: where the records of one direction end and text begins again |
//!
//! Not here: what the end of TLS means for the dialogue (see [`crate::session`]).

pub mod record;
