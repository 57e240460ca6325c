//! What is made is a CA for TLS servers and nothing else; what cannot be used is refused with a reason.

use super::*;
use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use fault::FileFault;
use rcgen::string::PrintableString;
use rcgen::{
    DnValue, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256,
};
use rstest::rstest;
use rustls::pki_types::{PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// 2026-11-18 10:26:40 UTC.
pub(in crate::tls) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_794_997_600)
}

pub(in crate::tls) fn plan() -> Plan {
    Plan { name: "local CA of a test".to_owned(), days: 3650 }
}

pub(in crate::tls) fn authority() -> Authority {
    Authority::in_memory(&plan(), now(), Serial([7; 16])).unwrap()
}

fn created() -> Created {
    create(&plan(), now(), Serial([7; 16])).unwrap()
}

/// A CA in a directory of its own.
struct OnDisk {
    directory: TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

impl OnDisk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files::Written { certificate, key } =
            files::write(directory.path(), &created()).unwrap();
        Self { directory, certificate, key }
    }

    /// Certificate and key as given, the key for its owner alone.
    fn of(certificate: &str, key: &str) -> Self {
        let ca = Self::new();
        fs::write(&ca.certificate, certificate).unwrap();
        fs::write(&ca.key, key).unwrap();
        ca
    }

    fn load_at(&self, now: SystemTime) -> Result<Authority, FileFault> {
        Authority::load(&self.certificate, &self.key, now)
    }

    fn load(&self) -> Result<Authority, FileFault> {
        self.load_at(now())
    }

    fn names(&self) -> Vec<String> {
        names(self.directory.path())
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_is_made_signs_leaves_for_tls_servers_only() {
    let authority = authority();
    let (_, x509) = X509Certificate::from_der(authority.certificate()).unwrap();
    let constraints = x509.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = x509.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && !usage.value.digital_signature());
    let extended = x509.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && !extended.any && !extended.client_auth);
    assert_eq!(x509.subject().to_string(), "O=ftpgate, CN=local CA of a test");
    assert_eq!(x509.raw_serial(), [&[0x47][..], &[7; 15]].concat());
    assert_eq!(authority.not_before(), now() - BACKDATING);
    assert_eq!(authority.not_after(), now() + 3650 * DAY);
}

#[test]
fn serial_numbers_are_positive_and_long_whatever_the_bytes() {
    for byte in [0x00, 0x7f, 0x80, 0xff] {
        let number = Serial([byte; 16]).to_number().to_bytes();
        assert_eq!(number.len(), 16);
        assert_eq!(number[0] & 0xc0, 0x40, "{byte}");
    }
    assert_ne!(Serial::random().unwrap(), Serial::random().unwrap());
}

#[rstest]
#[case("", 1, "1 to 64 characters")]
#[case(&"x".repeat(65), 1, "1 to 64 characters")]
#[case("a\nb", 1, "control character")]
#[case("x", 0, "at least 1 day")]
#[case("x", u32::MAX, "beyond the year 9999")]
fn impossible_plans(#[case] name: &str, #[case] days: u32, #[case] words: &str) {
    let plan = Plan { name: name.to_owned(), days };
    let fault = create(&plan, now(), Serial([0; 16])).map(|_| ()).unwrap_err();
    assert!(fault.to_string().contains(words), "{fault}");
}

#[test]
fn a_ca_is_written_and_read_again() {
    let ca = OnDisk::new();
    assert_eq!(ca.names(), [files::CERTIFICATE, files::KEY]);
    assert_eq!((mode(&ca.certificate), mode(&ca.key)), (0o644, 0o600));
    let description = ca.load().unwrap().describe(now()).unwrap();
    assert_eq!(description.subject, "O=ftpgate, CN=local CA of a test");
    assert_eq!(description.issuer, None);
    assert_eq!(description.key, "ECDSA P-256");
    assert!(description.validity.ends_with("(3650 days left)"), "{}", description.validity);
    assert_eq!(
        description.constraints,
        "signs leaves only (pathlen 0), for TLS servers (serverAuth)"
    );
    assert_eq!(description.fingerprint.len(), 32 * 3 - 1);
    assert!(description.serial.starts_with("47:07:07"), "{}", description.serial);
}

#[test]
fn nothing_is_overwritten_and_nothing_half_written_stays() {
    let ca = OnDisk::new();
    let before = fs::read(&ca.key).unwrap();
    let fault = files::write(ca.directory.path(), &created()).unwrap_err();
    assert!(matches!(fault.fault, Fault::Exists), "{fault}");
    assert_eq!(fs::read(&ca.key).unwrap(), before);

    for taken in [files::KEY, files::CERTIFICATE] {
        let directory = tempfile::tempdir().unwrap();
        // A link to nowhere is a name that is taken, too: what it leads to could be anywhere.
        symlink("/nonexistent/elsewhere", directory.path().join(taken)).unwrap();
        let fault = files::write(directory.path(), &created()).unwrap_err();
        assert!(fault.to_string().contains(&format!("{taken}: exists already")), "{fault}");
        assert_eq!(names(directory.path()), [taken]);
    }
}

#[test]
fn a_certificate_that_cannot_be_placed_takes_the_key_with_it() {
    let directory = tempfile::tempdir().unwrap();
    // The name under which the certificate is written first is taken.
    let in_the_way = format!("{}.{}.new", files::CERTIFICATE, std::process::id());
    fs::write(directory.path().join(&in_the_way), "").unwrap();
    let fault = files::write(directory.path(), &created()).unwrap_err();
    assert!(fault.file.ends_with(&in_the_way), "{fault}");
    assert_eq!(names(directory.path()), [in_the_way]);
}

#[test]
fn a_directory_that_cannot_be_made_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let fault = files::write(&file, &created()).unwrap_err();
    assert!(fault.to_string().contains("cannot be written"), "{fault}");
}

#[rstest]
#[case(0o604)]
#[case(0o660)]
#[case(0o620)]
#[case(0o601)]
fn a_key_that_others_may_use_is_refused(#[case] exposed: u32) {
    let ca = OnDisk::new();
    fs::set_permissions(&ca.key, fs::Permissions::from_mode(exposed)).unwrap();
    let fault = ca.load().unwrap_err();
    assert_eq!(fault.file, ca.key);
    let text = fault.to_string();
    assert!(text.contains(&format!("mode {exposed:04o}")) && text.contains("chmod 600"), "{text}");
    assert!(text.contains("640 where root owns it"), "{text}");
}

#[rstest]
#[case::a_users(0o600, 1000, false)]
#[case::a_users_and_its_groups(0o640, 1000, true)]
#[case::roots(0o600, 0, false)]
#[case::for_a_group_by_root(0o640, 0, false)]
#[case::for_anybody_by_root(0o444, 0, true)]
#[case::writable_by_a_group(0o660, 0, true)]
fn only_root_lets_a_group_read_a_key(#[case] mode: u32, #[case] owner: u32, #[case] exposed: bool) {
    assert_eq!(files::is_exposed(mode, files::OF_OTHERS, owner), exposed);
}

#[test]
fn files_that_are_none_are_refused() {
    let ca = OnDisk::new();
    fs::remove_file(&ca.key).unwrap();
    let fault = ca.load().unwrap_err();
    assert!(matches!(fault.fault, Fault::Missing) && fault.file == ca.key, "{fault}");
    fs::create_dir(&ca.key).unwrap();
    assert!(matches!(ca.load().unwrap_err().fault, Fault::NotAFile));
    fs::write(&ca.certificate, vec![b' '; 70_000]).unwrap();
    let fault = ca.load().unwrap_err();
    assert!(matches!(fault.fault, Fault::TooLong) && fault.file == ca.certificate, "{fault}");
}

const ENCRYPTED: &str =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
const NO_DER: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const NO_KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

#[test]
fn contents_that_are_none_are_refused() {
    let Created { certificate, key } = &created();
    let twice = |text: &str| format!("{text}{text}");
    let cases = [
        ("no text", key.as_str(), files::CERTIFICATE, "holds no certificate in PEM form"),
        (key, key, files::CERTIFICATE, "holds no certificate in PEM form"),
        (&twice(certificate), key, files::CERTIFICATE, "more than one certificate"),
        (NO_DER, key, files::CERTIFICATE, "no valid X.509"),
        (certificate, certificate, files::KEY, "holds no private key in PEM form"),
        (certificate, &twice(key), files::KEY, "more than one private key"),
        (certificate, ENCRYPTED, files::KEY, "is encrypted"),
        (certificate, NO_KEY, files::KEY, "holds a key that cannot be used"),
        (certificate, &created().key, files::KEY, "is not the key of the certificate"),
    ];
    for (certificate, key, file, words) in cases {
        let fault = OnDisk::of(certificate, key).load().unwrap_err();
        assert!(fault.file.ends_with(file), "{words}: {fault}");
        assert!(fault.to_string().contains(words), "{words}: {fault}");
    }
}

#[test]
fn a_fault_shows_nothing_of_the_key() {
    let Created { certificate, key } = &created();
    let secret: Vec<&str> = key.lines().filter(|line| !line.starts_with('-')).collect();
    let broken = key.replacen("PRIVATE KEY-----\n", "PRIVATE KEY-----\nx", 1);
    let fault = OnDisk::of(certificate, &broken).load().unwrap_err();
    let shown = format!("{fault} {fault:?} {:?}", OnDisk::of(certificate, key).load().unwrap());
    assert!(secret.iter().all(|line| line.len() > 10 && !shown.contains(line)), "{shown}");
}

#[test]
fn a_ca_out_of_its_time_is_refused() {
    let ca = OnDisk::new();
    assert!(ca.load_at(now() - BACKDATING).is_ok() && ca.load_at(now() + 3650 * DAY).is_ok());
    let early = ca.load_at(now() - BACKDATING - Duration::from_secs(1)).unwrap_err().to_string();
    assert!(early.contains("ca.crt: is not valid before 2026-11-18"), "{early}");
    let late = ca.load_at(now() + 3650 * DAY + Duration::from_secs(1)).unwrap_err().to_string();
    assert!(late.contains("ca.crt: expired on 2036-11-15"), "{late}");
}

/// A CA made elsewhere, self-signed with `key`.
fn foreign(key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Result<Authority, Fault> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    Authority::assemble(certificate.into(), key, now()).map_err(|(_, fault)| fault)
}

fn p256() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

#[test]
fn what_may_not_sign_is_refused() {
    assert!(foreign(p256(), |_| ()).is_ok());
    let fault = foreign(p256(), |params| params.is_ca = IsCa::ExplicitNoCa).unwrap_err();
    assert!(matches!(fault, Fault::NotCa));
    let fault = foreign(p256(), |params| params.is_ca = IsCa::NoCa).unwrap_err();
    assert!(matches!(fault, Fault::NotX509 | Fault::NotCa), "{fault:?}");
    let fault = foreign(p256(), |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    assert!(matches!(fault.unwrap_err(), Fault::MayNotSign));
    let email = vec![ExtendedKeyUsagePurpose::EmailProtection];
    let fault = foreign(p256(), |params| params.extended_key_usages = email).unwrap_err();
    assert!(matches!(fault, Fault::NotForServers));
}

#[test]
fn subjects_that_leaves_cannot_name_are_refused() {
    let subject = |attributes: &[(DnType, DnValue)]| {
        let mut name = DistinguishedName::new();
        attributes.iter().for_each(|(kind, value)| name.push(kind.clone(), value.clone()));
        foreign(p256(), |params| params.distinguished_name = name)
    };
    let printable = DnValue::PrintableString(PrintableString::try_from("Plain (1)").unwrap());
    let domain = DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]);
    let plain = [(DnType::CountryName, printable.clone()), (domain, "example".into())];
    assert!(subject(&plain).is_ok());
    assert!(matches!(subject(&[]).unwrap_err(), Fault::UnusualSubject));
    let unknown = [(DnType::CustomDnType(vec![1, 2, 3, 4]), printable)];
    assert!(matches!(subject(&unknown).unwrap_err(), Fault::UnusualSubject));
    // A second O: the common name's type, 2.5.4.3, becomes 2.5.4.10.
    let twice = created_with_bytes(&[0x55, 0x04, 0x03], &[0x55, 0x04, 0x0a]);
    assert!(matches!(twice.unwrap_err(), Fault::UnusualSubject));
}

/// A CA whose certificate has `new` in place of each `old`; its signature, which nothing here checks,
/// is no longer right.
fn created_with_bytes(old: &[u8], new: &[u8]) -> Result<Authority, Fault> {
    let (certificate, key) = make(&plan(), now(), Serial([7; 16])).unwrap();
    let der = replace(certificate.der(), old, new);
    Authority::assemble(der, key, now()).map_err(|(_, fault)| fault)
}

/// `der` with `new` in place of each `old`, which has the same length and is there.
pub(in crate::tls) fn replace(der: &[u8], old: &[u8], new: &[u8]) -> CertificateDer<'static> {
    assert_eq!(old.len(), new.len());
    let mut bytes = der.to_vec();
    let places: Vec<usize> = memchr::memmem::find_iter(der, old).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| bytes[*at..*at + new.len()].copy_from_slice(new));
    bytes.into()
}

#[test]
fn keys_of_every_kind_are_read() {
    let kinds: [(_, &str); 5] = [
        (&PKCS_ECDSA_P256_SHA256, "ECDSA P-256"),
        (&PKCS_ECDSA_P384_SHA384, "ECDSA P-384"),
        (&PKCS_ECDSA_P521_SHA512, "ECDSA P-521"),
        (&PKCS_ED25519, "Ed25519"),
        (&PKCS_RSA_SHA256, "RSA, 2048 bits"),
    ];
    for (algorithm, words) in kinds {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let pem = key.serialize_pem();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let description =
            OnDisk::of(&certificate.pem(), &pem).load().unwrap().describe(now()).unwrap();
        assert_eq!(description.key, words);
        assert_eq!(
            description.constraints,
            "signs leaves and CAs (no pathlen), for any purpose (no extendedKeyUsage)"
        );
    }
}

#[test]
fn keys_in_their_old_forms_are_read() {
    let certificate_of = |key: &KeyPair| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertificateDer::from(params.self_signed(key).unwrap())
    };
    let p256 = p256();
    let pair =
        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, p256.serialized_der());
    let pair = pair.unwrap();
    let sec1: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
    let sec1 = PrivateKeyDer::from(PrivateSec1KeyDer::from(sec1.as_ref().to_vec()));
    assert!(Authority::new(certificate_of(&p256), &sec1, now()).is_ok());

    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    // PKCS #8 of an RSA key ends with PKCS #1 (RFC 8017 appendix A.1.2), which begins with a sequence
    // of a two-byte length and the version 0.
    let inner = memchr::memmem::rfind(rsa.serialized_der(), &[0x02, 0x01, 0x00, 0x02]).unwrap();
    let pkcs1 = rsa.serialized_der()[inner - 4..].to_vec();
    let pkcs1 = PrivateKeyDer::from(PrivatePkcs1KeyDer::from(pkcs1));
    assert!(Authority::new(certificate_of(&rsa), &pkcs1, now()).is_ok());

    let other = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(rsa.serialize_der()));
    let (half, fault) = Authority::new(certificate_of(&p256), &other, now()).unwrap_err();
    assert!(half == Half::Key && matches!(fault, Fault::KeyMismatch), "{fault}");
}

#[test]
fn what_the_encoder_panics_at_is_refused_before() {
    // A `?` is a character of PrintableString (X.680 §41.4).
    let mut name = DistinguishedName::new();
    let text = PrintableString::try_from("Plain.text").unwrap();
    name.push(DnType::CommonName, DnValue::PrintableString(text));
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = name;
    let key = p256();
    let certificate = params.self_signed(&key).unwrap();
    let der = replace(certificate.der(), b"Plain.text", b"Plain?text");
    let (_, fault) = Authority::assemble(der, key, now()).unwrap_err();
    assert!(matches!(fault, Fault::UnusualSubject), "{fault}");
}
