//! The configuration: whatever is in the file, it is taken, or told what is wrong with it, with a place
//! in the file and in words that a terminal can take.

use ftpgate::config;

/// Far more than the longest message with everything in it that it may quote.
const MOST_WORDS: usize = 64 * 1024;

/// The input is the file.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // A carriage return alone ends a line of YAML as well.
    let lines = text.split(['\n', '\r']).count();
    match config::parse("check.yaml", text) {
        Ok(read) => {
            assert!(!read.listeners.is_empty());
            assert!(config::changes(&read, &read).is_empty());
            assert!(config::fixed_changes(&read, &read).is_empty());
            let longer = format!("{text}\nunheard_of: 1\n");
            assert!(config::parse("check.yaml", &longer).is_err(), "a key that is none is taken");
        }
        Err(problems) => {
            // Some messages show what to write, in lines of their own; tabs stay in the line shown.
            let control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
            assert!(problems.count() > 0);
            let mut last = (0, 0);
            for problem in problems.iter() {
                let at = (problem.line(), problem.column());
                assert!(at >= last && problem.line() <= lines + 1, "{at:?} behind {last:?}");
                last = at;
                let message = problem.message();
                assert!(message.len() < MOST_WORDS, "{} bytes", message.len());
                assert!(!message.chars().any(control), "{message:?}");
                assert!(!problem.key().chars().any(char::is_control), "{:?}", problem.key());
            }
            let printed = problems.to_string();
            assert!(!printed.chars().any(control), "{printed:?}");
        }
    }
}
