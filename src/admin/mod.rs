//! What the gateway shows of itself over HTTP, metrics, health and a status page; and what its owner may ask of it.
//!
//! | file | what it holds |
//! |---|---|
//! | `http` | metrics and health, for everybody who may ask |
//! | `page` | the status page |
//! | `socket` | the control socket in the file system |
//! | `control` | what it answers, to the owner |
//! | `order` | what the owner may ask for |
//! | `bounded` | so many connections and no more |
//!
//! Not here: what the metrics are (see [`crate::telemetry`]), and who carries an [`Order`] out.

mod bounded;
mod control;
mod http;
mod order;
mod page;
mod socket;

pub use control::serve_control;
pub use http::{Readiness, serve};
pub use order::{Order, Orders};
pub use socket::{ControlSocket, SocketError, make_folder};
