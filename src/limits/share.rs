//! How much of the ports one client may take.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The part of the ports that nobody else holds that one client may hold, in percent. The one who
/// has the ports to himself gets no more than that of them all, the next no more than that of what is
/// left: a client that holds none finds a port as long as there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    percent: u8,
}

impl Share {
    /// So many percent, from 1 to 100.
    pub const fn percent(percent: u8) -> Option<Self> {
        if percent >= 1 && percent <= 100 { Some(Self { percent }) } else { None }
    }

    /// True if somebody who holds `own` may take one more of `free`.
    pub fn allows(self, own: usize, free: usize) -> bool {
        // A range has at most 65 535 ports: nothing overflows.
        free > 0 && own < ((own + free) * usize::from(self.percent)).div_ceil(100)
    }
}

/// Three quarters: with the usual thousand ports far beyond what `limits.sessions_per_client` lets one
/// client use, and of a handful still most.
impl Default for Share {
    fn default() -> Self {
        Self { percent: 75 }
    }
}

/// What is no share.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{}` is no share: write 1% to 100%", .0.escape_debug())]
pub struct ShareError(String);

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let wrong = || ShareError(text.to_owned());
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|_| digits);
        number.and_then(Self::percent).ok_or_else(wrong)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many one client gets of so many.
    fn taken(share: Share, free: usize) -> usize {
        (0..=free).find(|own| !share.allows(*own, free - own)).unwrap()
    }

    #[test]
    fn a_share_is_read_as_it_is_written() {
        for text in ["1%", "75%", "100%"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
        for text in ["", "%", "75", "0%", "101%", "+5%", "7 %", "300%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn case_43_one_client_leaves_ports_and_another_finds_one() {
        let share = Share::default();
        let expected = [(1, 1), (2, 2), (3, 3), (4, 3), (10, 8), (1000, 750)];
        for (ports, own) in expected {
            assert_eq!(taken(share, ports), own, "of {ports}");
        }
        assert_eq!(taken(Share::percent(100).unwrap(), 7), 7);
        assert_eq!(taken(Share::percent(1).unwrap(), 1000), 10);
    }

    proptest::proptest! {
        #[test]
        fn whoever_holds_none_gets_one_while_there_is_one(
            percent in 1_u8..=100,
            ports in 1_usize..2000,
            clients in 1_usize..5,
        ) {
            let share = Share::percent(percent).unwrap();
            let mut free = ports;
            for _ in 0..clients {
                let own = taken(share, free);
                proptest::prop_assert!(free == 0 || own >= 1);
                free -= own;
            }
        }
    }
}
