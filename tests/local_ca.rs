//! The local CA as its owner meets it: the command, its files, its words; and OpenSSL's opinion of what
//! is issued.

#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use ftpgate::tls::ca::Authority;
use ftpgate::tls::leaf::{LeafFactory, SignedBy};
use rcgen::{CertificateParams, KeyPair};
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;
use tempfile::TempDir;

/// Exit code, output and complaints of a command.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(command: &mut Command) -> Result<Self, std::io::Error> {
        let output = command.output()?;
        Ok(Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        })
    }

    #[track_caller]
    fn well(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    #[track_caller]
    fn badly(self, code: i32, words: &[&str]) -> String {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{}", self.err);
        for word in words {
            assert!(self.err.contains(word), "{word}: {}", self.err);
        }
        self.err
    }
}

fn ftpgate(arguments: &[&dyn AsRef<OsStr>]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftpgate"));
    Said::of(command.args(arguments.iter().map(AsRef::as_ref))).unwrap()
}

fn init(directory: &Path) -> Said {
    ftpgate(&[&"ca", &"init", &"--dir", &directory])
}

fn show(directory: &Path) -> Said {
    ftpgate(&[&"ca", &"show", &"--dir", &directory])
}

/// A directory with a CA in it.
fn with_ca() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    init(directory.path()).well();
    directory
}

#[track_caller]
fn line<'a>(text: &'a str, head: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(head)).unwrap_or_else(|| panic!("{text}")).trim()
}

#[test]
fn a_ca_is_made_and_shown() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("not/there/yet");
    let made = init(&directory).well();
    let mode = |name: &str| fs::metadata(directory.join(name)).unwrap().permissions().mode();
    assert_eq!((mode("ca.crt") & 0o777, mode("ca.key") & 0o777), (0o644, 0o600));
    assert!(made.contains("tls.mode intercept or offload uses it"), "{made}");

    let shown = show(&directory).well();
    assert_eq!(line(&shown, "SHA-256"), line(&made, "SHA-256"));
    assert!(line(&shown, "subject").starts_with("O=ftpgate, CN=local CA"), "{shown}");
    // Some of the last day has passed.
    assert!(line(&shown, "valid").ends_with("(3649 days left)"), "{shown}");
    assert_eq!(line(&shown, "key"), "ECDSA P-256");
    for words in
        ["update-ca-certificates", "update-ca-trust", "--cacert", "ssl:ca-file", "RACDCERT"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let key = fs::read_to_string(directory.join("ca.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    assert!(!made.contains(secret) && !shown.contains(secret));
}

#[test]
fn name_and_days_are_the_owners() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    ftpgate(&[&"ca", &"init", &"--dir", &path, &"--days", &"30", &"--name", &"Tor 3, Köln"]).well();
    let shown = show(path).well();
    assert_eq!(line(&shown, "subject"), "O=ftpgate, CN=Tor 3, Köln");
    assert!(line(&shown, "valid").ends_with("(29 days left)"), "{shown}");
}

#[test]
fn a_ca_is_never_overwritten() {
    let directory = with_ca();
    let files = ["ca.crt", "ca.key"].map(|name| directory.path().join(name));
    let before = files.each_ref().map(|file| fs::read(file).unwrap());
    let err = init(directory.path()).badly(1, &["ca.key: exists already", "another directory"]);
    assert_eq!(err.lines().count(), 1, "{err}");
    fs::remove_file(&files[1]).unwrap();
    init(directory.path()).badly(1, &["ca.crt: exists already"]);
    assert_eq!(fs::read(&files[0]).unwrap(), before[0]);
    assert!(!files[1].exists());
}

#[test]
fn what_cannot_be_used_is_told_with_the_next_step() {
    let directory = with_ca();
    let [certificate, key] = ["ca.crt", "ca.key"].map(|name| directory.path().join(name));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    show(directory.path()).badly(1, &["ca.key: can be read by others", "0644", "chmod 600"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    let other = with_ca();
    fs::copy(other.path().join("ca.crt"), &certificate).unwrap();
    show(directory.path()).badly(1, &["ca.key: is not the key of the certificate"]);
    fs::write(&certificate, "").unwrap();
    show(directory.path()).badly(1, &["ca.crt: holds no certificate in PEM form"]);
    fs::remove_file(&certificate).unwrap();
    show(directory.path()).badly(1, &["ca.crt: does not exist", "ftpgate ca init"]);
}

#[test]
fn usage_and_configuration_are_two() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    ftpgate(&[&"ca", &"init"]).badly(2, &["--dir"]);
    ftpgate(&[&"ca", &"init", &"--dir", &path, &"--days", &"0"]).badly(2, &["--days"]);
    ftpgate(&[&"ca", &"init", &"--dir", &path, &"--name", &""]).badly(2, &["--name:", "1 to 64"]);
    ftpgate(&[&"ca", &"show", &"--dir", &path, &"--config", &"x"]).badly(2, &["--config"]);
    let file = path.join("bad.yaml");
    fs::write(&file, "listener: []\n").unwrap();
    ftpgate(&[&"ca", &"show", &"--config", &file]).badly(2, &["did you mean `listeners`?"]);
    assert_eq!(fs::read_dir(path).unwrap().count(), 1);
}

#[test]
fn the_ca_of_a_configuration_stands_beside_it() {
    let directory = with_ca();
    let file = directory.path().join("ftpgate.yaml");
    fs::write(&file, "listeners: [{ server: \"192.0.2.10:21\" }]\n").unwrap();
    let shown = ftpgate(&[&"ca", &"show", &"--config", &file]).well();
    assert_eq!(shown, show(directory.path()).well());
}

#[test]
fn the_ca_of_a_configuration_may_stand_elsewhere_under_other_names() {
    let directory = with_ca();
    for (from, to) in [("ca.crt", "own.pem"), ("ca.key", "own.key")] {
        fs::rename(directory.path().join(from), directory.path().join(to)).unwrap();
    }
    let other = tempfile::tempdir_in(directory.path()).unwrap();
    let file = other.path().join("ftpgate.yaml");
    let key = directory.path().join("own.key");
    let write = |certificate: &str| {
        let text = format!(
            "listeners: [{{ server: \"192.0.2.10:21\" }}]\ntls: {{ ca: {{ certificate: {certificate}, \
             key: \"{}\" }} }}\n",
            key.display()
        );
        fs::write(&file, text).unwrap();
    };
    write("../own.pem");
    let shown = ftpgate(&[&"ca", &"show", &"--config", &file]).well();
    assert_eq!(line(&shown, "certificate"), other.path().join("../own.pem").display().to_string());
    assert!(line(&shown, "private key").starts_with(&*key.to_string_lossy()), "{shown}");
    write("own.pem");
    let missing = other.path().join("own.pem").display().to_string();
    ftpgate(&[&"ca", &"show", &"--config", &file]).badly(1, &[&missing]);
}

/// OpenSSL has an opinion of its own on extensions, purposes and names.
#[test]
fn openssl_takes_a_leaf_for_a_server_and_for_nothing_else() {
    match Command::new("openssl").arg("version").output() {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!(
                "SKIPPED openssl_takes_a_leaf_for_a_server_and_for_nothing_else: no `openssl`"
            );
            return;
        }
        Err(error) => panic!("{error}"),
    }
    let directory = with_ca();
    let [ca, key] = ["ca.crt", "ca.key"].map(|name| directory.path().join(name));
    let now = SystemTime::now();
    let factory = LeafFactory::new(Authority::load(&ca, &key, now).unwrap(), now).unwrap();
    let names = ["ftp.example".to_owned(), "192.0.2.7".to_owned()];
    let server = CertificateParams::new(names).unwrap();
    let server = server.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let leaf = |by| {
        let leaf = factory.issue(server.der(), by, now).unwrap();
        let file = directory.path().join(format!("{by:?}.der"));
        fs::write(&file, &leaf.certified.cert[0]).unwrap();
        file
    };
    let verify = |leaf: &Path, arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["verify", "-x509_strict", "-CAfile"]).arg(&ca).args(arguments).arg(leaf);
        Said::of(&mut command).unwrap()
    };
    let local = leaf(SignedBy::LocalCa);
    for arguments in [
        &["-purpose", "sslserver", "-verify_hostname", "ftp.example"][..],
        &["-purpose", "sslserver", "-verify_ip", "192.0.2.7"],
    ] {
        verify(&local, arguments).well();
    }
    for (arguments, words) in [
        (&["-purpose", "sslclient"][..], "purpose"),
        (&["-purpose", "smimesign"], "purpose"),
        (&["-purpose", "sslserver", "-verify_hostname", "other.example"], "hostname mismatch"),
    ] {
        let said = verify(&local, arguments);
        assert!(said.code != 0 && said.err.to_lowercase().contains(words), "{words}: {}", said.err);
    }
    let untrusted = verify(&leaf(SignedBy::Untrusted), &["-purpose", "sslserver"]);
    assert!(untrusted.code != 0 && untrusted.err.contains("unable to get"), "{}", untrusted.err);

    // A certificate is of no use as a CA below this one: pathlen 0.
    let mut text = Command::new("openssl");
    let text = Said::of(text.args(["x509", "-noout", "-text", "-in"]).arg(&ca)).unwrap().well();
    for words in ["CA:TRUE, pathlen:0", "TLS Web Server Authentication", "Certificate Sign"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}
