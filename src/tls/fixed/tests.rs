//! The certificate in use is the newest whole one.

use super::*;
use crate::tls::tests::*;
use rcgen::{CertificateParams, DnType, SanType};
use rstest::rstest;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

fn party(name: &str) -> Party {
    Party::self_signed(params(name))
}

fn opened(party: &Party) -> (TempDir, Arc<FixedCertificate>) {
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = party.write(directory.path());
    let fixed = FixedCertificate::open(&CertificateFiles { chain, key }).unwrap();
    (directory, Arc::new(fixed))
}

/// Makes the next question look at the files.
fn a_second_later(fixed: &FixedCertificate) {
    fixed.current().looked -= LOOK_EVERY;
}

async fn shown(fixed: &Arc<FixedCertificate>) -> CertificateDer<'static> {
    fixed.certified().await.cert[0].clone()
}

#[tokio::test]
async fn changed_files_are_read_again_but_not_within_a_second() {
    let (old, new) = (party("old.example"), party("new.example"));
    let (directory, fixed) = opened(&old);
    new.write(directory.path());
    let looked = fixed.current().looked;
    assert!(!fixed.is_look_due(looked + LOOK_EVERY / 2));
    // Late enough for a machine that is busy.
    fixed.current().looked = Instant::now() + 60 * LOOK_EVERY;
    assert_eq!(shown(&fixed).await, old.certificate);
    fixed.current().looked = Instant::now();
    a_second_later(&fixed);
    assert_eq!(shown(&fixed).await, new.certificate);
}

#[test]
fn a_renewed_certificate_is_known_without_a_session() {
    let not_after = |year: i32| {
        let mut params = params("ftp.example");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        Party::self_signed(params)
    };
    let (directory, fixed) = opened(&not_after(2090));
    let at = |days: u64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400));
    // Days from 1970 to the first of January of 2090 and of 2091.
    assert_eq!(fixed.not_after(), at(43_830));
    not_after(2091).write(directory.path());
    a_second_later(&fixed);
    assert_eq!(fixed.not_after(), at(44_195));
}

#[tokio::test]
async fn a_renamed_file_of_the_same_size_is_a_change() {
    let (old, new) = (party("old.example"), party("new.example"));
    let (directory, fixed) = opened(&old);
    let elsewhere = tempfile::tempdir_in(directory.path()).unwrap();
    let (chain, key) = new.write(elsewhere.path());
    fs::rename(chain, directory.path().join("own.crt")).unwrap();
    fs::rename(key, directory.path().join("own.key")).unwrap();
    a_second_later(&fixed);
    assert_eq!(shown(&fixed).await, new.certificate);
}

#[tokio::test]
async fn a_broken_pair_leaves_the_old_one_until_it_is_whole() {
    let (old, new) = (party("old.example"), party("new.example"));
    let (directory, fixed) = opened(&old);
    let (chain, key) = (directory.path().join("own.crt"), directory.path().join("own.key"));
    // As whoever renews it does: first the certificate, then the key.
    fs::write(&chain, &new.pem).unwrap();
    a_second_later(&fixed);
    assert_eq!(shown(&fixed).await, old.certificate);
    fs::remove_file(&key).unwrap();
    a_second_later(&fixed);
    assert_eq!(shown(&fixed).await, old.certificate);
    fs::write(&key, new.key.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    a_second_later(&fixed);
    assert_eq!(shown(&fixed).await, old.certificate, "readable by others");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    a_second_later(&fixed);
    assert_eq!(shown(&fixed).await, new.certificate);
}

#[test]
fn what_cannot_be_used_is_refused_with_the_file_and_what_to_do() {
    let party = party("ftp.example");
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = party.write(directory.path());
    let files = CertificateFiles { chain: chain.clone(), key: key.clone() };
    let says = |file: &Path, words: &str| {
        let fault = FixedCertificate::open(&files).unwrap_err().to_string();
        assert!(fault.starts_with(&format!("{}: ", file.display())), "{fault}");
        assert!(fault.contains(words), "{fault}");
        assert!(!fault.contains("ftpgate ca init"), "that makes no such file: {fault}");
    };
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    says(&key, "mode 0644");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, super::tests::party("ftp.example").key.serialize_pem()).unwrap();
    says(&key, "is not the key of the first certificate in ");
    fs::write(&key, "").unwrap();
    says(&key, "holds no private key");
    fs::remove_file(&key).unwrap();
    says(&key, "does not exist");
    fs::write(&chain, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    says(&chain, "cannot be read");
    fs::write(&chain, party.pem.repeat(17)).unwrap();
    says(&chain, "more than 16 certificates");
}

#[tokio::test]
async fn nothing_of_the_key_is_shown() {
    let party = party("ftp.example");
    let (_directory, fixed) = opened(&party);
    let shown = format!("{fixed:?} {:?}", fixed.certified().await);
    let secret = party.key.serialize_der();
    let middle = &secret[secret.len() / 3..][..8];
    let decimal = format!("{middle:?}");
    assert!(!shown.contains(decimal.trim_matches(['[', ']'])), "{shown}");
}

fn wildcard(params: &mut CertificateParams) {
    params.subject_alt_names = vec![SanType::DnsName("*.host.example".try_into().unwrap())];
}

fn common_name_only(params: &mut CertificateParams) {
    params.subject_alt_names.clear();
}

fn another_common_name(params: &mut CertificateParams) {
    params.distinguished_name.push(DnType::CommonName, "www.example");
}

#[rstest]
#[case::its_name(|_: &mut CertificateParams| {}, "ftp.example", true)]
#[case::another(|_: &mut CertificateParams| {}, "www.example", false)]
#[case::wildcard(wildcard, "www.host.example", true)]
#[case::wildcard_is_one_label(wildcard, "a.www.host.example", false)]
#[case::common_name(common_name_only, "FTP.example", true)]
#[case::other_than_common_name(common_name_only, "www.example", false)]
#[case::common_name_beside_names(another_common_name, "www.example", false)]
fn case_29_names(
    #[case] change: fn(&mut CertificateParams),
    #[case] asked: &str,
    #[case] is_borne: bool,
) {
    let mut params = params("ftp.example");
    change(&mut params);
    let party = Party::self_signed(params);
    let certified = rustls::sign::CertifiedKey::new(
        vec![party.certificate.clone()],
        rustls::crypto::aws_lc_rs::sign::any_supported_type(&party.secret()).unwrap(),
    );
    let checked = check_name(&certified, asked);
    assert_eq!(checked.is_ok(), is_borne);
    if let Err(failure) = checked {
        assert_eq!(failure.fault, TlsFault::UnrecognizedName);
    }
}
