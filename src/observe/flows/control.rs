//! One connection that is, or may be, a control connection: its streams, and the conversation as soon
//! as it is known to be one.

use super::{GREETING_WAIT, MATCH_WAIT};
use crate::ftp::Verb;
use crate::observe::conversation::{Await, Conversation, DataNews, Pretended};
use crate::observe::data::DataConnection;
use crate::observe::packet::Segment;
use crate::observe::record::{Control, Ended};
use crate::observe::stream::{Piece, Streams};
use crate::telemetry::rfc_3339;
use crate::terms::{DataMode, Side};
use crate::tls::record;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

/// Bytes that are kept until it is known what they are: a greeting of some lines and a command.
const MAX_UNDECIDED: usize = 8 * 1024;

/// After this long without a packet a SYN begins another connection, as Linux has forgotten the old one
/// by then (TCP_TIMEWAIT_LEN).
const REUSE_WAIT: Duration = Duration::from_secs(60);

/// The ports on which TLS begins with the first byte (RFC 4217 §6.1 and its predecessors).
const IMPLICIT_PORT: u16 = 990;

/// What a client of FTP says first, and none of SMTP, NNTP or any other protocol that greets with 220.
const FIRST_VERBS: &[Verb] =
    &[Verb::User, Verb::Auth, Verb::Feat, Verb::Host, Verb::Syst, Verb::Clnt, Verb::Opts];

/// What is known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Not yet what it is.
    Undecided,
    /// It is one of FTP.
    Ftp,
    /// It is not.
    NotFtp,
}

/// A connection.
#[derive(Debug)]
pub(super) struct ControlFlow {
    pub(super) serial: u64,
    /// When its last packet was captured.
    pub(super) last: Duration,
    client: SocketAddr,
    server: SocketAddr,
    /// It goes to a port where FTP is taken for granted.
    certain: bool,
    /// The client's SYN.
    syn: Option<u32>,
    /// A SYN of either side was seen.
    from_start: bool,
    /// It was noticed without a SYN: who dials is not known.
    late: bool,
    started: Duration,
    /// Since 1970.
    began: Duration,
    what: What,
    /// It as a data connection, which it may turn out to be.
    as_data: DataConnection,
    ended: Option<Ended>,
}

#[derive(Debug)]
enum What {
    Undecided { streams: Box<Streams>, said: Vec<(Side, Piece)> },
    Ftp { streams: Box<Streams>, said: VecDeque<(Side, Piece)>, conversation: Box<Conversation> },
    Other,
}

impl ControlFlow {
    pub(super) fn new(
        serial: u64,
        client: SocketAddr,
        server: SocketAddr,
        certain: bool,
        now: Duration,
        time: Duration,
    ) -> Self {
        Self {
            serial,
            last: now,
            client,
            server,
            certain,
            syn: None,
            from_start: false,
            late: false,
            started: now,
            began: time,
            what: What::Undecided { streams: Box::new(Streams::new(now)), said: Vec::new() },
            as_data: DataConnection::new(client, Side::Client, now),
            ended: None,
        }
    }

    /// One without a SYN, which may be a data connection and nothing else.
    pub(super) fn late(serial: u64, segment: &Segment<'_>, now: Duration, time: Duration) -> Self {
        let flow = Self::new(serial, segment.from, segment.to, false, now, time);
        Self { what: What::Other, late: true, ..flow }
    }

    pub(super) fn on_segment(
        &mut self,
        segment: &Segment<'_>,
        pretended: &Pretended,
        now: Duration,
        instant: Instant,
    ) -> Step {
        self.last = now;
        let from = if segment.from == self.client { Side::Client } else { Side::Server };
        self.from_start |= segment.syn;
        if segment.syn && from == Side::Client {
            self.syn = Some(segment.sequence);
        }
        if !self.certain {
            self.as_data.on_segment(segment, now);
        }
        if let What::Undecided { streams, .. } | What::Ftp { streams, .. } = &mut self.what {
            streams.push(from, segment, now);
        }
        self.listen(pretended, instant)
    }

    /// Time has passed.
    pub(super) fn settle(
        &mut self,
        pretended: &Pretended,
        now: Duration,
        instant: Instant,
    ) -> Step {
        if let What::Undecided { streams, .. } | What::Ftp { streams, .. } = &mut self.what {
            streams.settle(now);
        }
        self.listen(pretended, instant)
    }

    /// Takes what was said, up to the next data connection that is agreed.
    pub(super) fn listen(&mut self, pretended: &Pretended, instant: Instant) -> Step {
        if let What::Undecided { streams, said } = &mut self.what {
            while let Some(piece) = streams.next_piece() {
                said.push(piece);
            }
            match self.judge() {
                Step::Undecided => return Step::Undecided,
                Step::NotFtp => {
                    self.what = What::Other;
                    return Step::NotFtp;
                }
                Step::Ftp => self.begin(pretended, instant),
            }
        }
        let What::Ftp { streams, said, conversation } = &mut self.what else {
            return Step::NotFtp;
        };
        conversation.on_time(instant);
        // A data connection that is agreed is looked for before the next line is read.
        while conversation.awaits.is_empty()
            && let Some((from, piece)) = said.pop_front().or_else(|| streams.next_piece())
        {
            if let Piece::Ended { orderly } = piece {
                self.ended = end_of(self.ended, orderly);
            }
            conversation.on_piece(from, &piece, instant);
        }
        Step::Ftp
    }

    /// What it is, by what was said first.
    fn judge(&self) -> Step {
        let What::Undecided { streams, said } = &self.what else { return Step::NotFtp };
        let bytes = |side: Side| {
            let pieces = said.iter().filter(move |(from, _)| *from == side);
            pieces.filter_map(|(_, piece)| match piece {
                Piece::Bytes { bytes, .. } => Some(&bytes[..]),
                Piece::Lost(_) | Piece::Ended { .. } => None,
            })
        };
        let (client, server) =
            (bytes(Side::Client).flatten().count(), bytes(Side::Server).flatten().count());
        if self.certain {
            return if client + server > 0 { Step::Ftp } else { Step::Undecided };
        }
        let greeting: Vec<u8> = bytes(Side::Server).flatten().copied().take(4).collect();
        let greets = match greeting.as_slice() {
            [b'2', b'2', b'0', b' ' | b'-', ..] | [b'1', b'2', b'0', b' ' | b'-', ..] => true,
            [] | [b'1' | b'2'] | [b'1' | b'2', b'2'] | [b'1' | b'2', b'2', b'0'] => false,
            _ => return Step::NotFtp,
        };
        let command: Vec<u8> = bytes(Side::Client).flatten().copied().take(8).collect();
        let end = command.iter().position(u8::is_ascii_whitespace);
        if client + server > MAX_UNDECIDED || streams.is_over() || (client > 0 && !greets) {
            return Step::NotFtp;
        }
        match end {
            Some(end) if FIRST_VERBS.contains(&Verb::parse(&command[..end])) => Step::Ftp,
            Some(_) => Step::NotFtp,
            None if command.len() == 8 => Step::NotFtp,
            None => Step::Undecided,
        }
    }

    /// It is one: what was said so far goes into the conversation.
    fn begin(&mut self, pretended: &Pretended, instant: Instant) {
        let What::Undecided { streams, said } = std::mem::replace(&mut self.what, What::Other)
        else {
            return;
        };
        let first = said.iter().find_map(|(from, piece)| match piece {
            Piece::Bytes { bytes, .. } => Some((*from, bytes.first().copied())),
            Piece::Lost(_) | Piece::Ended { .. } => None,
        });
        let from_start = self.from_start;
        let in_tls = first.is_some_and(|(from, byte)| {
            from == Side::Client && byte.is_some_and(record::begins_record)
        });
        let implicit = in_tls && (from_start || self.server.port() == IMPLICIT_PORT);
        let start = (from_start, implicit);
        let mut conversation =
            Conversation::new(pretended, self.client, self.server, start, instant);
        conversation.control.started = rfc_3339(SystemTime::UNIX_EPOCH + self.began.min(YEAR_9000));
        let (said, conversation) = (said.into(), Box::new(conversation));
        self.what = What::Ftp { streams, said, conversation };
    }

    /// Data connections that are to be looked out for from now on.
    pub(super) fn take_awaits(&mut self) -> Vec<(DataMode, Await)> {
        match &mut self.what {
            What::Ftp { conversation, .. } => std::mem::take(&mut conversation.awaits),
            What::Undecided { .. } | What::Other => Vec::new(),
        }
    }

    /// True if there are any.
    pub(super) fn awaits_any(&self) -> bool {
        matches!(&self.what, What::Ftp { conversation, .. } if !conversation.awaits.is_empty())
    }

    pub(super) fn on_data(&mut self, number: u64, news: DataNews, instant: Instant) {
        if let What::Ftp { conversation, .. } = &mut self.what {
            conversation.on_data(number, news, instant);
        }
    }

    /// The conversation, while its lines cannot be read.
    pub(super) fn hidden_conversation(&mut self) -> Option<&mut Conversation> {
        match &mut self.what {
            What::Ftp { conversation, .. } if conversation.is_hidden() => Some(conversation),
            What::Ftp { .. } | What::Undecided { .. } | What::Other => None,
        }
    }

    /// What is known of it so far.
    pub(super) fn control(&self) -> Option<&Control> {
        match &self.what {
            What::Ftp { conversation, .. } => Some(&conversation.control),
            What::Undecided { .. } | What::Other => None,
        }
    }

    /// Who dials, if `listener` is who is dialled.
    pub(super) fn dialler_of(&self, listener: SocketAddr) -> Option<SocketAddr> {
        if self.server == listener {
            Some(self.client)
        } else {
            (self.client == listener && self.late).then_some(self.server)
        }
    }

    /// It was a data connection.
    pub(super) fn into_data(self) -> DataConnection {
        self.as_data
    }

    /// True if nothing can come of it any more.
    pub(super) fn is_stale(&self, now: Duration) -> bool {
        match self.what {
            What::Other => now.saturating_sub(self.started) >= MATCH_WAIT,
            What::Undecided { .. } | What::Ftp { .. } => {
                now.saturating_sub(self.last) >= GREETING_WAIT
            }
        }
    }

    /// True if this SYN begins another connection between the same ends.
    pub(super) fn may_be_reused(&self, segment: &Segment<'_>, now: Duration) -> bool {
        let over = self.has_ended().is_some() || now.saturating_sub(self.last) >= REUSE_WAIT;
        over && self.syn != Some(segment.sequence)
    }

    /// How it ended, if both ends said so, or one of them broke off.
    pub(super) fn has_ended(&self) -> Option<Ended> {
        match &self.what {
            What::Ftp { streams, .. } if streams.is_over() => self.ended,
            What::Ftp { .. } | What::Undecided { .. } | What::Other => None,
        }
    }

    /// Nothing more comes of it; what was said is still to be listened to.
    pub(super) fn end_streams(&mut self) {
        if let What::Undecided { streams, .. } | What::Ftp { streams, .. } = &mut self.what {
            streams.finish();
        }
    }

    /// What is told of it, if it was one of FTP.
    pub(super) fn finish(&mut self, ended: Ended, instant: Instant) -> Option<Control> {
        let What::Ftp { mut conversation, .. } = std::mem::replace(&mut self.what, What::Other)
        else {
            return None;
        };
        conversation.finish(self.ended.is_some(), instant);
        let mut control = conversation.control;
        control.seconds = self.last.saturating_sub(self.started).as_secs_f64();
        control.ended =
            if ended == Ended::CaptureEnd { self.ended.unwrap_or(ended) } else { ended };
        Some(control)
    }
}

/// What `rfc_3339` can say with four digits; a capture file may say anything.
const YEAR_9000: Duration = Duration::from_secs(7030 * 31_556_952);

/// A RST ends both sides, whatever was said before it.
fn end_of(before: Option<Ended>, orderly: bool) -> Option<Ended> {
    match before {
        Some(Ended::Rst) => before,
        _ if orderly => Some(Ended::Fin),
        _ => Some(Ended::Rst),
    }
}
