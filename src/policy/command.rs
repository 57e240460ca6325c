//! Which commands a rule is about, by their words.

use super::sum;
use std::borrow::Cow;
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
const NAMING: [&str; 18] = [
    "APPE", "AVBL", "DELE", "DSIZ", "MDTM", "MFCT", "MFF", "MFMT", "MKD", "MLST", "RETR", "RMD",
    "RMDA", "RNFR", "RNTO", "SIZE", "STOR", "STOU",
];

/// More of them, which ask for a sum of the file (see `sum`).
const SUMS: [&str; 11] = [
    "HASH", "MD5", "MMD5", "XCRC", "XMD5", "XSHA", "XSHA1", "XSHA224", "XSHA256", "XSHA384",
    "XSHA512",
];

/// Those whose argument names a directory to look at or to go to: only rules that name them as well
/// ask for their path.
const LOOKING: [&str; 6] = ["CWD", "LIST", "MLSD", "NLST", "SMNT", "STAT"];

/// Stands for the name of a file that the server chooses (STOU, RFC 959 §4.1.3).
const SERVERS_CHOICE: &[u8] = b"STOU";

/// What Pure-FTPd takes behind SITE and without it.
const WITHOUT_SITE: &str = "CHMOD";

/// The words of a command in its usual spelling; MDTM that sets a time is MFMT, and CHMOD is SITE CHMOD.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    verb: &'a [u8],
    /// A word that stands ahead of the argument.
    word: Option<&'a [u8]>,
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
        if words[0] == WITHOUT_SITE {
            words.insert(0, "SITE".to_owned());
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
        let said = asked.argument.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty());
        let mut said = asked.word.into_iter().chain(said);
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
            return Self { verb: b"MFMT", word: None, argument };
        }
        if verb.eq_ignore_ascii_case(WITHOUT_SITE.as_bytes()) {
            return Self { verb: b"SITE", word: Some(WITHOUT_SITE.as_bytes()), argument };
        }
        let old = OLD_NAMES.iter().find(|(old, _)| verb.eq_ignore_ascii_case(old.as_bytes()));
        Self { verb: old.map_or(verb, |(_, name)| name.as_bytes()), word: None, argument }
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
        self.is_one_of(&NAMING) || self.is_one_of(&SUMS)
    }

    /// True if there is a path in it at all.
    pub(super) fn has_path(self) -> bool {
        self.names_a_file() || self.is_one_of(&LOOKING)
    }

    /// True if it names a file from the root, wherever the client is.
    pub(super) fn names_from_root(self) -> bool {
        self.names().iter().all(|name| name.starts_with(b"/"))
    }

    /// True if the file, or folder, is about to get another name.
    pub(super) fn renames(self) -> bool {
        self.is("RNFR")
    }

    /// True if nobody but the server knows what is named: a name in some user's home (`~`, `~bob/x`), a
    /// pattern of its own (`LIST /s*`), everything below (`LIST -R`), what stands right behind an option
    /// (`LIST -a/x`), or several names (`MMD5 a, b`). ProFTPD takes them all.
    pub(super) fn may_name_anything(self) -> bool {
        let options = self.options_end().unwrap_or(0);
        let rest = self.argument.get(options..).unwrap_or_default();
        let glued = options > 0 && rest.first().is_some_and(|byte| !is_space(*byte));
        let options = self.argument.get(..options).unwrap_or_default();
        let below = options.contains(&b'R') || options.windows(2).any(|two| two == b"--");
        let patterned = |name: &[u8]| name.iter().any(|byte| b"*?[{".contains(byte));
        let looking = self.is_one_of(&LOOKING);
        let several = self.is("MMD5") && self.argument.contains(&b',');
        let unsure = |name: &Cow<'_, [u8]>| name.starts_with(b"~") || looking && patterned(name);
        glued || below || several || self.names().iter().any(unsure)
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

    /// True if there is no name in it, so that the directory itself is meant.
    pub(super) fn names_nothing(self) -> bool {
        self.names().iter().all(|name| name.is_empty())
    }

    /// Every name that a server may find in it, which is empty where none is given.
    pub(super) fn names(self) -> Vec<Cow<'a, [u8]>> {
        if self.is("STOU") {
            // vsftpd begins with the name that is given (RFC 959 §4.1.3: none is).
            let given = Some(self.argument).filter(|name| !name.is_empty());
            return [SERVERS_CHOICE].into_iter().chain(given).map(Cow::Borrowed).collect();
        }
        if self.is_one_of(&SUMS) {
            return sum::names(self.argument);
        }
        if self.is_one_of(&["MFCT", "MFF", "MFMT"]) {
            // Behind a time or facts: `MFMT 20020717210715 name` (draft-somers-ftp-mfxx). A further blank
            // is part of the name to ProFTPD, and nothing to Pure-FTPd.
            let end = self.argument.iter().position(|&byte| byte == b' ');
            let name = end.and_then(|end| self.argument.get(end + 1..)).unwrap_or_default();
            let bare = name.trim_ascii_start();
            let both = [Some(name), (bare != name).then_some(bare)];
            return both.into_iter().flatten().map(Cow::Borrowed).collect();
        }
        let rest = self.argument.get(self.options_end().unwrap_or(0)..).unwrap_or_default();
        let blanks = rest.iter().take_while(|byte| is_space(**byte)).count();
        let name = rest.get(blanks..).unwrap_or_default();
        let mut names = vec![Cow::Borrowed(name)];
        if self.is_one_of(&["LIST", "NLST", "STAT"]) {
            // Servers that come from BSD hand it to `ls`, which takes several.
            let words = name.split(|byte| is_space(*byte));
            let words = words.filter(|word| !word.is_empty() && *word != name);
            names.extend(words.map(Cow::Borrowed));
        }
        names
    }
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
    fn what_pure_ftpd_takes_without_site_is_the_same() {
        assert!(matches("SITE CHMOD", "chmod", "777 x") && matches("CHMOD", "SITE", "chmod 777 x"));
        assert!(matches("SITE", "CHMOD", "777 x") && matches("chmod", "CHMOD", "777 x"));
        assert!(!matches("SITE EXEC", "CHMOD", "EXEC") && !matches("CHMOD", "SITE", "EXEC"));
        assert_eq!(CommandPattern::parse("chmod").unwrap().to_string(), "SITE CHMOD");
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
        let asked = Asked::new(b"mfmt", b"20020717210715  /x");
        assert_eq!(asked.names(), [&b" /x"[..], b"/x"]);
        assert_eq!(Asked::new(b"stou", b"").names(), [SERVERS_CHOICE]);
        assert_eq!(Asked::new(b"stou", b"/x").names(), [SERVERS_CHOICE, b"/x"]);
        let asked = Asked::new(b"LIST", b"-a /pub /secret");
        assert_eq!(asked.names(), [&b"/pub /secret"[..], b"/pub", b"/secret"]);
    }

    #[test]
    fn a_listing_of_everything_below_may_be_of_anything() {
        for all in ["LIST -R /", "LIST -laR", "NLST -l -R /pub", "LIST --recursive /"] {
            let (verb, argument) = all.split_once(' ').unwrap();
            assert!(Asked::new(verb.as_bytes(), argument.as_bytes()).may_name_anything(), "{all}");
        }
        for one in ["LIST -la /R", "LIST -ar", "LIST", "RETR -R"] {
            let (verb, argument) = one.split_once(' ').unwrap_or((one, ""));
            assert!(!Asked::new(verb.as_bytes(), argument.as_bytes()).may_name_anything(), "{one}");
        }
    }
}
