//! One direction of a connection: what has been passed on, and what is held behind a hole.

use super::{MAX_HELD, MAX_SEGMENTS, Piece};
use std::collections::BTreeMap;

/// How far ahead of what has been passed on a segment may lie: the largest window that Linux gives
/// by itself (net.ipv4.tcp_rmem). Farther ones belong to no conversation that can be followed.
const MAX_AHEAD: i64 = 6 * 1024 * 1024;

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Half {
    /// The sequence number of the first byte.
    start: Option<u32>,
    /// Bytes passed on, or lost.
    next: u64,
    /// What is to come, by its place behind the first byte; nothing in it overlaps.
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    /// The place behind the last byte, and what its FIN acknowledges.
    end: Option<(u64, Option<u32>)>,
    ended: bool,
    /// What the other side has acknowledged.
    acknowledged: u64,
}

#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    starts_segment: bool,
    /// What its segment acknowledges.
    needs: Option<u32>,
}

/// What stands at the front of a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// Bytes, in order.
    Bytes { needs: Option<u32> },
    /// The end, in order.
    End { needs: Option<u32> },
    /// So many bytes are missing in front of what is held.
    Hole { missing: u64 },
    /// Nothing is held.
    Nothing,
}

/// The earlier of two sequence numbers of one connection.
pub(super) fn lower(a: u32, b: u32) -> u32 {
    if is_before(a, b) { a } else { b }
}

/// RFC 9293 §3.4: numbers are compared modulo 2^32.
fn is_before(a: u32, b: u32) -> bool {
    a != b && b.wrapping_sub(a) < 1 << 31
}

impl Half {
    /// True once it is known where it begins.
    pub(super) fn is_placed(&self) -> bool {
        self.start.is_some()
    }

    /// It begins behind a SYN of this number.
    pub(super) fn start_behind(&mut self, syn: u32) {
        self.start_at(syn.wrapping_add(1));
    }

    /// It begins with this number, unless that is known already.
    pub(super) fn start_at(&mut self, first: u32) {
        self.start.get_or_insert(first);
    }

    /// How far a number lies ahead of what has been passed on.
    fn ahead(&self, sequence: u32) -> i64 {
        // The place is kept in 64 bits, of which the number has the lower 32.
        #[allow(clippy::cast_possible_truncation, reason = "sequence numbers count modulo 2^32")]
        let next = self.start.unwrap_or(sequence).wrapping_add(self.next as u32);
        let distance = sequence.wrapping_sub(next);
        if distance < 1 << 31 { i64::from(distance) } else { -i64::from(distance.wrapping_neg()) }
    }

    fn place(&self, sequence: u32) -> u64 {
        self.next.saturating_add_signed(self.ahead(sequence))
    }

    /// The other side has acknowledged everything before this number.
    pub(super) fn acknowledge(&mut self, sequence: u32) {
        if self.ahead(sequence) <= MAX_AHEAD {
            self.acknowledged = self.acknowledged.max(self.place(sequence));
        }
    }

    /// True if everything before this number has been passed on. A FIN counts as one.
    pub(super) fn has_passed(&self, sequence: u32) -> bool {
        let ahead = self.ahead(sequence);
        // An acknowledgement of what nobody can have sent asks for nothing.
        ahead <= i64::from(self.ended) || ahead > MAX_AHEAD
    }

    /// True if a RST of this number can be the sender's own: at or somewhat behind the place that has
    /// been read, so that a stranger has to guess it (RFC 5961 §3).
    pub(super) fn may_reset(&self, sequence: u32) -> bool {
        (-1..=MAX_AHEAD).contains(&self.ahead(sequence))
    }

    /// Holds bytes, as far as nothing stands in their place yet.
    pub(super) fn hold(&mut self, sequence: u32, bytes: &[u8], needs: Option<u32>) {
        let ahead = self.ahead(sequence);
        if ahead > MAX_AHEAD || self.ended {
            return;
        }
        let known = usize::try_from(ahead.min(0).unsigned_abs()).unwrap_or(usize::MAX);
        let Some(bytes) = bytes.get(known..) else { return };
        let start = self.next.saturating_add_signed(ahead.max(0));
        let end = start.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let end = self.end.map_or(end, |(last, _)| end.min(last));
        let mut at = start;
        while at < end {
            if let Some(behind) = self.behind_held(at) {
                at = behind;
                continue;
            }
            let until = self.held.range(at..end).next().map_or(end, |(&held, _)| held);
            let range = usize::try_from(at - start).ok().zip(usize::try_from(until - start).ok());
            let Some(piece) = range.and_then(|(from, to)| bytes.get(from..to)) else { return };
            self.held_bytes += piece.len();
            let starts_segment = at == start && known == 0;
            let held = Held { bytes: piece.to_vec(), starts_segment, needs };
            self.held.insert(at, held);
            at = until;
        }
    }

    /// The place behind what is held at `at`, if something is.
    fn behind_held(&self, at: u64) -> Option<u64> {
        let (&place, held) = self.held.range(..=at).next_back()?;
        let behind = place.saturating_add(u64::try_from(held.bytes.len()).ok()?);
        (behind > at).then_some(behind)
    }

    /// A FIN stands at this number. The first one counts.
    pub(super) fn end_at(&mut self, sequence: u32, needs: Option<u32>) {
        let ahead = self.ahead(sequence);
        if self.end.is_none() && (0..=MAX_AHEAD).contains(&ahead) {
            self.end = Some((self.place(sequence), needs));
        }
    }

    pub(super) fn head(&self) -> Head {
        let end = self.end.filter(|_| !self.ended);
        match (self.held.first_key_value(), end) {
            (Some((&place, held)), _) if place == self.next => Head::Bytes { needs: held.needs },
            (Some((&place, _)), _) => Head::Hole { missing: place.saturating_sub(self.next) },
            (None, Some((place, needs))) if place <= self.next => Head::End { needs },
            (None, Some((place, _))) => Head::Hole { missing: place.saturating_sub(self.next) },
            (None, None) => Head::Nothing,
        }
    }

    /// Takes the bytes at the front.
    pub(super) fn take_head(&mut self) -> Option<Piece> {
        let (_, Held { bytes, starts_segment, .. }) = self.held.pop_first()?;
        self.held_bytes -= bytes.len();
        self.next = self.next.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Some(Piece::Bytes { bytes, starts_segment })
    }

    pub(super) fn pass_end(&mut self) {
        self.ended = true;
        self.held.clear();
        self.held_bytes = 0;
    }

    /// The next so many bytes will not come.
    pub(super) fn skip(&mut self, missing: u64) {
        self.next = self.next.saturating_add(missing);
    }

    /// What comes before this number will not come. Returns how many bytes that are.
    pub(super) fn skip_to(&mut self, sequence: u32) -> u64 {
        let missing = u64::try_from(self.ahead(sequence)).unwrap_or(0);
        self.skip(missing);
        missing
    }

    /// What stands at the front waits for nothing any more.
    pub(super) fn forget_needs(&mut self) {
        match self.held.first_entry() {
            Some(mut first) => first.get_mut().needs = None,
            None => {
                if let Some((_, needs)) = &mut self.end {
                    *needs = None;
                }
            }
        }
    }

    /// True if nothing waits to be passed on.
    pub(super) fn is_empty(&self) -> bool {
        self.head() == Head::Nothing
    }

    /// True if no more may be held.
    pub(super) fn is_full(&self) -> bool {
        self.held_bytes > MAX_HELD || self.held.len() > MAX_SEGMENTS
    }

    /// True if the other side has acknowledged what is missing.
    pub(super) fn misses_acknowledged(&self) -> bool {
        !matches!(self.head(), Head::Bytes { .. } | Head::End { .. })
            && self.acknowledged > self.next.saturating_add(self.ended.into())
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }
}
