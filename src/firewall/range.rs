//! A range of ports that stands open between two ends, and who holds it open: plain values, the
//! same for the kernel's table and for its fake.

use super::error::FirewallError;
use super::rule::Family;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Between whom data connections pass unseen: any number of them, to any port of
/// [`super::Settings::blind_ports`], which the server sees unchanged.
///
/// For sessions whose control connection cannot be read, so that neither the port nor the moment is
/// known. All addresses are of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlindRange {
    /// The only address that may connect.
    pub client: IpAddr,
    /// The address that the client dials: the gateway's, or the server's own.
    pub entry: IpAddr,
    /// Where its connections go; equal to `entry` where the client dials the server.
    pub server: IpAddr,
    /// Whom the server sees; equal to `client` where it sees the client.
    pub source: IpAddr,
}

impl BlindRange {
    /// The same with IPv4 addresses written as such.
    ///
    /// # Errors
    ///
    /// [`FirewallError::MixedFamilies`] if the addresses are not of one family.
    pub(super) fn canonical(&self) -> Result<Self, FirewallError> {
        let Self { client, entry, server, source } = *self;
        let [client, entry, server, source] =
            [client, entry, server, source].map(|address| address.to_canonical());
        let family = Family::of(client);
        match [entry, server, source].into_iter().all(|address| Family::of(address) == family) {
            true => Ok(Self { client, entry, server, source }),
            false => Err(FirewallError::MixedFamilies),
        }
    }
}

/// The ranges that stand open, each with the number of sessions that hold it open.
///
/// A packet tells its client and its entry, and nothing of the session that it is for: sessions
/// between the same ends share one range, and one pair of client and entry leads to one server.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    held: BTreeMap<(IpAddr, IpAddr), Held>,
}

#[derive(Debug)]
struct Held {
    range: BlindRange,
    sessions: usize,
}

impl Ranges {
    /// One more session holds `range`, which is canonical.
    ///
    /// # Errors
    ///
    /// [`FirewallError::RangeTaken`] if its client and entry lead elsewhere already: the first range
    /// stays as it is.
    pub(super) fn hold(&mut self, range: BlindRange) -> Result<(), FirewallError> {
        let BlindRange { client, entry, .. } = range;
        let held = self.held.entry((client, entry)).or_insert(Held { range, sessions: 0 });
        if held.range != range {
            return Err(FirewallError::RangeTaken { client, entry });
        }
        held.sessions += 1;
        Ok(())
    }

    /// One session fewer holds `range`, which is canonical: true if it was the last one. A range
    /// that nobody holds, or another one of the same client and entry, is left alone.
    pub(super) fn release(&mut self, range: BlindRange) -> bool {
        let key = (range.client, range.entry);
        let Some(held) = self.held.get_mut(&key).filter(|held| held.range == range) else {
            return false;
        };
        held.sessions = held.sessions.saturating_sub(1);
        let last = held.sessions == 0;
        if last {
            self.held.remove(&key);
        }
        last
    }

    /// What stands open, in the order of the addresses.
    pub(super) fn standing(&self) -> Vec<BlindRange> {
        self.held.values().map(|held| held.range).collect()
    }

    /// Nothing stands open any more.
    pub(super) fn clear(&mut self) {
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range() -> BlindRange {
        let [client, entry, server, source] =
            ["192.0.2.2", "203.0.113.7", "198.51.100.2", "198.51.100.1"]
                .map(|address| address.parse().unwrap());
        BlindRange { client, entry, server, source }
    }

    #[test]
    fn a_range_stands_until_its_last_session_lets_it_go() {
        let mut ranges = Ranges::default();
        ranges.hold(range()).unwrap();
        ranges.hold(range()).unwrap();
        assert!(!ranges.release(range()));
        assert_eq!(ranges.standing(), [range()]);
        assert!(ranges.release(range()));
        assert_eq!(ranges.standing(), []);
        assert!(!ranges.release(range()), "nobody holds it");
    }

    #[test]
    fn one_client_and_entry_lead_to_one_server_seeing_one_source() {
        let other = range().client;
        for differing in
            [BlindRange { server: other, ..range() }, BlindRange { source: other, ..range() }]
        {
            let mut ranges = Ranges::default();
            ranges.hold(range()).unwrap();
            let BlindRange { client, entry, .. } = range();
            let taken = FirewallError::RangeTaken { client, entry };
            assert_eq!(ranges.hold(differing), Err(taken));
            assert!(!ranges.release(differing), "it is not what stands");
            assert_eq!(ranges.standing(), [range()]);
            assert!(ranges.release(range()));
            ranges.hold(differing).unwrap();
            assert_eq!(ranges.standing(), [differing]);
        }
    }

    #[test]
    fn other_clients_and_entries_have_ranges_of_their_own() {
        let mut ranges = Ranges::default();
        let others = [
            BlindRange { client: range().source, ..range() },
            BlindRange { entry: range().server, ..range() },
        ];
        for range in others.into_iter().chain([range()]) {
            ranges.hold(range).unwrap();
        }
        assert_eq!(ranges.standing().len(), 3);
        assert!(ranges.release(others[0]));
        assert_eq!(ranges.standing(), [others[1], range()]);
    }

    #[test]
    fn a_range_is_of_one_family() {
        let mapped = BlindRange { client: "::ffff:192.0.2.2".parse().unwrap(), ..range() };
        assert_eq!(mapped.canonical(), Ok(range()));
        let six: IpAddr = "2001:db8::1".parse().unwrap();
        for mixed in [
            BlindRange { client: six, ..range() },
            BlindRange { entry: six, ..range() },
            BlindRange { server: six, ..range() },
            BlindRange { source: six, ..range() },
        ] {
            assert_eq!(mixed.canonical(), Err(FirewallError::MixedFamilies));
        }
    }
}
