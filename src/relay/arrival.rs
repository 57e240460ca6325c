//! A connection that a listener has accepted, until it is known whose it is.

use super::admission::{Denial, Permit};
use super::advertise::Front;
use super::course::CourseReceiver;
use super::introduction::{Introduced, NotIntroduced, introduce};
use super::listener::{CaptureKind, ListenerSettings};
use crate::addr::OriginalDst;
use crate::report::{CloseCause, Report};
use crate::session::{Parties, TlsMode, TlsStart};
use crate::telemetry::SessionTelemetry;
use rustix::net::SendFlags;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;

/// A connection that has come, ahead of its session.
pub(super) struct Arrival {
    pub(super) settings: Arc<ListenerSettings>,
    pub(super) telemetry: SessionTelemetry,
    pub(super) started: Instant,
    /// The client, or who introduces it.
    pub(super) peer: SocketAddr,
    /// Where the peer dialled.
    pub(super) local: OriginalDst,
}

impl Arrival {
    /// True if it has to begin with a PROXY header.
    pub(super) fn is_introduced(&self) -> bool {
        self.settings.proxy_protocol.expects_from(self.peer.ip())
    }

    /// Who takes part, once that is known; `None` if there is no session.
    pub(super) async fn parties(
        &self,
        stream: &mut TcpStream,
        permit: Permit,
        course: &mut CourseReceiver,
    ) -> Option<(Parties, Permit)> {
        let Self { peer, local, .. } = *self;
        if !self.is_introduced() {
            return Some((self.taking_part(peer, local, None), permit));
        }
        let introduced = tokio::select! {
            introduced = introduce(stream, peer, local.0, permit) => introduced,
            () = course.no_more() => {
                let (client, dialled, cause) = (peer, local.0, CloseCause::Shutdown);
                Err(NotIntroduced { client, dialled, cause, reply: &[] })
            }
        };
        match introduced {
            Ok(Introduced { client, dialled, permit }) => {
                let introduced_at = Some(local.0.ip());
                Some((self.taking_part(client, OriginalDst(dialled), introduced_at), permit))
            }
            Err(NotIntroduced { client, dialled, cause, reply }) => {
                self.refuse(stream, client, OriginalDst(dialled), Denial { cause, reply });
                None
            }
        }
    }

    fn taking_part(
        &self,
        client: SocketAddr,
        original_dst: OriginalDst,
        introduced_at: Option<IpAddr>,
    ) -> Parties {
        Parties {
            client,
            original_dst,
            dials_gateway: self.settings.capture == CaptureKind::Direct,
            introduced_at,
            external_client: self.settings.advertise.client.map(Front::now),
            external_server: self.settings.advertise.server.map(Front::now),
        }
    }

    /// There is no session for it.
    pub(super) fn refuse(
        &self,
        stream: &impl AsFd,
        client: SocketAddr,
        original_dst: OriginalDst,
        denial: Denial,
    ) {
        let Denial { cause, reply } = denial;
        if !reply.is_empty() && self.reads_text() {
            // Nobody waits for a client that does not take these few bytes at once.
            let _ = rustix::net::send(stream, reply, SendFlags::NOSIGNAL);
        }
        let duration = self.started.elapsed();
        self.telemetry.record(&Report::SessionRefused { client, original_dst, cause, duration });
    }

    /// True if the client takes text before anything else: what stands in the way of TLS would be
    /// told as a fault of TLS.
    fn reads_text(&self) -> bool {
        let settings = &self.settings.session;
        settings.client_start != TlsStart::Implicit
            || matches!(settings.tls, TlsMode::Refuse | TlsMode::Originate)
    }
}
