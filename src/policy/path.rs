//! Paths as a client means them: the directory that it is in and the name that it gives, put together.
//! Pure: no file system is asked, and links in the server's are not known.

/// What a client may mean by `name` while it is in `directory`: absolute paths without `.`, `..` and
/// empty parts, each of them once. Servers on Windows take `\` for `/`, others for a byte like any other;
/// on z/OS a name in apostrophes stands for itself wherever the client is, with or without the closing
/// one, and they are no part of it (`'/u/bob/x'` is a file of its Unix); elsewhere they are bytes of it.
/// 0xFF doubled is one byte to servers that speak Telnet (RFC 854: ProFTPD, those that come from BSD), and
/// two to others (vsftpd, Pure-FTPd). ftp-srv (Node.js) knows no quotes and takes words like `-f` for options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Readings(Vec<Vec<u8>>);

impl Readings {
    /// Reads `name` as a client's in `directory`.
    pub(super) fn of(directory: &[u8], name: &[u8]) -> Self {
        const SLASH: fn(u8) -> bool = |byte| byte == b'/';
        const BOTH: fn(u8) -> bool = |byte| matches!(byte, b'/' | b'\\');
        let mut readings = Vec::new();
        let (single_directory, single_name) = (undoubled(directory), undoubled(name));
        let root: &[u8] = &[];
        let (unquoted, plain) = (without_quotes(name), without_quotes_and_options(name));
        let names = [Some(name), single_name.as_deref(), unquoted.as_deref(), plain.as_deref()];
        for name in names.into_iter().flatten() {
            let bare = name.strip_prefix(b"'").map(|rest| rest.strip_suffix(b"'").unwrap_or(rest));
            let meant = [
                Some((directory, name)),
                single_directory.as_deref().map(|single| (single, name)),
                bare.map(|_| (root, name)),
                bare.map(|bare| (root, bare)),
            ];
            for (base, name) in meant.into_iter().flatten() {
                for separates in [SLASH, BOTH] {
                    let reading = join(base, name, separates);
                    if !readings.contains(&reading) {
                        readings.push(reading);
                    }
                }
            }
        }
        Self(readings)
    }

    /// Each reading.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}

/// The directory that CWD `name` leads to from `directory`, as a Unix server takes it; CDUP is `..`.
pub fn change(directory: &[u8], name: &[u8]) -> Vec<u8> {
    join(directory, name, |byte| byte == b'/')
}

/// True if ftp-srv (Node.js) takes something off `name`: quotes, or words of one letter or digit behind `-`.
pub fn has_quotes_or_options(name: &[u8]) -> bool {
    name.contains(&b'"') || without_quotes_and_options(name).is_some()
}

/// What ftp-srv makes of `name` in RETR, STOR and SIZE; `None`: no quotes are in it.
fn without_quotes(name: &[u8]) -> Option<Vec<u8>> {
    name.contains(&b'"').then(|| name.iter().copied().filter(|&byte| byte != b'"').collect())
}

/// What it makes of `name` in all other commands; `None`: no options are in it.
fn without_quotes_and_options(name: &[u8]) -> Option<Vec<u8>> {
    const IS_OPTION: fn(&[u8]) -> bool =
        |word| matches!(word, [b'-', byte] if byte.is_ascii_alphanumeric() || *byte == b'_');
    let unquoted = without_quotes(name);
    let name = unquoted.as_deref().unwrap_or(name);
    let words = || name.split(|&byte| byte == b' ');
    words()
        .any(IS_OPTION)
        .then(|| words().filter(|word| !IS_OPTION(word)).collect::<Vec<_>>().join(&b' '))
}

/// `bytes` with 0xFF once where it stands doubled; `None`: it does not.
fn undoubled(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut single = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().peekable();
    while let Some(&byte) = rest.next() {
        single.push(byte);
        if byte == 0xff {
            rest.next_if_eq(&&0xff);
        }
    }
    (single.len() < bytes.len()).then_some(single)
}

fn join(directory: &[u8], name: &[u8], separates: fn(u8) -> bool) -> Vec<u8> {
    let absolute = name.first().is_some_and(|&byte| separates(byte));
    let base = if absolute { &[][..] } else { directory };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in base.split(|&byte| separates(byte)).chain(name.split(|&byte| separates(byte))) {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    let mut path = Vec::with_capacity(directory.len() + name.len() + 2);
    for part in parts {
        path.push(b'/');
        path.extend_from_slice(part);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_the_directory_that_the_client_is_in() {
        for (directory, name, path) in [
            ("/", "a", "/a"),
            ("/pub", "a/b", "/pub/a/b"),
            ("/pub", "/a", "/a"),
            ("/pub", "../a", "/a"),
            ("/pub", "../../../etc/passwd", "/etc/passwd"),
            ("/pub", ".//./a/", "/pub/a"),
            ("/pub", "", "/pub"),
            ("/", "", "/"),
            ("", "a", "/a"),
        ] {
            let readings = Readings::of(directory.as_bytes(), name.as_bytes());
            let readings: Vec<_> = readings.iter().map(String::from_utf8_lossy).collect();
            assert_eq!(readings, [path], "{directory} {name}");
        }
    }

    #[test]
    fn a_name_in_apostrophes_stands_for_itself_or_not() {
        let readings = Readings::of(b"/secret", b"'/../file");
        assert_eq!(readings.iter().collect::<Vec<_>>(), [&b"/secret/file"[..], b"/file"]);
        let readings = Readings::of(b"/", b"'SYS1.PARMLIB'");
        let both: Vec<_> = readings.iter().collect();
        assert_eq!(both, [&b"/'SYS1.PARMLIB'"[..], b"/SYS1.PARMLIB"]);
        for name in ["'/private/x'", "'/private/x", "'/pub/../private/./x'", "'\\private\\x'"] {
            let readings = Readings::of(b"/pub", name.as_bytes());
            assert!(readings.iter().any(|path| path == b"/private/x"), "{name}");
        }
        for name in ["'", "''"] {
            let readings = Readings::of(b"/pub", name.as_bytes());
            assert!(readings.iter().any(|path| path == b"/"), "{name}");
        }
    }

    #[test]
    fn ff_may_be_doubled_or_not() {
        let readings = Readings::of(b"/\xff\xff", b"a\xff\xff\xff\xff");
        let all: Vec<_> = readings.iter().collect();
        let double: &[u8] = b"/\xff\xff/a\xff\xff\xff\xff";
        assert_eq!(all.len(), 4);
        assert!(all.contains(&double) && all.contains(&&b"/\xff/a\xff\xff"[..]));
        assert_eq!(Readings::of(b"/\xff", b"\xffa").iter().count(), 1);
    }

    #[test]
    fn quotes_and_options_may_be_part_of_a_name_or_not() {
        for name in [
            "\"/private/x\"",
            "/pri\"vate/x",
            "-f /private/x",
            "/private/x -f",
            "-\"f\" \"..\\private/x",
            "-_ -9 ../private/x",
        ] {
            let readings = Readings::of(b"/pub", name.as_bytes());
            assert!(readings.iter().any(|path| path == b"/private/x"), "{name}");
            let itself = join(b"/pub", name.as_bytes(), |byte| byte == b'/');
            assert!(readings.iter().any(|path| path == itself), "{name}");
            assert!(has_quotes_or_options(name.as_bytes()), "{name}");
        }
        for name in ["a - b", "-ff x", "x -", "a-b", ""] {
            assert_eq!(Readings::of(b"/pub", name.as_bytes()).iter().count(), 1, "{name}");
            assert!(!has_quotes_or_options(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_backslash_may_separate_or_not() {
        let readings = Readings::of(b"/pub", b"..\\etc\\passwd");
        let both: Vec<_> = readings.iter().collect();
        assert_eq!(both, [&b"/pub/..\\etc\\passwd"[..], b"/etc/passwd"]);
    }
}
