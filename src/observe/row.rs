//! One line of the live table, and the same for a connection that is over.

use super::record::Control;
use std::fmt;

/// A control connection at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    client: String,
    server: String,
    user: String,
    modes: String,
    protection: String,
    transfers: String,
    findings: String,
}

impl Row {
    /// The names of the columns.
    pub fn head() -> Self {
        let word = str::to_owned;
        Self {
            client: word("CLIENT"),
            server: word("SERVER"),
            user: word("USER"),
            modes: word("MODE"),
            protection: word("CONTROL"),
            transfers: word("DATA"),
            findings: word("FINDINGS"),
        }
    }

    /// A control connection as far as it is known.
    pub fn of(control: &Control) -> Self {
        let modes: Vec<&str> = control.negotiations.keys().copied().collect();
        let findings: Vec<&str> = control.findings.iter().map(|found| found.finding).collect();
        let protection = match control.ccc {
            Some(ccc) => format!("{} ccc={ccc}", control.protection),
            None => control.protection.to_owned(),
        };
        Self {
            client: control.client.clone(),
            server: control.server.clone(),
            user: control.user.clone().unwrap_or_else(|| "-".to_owned()),
            modes: if modes.is_empty() { "-".to_owned() } else { modes.join("+") },
            protection,
            transfers: control.transfers_total.to_string(),
            findings: if findings.is_empty() { "-".to_owned() } else { findings.join(" ") },
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, server, user, modes, protection, transfers, findings } = self;
        // A name of four thousand bytes is cut for the eye; `--json` has it whole.
        let user: String = user.chars().take(16).collect();
        write!(
            f,
            "{client:<21} {server:<21} {user:<12} {modes:<10} {protection:<14} {transfers:>4} {findings}"
        )
    }
}
