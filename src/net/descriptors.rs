//! The descriptors that the process may have (RLIMIT_NOFILE).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::{AsFd, AsRawFd};

/// What is kept from new sessions for the data connections of those that run: a part of the limit,
/// up to as many.
const RESERVE_PART: u64 = 8;
const MOST_RESERVED: u64 = 256;

/// What a session has open while it moves nothing: a control connection on either side.
const PER_SESSION: u64 = 2;

/// Raises the limit in force to the highest that this process may have. The low one that processes
/// start with is for programs that use select(2).
pub fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // As it was, if the kernel does not let it be: a start tells what does not fit.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// True if the process has so many descriptors that one for a new session would be taken from the
/// data connections of others: the kernel gives the lowest number that is free.
pub fn are_descriptors_scarce(newest: &impl AsFd) -> bool {
    let number = u64::try_from(newest.as_fd().as_raw_fd()).unwrap_or(0);
    getrlimit(Resource::Nofile).current.is_some_and(|limit| number >= limit - reserve(limit))
}

/// How many sessions the descriptors of this process are enough for; `None`: any number.
pub fn sessions_that_fit() -> Option<u64> {
    getrlimit(Resource::Nofile).current.map(|limit| (limit - reserve(limit)) / PER_SESSION)
}

fn reserve(limit: u64) -> u64 {
    (limit / RESERVE_PART).min(MOST_RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_what_fits_is_known() {
        raise_descriptor_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        let fits = sessions_that_fit().unwrap_or(u64::MAX);
        assert!(limit.current.is_none_or(|most| fits <= most / 2));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!are_descriptors_scarce(&file));
    }

    #[test]
    fn a_part_is_kept_for_those_that_run() {
        assert_eq!([0, 64, 1024, 65_536].map(reserve), [0, 8, 128, 256]);
    }
}
