//! What the gateway shows of itself: metrics and health over HTTP.
//!
//! Not here: what the metrics are (see [`crate::telemetry`]), and anything that changes the gateway.

mod bounded;
mod http;

pub use http::{Readiness, serve};
