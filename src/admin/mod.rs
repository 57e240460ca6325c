//! What the gateway shows of itself over HTTP, metrics, health and a status page; and what its owner may ask of it.
//!
//! Not here: what the metrics are (see [`crate::telemetry`]), and who carries an [`Order`] out.

mod bounded;
mod http;
mod order;
mod page;

pub use http::{Readiness, serve};
pub use order::{Order, Orders};
