//! What has to hold where there are rules of the owner's, besides what holds always: who is met by data
//! connections, what the client is offered, and that each command has one reply.

use super::rules::Rules;
use super::script::Script;
use super::text::is_telnet;
use super::truth::Truth;
use ftpgate::ftp::{ReplyLine, ReplyReader};
use ftpgate::report::Report;
use ftpgate::session::{Action, Leg, TransferPlan};
use ftpgate::terms::Side;
use std::net::{IpAddr, SocketAddr};

/// Watches the rules of one play.
pub(super) struct Ruled {
    rules: Rules,
    client: IpAddr,
    server: IpAddr,
    low_ports: bool,
    told: ReplyReader,
    /// Replies that the client was told to their end.
    finals: usize,
    commands: usize,
}

impl Ruled {
    pub(super) fn of(script: &Script) -> Option<Self> {
        Some(Self {
            rules: script.rules?,
            client: script.parties.client.ip(),
            server: script.server.ip(),
            low_ports: script.settings.policy.low_ports,
            told: ReplyReader::new(),
            finals: 0,
            commands: 0,
        })
    }

    pub(super) fn on_action(&mut self, action: &Action, truth: Option<&Truth>) {
        match action {
            Action::SendBytes { to: Side::Client, bytes } if !is_telnet(bytes) => {
                for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                    self.on_told(line.trim_ascii_end(), truth.is_some());
                }
            }
            Action::OpenTransfer(plan) => self.on_plan(plan),
            Action::EndTls { side: Side::Client } => {
                assert!(self.rules.may_clear(truth.map(|truth| truth.logged_in)), "CCC");
            }
            Action::Report(Report::CommandReceived { .. }) => self.commands += 1,
            _ => {}
        }
    }

    fn on_told(&mut self, line: &[u8], in_order: bool) {
        assert!(!in_order || self.rules.may_offer(line), "{} is offered", line.escape_ascii());
        self.finals += match self.told.classify(line) {
            ReplyLine::Whole(code) | ReplyLine::Last(code) => usize::from(!code.is_preliminary()),
            ReplyLine::First(_) | ReplyLine::Text | ReplyLine::Stray => 0,
        };
    }

    /// Whoever is met is a peer of this session, or one that the owner lets the client name.
    fn on_plan(&self, plan: &TransferPlan) {
        let client_listens = matches!(plan.client, Leg::Dial(_));
        assert!(self.rules.may_open(client_listens), "{:?} refuse {plan:?}", self.rules);
        for (leg, peer) in [(&plan.client, self.client), (&plan.server, self.server)] {
            match leg {
                Leg::Dial(dial) => self.may_be_met(dial.to, peer),
                Leg::Await(expected) => assert_eq!(expected.peer, peer, "{plan:?}"),
            }
        }
    }

    fn may_be_met(&self, at: SocketAddr, peer: IpAddr) {
        assert!(at.ip() == peer || peer == self.client && self.may_name(at.ip()), "{at} is met");
        assert!(at.port() >= if self.low_ports { 1 } else { 1024 }, "{at} is met");
    }

    fn may_name(&self, third: IpAddr) -> bool {
        matches!(third, IpAddr::V4(third) if self.rules.may_name(third.octets()))
    }

    /// Everybody has answered what he was asked: so has the gateway, once each.
    pub(super) fn at_rest(&self) {
        // The greeting answers no command.
        assert_eq!(self.finals, self.commands + 1, "replies to commands");
    }
}
