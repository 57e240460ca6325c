//! One data connection as captured: tried, answered, ended, and how many bytes. Nothing of it is kept;
//! the bytes are counted by sequence numbers, so that holes and repetitions do not matter. Pure.

use super::conversation::DataNews;
use super::packet::Segment;
use super::record::Outcome;
use crate::terms::{ByteCounts, Side};
use std::net::SocketAddr;
use std::time::Duration;

/// How far ahead of the last one seen a segment may lie: half the room of sequence numbers, since a
/// capture may lack any number of segments.
const MAX_AHEAD: u32 = 1 << 31;

/// How far a RST may lie ahead: the largest window that Linux gives by itself, so that a stranger has
/// to guess where it counts.
const RESET_WINDOW: u32 = 6 * 1024 * 1024;

/// A data connection.
#[derive(Debug)]
pub(super) struct DataConnection {
    dialler: SocketAddr,
    /// Who of the two FTP peers dials.
    dialler_side: Side,
    /// What the dialler sent, and the listener.
    sent: [Sent; 2],
    tried: bool,
    established: bool,
    closed_by_dialler: Option<bool>,
    outcome: Option<Outcome>,
    started: Duration,
    last: Duration,
}

/// One direction.
#[derive(Debug, Default)]
struct Sent {
    /// The sequence numbers of the first byte seen, and of the one behind the last.
    seen: Option<(u32, u32)>,
    bytes: u64,
    /// Its FIN, and what the segment of that acknowledges.
    end: Option<(u32, Option<u32>)>,
}

impl Sent {
    fn count(&mut self, segment: &Segment<'_>) {
        let first = segment.sequence.wrapping_add(segment.syn.into());
        let length = u32::try_from(segment.payload.len() + segment.cut).unwrap_or(u32::MAX);
        if length == 0 && !segment.syn && !segment.fin {
            // An acknowledgement behind the FIN has the number behind it, which is that of no byte.
            return;
        }
        let behind = first.wrapping_add(length);
        let (start, next) = self.seen.get_or_insert((first, first));
        let new = behind.wrapping_sub(*next);
        if new < MAX_AHEAD {
            self.bytes = self.bytes.saturating_add(new.into());
            *next = behind;
        }
        // The first ones may be captured late.
        let earlier = start.wrapping_sub(first);
        if earlier < MAX_AHEAD && self.bytes < MAX_AHEAD.into() {
            self.bytes = self.bytes.saturating_add(earlier.into());
            *start = first;
        }
        if segment.fin {
            self.end.get_or_insert((behind, segment.acknowledges));
        }
    }

    /// True if this side had seen the end of `other` when it said its own.
    fn answers_end_of(&self, other: &Self) -> bool {
        match (self.end, other.end) {
            (Some((_, Some(acknowledged))), Some((fin, _))) => acknowledged == fin.wrapping_add(1),
            _ => false,
        }
    }

    /// True if a RST of this number can be the sender's own.
    fn may_reset(&self, sequence: u32) -> bool {
        self.seen
            .is_none_or(|(_, next)| sequence.wrapping_sub(next.wrapping_sub(1)) <= RESET_WINDOW)
    }
}

impl DataConnection {
    /// A connection of `dialler`, the FTP peer on `dialler_side`.
    pub(super) fn new(dialler: SocketAddr, dialler_side: Side, now: Duration) -> Self {
        Self {
            dialler,
            dialler_side,
            sent: [Sent::default(), Sent::default()],
            tried: false,
            established: false,
            closed_by_dialler: None,
            outcome: None,
            started: now,
            last: now,
        }
    }

    /// It turns out that `dialler` is who dials, and the FTP peer on `side`. Returns what has been seen
    /// so far.
    pub(super) fn adopt(&mut self, dialler: SocketAddr, side: Side) -> Vec<DataNews> {
        if dialler != self.dialler {
            self.sent.swap(0, 1);
            self.closed_by_dialler = self.closed_by_dialler.map(|own| !own);
            self.dialler = dialler;
        }
        self.dialler_side = side;
        let tried = DataNews::Tried { dialler: self.dialler.ip() };
        let established = self.established.then_some(DataNews::Established);
        let over = self.outcome.map(|outcome| self.over(outcome));
        [Some(tried), established, over].into_iter().flatten().collect()
    }

    /// When its last packet was captured.
    pub(super) fn last(&self) -> Duration {
        self.last
    }

    /// What a segment of it tells. [`DataNews::Over`] is told again if more bytes turn up late.
    pub(super) fn on_segment(&mut self, segment: &Segment<'_>, now: Duration) -> Vec<DataNews> {
        let mut news = Vec::new();
        let by_dialler = segment.from == self.dialler;
        if let Some(outcome) = self.outcome {
            let [dialled, listened] = &mut self.sent;
            let sent = if by_dialler { dialled } else { listened };
            let before = sent.bytes;
            if !segment.rst {
                sent.count(segment);
            }
            let more = sent.bytes != before;
            // A FIN that was sent ahead of the RST.
            let ended = outcome == Outcome::Reset && self.has_said_all();
            let outcome = if ended { Outcome::Completed } else { outcome };
            self.outcome = Some(outcome);
            if more || ended {
                news.push(self.over(outcome));
            }
            return news;
        }
        self.last = now;
        if !std::mem::replace(&mut self.tried, true) {
            news.push(DataNews::Tried { dialler: self.dialler.ip() });
        }
        let [dialled, listened] = &mut self.sent;
        let sent = if by_dialler { dialled } else { listened };
        if segment.rst {
            if !sent.may_reset(segment.sequence) {
                return news;
            }
            self.closed_by_dialler.get_or_insert(by_dialler);
            let outcome = if !self.established {
                Outcome::Refused
            } else if self.has_said_all() {
                Outcome::Completed
            } else {
                Outcome::Reset
            };
            self.outcome = Some(outcome);
            news.push(self.over(outcome));
            return news;
        }
        sent.count(segment);
        if segment.fin {
            self.closed_by_dialler.get_or_insert(by_dialler);
        }
        // Bytes, too, say that it was answered, if the answer is not in the capture.
        if !self.established && (!by_dialler || !segment.payload.is_empty()) {
            self.established = true;
            news.push(DataNews::Established);
        }
        if self.sent.iter().all(|sent| sent.end.is_some()) {
            self.outcome = Some(Outcome::Completed);
            news.push(self.over(Outcome::Completed));
        }
        news
    }

    /// True if whoever sent the file has ended in order: what comes behind it is the other's hurry.
    fn has_said_all(&self) -> bool {
        let most = self.sent.iter().max_by_key(|sent| sent.bytes);
        most.is_some_and(|sent| sent.end.is_some())
    }

    /// True once it is over.
    pub(super) fn is_over(&self) -> bool {
        self.outcome.is_some()
    }

    /// True while it stands.
    pub(super) fn runs(&self) -> bool {
        self.established && self.outcome.is_none()
    }

    /// How it stands when no more of it will be looked at.
    pub(super) fn give_up(&self) -> DataNews {
        self.over(if self.established { Outcome::Open } else { Outcome::Unanswered })
    }

    fn over(&self, outcome: Outcome) -> DataNews {
        let [dialled, listened] = &self.sent;
        let bytes = match self.dialler_side {
            Side::Client => ByteCounts { upload: dialled.bytes, download: listened.bytes },
            Side::Server => ByteCounts { upload: listened.bytes, download: dialled.bytes },
        };
        let duration = self.last.saturating_sub(self.started);
        let side = self.dialler_side;
        let first = match (dialled.answers_end_of(listened), listened.answers_end_of(dialled)) {
            (true, false) => Some(false),
            (false, true) => Some(true),
            (true, true) | (false, false) => self.closed_by_dialler,
        };
        let closed_by = first.map(|own| if own { side } else { side.other() });
        DataNews::Over { outcome, bytes, duration, closed_by }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "192.0.2.2:40000";
    const SERVER: &str = "198.51.100.10:50000";

    fn segment(
        by_client: bool,
        flags: &str,
        sequence: u32,
        payload: &'static [u8],
    ) -> Segment<'static> {
        let (from, to) = if by_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        Segment {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            sequence,
            acknowledges: None,
            syn: flags.contains('S'),
            fin: flags.contains('F'),
            rst: flags.contains('R'),
            payload,
            cut: 0,
        }
    }

    fn connection() -> DataConnection {
        DataConnection::new(CLIENT.parse().unwrap(), Side::Client, Duration::ZERO)
    }

    fn all(connection: &mut DataConnection, segments: &[Segment<'_>]) -> Vec<DataNews> {
        let each = segments.iter().zip(0..);
        each.flat_map(|(s, at)| connection.on_segment(s, Duration::from_secs(at))).collect()
    }

    #[test]
    fn bytes_are_counted_by_sequence_numbers_whatever_is_missing_or_twice() {
        let start = u32::MAX - 3;
        let mut data = connection();
        let news = all(
            &mut data,
            &[
                segment(true, "S", 7, b""),
                segment(false, "S", start, b""),
                segment(false, "", start.wrapping_add(1), b"abcdef"),
                segment(false, "", start.wrapping_add(1), b"abcdef"),
                // Four bytes in between are not in the capture.
                segment(false, "F", start.wrapping_add(11), b"klm"),
                segment(true, "F", 8, b""),
                segment(false, "", start.wrapping_add(15), b""),
            ],
        );
        assert_eq!(news.len(), 3, "{news:?}");
        assert_eq!(news[1], DataNews::Established);
        let bytes = ByteCounts { upload: 0, download: 13 };
        let duration = Duration::from_secs(5);
        let closed_by = Some(Side::Server);
        assert_eq!(
            news[2],
            DataNews::Over { outcome: Outcome::Completed, bytes, duration, closed_by }
        );
    }

    #[test]
    fn a_reset_is_a_refusal_at_first_and_a_break_later() {
        let outcome = |news: &[DataNews]| match news.last() {
            Some(DataNews::Over { outcome, .. }) => Some(*outcome),
            _ => None,
        };
        let syn = segment(true, "S", 7, b"");
        let refused = all(&mut connection(), &[syn, segment(false, "R", 0, b"")]);
        assert_eq!(outcome(&refused), Some(Outcome::Refused));
        let answer = segment(false, "S", 99, b"");
        let broken = [syn, answer, segment(false, "", 100, b"abc"), segment(true, "R", 8, b"")];
        assert_eq!(outcome(&all(&mut connection(), &broken)), Some(Outcome::Reset));
        // One that a stranger guessed (RFC 5961) is none.
        let flood = [syn, answer, segment(false, "R", 70_000_000, b""), segment(true, "R", 0, b"")];
        assert_eq!(outcome(&all(&mut connection(), &flood)), None);
        let mut lonely = connection();
        all(&mut lonely, &[syn, syn]);
        assert!(matches!(lonely.give_up(), DataNews::Over { outcome: Outcome::Unanswered, .. }));
    }
}
