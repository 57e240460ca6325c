//! What the configuration says of TLS, in the words of those who do it.

use crate::config;
use crate::session::{ServerCcc, TlsMode, TlsStart};

pub(super) fn mode(mode: config::TlsMode) -> TlsMode {
    match mode {
        config::TlsMode::Passthrough => TlsMode::Passthrough,
        config::TlsMode::Refuse => TlsMode::Refuse,
        config::TlsMode::Intercept => TlsMode::Intercept,
        config::TlsMode::Offload => TlsMode::Offload,
        config::TlsMode::Originate => TlsMode::Originate,
    }
}

pub(super) fn start(start: config::TlsStart) -> TlsStart {
    match start {
        config::TlsStart::Explicit => TlsStart::Explicit,
        config::TlsStart::Implicit => TlsStart::Implicit,
        config::TlsStart::ImplicitAfterGreeting => TlsStart::ImplicitAfterGreeting,
    }
}

pub(super) fn server_ccc(ccc: config::ServerCcc) -> ServerCcc {
    match ccc {
        config::ServerCcc::Follow => ServerCcc::Follow,
        config::ServerCcc::Never => ServerCcc::Never,
        config::ServerCcc::Always => ServerCcc::Always,
    }
}
