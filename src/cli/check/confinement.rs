//! What the process keeps, and what it cannot reach as the user that it becomes.

use crate::app;
use crate::config::Config;
use crate::confinement::{self, UserError};
use std::path::Path;

/// Lines for this host.
///
/// # Errors
/// There is no such user here, so that `run` would not start.
pub(super) fn here(config: &Config, file: &Path) -> Result<Vec<(&'static str, String)>, UserError> {
    let needs = app::needs(config, Some(file));
    let rights: Vec<_> = needs.rights.iter().map(|right| right.name()).collect();
    let rights = if rights.is_empty() { "no capability".to_owned() } else { rights.join(" ") };
    let Some(user) = confinement::user(&config.confinement)? else {
        return Ok(vec![("needs", rights)]);
    };
    let mut lines = vec![("runs as", format!("user {user}, with {rights}"))];
    // Where root cannot become anybody, `run` says so.
    let denied = confinement::unreachable(Some(&user), &needs).unwrap_or_default();
    lines.extend(denied.into_iter().map(|told| ("note", told)));
    Ok(lines)
}
