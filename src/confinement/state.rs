//! What is in force in a process, as the kernel tells it under `/proc`.

use super::Right;
use rustix::thread::CapabilitySet;
use std::fmt;
use std::fs;

/// Most that is read of a `status`, which has some 1500 bytes.
const MOST: usize = 64 * 1024;

/// As many capabilities as every kernel has that has user namespaces (Linux 3.8): a process with these has
/// all that its kernel knows.
const ALL: u32 = 37;

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u64);

impl Capabilities {
    /// True if this one is among them.
    pub fn holds(self, right: Right) -> bool {
        Right::among(self.0).contains(&right)
    }

    /// True if there are others than these.
    pub fn exceeds(self, rights: &[Right]) -> bool {
        let known = Right::among(self.0);
        usize::try_from(self.0.count_ones()) != Ok(known.len())
            || known.iter().any(|right| !rights.contains(right))
    }
}

impl fmt::Display for Capabilities {
    /// Their names; `all`, `none`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.count_ones();
        if count == 0 {
            return f.write_str("none");
        }
        if count >= ALL && self.0.trailing_ones() == count {
            return f.write_str("all");
        }
        let set = CapabilitySet::from_bits_retain(self.0);
        let known = set.iter_names().map(|(name, _)| format!("CAP_{name}"));
        // Newer ones than are known here.
        let unknown = set.iter_names().fold(self.0, |rest, (_, flag)| rest & !flag.bits());
        let unknown =
            (0..u64::BITS).filter(|bit| unknown >> bit & 1 == 1).map(|bit| bit.to_string());
        f.write_str(&known.chain(unknown).collect::<Vec<_>>().join(" "))
    }
}

/// What `/proc/PID/status` says about rights.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The effective user.
    pub uid: u32,
    /// The capabilities in effect.
    pub effective: Capabilities,
    /// Those that are handed on to programs that are started.
    pub ambient: Capabilities,
    /// `no_new_privs` is set.
    pub no_new_privileges: bool,
    /// System calls are filtered.
    pub filtered: bool,
}

impl State {
    /// Of a process; `None` if there is none with that number, or no `/proc`.
    pub fn of(pid: u32) -> Option<Self> {
        Self::read(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
    }

    /// Of the text of a `status`.
    pub fn read(status: &str) -> Option<Self> {
        let status = status.get(..MOST.min(status.len()))?;
        let field = |name: &str| {
            let lines = status.lines();
            let mut found = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.next().map(str::trim)
        };
        let set = |name| u64::from_str_radix(field(name)?, 16).ok();
        Some(Self {
            uid: field("Uid")?.split_whitespace().nth(1)?.parse().ok()?,
            effective: Capabilities(set("CapEff")?),
            // A kernel without it hands nothing on.
            ambient: Capabilities(set("CapAmb").unwrap_or(0)),
            no_new_privileges: field("NoNewPrivs") == Some("1"),
            filtered: field("Seccomp") == Some("2"),
        })
    }
}

/// How many threads this process has; `None` without `/proc`.
pub(super) fn threads() -> Option<usize> {
    Some(fs::read_dir("/proc/self/task").ok()?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let status = "Name:\tftpgate\nUid:\t0\t65532\t65532\t65532\nCapEff:\t0000000000201400\n\
                      CapAmb:\t0000000000001000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        let state = State::read(status).unwrap();
        assert_eq!((state.uid, state.no_new_privileges, state.filtered), (65_532, true, true));
        assert_eq!(state.effective.to_string(), "CAP_NET_BIND_SERVICE CAP_NET_ADMIN CAP_SYS_ADMIN");
        assert!(state.effective.holds(Right::NetAdmin) && !state.effective.holds(Right::NetRaw));
        assert!(state.effective.exceeds(&[Right::NetAdmin, Right::NetBindService]));
        assert_eq!(state.ambient.to_string(), "CAP_NET_ADMIN");
        assert!(!state.ambient.exceeds(&[Right::NetAdmin, Right::NetRaw]));
        assert!(state.ambient.exceeds(&[Right::NetRaw]));
        assert_eq!(State::read("Uid:\t0\n"), None);
        assert!(State::of(std::process::id()).is_some());
    }

    #[test]
    fn many_capabilities_take_one_word() {
        assert_eq!(Capabilities(0).to_string(), "none");
        assert_eq!(Capabilities(0x1ff_ffff_ffff).to_string(), "all");
        assert_eq!(Capabilities(1 << 63 | 1).to_string(), "CAP_CHOWN 63");
    }
}
