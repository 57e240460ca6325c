//! The name of a directory in a reply (RFC 959 appendix II).

/// The directory in a 257: what stands in quotation marks, in which each of its own is doubled. `None`
/// if there are none, it does not end, or there are more behind it: Pure-FTPd doubles none, so that a
/// part of the name would be taken for all of it.
pub fn parse_257(line: &[u8]) -> Option<Vec<u8>> {
    let start = line.iter().position(|&byte| byte == b'"')?;
    let mut bytes = line.get(start + 1..)?.iter().copied().peekable();
    let mut path = Vec::new();
    loop {
        match bytes.next()? {
            b'"' if bytes.next_if_eq(&b'"').is_none() => {
                return (!bytes.any(|byte| byte == b'"')).then_some(path);
            }
            byte => path.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_stands_in_quotation_marks() {
        for (line, path) in [
            (&b"257 \"/\" is the current directory"[..], Some(&b"/"[..])),
            (b"257 \"/a \"\"b\"\" c\" created", Some(b"/a \"b\" c")),
            (b"257 \"\"\"\"", Some(b"\"")),
            (b"257 \"\"", Some(b"")),
            (b"257 \"/\xe4\"", Some(b"/\xe4")),
            (b"257 /pub is the current directory", None),
            (b"257 \"/pub", None),
            (b"257 \"/pub\"\"", None),
            (b"257 \"/pub/d\"/e\" is your current location", None),
            (b"257 \"/pub/d\" e\" is your current location", None),
        ] {
            assert_eq!(parse_257(line).as_deref(), path, "{}", String::from_utf8_lossy(line));
        }
    }
}
