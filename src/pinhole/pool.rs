//! The gateway's own data ports: a range, handed out at random, each to one pinhole at a time.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// An inclusive range of ports, written `A-B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// Why a text is no port range.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PortRangeError {
    /// Not of the form `A-B` with two numbers from 1 to 65535.
    #[error(
        "`{0}` is not a port range: write two ports from 1 to 65535 as A-B, for example 50000-50999"
    )]
    Form(String),
    /// The first port is above the last one.
    #[error("the port range {first}-{last} is upside down: write {last}-{first}")]
    UpsideDown {
        /// As written.
        first: u16,
        /// As written.
        last: u16,
    },
}

impl PortRange {
    /// The range from `first` to `last`, both included.
    pub fn new(first: u16, last: u16) -> Result<Self, PortRangeError> {
        if first == 0 {
            return Err(PortRangeError::Form(format!("{first}-{last}")));
        }
        if first > last {
            return Err(PortRangeError::UpsideDown { first, last });
        }
        Ok(Self { first, last })
    }

    /// How many ports the range holds.
    pub fn len(self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    /// True if `port` is one of them.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Always false: a range holds at least one port.
    pub fn is_empty(self) -> bool {
        false
    }

    /// Part number `index` of `count` equal ones, counted from 0, for gateways that share the range. Up to
    /// `count - 1` ports at the end are in none. `None` if there is no such part, or it would be empty.
    pub fn slice(self, index: u16, count: u16) -> Option<Self> {
        let ports = u16::try_from(self.len() / usize::from(count).max(1)).ok()?;
        if index >= count || ports == 0 {
            return None;
        }
        let first = self.first.checked_add(index.checked_mul(ports)?)?;
        Some(Self { first, last: first.checked_add(ports - 1)? })
    }

    /// The first port.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The last port.
    pub fn last(self) -> u16 {
        self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for PortRange {
    type Err = PortRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || PortRangeError::Form(text.to_owned());
        let (first, last) = text.split_once('-').ok_or_else(form)?;
        let port = |part: &str| part.trim().parse::<u16>().map_err(|_| form());
        Self::new(port(first)?, port(last)?)
    }
}

/// The free ports of a [`PortRange`].
///
/// `take` and `give` are O(1). The caller supplies the randomness: a port that a stranger cannot
/// guess is one of the guards against the theft of a data connection (RFC 2577 §8). It picks among
/// the half that has been free for longer, so that a port rests before it serves again: what the
/// kernel keeps of its last use is then cleared away.
#[derive(Debug)]
pub struct PortPool {
    range: PortRange,
    /// Roughly in the order in which they were given back.
    free: VecDeque<u16>,
    /// Handed out; also from ranges that were in force before.
    taken: HashSet<u16>,
}

impl PortPool {
    /// A pool with every port of `range` free.
    pub fn new(range: PortRange) -> Self {
        Self { range, free: (range.first..=range.last).collect(), taken: HashSet::new() }
    }

    /// Takes the port that `random` picks among the free ones; `None` if the pool is exhausted.
    pub fn take(&mut self, random: u32) -> Option<u16> {
        let rested = self.free.len().div_ceil(2);
        if rested == 0 {
            return None;
        }
        let port = self.free.swap_remove_front(random as usize % rested)?;
        self.taken.insert(port);
        Some(port)
    }

    /// Gives back a port taken before; one that is outside the range by now serves no more.
    pub fn give(&mut self, port: u16) {
        let taken = self.taken.remove(&port);
        debug_assert!(taken, "port {port} given back twice");
        if taken && self.range.contains(port) {
            self.free.push_back(port);
        }
    }

    /// Hands out ports of another range from now on. What is taken stays so until it is given back.
    pub fn change_range(&mut self, range: PortRange) {
        if range == self.range {
            return;
        }
        self.range = range;
        self.free.retain(|port| range.contains(*port));
        let kept: HashSet<u16> = self.free.iter().copied().collect();
        let new = (range.first..=range.last)
            .filter(|port| !kept.contains(port) && !self.taken.contains(port));
        self.free.extend(new);
    }

    /// How many ports are free.
    pub fn free(&self) -> usize {
        self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn ranges_are_read_and_complaints_say_what_to_write() {
        assert_eq!("50000-50999".parse::<PortRange>().unwrap().len(), 1000);
        assert_eq!("7-7".parse::<PortRange>().unwrap().len(), 1);
        let upside_down = "600-500".parse::<PortRange>().unwrap_err();
        assert!(upside_down.to_string().contains("write 500-600"));
        for text in ["", "-", "1", "1-", "0-5", "1-65536", "a-b", "1-2-3"] {
            assert!(matches!(text.parse::<PortRange>(), Err(PortRangeError::Form(_))), "{text}");
        }
    }

    #[test]
    fn case_43_an_exhausted_pool_says_so_and_recovers() {
        let mut pool = PortPool::new(PortRange::new(5000, 5001).unwrap());
        let (a, b) = (pool.take(9).unwrap(), pool.take(9).unwrap());
        assert_ne!(a, b);
        assert_eq!(pool.take(9), None);
        pool.give(a);
        assert_eq!(pool.take(1), Some(a));
    }

    #[test]
    fn a_port_rests_before_it_serves_again() {
        let mut pool = PortPool::new(PortRange::new(5000, 5099).unwrap());
        for random in 0..1000 {
            let port = pool.take(random).unwrap();
            pool.give(port);
            let next: Vec<u16> = (0..40).map_while(|more| pool.take(more)).collect();
            assert!(!next.contains(&port), "{port} came again at once");
            next.into_iter().for_each(|port| pool.give(port));
        }
    }

    #[test]
    fn a_port_that_is_out_stays_out_while_the_range_changes() {
        let (old, new) = (PortRange::new(10, 12).unwrap(), PortRange::new(12, 14).unwrap());
        let mut pool = PortPool::new(old);
        let out: Vec<u16> = (0..3).filter_map(|_| pool.take(0)).collect();
        pool.give(11);
        pool.change_range(new);
        assert_eq!(pool.free(), 2, "13 and 14: 12 is out");
        pool.give(10);
        assert_eq!(pool.free(), 2, "10 serves no more");
        pool.change_range(old);
        assert_eq!((pool.free(), out.len()), (2, 3), "10 and 11");
        pool.give(12);
        assert_eq!(pool.free(), 3);
    }

    #[test]
    fn a_range_is_cut_into_equal_parts() {
        let range = PortRange::new(50_000, 50_999).unwrap();
        let slices: Vec<String> =
            (0..4).filter_map(|i| range.slice(i, 3)).map(|slice| slice.to_string()).collect();
        assert_eq!(slices, ["50000-50332", "50333-50665", "50666-50998"], "50999 is in none");
        assert_eq!(range.slice(0, 1), Some(range));
        assert_eq!(range.slice(1, 1), None);
        assert_eq!(range.slice(0, 0), None);
        let all = PortRange::new(1, u16::MAX).unwrap();
        assert_eq!(all.slice(0, 1), Some(all));
    }

    proptest! {
        #[test]
        fn slices_are_disjoint_of_one_size_and_inside(
            first in 1..=u16::MAX, more in 0..=u16::MAX, count in any::<u16>()
        ) {
            let range = PortRange::new(first, first.saturating_add(more)).unwrap();
            let slices: Vec<PortRange> = (0..count).map_while(|i| range.slice(i, count)).collect();
            let expected = if usize::from(count) > range.len() { 0 } else { usize::from(count) };
            prop_assert_eq!(slices.len(), expected, "all or none");
            prop_assert!(range.slice(count, count).is_none());
            let mut next = range.first();
            for slice in &slices {
                prop_assert_eq!((slice.first(), slice.len()), (next, slices[0].len()));
                prop_assert!(slice.last() <= range.last());
                next = slice.last().saturating_add(1);
            }
            if let Some(last) = slices.last() {
                prop_assert!(usize::from(range.last() - last.last()) < usize::from(count));
            }
        }

        #[test]
        fn no_port_is_out_twice(steps in prop::collection::vec((any::<bool>(), any::<u32>()), 0..200)) {
            let range = PortRange::new(40000, 40015).unwrap();
            let mut pool = PortPool::new(range);
            let mut out = Vec::new();
            for (take, random) in steps {
                if take {
                    out.extend(pool.take(random));
                } else if !out.is_empty() {
                    pool.give(out.swap_remove(random as usize % out.len()));
                }
                prop_assert_eq!(out.iter().collect::<HashSet<_>>().len(), out.len());
                prop_assert_eq!(pool.free() + out.len(), range.len());
            }
        }
    }
}
