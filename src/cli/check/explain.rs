//! `ftpgate check --explain`: what a policy says to one question, and why.

use crate::app;
use crate::config::Config;
use std::fmt::Write;

/// The question, each rule with what keeps it from deciding, and the decision.
///
/// # Errors
/// What is wrong with the words, a line for each.
pub(super) fn told(config: &Config, words: &[String]) -> Result<String, String> {
    let app::Explanation { question, steps, decision, reply } = app::explain(config, words)?;
    let mut text = String::new();
    // Writing to a String cannot fail.
    for (key, value) in question {
        let _ = writeln!(text, "  {key:<9} {value}");
    }
    let width = steps.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    text += "\n";
    for (name, why) in steps {
        let _ = match why {
            Some(why) => writeln!(text, "  no   {name:<width$}  {why}"),
            None => writeln!(text, "  yes  {name}"),
        };
    }
    let _ = writeln!(text, "\n{decision}");
    if let Some(reply) = reply {
        let _ = writeln!(text, "the client gets: {reply}");
    }
    Ok(text)
}
