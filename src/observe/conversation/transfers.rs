//! What was agreed about data connections, and what became of them in the capture.

use super::Conversation;
use crate::addr::{Advertised, Observed, canonical};
use crate::ftp::{self, Code, Verb};
use crate::observe::finding::Finding;
use crate::observe::record::{MAX_ROWS, Outcome, Transfer};
use crate::report::{DataOutcome, PeerText};
use crate::session::{Event, Leg, TransferPlan};
use crate::terms::{ByteCounts, DataMode, Side, TransferId};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Transfers of one control connection that are followed at a time: a user has one (RFC 959 §2.3), and
/// the ends of some may be late.
const MAX_FOLLOWED: usize = 16;

/// Transfers that are kept when the next one is agreed: packets of theirs may be captured late.
const KEPT: usize = 2;

/// A data connection to be looked out for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::observe) struct Await {
    /// Names the transfer in its conversation.
    pub(in crate::observe) number: u64,
    /// Where somebody listens: as the line says, and at the address that its sender really has.
    pub(in crate::observe) listeners: Vec<SocketAddr>,
}

/// What was seen of a data connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::observe) enum DataNews {
    /// Its first packet.
    Tried {
        /// Who connects.
        dialler: IpAddr,
    },
    /// The answer to it.
    Established,
    /// It is over, or will not be seen any more.
    Over {
        /// How.
        outcome: Outcome,
        /// Bytes by sequence numbers.
        bytes: ByteCounts,
        /// From its first packet to its last.
        duration: Duration,
        /// Who said FIN or RST first.
        closed_by: Option<Side>,
    },
}

/// A transfer that was agreed.
#[derive(Debug)]
pub(super) struct Agreed {
    number: u64,
    id: Option<TransferId>,
    /// The sides whose pinhole the gateway would open.
    awaiting: Vec<Side>,
    /// Who has to connect.
    dialler: IpAddr,
    row: Transfer,
    /// A command that moves data was sent for it.
    commanded: bool,
    running: bool,
}

impl Conversation {
    /// PORT or EPRT was sent; `plan` is the gateway's, if it does not refuse.
    pub(super) fn agree_active(&mut self, plan: Option<&TransferPlan>) {
        let Some(line) = self.lines.active() else { return };
        let text = PeerText::new(line).to_string();
        let argument = line.get(4..).unwrap_or_default().trim_ascii();
        let named = match super::lines::verb_of(line) {
            Verb::Port => ftp::parse_port(argument).ok().map(SocketAddr::V4),
            _ => ftp::parse_eprt(argument).ok().map(|eprt| eprt.address),
        };
        let Some(named) = named.map(canonical) else { return };
        let own = SocketAddr::new(self.client.ip(), named.port());
        if !Advertised(named).names_third_party(Observed::of(self.client)) {
            self.control.find(Finding::ActiveMode, Some(text.clone()));
        } else if is_private(named.ip()) {
            self.control.find(Finding::PrivateAddress, Some(text.clone()));
        } else {
            self.control.find(Finding::ThirdAddress, Some(text.clone()));
        }
        self.agree(DataMode::Active, Some(text), (named, own), self.server.ip(), plan);
    }

    /// A 227 or 229 answered the client.
    pub(super) fn agree_passive(&mut self, plan: Option<&TransferPlan>) {
        let Some(line) = self.lines.passive() else { return };
        let text = PeerText::new(line).to_string();
        let named = match ftp::parse_227(line) {
            Ok(reply) => SocketAddr::V4(reply.address),
            Err(_) => match ftp::parse_229(line) {
                Ok(reply) => SocketAddr::new(self.server.ip(), reply.port),
                Err(_) => return,
            },
        };
        let own = SocketAddr::new(self.server.ip(), named.port());
        if Advertised(named).names_third_party(Observed::of(self.server)) {
            let finding = if is_private(named.ip()) {
                Finding::PrivateAddress
            } else {
                Finding::ForeignServerAddress
            };
            self.control.find(finding, Some(text.clone()));
        }
        self.agree(DataMode::Passive, Some(text), (named, own), self.client.ip(), plan);
    }

    /// A data connection of a session whose lines cannot be read has begun between its two hosts.
    /// Returns its number.
    pub(in crate::observe) fn blind(
        &mut self,
        mode: DataMode,
        listener: SocketAddr,
        dialler: IpAddr,
    ) -> u64 {
        self.agree(mode, None, (listener, listener), dialler, None);
        self.awaits.clear();
        self.last_number
    }

    fn agree(
        &mut self,
        mode: DataMode,
        line: Option<String>,
        (named, own): (SocketAddr, SocketAddr),
        dialler: IpAddr,
        plan: Option<&TransferPlan>,
    ) {
        // The newest negotiation wins (case 12). What runs, runs on.
        let mut at = 0;
        while let Some(agreed) = self.agreed.get(at) {
            let waits = agreed.running || at + KEPT >= self.agreed.len();
            if waits && self.agreed.len() < MAX_FOLLOWED {
                at += 1;
            } else {
                self.conclude(at);
            }
        }
        self.last_number += 1;
        let number = self.last_number;
        let awaits =
            |side: &Side| plan.is_some_and(|plan| matches!(plan.leg(*side), Leg::Await(_)));
        self.agreed.push(Agreed {
            number,
            id: plan.map(|plan| plan.id),
            awaiting: [Side::Client, Side::Server].into_iter().filter(awaits).collect(),
            dialler,
            row: Transfer {
                mode: mode.label(),
                line,
                listener: named.to_string(),
                ..Transfer::default()
            },
            commanded: false,
            running: false,
        });
        let mut listeners = vec![named];
        if own != named {
            listeners.push(own);
        }
        self.awaits.push((mode, Await { number, listeners }));
    }

    /// News of the data connection `number`.
    pub(in crate::observe) fn on_data(&mut self, number: u64, news: DataNews, now: Instant) {
        let Some(at) = self.agreed.iter().position(|agreed| agreed.number == number) else {
            return;
        };
        let Some(agreed) = self.agreed.get_mut(at) else { return };
        let id = agreed.id;
        match news {
            DataNews::Tried { dialler } => {
                agreed.row.outcome = Outcome::Unanswered;
                agreed.running = true;
                if dialler != agreed.dialler {
                    let detail = format!("{dialler} instead of {}", agreed.dialler);
                    self.control.find(Finding::Stranger, Some(detail));
                }
            }
            DataNews::Established => {
                agreed.row.outcome = Outcome::Open;
                let awaiting = std::mem::take(&mut agreed.awaiting);
                for side in awaiting {
                    if let Some(id) = id {
                        self.tell(Event::PinholeUsed { id, side }, now);
                    }
                }
            }
            DataNews::Over { outcome, bytes, duration, closed_by } => {
                agreed.row.outcome = outcome;
                (agreed.row.upload, agreed.row.download) = (bytes.upload, bytes.download);
                agreed.row.seconds = duration.as_secs_f64();
                agreed.row.closed_by = closed_by.map(Side::label);
                agreed.running = false;
                let ended = match outcome {
                    Outcome::Completed => DataOutcome::Completed,
                    Outcome::Reset | Outcome::Open => DataOutcome::Aborted,
                    Outcome::NotSeen | Outcome::Unanswered | Outcome::Refused => return,
                };
                if let Some(id) = id {
                    let event =
                        Event::DataConnectionEnded { id, outcome: ended, bytes: Some(bytes) };
                    self.tell(event, now);
                }
            }
        }
    }

    /// True if the gateway would have seen this transfer's data connection come.
    pub(super) fn is_in_use(&self, id: TransferId) -> bool {
        let open = |agreed: &Agreed| {
            agreed.id == Some(id)
                && !matches!(
                    agreed.row.outcome,
                    Outcome::NotSeen | Outcome::Unanswered | Outcome::Refused
                )
        };
        self.agreed.iter().any(open)
    }

    /// A command that moves data was sent: it is for what was agreed last.
    pub(super) fn command_sent(&mut self) {
        let line = self.lines.transfer_command().map(|line| PeerText::new(line).to_string());
        if let Some(agreed) = self.agreed.last_mut() {
            agreed.commanded = true;
            agreed.row.command = line;
            agreed.row.reply = None;
        }
    }

    /// The server said something; it is about the transfer if one is under way.
    pub(super) fn note_reply(&mut self, code: Code) {
        let agreed = self.agreed.last_mut();
        if let Some(agreed) = agreed.filter(|agreed| agreed.commanded && agreed.row.reply.is_none())
            && !code.is_preliminary()
        {
            agreed.row.reply = Some(code.value());
        }
    }

    /// Nothing more comes.
    pub(super) fn conclude_all(&mut self) {
        while !self.agreed.is_empty() {
            self.conclude(0);
        }
    }

    /// Notes a transfer as it is.
    fn conclude(&mut self, at: usize) {
        let Agreed { row, commanded, .. } = self.agreed.remove(at);
        let worked = row.reply.is_some_and(|code| (200..300).contains(&code));
        let failed =
            row.reply.is_some_and(|code| matches!(code, 425 | 426 | 451)) || row.reply.is_none();
        let finding = match row.outcome {
            Outcome::NotSeen if commanded && !worked && failed => Some(Finding::DataMissing),
            Outcome::Unanswered => Some(Finding::DataUnanswered),
            Outcome::Refused => Some(Finding::DataRefused),
            Outcome::Reset => Some(Finding::DataReset),
            Outcome::NotSeen | Outcome::Open | Outcome::Completed => None,
        };
        if let Some(finding) = finding {
            let line = row.line.clone().unwrap_or_else(|| row.listener.clone());
            self.control.find(finding, Some(line));
        }
        let control = &mut self.control;
        control.transfers_total += 1;
        *control.outcomes.entry(row.outcome.label()).or_default() += 1;
        control.upload = control.upload.saturating_add(row.upload);
        control.download = control.download.saturating_add(row.download);
        if control.transfers.len() < MAX_ROWS {
            control.transfers.push(row);
        }
    }
}

/// Addresses that mean something on one's own side of a NAT only: RFC 1918, RFC 6598, RFC 3927, RFC
/// 4193, loopback and link-local.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local(),
    }
}
