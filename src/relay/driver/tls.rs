//! The TLS that ends here, as the driver of a session carries it out and hears of it.

use super::Driver;
use crate::relay::layer::{News, garbled};
use crate::report::{Report, TlsFault};
use crate::session::{Certificate, Event};
use crate::terms::Side;
use crate::tls::failure::Failure;
use std::time::Instant;

impl Driver {
    pub(super) fn connect_tls(&mut self) {
        let (Some(tls), Some(server)) = (&mut self.tls, &mut self.server) else { return };
        if let Err(failure) = tls.connect(server) {
            self.fail_tls(Side::Server, &failure);
        }
    }

    pub(super) async fn present(&mut self, certificate: Certificate) {
        let (Some(tls), Some(client)) = (&mut self.tls, &mut self.client) else { return };
        match tls.present(client, certificate).await {
            Ok(Some(source)) => self.telemetry.record(&Report::LeafShown { source }),
            Ok(None) => {}
            Err(failure) => self.fail_tls(Side::Client, &failure),
        }
    }

    pub(super) fn fail_tls(&mut self, side: Side, failure: &Failure) {
        if let Some(tls) = &self.tls {
            tls.on_failed(side, failure, &self.telemetry);
        }
        if let Some(control) = self.control(side) {
            control.give_up_tls();
        }
        self.tell(Event::TlsFailed { side, fault: failure.fault });
    }

    /// What the session is told of TLS on this side.
    pub(super) fn on_news(&mut self, side: Side, news: &News, now: Instant) {
        let control = match side {
            Side::Client => self.client.as_ref(),
            Side::Server => self.server.as_ref(),
        };
        let (Some(control), Some(tls)) = (control, &mut self.tls) else { return };
        match news {
            News::Hello => {
                let name = tls.on_hello(control);
                self.session.handle_event(Event::HelloReceived { name }, now);
            }
            News::Established => {
                let trusted =
                    tls.on_established(side, control, &mut self.openings, &self.telemetry);
                self.session.handle_event(Event::TlsEstablished { side, trusted }, now);
            }
            News::Failed(error) => {
                let failure = tls.explain(side, control, error);
                self.fail_tls(side, &failure);
            }
            // Its text waits until CCC has been agreed.
            News::Ended | News::Hasty if self.session.may_clear(side) => {}
            News::Hasty => {
                let failure = tls.explain(side, control, &garbled());
                self.fail_tls(side, &failure);
            }
            News::Ended => {
                let event = Event::ConnectionClosed { side, orderly: true };
                self.session.handle_event(event, now);
            }
        }
    }

    /// The peer has gone while TLS was being negotiated.
    pub(super) fn on_end_in_handshake(&mut self, side: Side) {
        let failure =
            Failure::new(TlsFault::Closed, "the peer closed the connection in the handshake");
        self.fail_tls(side, &failure);
    }
}
