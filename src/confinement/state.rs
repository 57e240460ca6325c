//! What is in force in a process, as the kernel tells it under `/proc`.

use super::Right;
use std::fs;

/// Most that is read of a `status`, which has some 1500 bytes.
const MOST: usize = 64 * 1024;

/// What `/proc/PID/status` says about rights.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The effective user.
    pub uid: u32,
    /// The rights in effect that ftpgate knows a use for.
    pub effective: Vec<Right>,
    /// How many other capabilities are in effect.
    pub more: u32,
    /// How many capabilities are ambient: handed on to programs that are started.
    pub ambient: u32,
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

    fn read(status: &str) -> Option<Self> {
        let status = status.get(..MOST.min(status.len()))?;
        let field = |name: &str| {
            let lines = status.lines();
            let mut found = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.next().map(str::trim)
        };
        let set = |name| u64::from_str_radix(field(name)?, 16).ok();
        let effective = set("CapEff")?;
        let known = Right::among(effective);
        Some(Self {
            uid: field("Uid")?.split_whitespace().nth(1)?.parse().ok()?,
            more: effective.count_ones().saturating_sub(u32::try_from(known.len()).ok()?),
            effective: known,
            // A kernel without it hands nothing on.
            ambient: set("CapAmb").unwrap_or(0).count_ones(),
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
        let expected = State {
            uid: 65_532,
            effective: vec![Right::NetAdmin, Right::NetBindService],
            more: 1,
            ambient: 1,
            no_new_privileges: true,
            filtered: true,
        };
        assert_eq!(state, expected);
        assert_eq!(State::read("Uid:\t0\n"), None);
        assert!(State::of(std::process::id()).is_some());
    }
}
