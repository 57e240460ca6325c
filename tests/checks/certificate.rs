//! Servers' certificates: whatever stands in one, its subject is told so that it can be read back, and
//! the leaf in its place is none, or is bounded and says nothing that the certificate does not say.

use ftpgate::tls::ca::{Authority, Plan, Serial};
use ftpgate::tls::leaf::{LIFE, LeafFactory, MOST_NAME_BYTES, MOST_NAMES, SignedBy};
use ftpgate::tls::{subject, words};
use rustls::pki_types::CertificateDer;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Far more than the words for a subject have, each character of which may be escaped.
const MOST_WORDS: usize = 4 * 1024;

/// 2026-01-01, as any other day.
static NOW: LazyLock<SystemTime> =
    LazyLock::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600));

static FACTORY: LazyLock<LeafFactory> = LazyLock::new(|| {
    let plan = Plan { name: "check".to_owned(), days: 3650 };
    let ca = Authority::in_memory(&plan, *NOW, Serial([1; 16])).unwrap();
    LeafFactory::new(ca, *NOW).unwrap()
});

/// The input is a certificate (DER), and the plan of one.
pub fn certificate(input: &[u8]) {
    let raw = CertificateDer::from(input);
    told(&raw);
    replaced(&raw);
    let (der, attributes) = written(input);
    let planned = CertificateDer::from(der);
    told(&planned);
    replaced(&planned);
    if let Some(text) = subject::text(&planned) {
        assert_eq!(read_back(&text), attributes, "{}", text.escape_ascii());
    }
}

fn told(certificate: &CertificateDer<'_>) {
    let words = words::subject(certificate);
    assert!(words.len() < MOST_WORDS && !words.chars().any(char::is_control), "{words:?}");
    let whole = X509Certificate::from_der(certificate).is_ok();
    assert_eq!(subject::text(certificate).is_some(), whole);
}

fn replaced(certificate: &CertificateDer<'_>) {
    let issued = FACTORY.issue_numbered(certificate, SignedBy::LocalCa, *NOW, Serial([2; 16]));
    let Ok(leaf) = issued else { return };
    let (_, server) = X509Certificate::from_der(certificate).expect("a leaf in place of nothing");
    let der = &leaf.certified.cert[0];
    let (rest, x509) = X509Certificate::from_der(der).expect("the leaf can be read");
    assert!(rest.is_empty() && der.len() < 4 * MOST_NAME_BYTES, "{} bytes", der.len());
    assert!(leaf.not_after <= *NOW + LIFE || server.validity().not_before > x509_time());
    assert!(x509.validity().not_after <= server.validity().not_after);
    assert!(!x509.is_ca());
    let names = names_of(&x509);
    assert!(names.len() <= MOST_NAMES);
    let served = names_of(&server);
    for name in names {
        assert!(served.contains(&name), "{name} is not the server's");
    }
}

fn x509_time() -> x509_parser::time::ASN1Time {
    let seconds = NOW.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    x509_parser::time::ASN1Time::from_timestamp(i64::try_from(seconds).unwrap()).unwrap()
}

fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let names = alternative.map_or(&[][..], |names| &names.value.general_names);
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => Some(format!("{bytes:?}")),
        _ => None,
    };
    names.iter().filter_map(name).collect()
}

/// What the text of a subject says: type and value of each attribute, the most specific first.
type Attributes = Vec<(String, Vec<u8>)>;

/// Types of attributes, encoded and as text. The last two have no short name.
const TYPES: [(&[u8], &str); 5] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 10], "O"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19], "DC"),
    (&[0x55, 4, 5], "2.5.4.5"),
    (&[0x2a, 3], "1.2.3"),
];

/// Strings: UTF8String, PrintableString, IA5String, TeletexString; and an INTEGER, which is none.
const TAGS: [u8; 5] = [12, 19, 22, 20, 2];

/// The certificate that the bytes are a plan of, one attribute or name after the other: a byte that
/// chooses what it is, one with its length, and its contents.
fn written(plan: &[u8]) -> (Vec<u8>, Attributes) {
    let (mut subject, mut names, mut attributes) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = plan;
    while let [choice, length, after @ ..] = rest {
        let (content, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        let choice = usize::from(*choice);
        if choice >= 128 {
            // dNSName and iPAddress, and what names no server (RFC 5280 §4.2.1.6).
            let tag = [0x82, 0x87, 0x86, 0x81][choice % 4];
            names.extend(der(tag, content));
            continue;
        }
        let (kind, name) = TYPES[choice % TYPES.len()];
        let tag = TAGS[choice / TYPES.len() % TAGS.len()];
        let attribute = der(0x30, &[der(6, kind), der(tag, content)].concat());
        subject.extend(der(0x31, &attribute));
        let value = if tag == 2 {
            let digits = content.iter().map(|byte| format!("{byte:02x}"));
            format!("#{}", digits.collect::<String>()).into_bytes()
        } else {
            content.to_vec()
        };
        attributes.insert(0, (name.to_owned(), value));
    }
    // ecdsa-with-SHA256, and the key of nobody.
    let algorithm = der(0x30, &der(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
    let curve = der(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    let key = [der(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), curve].concat();
    let key = [der(0x30, &key), der(3, &[0, 4, 1, 2])].concat();
    let validity = [der(23, b"250101000000Z"), der(23, b"270101000000Z")].concat();
    let mut body = [
        der(0xa0, &der(2, &[2])),
        der(2, &[1]),
        algorithm.clone(),
        der(0x30, &[]),
        der(0x30, &validity),
        der(0x30, &subject),
        der(0x30, &key),
    ]
    .concat();
    if !names.is_empty() {
        let alternative = [der(6, &[0x55, 0x1d, 17]), der(4, &der(0x30, &names))].concat();
        body.extend(der(0xa3, &der(0x30, &der(0x30, &alternative))));
    }
    let whole = [der(0x30, &body), algorithm, der(3, &[0, 1])].concat();
    (der(0x30, &whole), attributes)
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let length = match u8::try_from(length) {
        Ok(short) if short < 0x80 => vec![short],
        _ => {
            let bytes = u32::try_from(length).unwrap().to_be_bytes();
            [&[0x84], &bytes[..]].concat()
        }
    };
    [&[tag], &length[..], content].concat()
}

/// The reader's side of RFC 4514: nothing in a value passes for the next attribute.
fn read_back(text: &[u8]) -> Attributes {
    let mut attributes = Vec::new();
    let mut bytes = text.iter().copied();
    let (mut name, mut value) = (String::new(), None);
    loop {
        match (bytes.next(), &mut value) {
            (None, None) => return attributes,
            (None | Some(b','), Some(read)) => {
                attributes.push((std::mem::take(&mut name), std::mem::take(read)));
                value = None;
                if bytes.len() == 0 && !text.ends_with(b",") {
                    return attributes;
                }
            }
            (Some(b'='), None) => value = Some(Vec::new()),
            (Some(byte), None) => name.push(byte.into()),
            (Some(b'\\'), Some(read)) => read.extend(bytes.next()),
            (Some(byte), Some(read)) => {
                assert!(!b"+=\"<>;".contains(&byte), "bare {:?}", char::from(byte));
                read.push(byte);
            }
        }
    }
}
