//! PROXY headers: nothing is taken that does not belong to one, whatever follows changes nothing, and
//! what is believed can be said again.

use ftpgate::net::proxy_protocol::{Header, HeaderFault, LONGEST_HEADER, Version, parse};

/// The input is what a connection begins with.
pub fn proxy_header(input: &[u8]) {
    let parsed = parse(input);
    let longer = [input, b"\r\nUSER a\r\n"].concat();
    match parsed {
        Ok(None) => assert!(input.len() < LONGEST_HEADER, "no bound"),
        Err(fault) => assert_eq!(parse(&longer), Err(fault), "more bytes make it good"),
        Ok(Some((header, length))) => {
            assert!((15..=input.len().min(LONGEST_HEADER)).contains(&length));
            assert_eq!(parse(&longer), parsed);
            for cut in 0..length {
                assert_eq!(parse(&input[..cut]), Ok(None), "a part of it is {cut} bytes");
            }
            said_again(header);
        }
    }
}

fn said_again(header: Header) {
    let Header::Proxied { source, destination } = header else { return };
    assert_eq!(source.is_ipv4(), destination.is_ipv4());
    for version in [Version::V1, Version::V2] {
        let written = version.encode(source, destination);
        assert_eq!(parse(&written), Ok(Some((header, written.len()))));
    }
    let other = if source.is_ipv4() { "[2001:db8::7]:21" } else { "203.0.113.7:21" };
    for version in [Version::V1, Version::V2] {
        let mixed = version.encode(source, other.parse().unwrap());
        assert_eq!(parse(&mixed), Err(HeaderFault::MixedFamilies));
    }
}
