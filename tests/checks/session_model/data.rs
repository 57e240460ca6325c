//! The rules for data connections: who may ask for one, and what becomes of the pinhole.

use super::model::{Asked, Awaited, Done, Model, Phase, Told};
use super::words::{Answer, CLIENT, GATEWAY, GATEWAY_INSIDE, Means, Names, SERVER, Said};
use super::words::{answered, numbers};
use ftpgate::report::PinholeOutcome;
use std::time::Duration;

/// From the opening of a pinhole to its connection.
const UNUSED: Duration = Duration::from_secs(30);

impl Model {
    /// Why a data connection may not be negotiated. A command that is refused changes nothing.
    pub(super) fn refusal(&self, (means, ahead, _): Said) -> Option<u16> {
        let epsv = ahead.to_ascii_uppercase().starts_with("EPSV");
        match means {
            // Case 4.
            _ if !self.logged_in => Some(530),
            // Case 20.
            _ if self.epsv_only && !epsv => Some(501),
            // Cases 6, 8, 19.
            Means::Foreign | Means::Malformed => Some(501),
            Means::Family => Some(522),
            // Case 7.
            Means::Port(port) | Means::Eprt(port) if self.is_low(port) => Some(504),
            _ => None,
        }
    }

    pub(super) fn is_low(&self, port: u16) -> bool {
        port == 0 || (port < 1024 && !self.rules.low_ports)
    }

    pub(super) fn negotiate(&mut self, line: Said) {
        // The newest one wins (case 12).
        self.withdraw(PinholeOutcome::Withdrawn);
        match line.0 {
            Means::Port(port) | Means::Eprt(port) => {
                let port = self.rules.shows_client.then_some(port);
                self.open(Asked::Line(line), false, port);
            }
            means => {
                let pasv = means == Means::Pasv;
                self.forward(line, Awaited::Passive { pasv, held: Vec::new() });
            }
        }
    }

    pub(super) fn open(&mut self, asked: Asked, for_client: bool, port: Option<u16>) {
        self.last_id += 1;
        self.opening = Some((self.last_id, asked));
        self.done.push(Done::Open { id: self.last_id, for_client, port });
    }

    /// The line that speaks of a pinhole leaves when the pinhole is open.
    pub(super) fn opened(&mut self, entry: u16) {
        let Some((id, asked)) = self.opening.take() else { return };
        self.told.push(Told::Opened(id));
        self.offered = Some((id, self.now + UNUSED));
        if self.phase == Phase::Closed {
            return self.withdraw(PinholeOutcome::Withdrawn);
        }
        match asked {
            Asked::Line(line) => self.tell_server(id, line, entry),
            Asked::Reply { pasv, lines } => self.tell_client(pasv, &lines, entry),
        }
        self.work();
    }

    fn tell_server(&mut self, id: u32, line: Said, entry: u16) {
        let (means, ahead, behind) = line;
        let ip = if self.rules.shows_client { CLIENT } else { GATEWAY_INSIDE };
        let address = match means {
            Means::Eprt(_) => format!("|1|{ip}|{entry}|"),
            _ => numbers(ip, entry),
        };
        self.done.push(Done::ToServer([ahead, &address, behind].concat().into_bytes()));
        self.awaited.push_back(Awaited::Active { opened: Some(id), held: Vec::new() });
    }

    pub(super) fn failed(&mut self) {
        let Some((id, _)) = self.opening.take() else { return };
        self.told.push(Told::Closed(id, PinholeOutcome::Failed));
        if self.phase == Phase::Open {
            self.answer(425);
        }
        self.work();
    }

    /// A connection has come; the pinhole is gone with it (case 10).
    pub(super) fn used(&mut self) {
        if let Some((id, _)) = self.offered.take() {
            self.active_at = self.now;
            self.told.extend([Told::Closed(id, PinholeOutcome::Used), Told::Started(id)]);
            self.running.insert(id);
        }
    }

    pub(super) fn ended(&mut self, id: u32) {
        self.active_at = self.now;
        if self.running.remove(&id) {
            self.told.push(Told::Ended(id));
        }
    }

    pub(super) fn withdraw(&mut self, outcome: PinholeOutcome) {
        let Some((id, _)) = self.offered.take() else { return };
        self.done.push(Done::Withdraw(id));
        self.told.push(Told::Closed(id, outcome));
        for awaited in &mut self.awaited {
            if let Awaited::Active { opened, .. } = awaited {
                *opened = None;
            }
        }
    }

    /// The server's own words, with nothing changed but the address (case 42).
    fn tell_client(&mut self, pasv: bool, lines: &[Answer], entry: u16) {
        let ip = if self.rules.dials_gateway { GATEWAY } else { SERVER };
        let mut text = Vec::new();
        for line in lines {
            let (_, names, ahead, behind) = *line;
            let address = match names {
                Names::At { .. } if pasv => numbers(ip, entry),
                Names::Port(_) if !pasv => format!("|||{entry}|"),
                _ => {
                    text.extend(answered(*line));
                    continue;
                }
            };
            text.extend([ahead, &address, behind].concat().into_bytes());
        }
        self.done.push(Done::ToClient(text));
        self.settle();
    }
}
