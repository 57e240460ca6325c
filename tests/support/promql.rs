//! As much of PromQL as tells which series and labels a query names.

/// One query.
pub struct Query {
    /// The series that it asks for.
    pub selectors: Vec<Selector>,
    /// The labels that it groups or joins by.
    pub grouping: Vec<String>,
}

/// A name, and what its labels are compared with.
pub struct Selector {
    pub series: String,
    /// Label and value, whatever the comparison.
    pub matchers: Vec<(String, String)>,
}

/// Series of this project begin with one of these, or are one of the others.
const OURS: [&str; 2] = ["ftpgate_", "process_"];
const OTHERS: [&str; 2] = ["up", "ALERTS"];

/// What stands ahead of a list of labels.
const LISTS: [&str; 5] = ["by", "without", "on", "ignoring", "group_left"];

impl Query {
    pub fn parse(text: &str) -> Self {
        let (mut selectors, mut grouping) = (Vec::new(), Vec::new());
        let mut rest = text;
        while let Some(start) = rest.find(is_word) {
            // The text of a matcher is taken with its selector, so that no word of it is seen here.
            let word_end =
                rest[start..].find(|c| !is_word(c)).map_or(rest.len(), |len| start + len);
            let word = &rest[start..word_end];
            rest = rest[word_end..].trim_start();
            if OURS.iter().any(|prefix| word.starts_with(prefix)) || OTHERS.contains(&word) {
                let mut matchers = Vec::new();
                if let Some(inside) = rest.strip_prefix('{') {
                    let end = inside.find('}').expect("a selector ends");
                    matchers = inside[..end].split(',').map(matcher).collect();
                    rest = &inside[end + 1..];
                }
                selectors.push(Selector { series: word.to_owned(), matchers });
            } else if LISTS.contains(&word)
                && let Some(inside) = rest.strip_prefix('(')
            {
                let end = inside.find(')').expect("a list ends");
                grouping.extend(inside[..end].split(',').map(|label| label.trim().to_owned()));
                rest = &inside[end + 1..];
            }
        }
        Self { selectors, grouping }
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$'
}

fn matcher(text: &str) -> (String, String) {
    let operator = |c: char| "=!~".contains(c);
    let (label, value) = text.split_once(operator).expect("a comparison");
    (
        label.trim().to_owned(),
        value.trim_start_matches(operator).trim().trim_matches('"').to_owned(),
    )
}
