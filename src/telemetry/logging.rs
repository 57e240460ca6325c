//! The log: structured lines on standard error, for people or as JSON.
//!
//! Log lines carry no text from a peer but subjects of certificates, made visible, and the subscriber
//! escapes control characters in values, so that no peer can write into a terminal or forge a line.

use std::io::IsTerminal;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The environment variable that overrides the level: `debug`, or per module
/// `warn,ftpgate::session=debug`.
pub const LOG_VARIABLE: &str = "FTPGATE_LOG";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The least important log line that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// What ends the program.
    Error,
    /// Refusals and broken protocol.
    Warn,
    /// Start and end of sessions and data connections.
    #[default]
    Info,
    /// Commands, pinholes and rewritten lines.
    Debug,
    /// What only helps to find a defect of ftpgate itself.
    Trace,
}

impl LogLevel {
    /// The word of the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Why the log could not be set up.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The override cannot be read.
    #[error(
        "{LOG_VARIABLE} is `{0}`: write a level such as debug, or module=level separated by commas"
    )]
    Filter(String),
    /// Something else in the process has set up a log already.
    #[error("the log is set up already: {0}")]
    AlreadySet(#[from] TryInitError),
    /// The log that was set up is no more.
    #[error("the level of the log cannot be changed: {0}")]
    Gone(#[from] reload::Error),
}

type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// Changes the log that [`init`] has set up.
pub struct LogHandle {
    set_filter: SetFilter,
}

impl LogHandle {
    /// Writes lines of this level and above from now on, unless [`LOG_VARIABLE`] says otherwise.
    ///
    /// # Errors
    /// As [`init`].
    pub fn set_level(&self, level: LogLevel) -> Result<(), LoggingError> {
        Ok((self.set_filter)(filter(level, std::env::var(LOG_VARIABLE).ok().as_deref())?)?)
    }
}

/// Sets up the log of the process. Call it once, ahead of everything that may log.
///
/// # Errors
/// A [`LOG_VARIABLE`] that cannot be read, or a log that is set up already.
pub fn init(format: LogFormat, level: LogLevel) -> Result<LogHandle, LoggingError> {
    let filter = filter(level, std::env::var(LOG_VARIABLE).ok().as_deref())?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let set_filter: SetFilter = match format {
        LogFormat::Text => {
            let builder =
                builder.with_ansi(std::io::stderr().is_terminal()).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.finish().try_init()?;
            Box::new(move |filter| handle.reload(filter))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_span_list(false);
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            builder.finish().try_init()?;
            Box::new(move |filter| handle.reload(filter))
        }
    };
    Ok(LogHandle { set_filter })
}

/// The override if there is one; else `level` for ftpgate and nothing chattier than warnings from
/// the libraries.
fn filter(level: LogLevel, variable: Option<&str>) -> Result<EnvFilter, LoggingError> {
    let libraries = match level {
        LogLevel::Error => LogLevel::Error,
        LogLevel::Warn | LogLevel::Info | LogLevel::Debug | LogLevel::Trace => LogLevel::Warn,
    };
    let usual = format!("{},ftpgate={}", libraries.label(), level.label());
    let directives = match variable {
        Some(text) if !text.trim().is_empty() => text,
        Some(_) | None => &usual,
    };
    EnvFilter::try_new(directives)
        .map_err(|_| LoggingError::Filter(directives.escape_debug().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_for_ftpgate_and_libraries_stay_quiet() {
        let text = filter(LogLevel::Debug, None).unwrap().to_string();
        assert!(text.contains("ftpgate=debug") && text.contains("warn"), "{text}");
        assert_eq!(filter(LogLevel::Debug, Some("trace")).unwrap().to_string(), "trace");
        let text = filter(LogLevel::Info, Some(" ")).unwrap().to_string();
        assert!(text.contains("ftpgate=info"), "{text}");
    }

    #[test]
    fn an_unreadable_override_is_told_with_its_name() {
        let error = filter(LogLevel::Info, Some("ftpgate=loud\n")).unwrap_err().to_string();
        assert!(error.contains("FTPGATE_LOG") && error.contains(r"loud\n"), "{error}");
    }
}
