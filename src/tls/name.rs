//! Subjects of certificates, in the form in which they can be written again.
//!
//! What cannot be is left out, never a reason to panic: the encoder takes some values of hostile
//! certificates for broken promises (a `?` in a PrintableString, an attribute type like 3.1.1).

use rcgen::string::{BmpString, Ia5String, PrintableString};
use rcgen::{DistinguishedName, DnType, DnValue};
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Several times as many as CAs put into a subject.
const MOST_ATTRIBUTES: usize = 32;

/// The most bytes of a value; most kinds may have 64 characters (RFC 5280 appendix A.1).
const LONGEST_VALUE: usize = 256;

/// The attribute types of X.520, `2.5.4.n`, as they are encoded.
const X520: [u8; 2] = [0x55, 0x04];

/// Attribute types of other origin that stand in subjects: encoded, and as numbers.
const OTHERS: &[(&[u8], &[u64])] = &[
    // domainComponent (RFC 4519 §2.4)
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19],
        &[0, 9, 2342, 19_200_300, 100, 1, 25],
    ),
    // uid (RFC 4519 §2.39)
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01],
        &[0, 9, 2342, 19_200_300, 100, 1, 1],
    ),
    // emailAddress (RFC 2985 §5.2.1)
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01], &[1, 2, 840, 113_549, 1, 9, 1]),
];

/// The name with everything that can be written: attributes of known types, each type once (the last
/// counts, as it does for clients that look at a common name), the kind of string kept where possible.
pub(super) fn rewritable(name: &X509Name<'_>) -> DistinguishedName {
    let mut rewritable = DistinguishedName::new();
    for attribute in name.iter_attributes().take(MOST_ATTRIBUTES) {
        if let (Some(kind), Some(value)) = (kind(attribute), value(attribute)) {
            rewritable.push(kind, value);
        }
    }
    rewritable
}

fn kind(attribute: &AttributeTypeAndValue<'_>) -> Option<DnType> {
    match attribute.attr_type().as_bytes() {
        [first, second, n] if [*first, *second] == X520 && *n < 0x80 => {
            Some(DnType::from_oid(&[2, 5, 4, u64::from(*n)]))
        }
        encoded => {
            let (_, numbers) = OTHERS.iter().find(|(known, _)| *known == encoded)?;
            Some(DnType::from_oid(numbers))
        }
    }
}

fn value(attribute: &AttributeTypeAndValue<'_>) -> Option<DnValue> {
    let value = attribute.attr_value();
    if value.data.is_empty() || value.data.len() > LONGEST_VALUE {
        return None;
    }
    if value.header.tag() == Tag::BmpString {
        return BmpString::from_utf16be(value.data.to_vec()).ok().map(DnValue::BmpString);
    }
    // T.61 and others that are not UTF-8 are left out.
    let text = std::str::from_utf8(value.data).ok()?;
    let kept = match value.header.tag() {
        Tag::PrintableString if text.bytes().all(is_printable) => {
            PrintableString::try_from(text).ok().map(DnValue::PrintableString)
        }
        Tag::Ia5String => Ia5String::try_from(text).ok().map(DnValue::Ia5String),
        Tag::PrintableString | Tag::Utf8String | Tag::T61String => None,
        // No kind of string at all.
        _ => return None,
    };
    Some(kept.unwrap_or_else(|| DnValue::Utf8String(text.to_owned())))
}

/// The characters of a PrintableString (X.680 §41.4) but `?`, which the encoder panics at.
fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=".contains(&byte)
}
