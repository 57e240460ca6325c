//! Who a certificate is about, as text for the audit.

use rustls::pki_types::CertificateDer;
use std::fmt::Write;
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

/// The short names that RFC 4514 §3 wants known, and one that is usual: encoded, and written.
const NAMES: &[(&[u8], &str)] = &[
    (&[0x55, 0x04, 0x03], "CN"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x09], "STREET"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01], "emailAddress"),
];

/// The subject in the form of RFC 4514, most specific first; `None` if the certificate cannot be read.
/// What in a value could be taken for the next attribute is escaped.
pub fn text(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(certificate).ok()?;
    let mut text = Vec::new();
    let parts: Vec<_> = parsed.subject().iter_rdn().collect();
    for (index, part) in parts.iter().rev().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        for (index, attribute) in part.iter().enumerate() {
            if index > 0 {
                text.push(b'+');
            }
            write_attribute(&mut text, attribute);
        }
    }
    Some(text)
}

fn write_attribute(text: &mut Vec<u8>, attribute: &AttributeTypeAndValue<'_>) {
    let kind = attribute.attr_type();
    match NAMES.iter().find(|(encoded, _)| *encoded == kind.as_bytes()) {
        Some((_, name)) => text.extend_from_slice(name.as_bytes()),
        None => text.extend_from_slice(kind.to_id_string().as_bytes()),
    }
    text.push(b'=');
    let value = attribute.attr_value();
    match value.header.tag() {
        Tag::BmpString => {
            let units = value.data.chunks_exact(2);
            let units =
                units.map(|unit| unit.iter().fold(0, |high, low| high << 8 | u16::from(*low)));
            let decoded: String = char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect();
            write_value(text, decoded.as_bytes());
        }
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::T61String => {
            write_value(text, value.data);
        }
        // No string: its contents in hexadecimal (RFC 4514 §2.4).
        _ => {
            let mut digits = String::from("#");
            // Writing to a String cannot fail.
            value.data.iter().for_each(|byte| _ = write!(digits, "{byte:02x}"));
            text.extend_from_slice(digits.as_bytes());
        }
    }
}

/// With the escapes of RFC 4514 §2.4.
fn write_value(text: &mut Vec<u8>, value: &[u8]) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.iter().enumerate() {
        let at_an_end = (at == 0 && matches!(byte, b' ' | b'#')) || (at == last && *byte == b' ');
        if at_an_end || matches!(byte, b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::string::BmpString;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

    fn subject(parts: Vec<(DnType, DnValue)>) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind, value);
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        String::from_utf8(text(certificate.der()).unwrap()).unwrap()
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    #[test]
    fn the_most_specific_part_stands_first() {
        let parts = vec![
            (DnType::CountryName, utf8("DE")),
            (DnType::OrganizationName, utf8("Example")),
            (DnType::CommonName, utf8("anna müller")),
        ];
        assert_eq!(subject(parts), "CN=anna müller,O=Example,C=DE");
        assert_eq!(subject(Vec::new()), "");
    }

    #[test]
    fn no_value_passes_for_another_attribute() {
        for (value, expected) in [
            ("x,CN=root", r"CN=x\,CN\=root"),
            ("x+O=y", r"CN=x\+O\=y"),
            ("#04 ", r"CN=\#04\ "),
            (" a\\b\"", r#"CN=\ a\\b\""#),
        ] {
            assert_eq!(subject(vec![(DnType::CommonName, utf8(value))]), expected);
        }
    }

    #[test]
    fn other_kinds_and_other_strings_can_be_read() {
        let number = DnType::from_oid(&[2, 5, 4, 5]);
        let wide = DnValue::BmpString(BmpString::try_from("ü").unwrap());
        assert_eq!(subject(vec![(number, wide)]), "2.5.4.5=ü");
    }

    #[test]
    fn what_is_no_certificate_has_no_subject() {
        assert_eq!(text(&CertificateDer::from(&b"\x30\x03\x02\x01\x00"[..])), None);
    }
}
