//! What the gateway shows of itself, metrics and health over HTTP; and what its owner may ask of it.
//!
//! Not here: what the metrics are (see [`crate::telemetry`]), and who carries an [`Order`] out.

mod bounded;
mod http;
mod order;

pub use http::{Readiness, serve};
pub use order::{Order, Orders};
