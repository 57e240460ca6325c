//! (in work)

pub mod routing;
