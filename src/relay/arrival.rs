//! A connection that a listener has accepted, until it is known whose it is.

use super::advertise::Front;
use super::course::CourseReceiver;
use super::introduction::{Introduced, NotIntroduced, introduce};
use super::listener::{CaptureKind, ListenerSettings};
use super::shared::Permit;
use crate::addr::OriginalDst;
use crate::report::{CloseCause, Report};
use crate::session::Parties;
use crate::telemetry::SessionTelemetry;
use rustix::net::SendFlags;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;

const NO_AUDIT: &[u8] =
    b"421 Not available: this gateway cannot keep its records; try again later.\r\n";
const TOO_MANY: &[u8] = b"421 Too many sessions; try again later.\r\n";

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
                Err(NotIntroduced { client, dialled, cause })
            }
        };
        match introduced {
            Ok(Introduced { client, dialled, permit }) => {
                let introduced_at = Some(local.0.ip());
                Some((self.taking_part(client, OriginalDst(dialled), introduced_at), permit))
            }
            Err(NotIntroduced { client, dialled, cause }) => {
                self.refuse(stream, client, OriginalDst(dialled), cause);
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

    /// There is no session for it: told as one that has ended.
    pub(super) fn refuse(
        &self,
        stream: &impl AsFd,
        client: SocketAddr,
        original_dst: OriginalDst,
        cause: CloseCause,
    ) {
        self.telemetry.record(&Report::SessionStarted { client, original_dst });
        let farewell = match cause {
            CloseCause::TooManySessions => Some(TOO_MANY),
            CloseCause::AuditFailed => Some(NO_AUDIT),
            _ => None,
        };
        if let Some(farewell) = farewell {
            // Nobody waits for a client that does not take these few bytes at once.
            let _ = rustix::net::send(stream, farewell, SendFlags::NOSIGNAL);
        }
        let duration = self.started.elapsed();
        self.telemetry.record(&Report::SessionEnded { cause, duration });
    }
}
