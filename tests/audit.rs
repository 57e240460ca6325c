//! The audit of a whole gateway on loopback: who, what and how much; and a password nowhere, neither
//! there nor in log or metrics.
//!
//! A binary of its own, since the log belongs to the whole process.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

use ftpgate::app;
use ftpgate::config::{CaFiles, ClientCertificates, Config, ListenerTls, TlsMode, TlsStart};
use ftpgate::tls::ca::{self, Plan, Serial};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing_subscriber::fmt::MakeWriter;

/// Bounds every wait for something that has to come.
const COMES_WITHIN: Duration = Duration::from_secs(10);

/// What no output may have.
const SECRET: &str = "s3cr3t";

/// What clients ask for with TLS.
const NAME: &str = "ftp.example";

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(COMES_WITHIN, what).await.expect("in time")
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A connection of the client, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Both ends of one session.
struct Peers {
    client: BufReader<Box<dyn Stream>>,
    server: BufReader<TcpStream>,
    /// What the client's connections are protected with.
    tls: Option<Arc<ClientConfig>>,
}

/// A connection of the client.
async fn dial(to: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Box<dyn Stream> {
    let stream = within(TcpStream::connect(to)).await.unwrap();
    let Some(config) = tls else { return Box::new(stream) };
    let name = ServerName::try_from(NAME).unwrap();
    Box::new(within(TlsConnector::from(Arc::clone(config)).connect(name, stream)).await.unwrap())
}

impl Peers {
    /// The client says `command`, the server hears it and answers, and the client hears that.
    async fn say(&mut self, command: &[u8], reply: &str) {
        if !command.is_empty() {
            within(self.client.write_all(&[command, b"\r\n"].concat())).await.unwrap();
            within(self.client.flush()).await.unwrap();
            let mut heard = Vec::new();
            within(self.server.read_until(b'\n', &mut heard)).await.unwrap();
            assert_eq!(heard, [command, b"\r\n"].concat());
        }
        within(self.server.write_all(format!("{reply}\r\n").as_bytes())).await.unwrap();
        let code = reply.split(' ').next().unwrap();
        assert!(self.hear().await.starts_with(code));
    }

    async fn hear(&mut self) -> String {
        let mut line = String::new();
        within(self.client.read_line(&mut line)).await.unwrap();
        line
    }

    /// EPSV, then a data connection for `command`, on which the client sends `upload`.
    async fn transfer(&mut self, command: &[u8], upload: &[u8], download: &[u8]) {
        let (data, address) = listen().await;
        within(self.client.write_all(b"EPSV\r\n")).await.unwrap();
        within(self.client.flush()).await.unwrap();
        within(self.server.read_line(&mut String::new())).await.unwrap();
        let reply = format!("229 ok (|||{}|)\r\n", address.port());
        within(self.server.write_all(reply.as_bytes())).await.unwrap();
        let port = self.hear().await.split('|').nth(3).unwrap().parse().unwrap();
        self.say(command, "150 here").await;
        let entry = SocketAddr::new(address.ip(), port);
        let mut client = dial(entry, self.tls.as_ref()).await;
        let mut server = within(data.accept()).await.unwrap().0;
        within(client.write_all(upload)).await.unwrap();
        within(client.shutdown()).await.unwrap();
        within(server.write_all(download)).await.unwrap();
        within(server.shutdown()).await.unwrap();
        within(client.read_to_end(&mut Vec::new())).await.unwrap();
        within(server.read_to_end(&mut Vec::new())).await.unwrap();
        self.say(b"", "226 done").await;
    }
}

/// What is served under `/metrics`.
async fn metrics(address: SocketAddr) -> String {
    let mut stream = within(TcpStream::connect(address)).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    within(stream.write_all(request)).await.unwrap();
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    text
}

/// The text of an audit, and its lines.
fn read(path: &Path) -> (String, Vec<Value>) {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (text, lines)
}

#[tokio::test]
async fn who_did_what_is_told_and_no_password() {
    let log = Captured::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false);
    subscriber.with_max_level(tracing::Level::TRACE).init();

    let (control, server_address) = listen().await;
    let (free, telemetry) = (listen().await.1, listen().await.1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut config = Config::for_server(free, &server_address.to_string()).unwrap();
    config.telemetry.listen = Some(telemetry);
    config.telemetry.audit.path = Some(path.clone());
    let gateway = app::start(&config, None).await.unwrap();

    let client = within(TcpStream::connect(free)).await.unwrap();
    let client_address = client.local_addr().unwrap();
    let server = BufReader::new(within(control.accept()).await.unwrap().0);
    let mut peers = Peers { client: BufReader::new(Box::new(client)), server, tls: None };
    peers.say(b"", "220 ready").await;
    peers.say(b"USER anna", "331 password").await;
    peers.say(format!("PASS {SECRET}").as_bytes(), "332 account").await;
    peers.say(format!("ACCT {SECRET}").as_bytes(), "230 in").await;
    // A listener of another host: refused by the gateway itself.
    within(peers.client.write_all(b"PORT 192,0,2,99,200,1\r\n")).await.unwrap();
    assert!(peers.hear().await.starts_with('5'));
    peers.transfer(b"STOR caf\xe9\x1b[2J\".txt", b"12345", b"").await;
    peers.transfer("RETR /höme/a b".as_bytes(), b"", b"1234567").await;
    // Another password, of one who is in already.
    peers.say(format!("PASS {SECRET}").as_bytes(), "230 still").await;
    peers.say(b"QUIT", "221 bye").await;
    let exposition = metrics(telemetry).await;
    drop(peers);
    within(gateway.shutdown()).await;

    let (text, lines) = read(&path);
    for line in &lines {
        assert_eq!(line["listener"], "main");
        assert_eq!(line["client"], client_address.to_string());
        assert_eq!(line["server"], server_address.to_string());
        assert_eq!(line["user"], "anna", "{line}");
        assert_eq!(line["control"], "clear");
    }
    // The news of a data connection may come a moment later than what is said of it.
    let mut events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    events.sort_unstable();
    assert_eq!(events, ["login", "refusal", "session_end", "transfer", "transfer"]);
    let find = |key: &str, value: &str| lines.iter().find(|line| line[key] == value).unwrap();
    assert_eq!(find("event", "refusal")["reason"], "third_party_address");
    assert_eq!(find("event", "session_end")["reason"], "quit");
    for (verb, path, upload, download) in
        [("STOR", r#"caf\xe9\x1b[2J".txt"#, 5, 0), ("RETR", "/höme/a b", 0, 7)]
    {
        let line = find("verb", verb);
        assert_eq!(line["path"], path);
        assert_eq!((&line["upload"], &line["download"]), (&upload.into(), &download.into()));
        assert_eq!((&line["outcome"], &line["protection"]), (&"completed".into(), &"clear".into()));
        assert_eq!(line["data_path"], "relay");
    }

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains(r#"verb="PASS""#), "{log}");
    let counted = "ftpgate_audit_lines_total{outcome=\"lost\",place=\"file\"} 0";
    assert!(exposition.contains(counted), "{exposition}");
    for (name, output) in [("audit", &text), ("log", &log), ("metrics", &exposition)] {
        assert!(!output.contains(SECRET), "{name}: {output}");
    }
    for (name, output) in [("log", &log), ("metrics", &exposition)] {
        for told in ["anna", "bella", "caf", "höme", "q3.csv"] {
            assert!(!output.contains(told), "{told} in the {name}: {output}");
        }
    }
}

/// A client's certificate, its key, and in `folder` the file of who signs such.
fn client_certificate(folder: &Path) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    std::fs::write(folder.join("clients.pem"), authority.pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "carla,CN=root\u{1b}");
    let certificate = params.signed_by(&key, &issuer).unwrap();
    (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

#[tokio::test]
async fn what_is_inside_tls_that_ends_here_is_told_and_who_showed_which_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan { name: "local CA".to_owned(), days: 1 };
    let created = ca::create(&plan, SystemTime::now(), Serial::random().unwrap()).unwrap();
    let files = ca::files::write(folder.path(), &created).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.certificate).unwrap()).unwrap();
    let (certificate, key) = client_certificate(folder.path());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.unwrap().with_root_certificates(roots);
    let tls = Arc::new(tls.with_client_auth_cert(vec![certificate], key).unwrap());

    let (control, server_address) = listen().await;
    let free = listen().await.1;
    let mut config = Config::for_server(free, &server_address.to_string()).unwrap();
    config.listeners[0].tls = ListenerTls {
        mode: TlsMode::Offload,
        client_start: TlsStart::Implicit,
        client_certificates: ClientCertificates::Require,
        required: true,
        ..ListenerTls::default()
    };
    config.tls.ca = CaFiles { certificate: files.certificate, key: files.key };
    config.tls.client_roots = Some(folder.path().join("clients.pem"));
    let path = folder.path().join("audit.jsonl");
    config.telemetry.audit.path = Some(path.clone());
    let gateway = app::start(&config, None).await.unwrap();

    let client = BufReader::new(dial(free, Some(&tls)).await);
    let server = BufReader::new(within(control.accept()).await.unwrap().0);
    let mut peers = Peers { client, server, tls: Some(tls) };
    peers.say(b"", "220 ready").await;
    peers.say(b"USER bella", "331 password").await;
    peers.say(format!("PASS {SECRET}").as_bytes(), "230 in").await;
    for command in ["PBSZ 0\r\n", "PROT P\r\n"] {
        within(peers.client.write_all(command.as_bytes())).await.unwrap();
        within(peers.client.flush()).await.unwrap();
        assert!(peers.hear().await.starts_with("200"));
    }
    peers.transfer(b"RETR q3.csv", b"", b"1234567").await;
    peers.say(b"QUIT", "221 bye").await;
    drop(peers);
    within(gateway.shutdown()).await;

    let (text, lines) = read(&path);
    assert!(!text.contains(SECRET), "{text}");
    let find = |key: &str, value: &str| {
        let found = lines.iter().find(|line| line[key] == value);
        found.unwrap_or_else(|| panic!("{value} is not in {text}"))
    };
    for event in ["login", "transfer", "session_end"] {
        let line = find("event", event);
        assert_eq!((&line["user"], &line["control"]), (&"bella".into(), &"terminated".into()));
    }
    for line in &lines {
        assert_eq!(line["certificate"], r"CN=carla\\,CN\\=root\x1b");
    }
    let transfer = find("verb", "RETR");
    assert_eq!((&transfer["path"], &transfer["download"]), (&"q3.csv".into(), &7.into()));
    assert_eq!(transfer["protection"], "private");
    for (connection, asked) in [("control", Some(NAME)), ("data", None)] {
        let handshake = find("connection", connection);
        assert_eq!(handshake.get("server_name").and_then(Value::as_str), asked);
        assert_eq!((&handshake["event"], &handshake["side"]), (&"tls".into(), &"client".into()));
        assert_eq!(
            (&handshake["outcome"], &handshake["version"]),
            (&"completed".into(), &"1.3".into())
        );
    }
}

#[tokio::test]
async fn a_gateway_whose_audit_cannot_be_written_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not/there");
    let mut config = Config::for_server(listen().await.1, "192.0.2.10:21").unwrap();
    config.telemetry.audit.path = Some(path.clone());
    let Err(error) = app::start(&config, None).await else { panic!("started") };
    let told = format!("{error:#}");
    assert!(told.contains("telemetry.audit.path"), "{told}");
    assert!(told.contains(&*path.to_string_lossy()) && told.contains("No such file"), "{told}");
}
