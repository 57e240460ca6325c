//! Which commands a rule is about, by their words.

use std::fmt;

/// A command, or a command with the words that follow it: `DELE`, `SITE EXEC`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandPattern {
    /// In capitals; never empty.
    words: Vec<String>,
}

/// The older names of commands (RFC 775), which servers take for the newer ones.
const OLD_NAMES: [(&str, &str); 5] =
    [("XCUP", "CDUP"), ("XCWD", "CWD"), ("XMKD", "MKD"), ("XPWD", "PWD"), ("XRMD", "RMD")];

/// What logs in, secures and ends a session, or agrees on data connections. A rule is about these only
/// if it names them: a client that may list but one directory has to get there.
const BASICS: [&str; 34] = [
    "ABOR", "ADAT", "ALLO", "AUTH", "CCC", "CLNT", "CONF", "CPSV", "CSID", "ENC", "EPRT", "EPSV",
    "FEAT", "HELP", "HOST", "LANG", "LPRT", "LPSV", "MIC", "MODE", "NOOP", "OPTS", "PASV", "PBSZ",
    "PORT", "PROT", "PWD", "QUIT", "REIN", "REST", "SSCN", "STRU", "SYST", "TYPE",
];

/// The commands whose argument names one file or directory, for rules about paths.
const NAMING: [&str; 26] = [
    "APPE", "DELE", "HASH", "MD5", "MDTM", "MFCT", "MFF", "MFMT", "MKD", "MLST", "RETR", "RMD",
    "RNFR", "RNTO", "SIZE", "STOR", "STOU", "XCRC", "XMD5", "XSHA", "XSHA1", "XSHA256", "XSHA512",
    "AVBL", "DSIZ", "MMD5",
];

/// Those of them that tell a sum of the file's content.
const SUMS: [&str; 9] =
    ["HASH", "MD5", "MMD5", "XCRC", "XMD5", "XSHA", "XSHA1", "XSHA256", "XSHA512"];

/// What a file that the server names is called here.
const SERVERS_CHOICE: &[u8] = b"STOU";

/// Those whose argument names a directory to look at or to go to: only rules that name them as well
/// ask for their path.
const LOOKING: [&str; 6] = ["CWD", "LIST", "MLSD", "NLST", "SMNT", "STAT"];

/// The words of a command in its usual spelling; MDTM that sets a time is MFMT.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    verb: &'a [u8],
    argument: &'a [u8],
}

impl CommandPattern {
    /// The command of these words; `None` if there are none, or others than letters, digits and what
    /// SITE commands have between them.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<String> =
            text.split_ascii_whitespace().map(str::to_ascii_uppercase).collect();
        let word = |word: &String| word.bytes().all(|byte| byte.is_ascii_graphic());
        let verb = words.first()?;
        let known = verb.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let mut words = (known && words.iter().all(word)).then_some(words)?;
        if let Some((_, name)) = OLD_NAMES.iter().find(|(old, _)| words[0] == *old) {
            (*name).clone_into(&mut words[0]);
        }
        Some(Self { words })
    }

    /// True if a rule about this command and about paths can ever apply.
    pub fn has_path(&self) -> bool {
        self.verb().has_path()
    }

    /// True if it is of those that a rule is only about if it names them.
    pub fn is_basic(&self) -> bool {
        self.verb().is_basic()
    }

    /// True for USER, PASS and ACCT.
    pub fn logs_in(&self) -> bool {
        self.verb().logs_in()
    }

    /// Its words, the verb first, in capitals.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    fn verb(&self) -> Asked<'_> {
        Asked::new(self.words.first().map(String::as_bytes).unwrap_or_default(), &[])
    }

    /// True if it is about this command with some words behind it.
    pub(super) fn may_match(&self, asked: Asked<'_>) -> bool {
        self.words.first().is_some_and(|verb| asked.is(verb))
    }

    pub(super) fn matches(&self, asked: Asked<'_>) -> bool {
        let mut words = self.words.iter();
        let verb = words.next().is_some_and(|verb| asked.is(verb));
        let mut said = asked.argument.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty());
        verb && words.all(|word| said.next().is_some_and(|said| is_word(said, word)))
    }
}

/// What separates words for any server: ProFTPD goes by `isspace`.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c)
}

/// True if `said` is `word` to any server: ProFTPD takes the quotes and their escapes off.
fn is_word(said: &[u8], word: &str) -> bool {
    let bare = said.iter().filter(|byte| !matches!(byte, b'"' | b'\\'));
    bare.map(u8::to_ascii_uppercase).eq(word.bytes())
}

impl<'a> Asked<'a> {
    pub(super) fn new(verb: &'a [u8], argument: &'a [u8]) -> Self {
        if verb.eq_ignore_ascii_case(b"MDTM") && begins_with_time(argument) {
            return Self { verb: b"MFMT", argument };
        }
        let old = OLD_NAMES.iter().find(|(old, _)| verb.eq_ignore_ascii_case(old.as_bytes()));
        Self { verb: old.map_or(verb, |(_, name)| name.as_bytes()), argument }
    }

    fn is(self, verb: &str) -> bool {
        self.verb.eq_ignore_ascii_case(verb.as_bytes())
    }

    fn is_one_of(self, verbs: &[&str]) -> bool {
        verbs.iter().any(|verb| self.is(verb))
    }

    /// True if only rules that name it are about it.
    pub(super) fn is_basic(self) -> bool {
        self.is_one_of(&BASICS)
    }

    /// True for USER, PASS and ACCT.
    pub(super) fn logs_in(self) -> bool {
        self.is_one_of(&["ACCT", "PASS", "USER"])
    }

    /// True if a rule about paths that names no commands is about it.
    pub(super) fn names_a_file(self) -> bool {
        self.is_one_of(&NAMING)
    }

    /// True if there is a path in it at all.
    pub(super) fn has_path(self) -> bool {
        self.names_a_file() || self.is_one_of(&LOOKING)
    }

    /// True if it names a file from the root, wherever the client is.
    pub(super) fn names_from_root(self) -> bool {
        !self.is("STOU") && self.names().iter().all(|name| name.starts_with(b"/"))
    }

    /// True if the file, or folder, is about to get another name.
    pub(super) fn renames(self) -> bool {
        self.is("RNFR")
    }

    /// True if nobody but the server knows what is named: a name in some user's home (`~`, `~bob/x`), a
    /// pattern of its own (`LIST /s*`), or what stands right behind an option (`LIST -a/x`). ProFTPD takes
    /// them all.
    pub(super) fn may_name_anything(self) -> bool {
        let glued = self
            .options_end()
            .is_some_and(|end| self.argument.get(end).is_some_and(|byte| !is_space(*byte)));
        let patterned = |name: &[u8]| name.iter().any(|byte| b"*?[{".contains(byte));
        let looking = self.is_one_of(&LOOKING);
        self.names()
            .into_iter()
            .any(|name| name.starts_with(b"~") || glued || looking && patterned(name))
    }

    /// Where the options of `ls` end, which most servers take, if there are any.
    fn options_end(self) -> Option<usize> {
        if !self.is_one_of(&["LIST", "NLST", "STAT"]) || !self.argument.starts_with(b"-") {
            return None;
        }
        let mut end = 0;
        while self.argument.get(end) == Some(&b'-') {
            let rest = self.argument.get(end + 1..).unwrap_or_default();
            let letters =
                rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-');
            end += 1 + letters.count();
            let rest = self.argument.get(end..).unwrap_or_default();
            let blanks = rest.iter().take_while(|byte| is_space(**byte)).count();
            if rest.get(blanks) != Some(&b'-') {
                break;
            }
            end += blanks;
        }
        Some(end)
    }

    /// The names in it, at least one: what it is to most servers, and what else it may be.
    pub(super) fn names(self) -> Vec<&'a [u8]> {
        let name = self.name();
        let mut names = vec![name];
        if self.is("STOU") {
            // The server chooses (RFC 959 §4.1.3), or appends to what is given (vsftpd, pyftpdlib).
            names.push(SERVERS_CHOICE);
            names.retain(|name| !name.is_empty());
        } else if self.is_one_of(&["LIST", "NLST", "STAT"]) {
            // Servers that come from BSD hand it to `ls`, which takes several.
            names.extend(name.split(|byte| is_space(*byte)).filter(|word| *word != name));
            names.retain(|word| !word.is_empty() || name.is_empty());
        } else if self.is_one_of(&SUMS) {
            names.extend(name.split(|byte| *byte == b',').map(summed).filter(|sum| *sum != name));
        }
        names
    }

    /// The name in it, which is empty where none is given.
    fn name(self) -> &'a [u8] {
        let mut name = self.argument;
        if let Some(end) = self.options_end() {
            let rest = name.get(end..).unwrap_or_default();
            let blanks = rest.iter().take_while(|byte| is_space(**byte)).count();
            name = rest.get(blanks..).unwrap_or_default();
        }
        if self.is_one_of(&["MFCT", "MFF", "MFMT"]) {
            // Behind a time or facts: `MFMT 20020717210715 name` (draft-somers-ftp-mfxx).
            let end = name.iter().position(|&byte| byte == b' ').unwrap_or(0);
            name = name.get(end..).unwrap_or_default().trim_ascii_start();
        }
        name
    }
}

/// The file in the argument of a sum: in quotation marks for some servers, with a range behind it for
/// others (`XCRC "name" 0 100`).
fn summed(argument: &[u8]) -> &[u8] {
    let mut name = argument.trim_ascii();
    if let Some(rest) = name.strip_prefix(b"\"") {
        let end = rest.iter().rposition(|byte| *byte == b'"').unwrap_or(rest.len());
        return rest.get(..end).unwrap_or_default();
    }
    while let Some(at) = name.iter().rposition(|byte| *byte == b' ') {
        let (rest, number) = name.split_at(at);
        if !number.trim_ascii().iter().all(u8::is_ascii_digit) {
            break;
        }
        name = rest.trim_ascii_end();
    }
    name
}

/// What separates words to servers that go by `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// True if MDTM with this argument sets the time of a file instead of asking for it: servers that
/// have no MFMT, or are older, take a time ahead of the name (vsftpd: a word of 8 bytes or more that
/// begins with a digit).
fn begins_with_time(argument: &[u8]) -> bool {
    let end = argument.iter().position(|&byte| byte == b' ');
    end.is_some_and(|end| end >= 8) && argument.first().is_some_and(u8::is_ascii_digit)
}

impl fmt::Display for CommandPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.words.join(" ").fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, verb: &str, argument: &str) -> bool {
        let pattern = CommandPattern::parse(pattern).unwrap();
        pattern.matches(Asked::new(verb.as_bytes(), argument.as_bytes()))
    }

    #[test]
    fn a_command_is_known_by_its_words_in_any_case() {
        assert!(matches("dele", "DELE", "x") && matches("SITE EXEC", "Site", "exec /bin/sh"));
        assert!(matches("SITE EXEC", "SITE", " \t EXEC"));
        assert!(matches("SITE", "SITE", "CHMOD 777 x"));
        assert!(
            matches("SITE EXEC", "SITE", "EXEC\x0b/bin/sh")
                && matches("SITE EXEC", "SITE", "\"EXEC\" x")
        );
        assert!(matches("SITE EXEC", "SITE", "\"EX\\EC /bin/sh\""));
        assert!(!matches("SITE EXEC", "SITE", "EXECUTE") && !matches("SITE EXEC", "SITE", ""));
        assert!(!matches("RETR", "RET", "") && !matches("RETR", "RETRX", ""));
    }

    #[test]
    fn old_names_are_the_new_ones_on_both_sides() {
        assert!(matches("MKD", "XMKD", "x") && matches("xmkd", "MKD", "x"));
    }

    #[test]
    fn mdtm_with_a_time_sets_it() {
        for sets in ["20020717210715 a b", "20020717 /x", "20020717210715.12 x", "1bcdefgh x"] {
            assert!(matches("MFMT", "MDTM", sets) && !matches("MDTM", "mdtm", sets), "{sets}");
        }
        for asks in ["20020717210715", "2002 a", "a 20020717210715", "a2002071 x"] {
            assert!(matches("MDTM", "MDTM", asks) && !matches("MFMT", "MDTM", asks), "{asks}");
        }
    }

    #[test]
    fn what_is_no_command_is_none() {
        for text in ["", " ", "SITE\u{e4}", "R\u{1}", "A-B"] {
            assert_eq!(CommandPattern::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn names_are_found_behind_options_and_times() {
        for (verb, argument, name) in [
            ("RETR", "-la x", "-la x"),
            ("LIST", "-la -R dir", "dir"),
            ("LIST", "-la", ""),
            ("MFMT", "20020717210715 a b", "a b"),
            ("MDTM", "20020717210715 a b", "a b"),
            ("MDTM", "a b", "a b"),
        ] {
            let asked = Asked::new(verb.as_bytes(), argument.as_bytes());
            assert_eq!(asked.names(), [name.as_bytes()], "{verb} {argument}");
        }
    }

    #[test]
    fn what_may_be_several_names_is_each_of_them() {
        for (verb, argument, names) in [
            ("stou", "", &["STOU"][..]),
            ("STOU", "/secret/x", &["/secret/x", "STOU"]),
            ("LIST", "-a /pub /secret", &["/pub /secret", "/pub", "/secret"]),
            ("XCRC", "\"/a b\" 0 100", &["\"/a b\" 0 100", "/a b"]),
            ("XMD5", "/a b 0 100", &["/a b 0 100", "/a b"]),
            ("MMD5", "/a, \"/b\"", &["/a, \"/b\"", "/a", "/b"]),
        ] {
            let asked = Asked::new(verb.as_bytes(), argument.as_bytes());
            let said: Vec<_> = asked.names().into_iter().map(String::from_utf8_lossy).collect();
            assert_eq!(said, names, "{verb} {argument}");
        }
    }
}
