//! Lists of roots: who may sign, and what is only trusted as it is.

use super::*;
use crate::tls::tests::*;
use rcgen::KeyUsagePurpose;
use std::fs;

fn listed(pem: &str) -> Result<Roots, SettingsFault> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roots.pem");
    fs::write(&file, pem).unwrap();
    Roots::listed_in(&file)
}

#[test]
fn cas_sign_and_all_are_listed() {
    let ca = Party::self_signed(ca_params("CA of a test"));
    let server = ca.sign(params("ftp.example"));
    let mut params = ca_params("may not sign");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let barren = Party::self_signed(params);
    let text = [&ca.pem, "a comment\n", &server.pem, &barren.pem].map(String::from).concat();
    let roots = listed(&text).unwrap();
    assert_eq!(roots.anchors.len(), 1);
    let sums = [&ca, &server, &barren].map(|party| words::sha256(&party.certificate));
    assert_eq!(roots.listed, HashSet::from(sums));
}

#[test]
fn a_certificate_that_cannot_be_read_is_named_by_its_place() {
    let ca = Party::self_signed(ca_params("CA of a test"));
    for broken in ["MAA=", "not base64!"] {
        let block = format!("-----BEGIN CERTIFICATE-----\n{broken}\n-----END CERTIFICATE-----\n");
        let fault = listed(&(ca.pem.clone() + &block)).unwrap_err().to_string();
        assert!(fault.contains("roots.pem: ") && fault.contains("the 2. in the file"), "{fault}");
    }
}

#[test]
fn files_are_bounded() {
    let ca = Party::self_signed(ca_params("CA of a test"));
    let long = ca.pem + &" ".repeat(MOST_ROOT_BYTES);
    assert!(listed(&long).unwrap_err().to_string().contains("too long"));
}

#[test]
fn a_directory_is_no_list() {
    let directory = tempfile::tempdir().unwrap();
    let fault = Roots::listed_in(directory.path()).unwrap_err();
    assert!(matches!(fault.fault, MaterialFault::NotAFile), "{fault}");
}
