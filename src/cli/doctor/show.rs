//! How findings are shown, and what they come to.

use super::{Finding, State};
use std::fmt;
use std::fmt::Write as _;

/// Columns up to the purpose: a state, and most of what is found.
const PURPOSE_COLUMN: usize = 48;

pub(super) fn table(findings: &[Finding]) -> String {
    let mut text = String::from("What this host has for an FTP NAT gateway, and what it lacks\n\n");
    for finding in findings {
        let left = format!("  {:<8} {}", finding.state.label(), finding.what);
        // Writing to a String cannot fail.
        let _ = if left.len() < PURPOSE_COLUMN {
            writeln!(text, "{left:<PURPOSE_COLUMN$}{}", finding.purpose)
        } else {
            writeln!(text, "{left}\n{:PURPOSE_COLUMN$}{}", "", finding.purpose)
        };
        if !finding.remedy.is_empty() {
            let _ = writeln!(text, "{:11}-> {}", "", finding.remedy);
        }
    }
    text
}

/// What the findings come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What is missing for a NAT gateway.
    host: usize,
    /// What is missing for the configuration that was named.
    own: usize,
    /// What is worth a look.
    notes: usize,
    /// It is a NAT gateway that is wanted.
    takes_nat: bool,
}

impl Verdict {
    /// Of what was found on the host, and for a configuration.
    pub(super) fn of(host: &[Finding], own: &[Finding], takes_nat: bool) -> Self {
        let count =
            |state: State, of: &[Finding]| of.iter().filter(|one| one.state == state).count();
        Self {
            host: count(State::Missing, host),
            own: count(State::Missing, own),
            notes: count(State::Note, host) + count(State::Note, own),
            takes_nat,
        }
    }

    /// True if nothing is missing that is wanted.
    pub(super) fn is_well(&self) -> bool {
        self.own == 0 && (self.host == 0 || !self.takes_nat)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, own, notes, takes_nat } = self;
        match (host, takes_nat) {
            (0, _) if *own == 0 => writeln!(f, "Everything that a NAT gateway needs is here.")?,
            (0, _) => {}
            (_, true) => writeln!(
                f,
                "Missing for a NAT gateway: {host}. In front of a server none of it is needed:\n  \
                 ftpgate run --listen 0.0.0.0:2121 --server HOST:PORT"
            )?,
            (_, false) => writeln!(
                f,
                "Missing for a NAT gateway: {host}, and this configuration is none: every data connection \
                 takes the relay path."
            )?,
        }
        match own {
            0 => {}
            own => writeln!(f, "Missing for this configuration: {own}.")?,
        }
        match notes {
            0 => Ok(()),
            1 => writeln!(f, "1 note above: it works without."),
            notes => writeln!(f, "{notes} notes above: it works without."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_stands_under_what_it_is_for() {
        let findings =
            [Finding::ok("this", "good"), Finding::missing("that", "better", "do something")];
        let text = table(&findings);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "  ok       this                                 good",
                "  MISSING  that                                 better",
                "           -> do something",
            ]
        );
    }

    #[test]
    fn what_is_missing_is_counted_for_what_it_is_missing() {
        let missing = || Finding::missing("a", "b", "c");
        let note = || Finding::note("a", "b", "c");
        let none = || Verdict::of(&[], &[], true);
        assert_eq!(none().to_string(), "Everything that a NAT gateway needs is here.\n");
        assert!(none().is_well());
        let host = Verdict::of(&[missing(), missing(), note()], &[], true);
        assert!(host.to_string().starts_with("Missing for a NAT gateway: 2."), "{host}");
        assert!(host.to_string().ends_with("\n1 note above: it works without.\n"), "{host}");
        assert!(!host.is_well());
        let own = Verdict::of(&[], &[missing(), note(), note()], true);
        let expected = "Missing for this configuration: 1.\n2 notes above: it works without.\n";
        assert_eq!(own.to_string(), expected);
        assert!(!own.is_well());
        let relay = Verdict::of(&[missing()], &[], false);
        assert!(relay.to_string().contains("1, and this configuration is none"), "{relay}");
        assert!(relay.is_well());
    }
}
