//! What must hold for every input: one function a subject, called by the properties and the corpora
//! of the ordinary test run and by the fuzz targets. Each panics where something does not hold.

#![allow(clippy::unwrap_used, reason = "a check tells by panicking")]
#![allow(unreachable_pub, reason = "public for the fuzz targets")]

mod certificate;
mod client_hello;
mod command;
mod config;
mod conntrack;
mod feat;
mod host_port;
mod line;
mod observe;
mod pattern;
mod proxy_header;
mod reply;
mod session;
mod session_model;
mod tls_record;

pub use certificate::certificate;
pub use client_hello::client_hello;
pub use command::command;
pub use config::config;
pub use conntrack::conntrack;
pub use feat::feat;
pub use host_port::host_port;
pub use line::line;
pub use observe::observe;
pub use pattern::pattern;
pub use proxy_header::proxy_header;
pub use reply::reply;
pub use session::{session, session_policy};
pub use session_model::session_model;
pub use tls_record::tls_record;

use ftpgate::ftp::{Line, LineItem, LineReader};

/// The lines of `bytes`, as far as they are lines.
fn lines(bytes: &[u8]) -> Vec<Line> {
    let mut reader = LineReader::new(4160);
    reader.push(bytes);
    let items = std::iter::from_fn(|| reader.next_item());
    items
        .filter_map(|item| match item {
            LineItem::Line(line) => Some(line),
            LineItem::Answer(_) | LineItem::Violation(_) => None,
        })
        .collect()
}
