//! What is wrong with a file, where, and what to write instead.

use std::fmt;

/// A place in the file; line and column count from 1, a line of 0 means the file as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub(super) at: Place,
    pub(super) key: String,
    pub(super) message: String,
}

impl Problem {
    /// A problem of the file as a whole.
    pub(super) fn of_file(message: String) -> Self {
        Self { at: Place::default(), key: String::new(), message }
    }

    /// The line, from 1; 0 for a problem of the file as a whole.
    pub fn line(&self) -> usize {
        self.at.line
    }

    /// The column in characters, from 1; 0 for a problem of the file as a whole.
    pub fn column(&self) -> usize {
        self.at.column
    }

    /// The dotted key, as `listeners[0].capture`; empty where YAML itself is broken.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong and what to write instead.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// All problems of one file, in the order of the file; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    name: String,
    source: String,
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(name: &str, source: &str, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| problem.at);
        Self { name: name.to_owned(), source: source.to_owned(), list }
    }

    /// The problems, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }
}

/// Of a line of the file so many characters are shown: more is no line that somebody has written.
const WIDEST: usize = 200;
/// So many problems are told: the first are to be mended first.
const MOST_SHOWN: usize = 50;

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    /// Like a compiler: `file:line:column: key: message`, the line of the file beneath, and a mark
    /// under the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().take(MOST_SHOWN).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:", self.name)?;
            if problem.at.line > 0 {
                write!(f, "{}:{}:", problem.at.line, problem.at.column)?;
            }
            if !problem.key.is_empty() {
                write!(f, " {}:", problem.key)?;
            }
            write!(f, " {}", problem.message)?;
            let line = problem.at.line.checked_sub(1).and_then(|n| self.source.lines().nth(n));
            if let Some(line) = line {
                // Whoever has written the file, it is shown on somebody's terminal.
                let shown = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
                let mut line: String = line.chars().take(WIDEST + 1).map(shown).collect();
                if problem.at.column > WIDEST {
                    continue;
                }
                if let Some((end, _)) = line.char_indices().nth(WIDEST) {
                    line.replace_range(end.., "…");
                }
                let number = problem.at.line.to_string();
                let indent: String = line
                    .chars()
                    .take(problem.at.column.saturating_sub(1))
                    .map(|c| if c == '\t' { '\t' } else { ' ' })
                    .collect();
                write!(f, "\n  {number} | {line}\n  {:1$} | {indent}^", "", number.len())?;
            }
        }
        match self.list.len().saturating_sub(MOST_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n{}: {more} more problems", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_not_shown() {
        let at = Place { line: 1, column: 4 };
        let problem = Problem { at, key: String::new(), message: "no".to_owned() };
        let text = Problems::new("x.yaml", "a: \x1b[2J\u{9b}1\tb\r\n", vec![problem]).to_string();
        assert!(text.contains("a: \u{fffd}[2J\u{fffd}1\tb\n"), "{text:?}");
        assert!(!text.contains(['\x1b', '\u{9b}', '\r']), "{text:?}");
    }

    #[test]
    fn a_line_without_end_and_problems_without_number_do_not_fill_the_terminal() {
        let problem = |column| Problem {
            at: Place { line: 1, column },
            key: String::new(),
            message: "no".to_owned(),
        };
        let source = "é".repeat(100_000);
        let text = Problems::new("x.yaml", &source, vec![problem(3), problem(9000)]).to_string();
        assert!(text.contains("é…\n") && text.ends_with("x.yaml:1:9000: no"), "{text}");
        assert!(text.len() < 1000, "{}", text.len());
        let text = Problems::new("x.yaml", "a\n", vec![problem(1); 1000]).to_string();
        assert!(text.ends_with("x.yaml: 950 more problems") && text.len() < 10_000, "{text}");
    }
}
