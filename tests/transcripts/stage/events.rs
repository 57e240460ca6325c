//! The lines with `!` that go in: what the executor tells, the time, and the ends of connections.

use super::Stage;
use super::words::{fault_of, flow_of, outcome_of, side_of};
use ftpgate::session::{Event, Leg};
use ftpgate::terms::Side;
use std::net::SocketAddr;
use std::time::Duration;

impl Stage {
    /// False if it is no such line.
    pub(super) fn happen(&mut self, what: &str) -> Result<bool, String> {
        let words: Vec<&str> = what.split_whitespace().collect();
        let plan = self.plan;
        let id = || plan.map(|plan| plan.id).ok_or("there is no transfer");
        match words.as_slice() {
            ["opened"] => {
                let plan = self.plan.ok_or("nothing is being opened")?;
                let client_entry = self.entry(&plan.client);
                let server_entry = self.entry(&plan.server);
                self.tell(Event::TransferOpened { id: plan.id, client_entry, server_entry });
            }
            ["failed"] => self.tell(Event::TransferFailed { id: id()? }),
            ["used", side] => self.tell(Event::PinholeUsed { id: id()?, side: side_of(side)? }),
            ["joined"] => self.tell(Event::DataConnectionJoined { id: id()? }),
            ["ended", outcome] => {
                let outcome = outcome_of(outcome)?;
                self.tell(Event::DataConnectionEnded { id: id()?, outcome, bytes: None });
            }
            ["wait", seconds] => {
                self.now += Duration::from_secs(seconds.parse().map_err(|_| "no number")?);
                let now = self.now;
                let session = self.session.as_mut().ok_or("no session")?;
                if session.poll_timeout().is_some_and(|deadline| deadline <= now) {
                    session.handle_timeout(now);
                }
            }
            ["hello"] => self.tell(Event::HelloReceived { name: None }),
            ["hello", name] => self.tell(Event::HelloReceived { name: Some(name) }),
            ["secured", side] => {
                self.tell(Event::TlsEstablished { side: side_of(side)?, trusted: true });
            }
            ["secured", "server", "untrusted"] => {
                self.tell(Event::TlsEstablished { side: Side::Server, trusted: false });
            }
            ["tls-fails", side, fault] => {
                self.tell(Event::TlsFailed { side: side_of(side)?, fault: fault_of(fault)? });
            }
            ["data-tls-fails", side, fault] => {
                let (id, side, outcome) = (id()?, side_of(side)?, Err(fault_of(fault)?));
                self.tell(Event::DataHandshakeEnded { id, side, outcome });
            }
            ["range-fails"] => self.range_fails = true,
            ["blind", name, "starts"] => {
                self.tell(Event::BlindConnectionStarted { flow: flow_of(name)? });
            }
            ["blind", name, "ends", outcome] => {
                let (flow, outcome) = (flow_of(name)?, outcome_of(outcome)?);
                self.tell(Event::BlindConnectionEnded { flow, outcome, bytes: None });
            }
            ["owner-closes"] => self.tell(Event::CloseRequested),
            ["drain"] => self.tell(Event::DrainRequested),
            ["shutdown"] => self.tell(Event::ShutdownRequested),
            [side, "closes"] => {
                self.tell(Event::ConnectionClosed { side: side_of(side)?, orderly: true });
            }
            [side, "resets"] => {
                self.tell(Event::ConnectionClosed { side: side_of(side)?, orderly: false });
            }
            [side, "loses"] => self.tell(Event::BytesLost { from: side_of(side)? }),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn entry(&mut self, leg: &Leg) -> Option<SocketAddr> {
        let Leg::Await(expected) = leg else { return None };
        let port = expected.port.unwrap_or_else(|| {
            self.next_port += 1;
            self.next_port - 1
        });
        Some(SocketAddr::new(expected.address, port))
    }
}
