//! A session whose server is found and dialled, by whoever has accepted its client.

use super::super::admission::Seat;
use super::super::control::Control;
use super::super::shared::OwnEnd;
use super::Driver;
use crate::session::Event;
use std::future::poll_fn;
use std::net::SocketAddr;
use tokio::net::TcpStream;

impl Driver {
    /// The server's control connection stands.
    pub(in crate::relay) fn attach_server(
        &mut self,
        stream: TcpStream,
        own_end: OwnEnd,
        seat: Seat,
    ) {
        if let Some(permit) = &mut self.permit {
            permit.take_seat(seat);
        }
        let (seen_as, server) = own_end.end();
        self.server = Some(Control::new(stream));
        self.own_end = Some(own_end);
        let wants_certificate = self.tls.as_mut().is_some_and(|tls| tls.on_server(server));
        self.tell(Event::ServerConnected { server, seen_as, wants_certificate });
    }

    /// True if this server may be dialled; else the session is over.
    pub(in crate::relay) async fn may_dial(&mut self, server: SocketAddr) -> bool {
        self.tell(Event::ServerFound { server });
        self.perform().await;
        self.closing_until.is_none()
    }

    /// Serves the client while its server is dialled. Ends only if the session does; may be dropped
    /// at any time.
    pub(in crate::relay) async fn wait_for_server(&mut self) {
        loop {
            self.perform().await;
            if self.closing_until.is_some() {
                return;
            }
            poll_fn(|cx| self.poll_news(cx)).await;
        }
    }
}
