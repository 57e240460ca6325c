//! The server of a session, once its connection stands.

use super::ends::Ends;
use super::{Phase, Session, TlsStart};
use crate::report::Report;
use std::net::SocketAddr;
use std::time::Instant;

impl Session {
    pub(super) fn on_server_connected(
        &mut self,
        server: SocketAddr,
        seen_as: SocketAddr,
        wants_certificate: bool,
        now: Instant,
    ) {
        if self.phase != Phase::Connecting {
            return;
        }
        self.ends = Some(Ends::new(&self.parties, self.settings.source, server, seen_as));
        self.phase = Phase::Open;
        self.await_first_line(now);
        let elapsed = now.saturating_duration_since(self.started);
        self.report(Report::ServerConnected { server, seen_as, elapsed });
        if wants_certificate || self.is_listed(None) {
            self.bypass();
        }
        if self.terminates_any() {
            self.begin_termination(now);
        } else if self.settings.client_start == TlsStart::Implicit {
            self.begin_tls(None, now);
        }
    }
}
