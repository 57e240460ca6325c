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
    let user = confinement::user(&config.confinement)?;
    let missing = app::missing_folders(config, user.as_ref());
    let missing = missing.into_iter().map(|told| ("missing", told));
    let Some(user) = user else {
        let needed = ("needs", confinement::names(&needs.rights));
        return Ok([needed].into_iter().chain(missing).collect());
    };
    // Where root cannot become anybody, `run` says so.
    let denied = confinement::unreachable(Some(&user), &needs).unwrap_or_default();
    let kept = match config.confinement.drop_capabilities {
        true => confinement::names(&[needs.rights, denied.kept].concat()),
        false => "every capability of the start (capabilities: keep)".to_owned(),
    };
    let lines = vec![("runs as", format!("user {user}, with {kept}"))];
    let notes = denied.told.into_iter().map(|told| ("note", told));
    Ok(lines.into_iter().chain(notes).chain(missing).collect())
}
