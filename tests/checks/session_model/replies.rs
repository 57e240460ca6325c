//! The rules for what the server says: which command a reply answers, and when one leads to a pinhole.

use super::model::{Asked, Awaited, Done, Model};
use super::words::{Answer, Form, Names, answered};
use ftpgate::report::{CloseCause, PinholeOutcome};

impl Model {
    pub(super) fn on_server_line(&mut self, line: Answer) {
        // What looks like a code within a reply is text (cases 2, 16).
        match (self.within, line.0) {
            (Some(code), Form::Whole(other)) if code == other => {
                self.within = None;
                self.on_reply(code, line);
            }
            (Some(_), _) => self.on_part(line),
            // Case 5.
            (None, Form::Command) => self.close(Some(421), CloseCause::RolesReversed),
            (None, Form::Text) if self.awaited.front() == Some(&Awaited::Greeting) => {
                self.close(Some(421), CloseCause::ServerNotFtp);
            }
            // Case 24.
            (None, Form::Text) => self.pass(&[line]),
            (None, Form::First(code)) => {
                (self.within, self.shown) = (Some(code), false);
                self.find_command(code);
                self.on_part(line);
            }
            (None, Form::Whole(code)) => {
                self.find_command(code);
                self.on_reply(code, line);
            }
        }
    }

    /// What stands ahead of the command that such a reply must be for is not answered any more: an
    /// ABOR that ended together with its transfer, or all that is ahead of a PASV or EPSV with a 227
    /// or 229 that can be for nothing else.
    fn find_command(&mut self, code: u16) {
        let to_abort = matches!(code, 225 | 226 | 421 | 426 | 500..=502);
        while !to_abort && self.awaited.front() == Some(&Awaited::Abor) {
            self.awaited.pop_front();
            self.settle();
        }
        let is_it = |awaited: &Awaited| match awaited {
            Awaited::Passive { pasv, .. } => code == if *pasv { 227 } else { 229 },
            _ => false,
        };
        while self.awaited.iter().any(is_it) && !self.awaited.front().is_some_and(is_it) {
            self.awaited.pop_front();
            self.settle();
        }
    }

    /// A line of a reply that goes on. What is said of a data connection is held to its end.
    fn on_part(&mut self, line: Answer) {
        let hidden = match line.1 {
            Names::Long => true,
            Names::Tls => self.rules.refuses_tls,
            _ => false,
        };
        match self.awaited.front_mut() {
            Some(Awaited::Passive { held, .. } | Awaited::Active { held, .. }) => held.push(line),
            Some(Awaited::Feat) if hidden => {}
            _ => {
                self.shown = true;
                self.pass(&[line]);
            }
        }
    }

    /// A reply is complete.
    fn on_reply(&mut self, code: u16, line: Answer) {
        self.server_quit = code == 421;
        let negotiates =
            matches!(self.awaited.front(), Some(Awaited::Passive { .. } | Awaited::Active { .. }));
        let late_abort = negotiates && matches!(code, 225 | 226);
        if code < 200 || late_abort {
            // Not the answer yet.
            let mut whole = match self.awaited.front_mut() {
                Some(Awaited::Passive { held, .. } | Awaited::Active { held, .. }) => {
                    std::mem::take(held)
                }
                _ => Vec::new(),
            };
            whole.push(line);
            return self.pass(&whole);
        }
        let good = (200..300).contains(&code);
        match self.awaited.pop_front() {
            Some(Awaited::Passive { pasv, mut held }) => {
                held.push(line);
                if code == if pasv { 227 } else { 229 } {
                    return self.on_listening(pasv, held);
                }
                self.pass(&held);
            }
            Some(Awaited::Active { opened, mut held }) => {
                held.push(line);
                if opened.is_none() {
                    // Nobody came in time, and the server has been slow to say so.
                    self.awaited.push_front(Awaited::Own(425));
                } else {
                    if !good {
                        // Case 11.
                        self.withdraw(PinholeOutcome::Withdrawn);
                    }
                    self.pass(&held);
                }
            }
            Some(Awaited::Login) => {
                self.logged_in = match code {
                    230 | 232 => true,
                    331 | 332 => false,
                    _ => self.logged_in,
                };
                self.pass(&[line]);
            }
            Some(Awaited::EpsvAll) => {
                self.epsv_only |= good;
                self.pass(&[line]);
            }
            Some(Awaited::Rein) => {
                if good {
                    // Case 36.
                    if self.logged_in {
                        self.login_since = self.now;
                    }
                    (self.logged_in, self.epsv_only) = (false, false);
                    self.withdraw(PinholeOutcome::Withdrawn);
                }
                self.pass(&[line]);
            }
            Some(Awaited::Greeting) => {
                self.first_line_since = self.now;
                self.pass(&[line]);
            }
            // Also one that nobody asked for (case 1), and a refused AUTH (case 27).
            Some(
                Awaited::Feat | Awaited::Abor | Awaited::Auth | Awaited::Plain | Awaited::Own(_),
            )
            | None => self.pass(&[line]),
        }
        self.settle();
    }

    /// The server listens, if it says where, and at a place that may be used.
    fn on_listening(&mut self, pasv: bool, lines: Vec<Answer>) {
        let last = lines.len() - 1;
        let mut place = None;
        let mut broken = false;
        for (index, (_, names, ..)) in lines.iter().enumerate() {
            match names {
                Names::At { own, port } if pasv => place = Some((*own, *port)),
                Names::Port(port) if !pasv => place = Some((true, *port)),
                Names::Broken => broken |= pasv && (index == 0 || index == last),
                _ => {}
            }
        }
        match place {
            // Cases 7, 9, 16. Elsewhere than at its own address it is met at its own.
            Some((own, port)) if !broken && (own || !self.rules.strict) && !self.is_low(port) => {
                let port = (!self.rules.dials_gateway).then_some(port);
                self.open(Asked::Reply { pasv, lines }, true, port);
            }
            _ => self.answer_first(425),
        }
    }

    fn answer_first(&mut self, code: u16) {
        self.awaited.push_front(Awaited::Own(code));
        self.settle();
    }

    fn pass(&mut self, lines: &[Answer]) {
        let text = lines.iter().flat_map(|line| answered(*line)).collect();
        self.done.push(Done::ToClient(text));
    }
}
