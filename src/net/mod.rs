//! (in work)

pub mod interfaces;
