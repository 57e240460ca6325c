//! Why a rule does not apply, in words: the condition, what is known, and what was wanted.

use super::asked::Asked;
use crate::policy::{Among, Obstacle, When};
use std::fmt::Display;

/// The most entries of a condition that are told.
const MOST_SHOWN: usize = 8;

/// Why the rule with this `when` does not apply.
pub(super) fn why(obstacle: Obstacle, when: &When, asked: &Asked<'_>) -> String {
    let unknown = |key: &str| format!("{key} is not known");
    let known = asked.facts();
    let fact = |key: &str| {
        let found = known.iter().find(|(name, _)| *name == key);
        found.map_or_else(String::new, |(_, value)| value.clone())
    };
    match obstacle {
        Obstacle::Client => among("client", &fact("client"), &when.clients),
        Obstacle::Server => among("server", &fact("server"), &when.servers),
        Obstacle::ServerUnknown => unknown("server"),
        Obstacle::Later => "it asks for what shows only after the connection".to_owned(),
        Obstacle::Command => command(when, asked),
        Obstacle::NoPath => "command has no path that rules look at".to_owned(),
        Obstacle::User => among("user", &fact("user"), &when.users),
        Obstacle::UserUnknown => unknown("user"),
        Obstacle::Tls => {
            let wanted: Vec<String> = when
                .tls
                .iter()
                .flatten()
                .map(|state| format!("{state:?}").to_lowercase())
                .collect();
            format!("tls is {}, not {}", fact("tls"), wanted.join(" or "))
        }
        Obstacle::TlsUnknown => unknown("tls"),
        Obstacle::Login => {
            let wanted = if when.logged_in == Some(true) { "after" } else { "before" };
            format!("login is {}, not {wanted}", fact("login"))
        }
        Obstacle::Data => {
            let wanted = if when.data_private == Some(true) { "private" } else { "clear" };
            format!("data is {}, not {wanted}", fact("data"))
        }
        Obstacle::DataUnknown => unknown("data"),
        Obstacle::Path => among("path", "in the command", &when.paths),
    }
}

fn command(when: &When, asked: &Asked<'_>) -> String {
    let verb = asked.command().map(|(verb, _)| String::from_utf8_lossy(verb).to_uppercase());
    let verb = verb.unwrap_or_default();
    match &when.commands {
        Among::Of(_) => among("command", &verb, &when.commands),
        Among::Any if when.paths.is_given() => format!("command {verb} names no file"),
        // Allowed by the list, or of those that every session needs.
        Among::Any | Among::Except(_) => {
            format!("command {verb} is one that it leaves alone")
        }
    }
}

/// `client 192.0.2.7 is none of 10.0.0.0/8`.
pub(super) fn among<T: Display>(key: &str, value: &str, condition: &Among<T>) -> String {
    let (verb, entries) = match condition {
        Among::Any => return format!("{key} {value}"),
        Among::Of(entries) => ("is none of", entries),
        Among::Except(entries) => ("is one of", entries),
    };
    let mut shown: Vec<String> = entries
        .iter()
        .take(MOST_SHOWN)
        .map(|entry| entry.to_string().escape_debug().to_string())
        .collect();
    if let Some(more) = entries.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
        shown.push(format!("{more} more"));
    }
    format!("{key} {value} {verb} {}", shown.join(", "))
}
