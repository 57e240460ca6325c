//! The two byte streams of one TCP connection, put together from its segments as captured: pure.
//!
//! A capture may lack segments, have them twice, in another order than they were sent, or begin in
//! the middle. What comes out is what an orderly capture would have shown:
//!
//! - **Bytes once, in order.** Of two segments that say different things for the same place the first
//!   captured wins, as it does with most receivers (RFC 9293 §3.10.7.4 trims what it has already).
//! - **Cause before effect.** A segment that acknowledges bytes of the other side was sent after
//!   these were read, so it is passed on after them, whichever was captured first.
//! - **What is missing is told.** Bytes that the other side has acknowledged and that do not turn up
//!   are lost to the capture: [`Piece::Lost`]. Bytes that nobody has acknowledged may still be sent again.
//!
//! Time is that of the capture, never the clock's. Everything that is held has a bound; where one is
//! reached, what is missing is given up.
//!
//! Not here: what the bytes mean (see `conversation`), and the bytes of data connections, which are
//! counted and not kept (see `data`).

mod half;
#[cfg(test)]
mod tests;

use super::packet::Segment;
use crate::terms::Side;
use half::{Half, Head};
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes of one direction that are held behind a hole. A control connection sends some hundred bytes
/// ahead of an answer; a hostile one cannot make more of it than this.
const MAX_HELD: usize = 64 * 1024;

/// Segments that they may come in: an entry of the map costs more than a small segment's bytes.
const MAX_SEGMENTS: usize = 128;

/// Segments that are held while the start of a direction is not known.
const MAX_EARLY: usize = 16;

/// How long the start of a connection whose SYN was not seen may turn up late.
const START_WAIT: Duration = Duration::from_millis(100);

/// How long bytes that were acknowledged may turn up late. Captures of several queues, and those put
/// together from several files, are out of order by milliseconds.
const REORDER_WAIT: Duration = Duration::from_secs(1);

/// How long bytes that nobody has acknowledged may be sent again: half of what Linux takes to give a
/// connection up.
const RETRANSMIT_WAIT: Duration = Duration::from_secs(450);

/// The next thing that one side said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// These bytes; `starts_segment` if they stood at the front of a segment.
    Bytes {
        /// As sent.
        bytes: Vec<u8>,
        /// A writer that writes a line or a record at once begins one here.
        starts_segment: bool,
    },
    /// So many bytes are not in the capture.
    Lost(u64),
    /// Nothing more.
    Ended {
        /// True for a FIN, false for a RST.
        orderly: bool,
    },
}

/// Both directions of one connection.
///
/// Call [`push`](Self::push) with every segment, or [`settle`](Self::settle) when time has passed, then
/// drain [`next_piece`](Self::next_piece) to `None`; at the end [`finish`](Self::finish), and drain again.
#[derive(Debug)]
pub struct Streams {
    client: Half,
    server: Half,
    /// Segments ahead of the time at which both starts are known.
    early: Vec<Early>,
    since: Duration,
    settled: bool,
    /// Since when something is held that cannot be passed on.
    stuck_since: Option<Duration>,
    /// Who said RST, and when.
    reset: Option<(Side, Duration)>,
    over: bool,
    out: VecDeque<(Side, Piece)>,
}

/// A segment, kept.
#[derive(Debug)]
struct Early {
    from: Side,
    sequence: u32,
    acknowledges: Option<u32>,
    fin: bool,
    rst: bool,
    bytes: Vec<u8>,
    cut: usize,
}

impl Streams {
    /// A connection of which the first segment was captured at `now`.
    pub fn new(now: Duration) -> Self {
        Self {
            client: Half::default(),
            server: Half::default(),
            early: Vec::new(),
            since: now,
            settled: false,
            stuck_since: None,
            reset: None,
            over: false,
            out: VecDeque::new(),
        }
    }

    /// Takes a segment that `from` sent.
    pub fn push(&mut self, from: Side, segment: &Segment<'_>, now: Duration) {
        if self.over {
            return;
        }
        if segment.syn {
            self.half(from).start_behind(segment.sequence);
        }
        if segment.syn
            && let Some(acknowledged) = segment.acknowledges
        {
            // SYN and ACK: the other side's SYN is all that can be acknowledged here.
            self.half(from.other()).start_at(acknowledged);
        }
        let early = Early {
            from,
            sequence: segment.sequence.wrapping_add(segment.syn.into()),
            acknowledges: segment.acknowledges,
            fin: segment.fin,
            rst: segment.rst,
            bytes: segment.payload.to_vec(),
            cut: segment.cut,
        };
        if self.settled {
            self.take(early, now);
        } else {
            self.early.push(early);
        }
        self.settle(now);
    }

    /// Passes on what may be by now.
    pub fn settle(&mut self, now: Duration) {
        let known = self.client.is_placed() && self.server.is_placed();
        let held = || self.early.iter().map(|early| early.bytes.len()).sum::<usize>();
        let full = self.early.len() >= MAX_EARLY || held() > MAX_HELD;
        if !self.settled && (known || full || now >= self.since + START_WAIT) {
            self.place(now);
        }
        // What was sent ahead of a RST may be captured behind it.
        let broken = self.reset.filter(|(_, since)| now >= *since + REORDER_WAIT);
        self.deliver(now, broken.is_some());
        if let Some((from, _)) = broken {
            self.break_off(from);
        }
    }

    /// Nothing more comes: what is missing is lost.
    pub fn finish(&mut self) {
        if !self.settled {
            self.place(self.since);
        }
        self.deliver(self.since, true);
        if let Some((from, _)) = self.reset {
            self.break_off(from);
        }
        self.over = true;
    }

    /// The next piece, in the order in which it was said.
    pub fn next_piece(&mut self) -> Option<(Side, Piece)> {
        self.out.pop_front()
    }

    /// True once both sides have ended, or one has broken off, so that nothing more comes.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Settles where the directions begin whose SYN was not captured: with the first byte that was,
    /// or with the first that the other side had not acknowledged.
    fn place(&mut self, now: Duration) {
        self.settled = true;
        for side in [Side::Client, Side::Server] {
            let own = self.early.iter().filter(|early| early.from == side && !early.rst);
            let lowest = own.map(|early| early.sequence).reduce(half::lower);
            let others = self.early.iter().filter(|early| early.from != side);
            let acknowledged = others.filter_map(|early| early.acknowledges).reduce(half::lower);
            if let Some(start) = lowest.or(acknowledged) {
                self.half(side).start_at(start);
            }
        }
        for early in std::mem::take(&mut self.early) {
            self.take(early, now);
        }
    }

    fn take(&mut self, early: Early, now: Duration) {
        let Early { from, sequence, acknowledges, fin, rst, bytes, cut } = early;
        // The direction of a side that was silent when the others were placed begins where it speaks.
        self.half(from).start_at(sequence);
        if let Some(acknowledged) = acknowledges {
            let other = self.half(from.other());
            other.start_at(acknowledged);
            other.acknowledge(acknowledged);
        }
        if rst {
            if self.half(from).may_reset(sequence) {
                self.reset.get_or_insert((from, now));
            }
            return;
        }
        let half = self.half(from);
        if fin {
            let length = u32::try_from(bytes.len() + cut).unwrap_or(u32::MAX);
            half.end_at(sequence.wrapping_add(length), acknowledges);
        }
        half.hold(sequence, &bytes, acknowledges);
    }

    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// True if what `needs` acknowledges has been passed on.
    fn has_said(&mut self, side: Side, needs: Option<u32>) -> bool {
        needs.is_none_or(|acknowledged| self.half(side).has_passed(acknowledged))
    }

    fn break_off(&mut self, from: Side) {
        if !self.over {
            self.out.push_back((from, Piece::Ended { orderly: false }));
            self.over = true;
        }
    }

    fn deliver(&mut self, now: Duration, last: bool) {
        if !self.settled || self.over {
            return;
        }
        loop {
            while self.pass_on(Side::Client) || self.pass_on(Side::Server) {
                self.stuck_since = None;
            }
            if self.client.is_empty() && self.server.is_empty() {
                self.stuck_since = None;
                break;
            }
            let since = *self.stuck_since.get_or_insert(now);
            let full = self.client.is_full() || self.server.is_full();
            let sure = self.client.misses_acknowledged() || self.server.misses_acknowledged();
            let wait = if sure { REORDER_WAIT } else { RETRANSMIT_WAIT };
            if !(last || full || now >= since + wait) {
                break;
            }
            self.give_up();
        }
        self.over = self.client.has_ended() && self.server.has_ended();
    }

    /// Passes on the next piece of one side, if it is there and everything it answers has been.
    fn pass_on(&mut self, side: Side) -> bool {
        match self.half(side).head() {
            Head::Bytes { needs } if self.has_said(side.other(), needs) => {
                if let Some(piece) = self.half(side).take_head() {
                    self.out.push_back((side, piece));
                }
                true
            }
            Head::End { needs } if self.has_said(side.other(), needs) => {
                self.half(side).pass_end();
                self.out.push_back((side, Piece::Ended { orderly: true }));
                true
            }
            Head::Bytes { .. } | Head::End { .. } | Head::Hole { .. } | Head::Nothing => false,
        }
    }

    /// Something is held and nothing can be passed on: one hole is given up.
    fn give_up(&mut self) {
        for side in [Side::Client, Side::Server] {
            if let Head::Hole { missing } = self.half(side).head() {
                self.half(side).skip(missing);
                self.out.push_back((side, Piece::Lost(missing)));
                return;
            }
        }
        for side in [Side::Client, Side::Server] {
            let (Head::Bytes { needs: Some(needs) } | Head::End { needs: Some(needs) }) =
                self.half(side).head()
            else {
                continue;
            };
            let other = self.half(side.other());
            if matches!(other.head(), Head::Nothing) && !other.has_passed(needs) {
                // It was heard, and there is nothing of it.
                let missing = other.skip_to(needs);
                if missing > 0 {
                    self.out.push_back((side.other(), Piece::Lost(missing)));
                }
            }
            // What still stands against it is no order that a connection can have had.
            self.half(side).forget_needs();
            return;
        }
    }
}
