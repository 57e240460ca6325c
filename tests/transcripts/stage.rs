//! Plays a conversation: each input through the session, and what it did held against what follows.
//!
//! | file | what it holds |
//! |---|---|
//! | `settings` | the lines with `@` |
//! | `events` | the lines with `!` that go in |
//! | `actions` | what the session does, as it stands there |
//! | `lines` | lines and records as text, and back |
//! | `words` | the words for sides, outcomes and faults |

mod actions;
mod events;
mod lines;
mod settings;
mod words;

use ftpgate::addr::ByOwn;
use ftpgate::session::{Event, Session, Settings, TransferPlan};
use ftpgate::terms::Side;
use lines::{normal, unescape};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// A session and what stands around it.
pub(super) struct Stage {
    settings: Settings,
    client: SocketAddr,
    dialled: SocketAddr,
    dials_gateway: bool,
    external_client: ByOwn,
    external_server: ByOwn,
    introduced_at: Option<IpAddr>,
    session: Option<Session>,
    now: Instant,
    next_port: u16,
    plan: Option<TransferPlan>,
    in_use: bool,
    range_fails: bool,
    wants_certificate: bool,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            client: SocketAddr::from(([192, 0, 2, 2], 40000)),
            dialled: SocketAddr::from(([203, 0, 113, 7], 21)),
            dials_gateway: true,
            external_client: ByOwn::default(),
            external_server: ByOwn::default(),
            introduced_at: None,
            session: None,
            now: Instant::now(),
            next_port: 50000,
            plan: None,
            in_use: false,
            range_fails: false,
            wants_certificate: false,
        }
    }
}

impl Stage {
    /// What is not as `text` has it, behind the number of its line.
    pub(super) fn play(mut self, text: &str) -> Result<(), String> {
        let lines: Vec<(usize, &str)> = text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
            .collect();
        let mut at = 0;
        while let Some((number, line)) = lines.get(at) {
            at += 1;
            if !self.input(line).map_err(|reason| format!("{number}: {reason}"))? {
                return Err(format!("{number}: this is no input: {line}"));
            }
            let done = self.drain();
            for done in done {
                let expected = lines.get(at);
                at += 1;
                match expected {
                    Some((_, wanted)) if normal(wanted) == done => {}
                    Some((number, wanted)) => {
                        return Err(format!(
                            "{number}: expected {wanted:?}, the session did {done:?}"
                        ));
                    }
                    None => return Err(format!("{number}: at the end the session did {done:?}")),
                }
            }
        }
        Ok(())
    }

    fn input(&mut self, line: &str) -> Result<bool, String> {
        let (who, what) = line.split_at(2);
        let what = what.trim_start_matches(' ');
        match who {
            "@ " => self.set(what)?,
            "C>" => self.say(Side::Client, what),
            "S>" => self.say(Side::Server, what),
            "! " => return self.happen(what),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn say(&mut self, from: Side, what: &str) {
        let bytes = unescape(what);
        self.tell(Event::BytesReceived { from, bytes: &bytes });
    }

    fn tell(&mut self, event: Event<'_>) {
        let now = self.now;
        self.session.as_mut().expect("`@ server` comes first").handle_event(event, now);
    }
}
