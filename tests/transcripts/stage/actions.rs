//! What the session does, as transcripts have it.

use super::Stage;
use super::lines::{escape, pieces};
use ftpgate::report::{PinholeOutcome, Report};
use ftpgate::session::{Action, Certificate, Event, Leg, TransferPlan};
use ftpgate::terms::{ProtectionLevel, Side};

impl Stage {
    pub(super) fn drain(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        let Some(session) = &mut self.session else { return done };
        while let Some(action) = session.poll_action() {
            match action {
                Action::SendBytes { to, bytes } => {
                    let who = if to == Side::Client { "c>" } else { "s>" };
                    let pieces = pieces(&bytes);
                    done.extend(pieces.iter().map(|piece| format!("{who} {}", escape(piece))));
                }
                Action::SendUrgent { .. } => done.push("! urgent".to_owned()),
                Action::OpenTransfer(plan) => {
                    done.push(format!(
                        "! open {}: client {}{}; server {}{}",
                        plan.path.label(),
                        describe(&plan.client),
                        protected(&plan, Side::Client),
                        describe(&plan.server),
                        protected(&plan, Side::Server),
                    ));
                    self.plan = Some(plan);
                }
                Action::DialData { side, .. } => done.push(format!("! dial {}", side.label())),
                Action::TakeUpload { .. } => done.push("! take-upload".to_owned()),
                Action::WithdrawTransfer { id } => {
                    done.push("! withdraw".to_owned());
                    let in_use = std::mem::take(&mut self.in_use);
                    session.handle_event(Event::TransferWithdrawn { id, in_use }, self.now);
                }
                Action::OpenBlindRange(range) => {
                    done.push(format!(
                        "! open-range {} -> {} => {} from {}",
                        range.client, range.entry, range.server, range.source
                    ));
                    let event = if std::mem::take(&mut self.range_fails) {
                        Event::BlindRangeFailed { range }
                    } else {
                        Event::BlindRangeOpened { range }
                    };
                    session.handle_event(event, self.now);
                }
                Action::AcceptTls => done.push("! accept-tls".to_owned()),
                Action::ConnectTls => done.push("! connect-tls".to_owned()),
                Action::PresentCertificate(certificate) => {
                    let which = match certificate {
                        Certificate::Mirrored { trusted: true } => "mirrored",
                        Certificate::Mirrored { trusted: false } => "untrusted",
                        Certificate::Own => "own",
                        Certificate::Refusal => "refusal",
                    };
                    done.push(format!("! present {which}"));
                }
                Action::CarryTls => done.push("! carry-tls".to_owned()),
                Action::EndTls { side } => done.push(format!("! end-tls {}", side.label())),
                Action::CloseBlindRange => done.push("! close-range".to_owned()),
                Action::CloseSession => {}
                Action::Report(Report::CccObserved { outcome, passed }) => {
                    let passed = passed.map_or(String::new(), |n| format!(", {n} passed"));
                    done.push(format!("! ccc {}{passed}", outcome.label()));
                }
                Action::Report(Report::ProtectionChanged { state }) => {
                    done.push(format!("! control {}", state.label()));
                }
                Action::Report(Report::DataConnectionEnded { protection, .. })
                    if protection != ProtectionLevel::Clear =>
                {
                    done.push(format!("! data {}", protection.label()));
                }
                Action::Report(Report::Refused { reason, rule, .. }) => {
                    let rule = rule.map_or(String::new(), |rule| format!(" by {rule}"));
                    done.push(format!("! refused {}{rule}", reason.label()));
                }
                Action::Report(Report::LineDistrusted { reason, .. }) => {
                    done.push(format!("! distrusted {}", reason.label()));
                }
                Action::Report(Report::SessionEnded { cause, .. }) => {
                    done.push(format!("! close {}", cause.label()));
                }
                Action::Report(Report::PinholeClosed { outcome, .. })
                    if outcome != PinholeOutcome::Failed =>
                {
                    done.push(format!("! closed {}", outcome.label()));
                }
                Action::Report(_) => {}
            }
        }
        done
    }
}

fn describe(leg: &Leg) -> String {
    match leg {
        Leg::Await(expected) => {
            let port = expected.port.map_or("*".to_owned(), |port| port.to_string());
            let entry = match expected.address {
                std::net::IpAddr::V4(address) => format!("{address}:{port}"),
                std::net::IpAddr::V6(address) => format!("[{address}]:{port}"),
            };
            let captured = if expected.foreign { " (foreign)" } else { "" };
            format!("{} -> {entry}{captured}", expected.peer)
        }
        Leg::Dial(dial) => format!("=> {} from {}", dial.to, dial.from),
    }
}

fn protected(plan: &TransferPlan, side: Side) -> &'static str {
    if plan.is_protected(side) { " in TLS" } else { "" }
}
