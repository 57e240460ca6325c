//! Commands: nothing is lost in taking a line apart, and only the argument changes in a rewrite.

use super::lines;
use ftpgate::ftp::{Command, Verb, looks_like_command};

/// The input is a stream of lines.
pub fn command(input: &[u8]) {
    for line in lines(input) {
        let text = line.text().to_vec();
        let raw = line.raw().clone();
        let command = Command::parse(line);
        let (verb, argument) = (command.verb(), command.argument().to_vec());

        // Whatever is not visible ends a verb, may stand ahead of it, and one such byte parts it from
        // the argument, with blanks besides.
        let mut words = text.split(|b| !b.is_ascii_graphic());
        let word = words.find(|word| !word.is_empty()).unwrap_or_default();
        assert_eq!(verb, Verb::parse(word));
        let start = text.iter().position(u8::is_ascii_graphic).unwrap_or(text.len());
        let behind = text[start + word.len()..].get(1..).unwrap_or_default();
        let from = behind.iter().position(|b| !b" \t".contains(b)).unwrap_or(behind.len());
        let to = behind.iter().rposition(|b| !b" \t".contains(b)).map_or(from, |last| last + 1);
        assert_eq!(argument, behind[from..to]);
        let is_blank = |b: Option<&u8>| b.is_some_and(|b| b" \t".contains(b));
        assert!(!is_blank(argument.first()) && !is_blank(argument.last()));

        assert_eq!(command.with_argument(&argument), raw, "the same argument, the same line");
        if !word.is_empty() {
            rewritten(&command, b"1,2,3,4,5,6");
            rewritten(&command, b"|2|::1|5|");
        }
        assert!(!command.is_http() || verb == Verb::Other);
        assert!(!looks_like_command(&text) || verb.negotiates_data());
        assert!(!command.looks_like_reply() || !looks_like_command(&text));
    }
}

fn rewritten(command: &Command, argument: &[u8]) {
    let before = command.line().raw();
    let after = command.with_argument(argument);
    let old = command.argument();
    let gap = usize::from(after.len() != before.len() - old.len() + argument.len());
    assert_eq!(after.len(), before.len() - old.len() + gap + argument.len());
    let head = after.windows(argument.len()).rposition(|w| w == argument).unwrap();
    assert_eq!(after[..head - gap], before[..head - gap]);
    assert_eq!(after[head + argument.len()..], before[head - gap + old.len()..]);
    assert!(gap == 0 || (old.is_empty() && after[head - 1] == b' '));

    let line = lines(&after).pop().expect("still one line");
    let again = Command::parse(line);
    assert_eq!((again.verb(), again.argument()), (command.verb(), argument));
}
