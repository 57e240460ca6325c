//! One large file with TLS on both legs, in one run: the pump of the relay, tokio's copy over the same
//! streams, and HAProxy in TCP mode, if it is installed.
//!
//! Over loopback TCP, each contender on one thread. What counts is the ratio: of the throughput, which
//! the peers limit as well where there are few processors, and of the contender's own processor time.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has to stop")]

use ftpgate::relay::{DataLeg, join_legs};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, Connection, RootCertStore, ServerConfig, StreamOwned, SupportedCipherSuite,
};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const NAME: &str = "ftp.example";
const MEBIBYTE: usize = 1 << 20;
/// Some seconds for the slowest contender.
const FILE: usize = 512 * MEBIBYTE;
const ROUNDS: usize = 5;
/// What the peers read and write at a time, so that they are not what is measured.
const PEER_BUFFER: usize = 256 * 1024;

/// The one certificate of this run, and who uses it.
struct Identity {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    pem: String,
}

impl Identity {
    /// Everybody speaks TLS 1.3 with `suite`.
    fn new(suite: SupportedCipherSuite) -> Self {
        let provider =
            CryptoProvider { cipher_suites: vec![suite], ..aws_lc_rs::default_provider() };
        let provider = Arc::new(provider);
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([NAME.into()]).unwrap();
        let chain: Vec<CertificateDer<'static>> = vec![cert.der().clone()];
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let pem = cert.pem() + &signing_key.serialize_pem();
        Self { server: Arc::new(server), client: Arc::new(client), pem }
    }
}

fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).unwrap()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Pump,
    Copy,
    Haproxy,
}

/// What one contender did with one file.
#[derive(Debug, Clone, Copy)]
struct Sample {
    rate: f64,
    /// Seconds of its own processor time.
    processor: f64,
}

fn main() {
    for suite in [TLS13_AES_256_GCM_SHA384, TLS13_AES_128_GCM_SHA256] {
        measure(suite);
    }
}

fn measure(suite: SupportedCipherSuite) {
    let identity = Identity::new(suite);
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let haproxy = Haproxy::start(&identity, server.local_addr().unwrap());
    let mut contenders = vec![Contender::Pump, Contender::Copy];
    match haproxy {
        Some(_) => contenders.push(Contender::Haproxy),
        None => eprintln!("SKIPPED haproxy: it is not installed"),
    }
    let mut samples: Vec<(Contender, Sample)> = Vec::new();
    for round in 0..ROUNDS {
        for at in 0..contenders.len() {
            let contender = contenders[(at + round) % contenders.len()];
            let sample = match (contender, &haproxy) {
                (Contender::Haproxy, Some(haproxy)) => haproxy.carry(&identity, &server),
                _ => carry(contender, &identity, &server),
            };
            samples.push((contender, sample));
        }
    }
    println!("{:?}", suite.suite());
    println!("{:<10} {:>10} {:>16}", "", "MiB/s", "processor s/GiB");
    for contender in contenders {
        let median = |what: fn(&Sample) -> f64| {
            let own = samples.iter().filter(|(of, _)| *of == contender);
            let mut values: Vec<f64> = own.map(|(_, sample)| what(sample)).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (rate, processor) = (median(|sample| sample.rate), median(|sample| sample.processor));
        println!("{:<10} {rate:>10.0} {processor:>16.3}", format!("{contender:?}").to_lowercase());
    }
}

/// One file by a contender of this process.
fn carry(contender: Contender, identity: &Identity, server: &TcpListener) -> Sample {
    let entry = TcpListener::bind("127.0.0.1:0").unwrap();
    let (to, by) = (server.local_addr().unwrap(), entry.local_addr().unwrap());
    let (accepting, connecting) = (Arc::clone(&identity.server), Arc::clone(&identity.client));
    let gateway = thread::Builder::new().name(format!("{contender:?}").to_lowercase());
    let gateway = gateway.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            entry.set_nonblocking(true).unwrap();
            let entry = tokio::net::TcpListener::from_std(entry).unwrap();
            let (client, _) = entry.accept().await.unwrap();
            let server = tokio::net::TcpStream::connect(to).await.unwrap();
            let (mut client, mut server) = tokio::try_join!(
                tokio_rustls::TlsAcceptor::from(accepting).accept(client),
                tokio_rustls::TlsConnector::from(connecting).connect(name(), server),
            )
            .unwrap();
            if contender == Contender::Copy {
                tokio::io::copy_bidirectional(&mut client, &mut server).await.unwrap();
                return;
            }
            let (client, accepted) = client.into_inner();
            let (server, connected) = server.into_inner();
            let client = DataLeg::secured(client, Connection::Server(accepted));
            let server = DataLeg::secured(server, Connection::Client(connected));
            let (outcome, bytes) = join_legs(
                client,
                server,
                std::future::ready(()),
                Duration::from_secs(60),
                Arc::default(),
            )
            .await;
            assert_eq!((outcome.label(), bytes.download), ("completed", FILE as u64));
        });
        thread_time()
    });
    let gateway = gateway.unwrap();
    let took = download(identity, server, by);
    Sample { rate: rate(took), processor: gateway.join().unwrap() / gibibytes() }
}

/// A file from the server, through whatever listens at `by`, to a client.
fn download(identity: &Identity, server: &TcpListener, by: SocketAddr) -> Duration {
    let config = Arc::clone(&identity.server);
    let server = server.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let (stream, _) = server.accept().unwrap();
        let connection = rustls::ServerConnection::new(config).unwrap();
        let mut stream = StreamOwned::new(connection, Buffered::new(stream));
        stream.conn.set_buffer_limit(None);
        let part = vec![0x5a; PEER_BUFFER];
        for _ in 0..FILE / part.len() {
            stream.write_all(&part).unwrap();
        }
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        stream.sock.stream.shutdown(std::net::Shutdown::Write).unwrap();
        // The answer to it.
        let _ = stream.read(&mut [0; 64]);
    });
    let connection = rustls::ClientConnection::new(Arc::clone(&identity.client), name()).unwrap();
    let stream = TcpStream::connect(by).unwrap();
    let mut stream = StreamOwned::new(connection, Buffered::new(stream));
    let mut buffer = vec![0; PEER_BUFFER];
    stream.read_exact(&mut buffer[..1]).unwrap();
    let (started, mut received) = (Instant::now(), 1);
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            count => received += count,
        }
    }
    let took = started.elapsed();
    assert_eq!(received, FILE);
    stream.conn.send_close_notify();
    let _ = stream.flush();
    drop(stream);
    sender.join().unwrap();
    took
}

fn gibibytes() -> f64 {
    FILE as f64 / (1024 * MEBIBYTE) as f64
}

fn rate(took: Duration) -> f64 {
    FILE as f64 / MEBIBYTE as f64 / took.as_secs_f64()
}

/// Processor time of this thread.
fn thread_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists since Linux 2.6.12, and `time` is writable.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A socket that is read in large parts.
struct Buffered {
    stream: TcpStream,
    buffer: Box<[u8]>,
    filled: std::ops::Range<usize>,
}

impl Buffered {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; PEER_BUFFER].into(), filled: 0..0 }
    }
}

impl Read for Buffered {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.filled.is_empty() {
            self.filled = 0..self.stream.read(&mut self.buffer)?;
        }
        let count = (&self.buffer[self.filled.clone()]).read(into)?;
        self.filled.start += count;
        Ok(count)
    }
}

impl Write for Buffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// HAProxy with one thread; stopped when dropped.
struct Haproxy {
    process: Child,
    entry: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Haproxy {
    fn start(identity: &Identity, to: SocketAddr) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (pem, config) = (folder.path().join("own.pem"), folder.path().join("haproxy.cfg"));
        std::fs::write(&pem, &identity.pem).unwrap();
        let entry = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!(
            "global\n nbthread 1\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n \
             timeout server 60s\nlisten data\n bind {entry} ssl crt {}\n server far {to} ssl \
             verify none\n",
            pem.display()
        );
        std::fs::write(&config, text).unwrap();
        let process = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let started = Self { process, entry, _folder: folder };
        for _ in 0..100 {
            if TcpStream::connect(entry).is_ok() {
                return Some(started);
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("haproxy does not listen");
    }

    fn carry(&self, identity: &Identity, server: &TcpListener) -> Sample {
        let before = self.processor();
        let took = download(identity, server, self.entry);
        Sample { rate: rate(took), processor: (self.processor() - before) / gibibytes() }
    }

    /// Seconds of processor time, from the fields 14 and 15 of proc_pid_stat(5).
    fn processor(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
        fields.map(|field| field.parse::<f64>().unwrap()).sum::<f64>() / 100.0
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
