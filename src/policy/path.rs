//! Paths as a client means them: the directory that it is in and the name that it gives, put together.
//! Pure: no file system is asked, and links in the server's are not known.

/// The name of a file that the server chooses (STOU, RFC 959 §4.1.3).
const SERVERS_CHOICE: &[u8] = b"STOU";

/// What a client may mean by `name` while it is in `directory`: absolute paths without `.`, `..` and
/// empty parts, each of them once. Servers on Windows take `\` for `/`, others for a byte like any other;
/// on z/OS a name in apostrophes stands for itself wherever the client is, with or without the closing
/// one, and they are no part of it (`'/u/bob/x'` is a file of its Unix); elsewhere they are bytes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Readings(Vec<Vec<u8>>);

impl Readings {
    /// Reads `name` as a client's in `directory`.
    pub(super) fn of(directory: &[u8], name: &[u8]) -> Self {
        const SLASH: fn(u8) -> bool = |byte| byte == b'/';
        const BOTH: fn(u8) -> bool = |byte| matches!(byte, b'/' | b'\\');
        let mut readings = Vec::new();
        let bare = name.strip_prefix(b"'").map(|rest| rest.strip_suffix(b"'").unwrap_or(rest));
        let meant = [
            Some((directory, name)),
            bare.map(|_| (&[][..], name)),
            bare.map(|bare| (&[][..], bare)),
        ];
        for (base, name) in meant.into_iter().flatten() {
            for separates in [SLASH, BOTH] {
                let reading = join(base, name, separates);
                if !readings.contains(&reading) {
                    readings.push(reading);
                }
            }
        }
        Self(readings)
    }

    /// As [`Self::of`], of a file that the server names.
    pub(super) fn of_servers_choice(directory: &[u8]) -> Self {
        Self::of(directory, SERVERS_CHOICE)
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
    fn a_backslash_may_separate_or_not() {
        let readings = Readings::of(b"/pub", b"..\\etc\\passwd");
        let both: Vec<_> = readings.iter().collect();
        assert_eq!(both, [&b"/pub/..\\etc\\passwd"[..], b"/etc/passwd"]);
    }
}
