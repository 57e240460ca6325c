//! What the news of data connections mean for the session: the kernel's, and the relay's.

use super::{Opened, Openings, keeps_port};
use crate::firewall::{FlowBytes, FlowEvent};
use crate::relay::data::DataEvent;
use crate::relay::data_tls::log_failure;
use crate::report::DataOutcome;
use crate::session::Event;
use crate::terms::{ByteCounts, Side};
use std::task::{Context, Poll};

impl Openings {
    /// What the session has to be told next; `None` if there is only to be looked whether all is told.
    pub(in crate::relay) fn poll_news(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Event<'static>>> {
        while let Poll::Ready(flow) = self.flows.poll(cx) {
            let Some(flow) = flow else { return Poll::Ready(None) };
            let event = self.on_flow(&flow);
            if event.is_some() {
                return Poll::Ready(event);
            }
        }
        if let Poll::Ready(Some(event)) = self.data.poll(cx) {
            return Poll::Ready(Some(self.on_data(&event)));
        }
        if self.open.is_empty() && !self.had_range {
            // Idle, as most sessions are: nothing is kept for the next transfer.
            self.flows.dissolve();
            self.data.dissolve();
            self.open = Vec::new();
        }
        Poll::Pending
    }

    /// What the kernel's news mean for the session.
    pub(super) fn on_flow(&mut self, flow: &FlowEvent) -> Option<Event<'static>> {
        let (pinhole, has_started) = match *flow {
            FlowEvent::Started(pinhole) | FlowEvent::Missed(pinhole) => (pinhole, false),
            FlowEvent::Ended { pinhole, .. } => (pinhole, true),
            FlowEvent::StartedInRange(flow) => {
                return Some(Event::BlindConnectionStarted { flow });
            }
            FlowEvent::EndedInRange { flow, orderly, bytes } => {
                let bytes = bytes.map(|bytes| by_direction(bytes, Side::Client));
                let outcome = end(orderly);
                return Some(Event::BlindConnectionEnded { flow, outcome, bytes });
            }
        };
        // One pinhole may be opened anew while the connection that came through it before runs.
        let at = self.open.iter().position(|opened| match opened {
            Opened::Kernel { opening, started, .. } => {
                opening.pinhole() == pinhole && *started == has_started
            }
            Opened::Relay { .. } => false,
        })?;
        let Opened::Kernel { id, dialler, opening, lease, started, .. } = self.open.get_mut(at)?
        else {
            return None;
        };
        let (id, dialler, opening) = (*id, *dialler, *opening);
        match flow {
            FlowEvent::Started(_) => {
                *started = true;
                // The connection keeps its translation; the port may serve another client, which
                // dials from a port of its own choice.
                if !keeps_port(dialler) {
                    *lease = None;
                }
                let awaited_anew = self.open.iter().any(|opened| {
                    matches!(opened, Opened::Kernel { opening: other, started: false, .. }
                        if other.pinhole() == pinhole)
                });
                if !awaited_anew && let Some(firewall) = &self.shared.firewall {
                    firewall.clear_away(opening);
                }
                Some(Event::PinholeUsed { id, side: dialler })
            }
            FlowEvent::Missed(_) => {
                self.open.remove(at);
                let outcome = DataOutcome::Aborted;
                Some(Event::DataConnectionEnded { id, outcome, bytes: None })
            }
            FlowEvent::Ended { orderly, bytes, .. } => {
                self.open.remove(at);
                let outcome = end(*orderly);
                let bytes = bytes.map(|bytes| by_direction(bytes, dialler));
                Some(Event::DataConnectionEnded { id, outcome, bytes })
            }
            // Told above.
            FlowEvent::StartedInRange(_) | FlowEvent::EndedInRange { .. } => None,
        }
    }

    /// What the relay's news mean for the session.
    pub(super) fn on_data(&mut self, event: &DataEvent) -> Event<'static> {
        match event {
            DataEvent::Used { id, side } => Event::PinholeUsed { id: *id, side: *side },
            DataEvent::HandshakeEnded { id, side, outcome } => {
                if let Err(failure) = outcome {
                    log_failure(*id, *side, failure);
                }
                let outcome = outcome.as_ref().map_err(|failure| failure.fault).copied();
                Event::DataHandshakeEnded { id: *id, side: *side, outcome }
            }
            DataEvent::Joined { id } => Event::DataConnectionJoined { id: *id },
            DataEvent::Ended { id, outcome, bytes } => {
                self.remove(*id);
                Event::DataConnectionEnded { id: *id, outcome: *outcome, bytes: Some(*bytes) }
            }
        }
    }
}

fn end(orderly: bool) -> DataOutcome {
    if orderly { DataOutcome::Completed } else { DataOutcome::Aborted }
}

fn by_direction(bytes: FlowBytes, dialler: Side) -> ByteCounts {
    match dialler {
        Side::Client => ByteCounts { upload: bytes.original, download: bytes.reply },
        Side::Server => ByteCounts { upload: bytes.reply, download: bytes.original },
    }
}
