//! Names come from clients: what is no name is not signed.

use super::*;
use crate::tls::ca::tests::now;
use crate::tls::leaf::LIFE;
use crate::tls::leaf::tests::factory;
use proptest::prelude::*;
use rstest::rstest;
use rustls::pki_types::ServerName;
use x509_parser::prelude::{FromDer, X509Certificate};

fn address() -> IpAddr {
    "::ffff:198.51.100.1".parse().unwrap()
}

#[rstest]
#[case::name(Some("FTP.Example"), "ftp.example")]
#[case::root(Some("ftp.example."), "ftp.example")]
#[case::underscore(Some("my_host"), "my_host")]
#[case::none(None, "198.51.100.1")]
#[case::empty(Some(""), "198.51.100.1")]
#[case::root_alone(Some("."), "198.51.100.1")]
#[case::wildcard(Some("*.example"), "198.51.100.1")]
#[case::zero(Some("ftp.example\0.example"), "198.51.100.1")]
#[case::blank(Some("ftp example"), "198.51.100.1")]
#[case::umlaut(Some("für.example"), "198.51.100.1")]
#[case::address(Some("203.0.113.7"), "198.51.100.1")]
fn what_is_no_name_is_the_address(#[case] asked: Option<&str>, #[case] borne: &str) {
    let name = OwnName::new(asked, address());
    assert_eq!(name.to_string(), borne);
    let leaf = factory().issue_own(&name, now()).unwrap();
    let end_entity = webpki::EndEntityCert::try_from(&leaf.certified.cert[0]).unwrap();
    let looked_for = ServerName::try_from(borne).unwrap();
    end_entity.verify_is_valid_for_subject_name(&looked_for).unwrap();
    assert_eq!(leaf.not_after, now() + LIFE);
}

#[test]
fn a_long_name_is_no_common_name() {
    let long = ["a".repeat(60), "b".repeat(60), "example".to_owned()].join(".");
    for (asked, common) in [(long.as_str(), "ftpgate"), ("ftp.example", "ftp.example")] {
        let leaf = factory().issue_own(&OwnName::new(Some(asked), address()), now()).unwrap();
        let (_, x509) = X509Certificate::from_der(&leaf.certified.cert[0]).unwrap();
        assert_eq!(x509.subject().to_string(), format!("CN={common}"));
    }
    let longer = vec!["a".repeat(60); 5].join(".");
    assert_eq!(OwnName::new(Some(&longer), address()).to_string(), "198.51.100.1");
}

proptest! {
    #[test]
    fn whatever_is_asked_for_the_name_is_one(asked in ".{0,300}") {
        let name = OwnName::new(Some(&asked), address()).to_string();
        prop_assert!(name.len() <= 253);
        prop_assert!(ServerName::try_from(name.as_str()).is_ok(), "{}", name);
    }
}
