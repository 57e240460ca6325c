//! Paths as a client means them: the directory that it is in and the name that it gives, put together.
//! Pure: no file system is asked, and links in the server's are not known.

/// The name of a file that the server chooses (STOU, RFC 959 §4.1.3).
const SERVERS_CHOICE: &[u8] = b"STOU";

/// What a client means by `name` while it is in `directory`: an absolute path without `.`, `..` and
/// empty parts. Servers on Windows take `\` for `/`, others for a byte like any other: these are two
/// readings, of which the second is missing where they are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Readings {
    /// With `/` between the parts.
    pub(super) slashes: Vec<u8>,
    /// With `/` and `\` between them, written with `/`.
    pub(super) backslashes: Option<Vec<u8>>,
}

impl Readings {
    /// Reads `name` as a client's in `directory`. Names in apostrophes, as z/OS has them, stand for
    /// themselves wherever the client is.
    pub(super) fn of(directory: &[u8], name: &[u8]) -> Self {
        let slashes = join(directory, name, |byte| byte == b'/');
        let both = directory.contains(&b'\\') || name.contains(&b'\\');
        let backslashes = both.then(|| join(directory, name, |byte| matches!(byte, b'/' | b'\\')));
        Self { slashes, backslashes }
    }

    /// As [`Self::of`], of a file that the server names.
    pub(super) fn of_servers_choice(directory: &[u8]) -> Self {
        Self::of(directory, SERVERS_CHOICE)
    }

    /// Each reading.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&*self.slashes).chain(self.backslashes.as_deref())
    }
}

/// The directory that CWD `name` leads to from `directory`, as a Unix server takes it; CDUP is `..`.
pub fn change(directory: &[u8], name: &[u8]) -> Vec<u8> {
    join(directory, name, |byte| byte == b'/')
}

fn join(directory: &[u8], name: &[u8], separates: fn(u8) -> bool) -> Vec<u8> {
    let absolute = name.first().is_some_and(|&byte| separates(byte) || byte == b'\'');
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
            ("/pub", "'SYS1.PARMLIB'", "/'SYS1.PARMLIB'"),
            ("/", "", "/"),
            ("", "a", "/a"),
        ] {
            let readings = Readings::of(directory.as_bytes(), name.as_bytes());
            assert_eq!(String::from_utf8_lossy(&readings.slashes), path, "{directory} {name}");
            assert_eq!(readings.backslashes, None);
        }
    }

    #[test]
    fn a_backslash_may_separate_or_not() {
        let readings = Readings::of(b"/pub", b"..\\etc\\passwd");
        let both: Vec<_> = readings.iter().collect();
        assert_eq!(both, [&b"/pub/..\\etc\\passwd"[..], b"/etc/passwd"]);
    }
}
