//! The few socket options that a transparent gateway needs, the sockets it was started with, the host's
//! own addresses, those that are followed, the PROXY protocol, and how many descriptors there are.
//!
//! Not here: what the sockets are for.

mod acceptor;
mod descriptors;
mod following;
mod inherited;
pub mod interfaces;
pub mod proxy_protocol;
pub mod routing;
mod sockets;

pub use acceptor::Acceptor;
pub use descriptors::{are_descriptors_scarce, raise_descriptor_limit, sessions_that_fit};
pub use following::{Follower, Source};
pub use inherited::{Inherited, InheritedError};
pub use sockets::{
    Dialled, Dialling, NetError, connect, dial, end_on_close, listen, original_dst, reset_on_close,
    tune_control,
};
