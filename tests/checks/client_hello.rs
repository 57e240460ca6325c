//! ClientHellos: what is told of an offer is what stands in it, nothing of a half one, and one line of
//! bounded text whatever the bytes are.

use ftpgate::tls::failure::Failure;
use ftpgate::tls::hello::Offer;

/// Far more than six names of 200 bytes, each of which may be escaped.
const MOST_WORDS: usize = 16 * 1024;

/// The names of the versions that are told, and some that mean nothing (RFC 8701).
const VERSIONS: [(u16, &str); 8] = [
    (0x0300, "SSL 3.0"),
    (0x0301, "TLS 1.0"),
    (0x0302, "TLS 1.1"),
    (0x0303, "TLS 1.2"),
    (0x0304, "TLS 1.3"),
    (0x0a0a, ""),
    (0xfafa, ""),
    (0x7f1c, "version 0x7f1c"),
];

/// Ciphers by number and name; signals and GREASE have none, and are not told.
const CIPHERS: [(u16, &str); 6] = [
    (0x1301, "TLS13_AES_128_GCM_SHA256"),
    (0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"),
    (0x00ff, ""),
    (0x5600, ""),
    (0x1a1a, ""),
    (0xeeee, "0xeeee"),
];

/// The input is what a client begins with, and the plan of a hello.
pub fn client_hello(input: &[u8]) {
    told(input);
    if let Some((hello, offer)) = written(input) {
        told(&hello);
        let read = Offer::read(&hello).expect("a hello as RFC 8446 has it");
        assert_eq!(read.versions(), offer.versions);
        assert_eq!(read.ciphers(), offer.ciphers);
        assert_eq!(read.protocols(), offer.protocols);
        for cut in (0..hello.len()).step_by(1 + hello.len() / 64) {
            assert_eq!(Offer::read(&hello[..cut]), None, "a part of it is {cut} bytes");
        }
        let longer = [&hello[..], b"\x17\x03\x03\0\x01x", input].concat();
        assert_eq!(Offer::read(&longer), Some(read), "what follows changes nothing");
    }
}

fn told(bytes: &[u8]) {
    let mut words = Vec::new();
    if let Some(offer) = Offer::read(bytes) {
        words = vec![offer.versions(), offer.ciphers(), offer.protocols()];
        assert!(offer.versions().len() < 64);
    }
    for error in [rustls::Error::NoApplicationProtocol, rustls::Error::DecryptError] {
        words.push(Failure::with_client(&error, bytes).detail);
    }
    for words in words {
        assert!(words.len() < MOST_WORDS && !words.chars().any(char::is_control), "{words:?}");
    }
}

/// What has to be told of a hello.
struct Told {
    versions: String,
    ciphers: String,
    protocols: String,
}

/// The hello that the bytes are a plan of: counts of versions, ciphers and protocols, then the choice of
/// each, and then the length of each record.
fn written(plan: &[u8]) -> Option<(Vec<u8>, Told)> {
    let (&[version, counts, names], mut rest) = plan.split_first_chunk()?;
    let mut next = || {
        let (first, after) = rest.split_first()?;
        rest = after;
        Some(usize::from(*first))
    };
    let legacy = VERSIONS[usize::from(version) % 5];
    let mut versions = Vec::new();
    for _ in 0..counts & 3 {
        versions.push(VERSIONS[next()? % VERSIONS.len()]);
    }
    let mut ciphers = Vec::new();
    for _ in 0..counts >> 2 & 15 {
        ciphers.push(CIPHERS[next()? % CIPHERS.len()]);
    }
    let mut protocols = Vec::new();
    for _ in 0..names & 7 {
        protocols.push(["ftp", "h2", "http/1.1", "x"][next()? % 4]);
    }

    let numbers = |numbers: &[(u16, &str)]| -> Vec<u8> {
        numbers.iter().flat_map(|(number, _)| number.to_be_bytes()).collect()
    };
    let mut extensions = extension(0xff01, &[0]);
    if !protocols.is_empty() {
        let names: Vec<u8> = protocols.iter().flat_map(|name| short(name.as_bytes())).collect();
        extensions.extend(extension(16, &long(&names)));
    }
    if !versions.is_empty() {
        extensions.extend(extension(43, &short(&numbers(&versions))));
    }
    let mut hello = legacy.0.to_be_bytes().to_vec();
    hello.extend([7; 32]);
    hello.extend(short(b"session"));
    hello.extend(long(&numbers(&ciphers)));
    hello.extend(short(&[0]));
    hello.extend(long(&extensions));
    let [_, _, high, low] = u32::try_from(hello.len()).unwrap().to_be_bytes();
    let message = [&[1, 0, high, low], &hello[..]].concat();

    let mut records = Vec::new();
    let mut left = &message[..];
    while !left.is_empty() {
        let size = next().unwrap_or(255).clamp(1, left.len());
        let (body, after) = left.split_at(size);
        records.extend([22, 3, 1]);
        records.extend(long(body));
        left = after;
    }

    // The highest number that means something, as bare numbers are.
    let highest = versions.iter().filter(|(_, name)| !name.is_empty()).max().unwrap_or(&legacy);
    let ciphers: Vec<_> = ciphers.iter().map(|(_, name)| *name).filter(|n| !n.is_empty()).collect();
    let told = Told {
        versions: format!("{} at most", highest.1),
        ciphers: listed(&ciphers),
        // No more of them are even kept.
        protocols: listed(&protocols[..protocols.len().min(6)]),
    };
    Some((records, told))
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        names if names.len() > 6 => format!("{}, {} more", names[..6].join(", "), names.len() - 6),
        names => names.join(", "),
    }
}

fn short(content: &[u8]) -> Vec<u8> {
    [&[u8::try_from(content.len()).unwrap()], content].concat()
}

fn long(content: &[u8]) -> Vec<u8> {
    [&u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &long(content)].concat()
}
