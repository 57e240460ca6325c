//! The measuring client of `run.py`: one kind of work against one FTP server or gateway, one line of JSON out.
//!
//! It must never be what limits a figure: lines go out in one write each, answers are parsed in place, and the
//! bytes of a file are discarded inside the kernel (`recv` with `MSG_TRUNC`, tcp(7)), so that they are never
//! copied to user space. So are those of a large file in TLS, once the handshake is complete: nobody decrypts
//! them. It verifies nothing: who it talks to is known.
//!
//! ```text
//! beside_client file|small|noop|sessions|hold ADDR:PORT KEY=VALUE …
//!   user=NAME       login name, default `anonymous`
//!   seconds=S       stop after this time, default 1
//!   passive=V       `pasv` or `epsv`, default `pasv`
//!   parallel=N      sessions at a time (for `sessions` and `hold`), default 4
//!   sessions=N      how many are held (for `hold`), default 1
//!   tls=START       `explicit` or `implicit`: TLS 1.3 on all connections, default none
//!   cipher=NAME     the one suite that is offered, default TLS_AES_256_GCM_SHA384
//! ```
//!
//! `hold` keeps its sessions, says so in its line of JSON, and ends with its standard input.
//!
//! Not here: namespaces, peers, ratios (`run.py`); TLS by itself (`client/tls.rs`); active mode.

#[path = "client/tls.rs"]
mod tls;
#[path = "../support/verify_nothing.rs"]
mod verify_nothing;

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};
use tls::{Tls, Wire};

/// No answer within this time is a failed measurement; far above any queueing that two busy cores cause.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// The most that one `recv` discards: larger than any socket buffer, so that one call empties it.
const DISCARD_AT_ONCE: usize = 16 << 20;

/// The size of the files that `small` fetches; a shorter one is a failed measurement.
const SMALL_FILE_BYTES: u64 = 1024;

/// A greeting or a login takes at most this many lines before the peer is held to be no FTP server.
const REPLY_LINES: usize = 100;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [work, server, options @ ..] = arguments.as_slice() else {
        // `cargo bench` and `cargo test --all-targets` start every target once, without arguments.
        println!("beside_client: started by benches/beside/run.py");
        return Ok(());
    };
    let options = Options::parse(server, options)?;
    let json = match work.as_str() {
        "file" => one_large_file(&options)?,
        "small" => small_files(&options)?,
        "noop" => noop_round_trips(&options)?,
        "sessions" => sessions(&options)?,
        "hold" => return hold(&options),
        other => return Err(format!("unknown work {other:?}").into()),
    };
    println!("{json}");
    Ok(())
}

/// What the command line says.
struct Options {
    server: SocketAddr,
    user: String,
    time: Duration,
    extended: bool,
    parallel: usize,
    sessions: usize,
    tls: Option<Start>,
    cipher: String,
}

/// When the control connection goes over to TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// With AUTH TLS.
    Explicit,
    /// With its first byte.
    Implicit,
}

impl Options {
    fn parse(server: &str, words: &[String]) -> Outcome<Self> {
        let mut options = Self {
            server: server.parse()?,
            user: "anonymous".into(),
            time: Duration::from_secs(1),
            extended: false,
            parallel: 4,
            sessions: 1,
            tls: None,
            cipher: "TLS_AES_256_GCM_SHA384".into(),
        };
        for word in words {
            match word.split_once('=') {
                Some(("user", name)) => options.user = name.into(),
                Some(("seconds", seconds)) => {
                    options.time = Duration::from_secs_f64(seconds.parse()?)
                }
                Some(("passive", "pasv")) => options.extended = false,
                Some(("passive", "epsv")) => options.extended = true,
                Some(("parallel", count)) => options.parallel = count.parse()?,
                Some(("sessions", count)) => options.sessions = count.parse()?,
                Some(("tls", "explicit")) => options.tls = Some(Start::Explicit),
                Some(("tls", "implicit")) => options.tls = Some(Start::Implicit),
                Some(("cipher", name)) => options.cipher = name.into(),
                _ => return Err(format!("unknown option {word:?}").into()),
            }
        }
        Ok(options)
    }
}

/// Fetches `big` until it ends or the time is up. The clock runs from `RETR` to the last byte, since opening
/// the data connection is measured by `small`.
fn one_large_file(options: &Options) -> Outcome<String> {
    let mut session = Session::log_in(options)?;
    let data = session.open_data(options)?;
    let start = Instant::now();
    session.send("RETR big\r\n")?;
    let (data, _) = session.secure(data)?;
    let mut bytes = 0_u64;
    while start.elapsed() < options.time {
        match discard(data.tcp())? {
            0 => break,
            taken => bytes += taken,
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(format!(r#"{{"bytes": {bytes}, "seconds": {seconds:.6}}}"#))
}

/// Fetches `small` over and over in one session, one data connection each.
fn small_files(options: &Options) -> Outcome<String> {
    let mut session = Session::log_in(options)?;
    let start = Instant::now();
    let (mut files, mut resumed) = (0_u64, 0_u64);
    while start.elapsed() < options.time {
        let data = session.open_data(options)?;
        session.send("RETR small\r\n")?;
        let (data, is_resumed) = session.secure(data)?;
        session.expect(150)?;
        let bytes = match data {
            Wire::Clear(data) => discard_all(&data)?,
            Wire::Tls(data) => tls::read_all(*data)?,
        };
        session.expect(226)?;
        if bytes != SMALL_FILE_BYTES {
            return Err(format!("file {files} had {bytes} bytes").into());
        }
        files += 1;
        resumed += u64::from(is_resumed);
    }
    let seconds = start.elapsed().as_secs_f64();
    session.quit()?;
    Ok(format!(r#"{{"files": {files}, "resumed": {resumed}, "seconds": {seconds:.6}}}"#))
}

/// Round trips of `NOOP` in one session; reports the median and the 99th percentile in microseconds.
fn noop_round_trips(options: &Options) -> Outcome<String> {
    let mut session = Session::log_in(options)?;
    let mut trips = Vec::with_capacity(1 << 16);
    let start = Instant::now();
    while start.elapsed() < options.time {
        let sent = Instant::now();
        session.send("NOOP\r\n")?;
        session.expect(200)?;
        trips.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    session.quit()?;
    trips.sort_by(f64::total_cmp);
    let at = |share: usize| trips.get(trips.len() * share / 100).copied().unwrap_or(f64::NAN);
    let (median, tail, count) = (at(50), at(99), trips.len());
    Ok(format!(r#"{{"median_us": {median:.2}, "p99_us": {tail:.2}, "count": {count}}}"#))
}

/// Connect, log in, quit, `parallel` at a time. A session counts when its `221` arrives within the time.
fn sessions(options: &Options) -> Outcome<String> {
    let start = Instant::now();
    let counts = in_parallel(options, |_| {
        let mut done = 0;
        while start.elapsed() < options.time {
            Session::log_in(options)?.quit()?;
            done += 1;
        }
        Ok(done)
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let sessions: u64 = counts.into_iter().sum();
    Ok(format!(r#"{{"sessions": {sessions}, "seconds": {seconds:.6}}}"#))
}

/// Logs in `sessions` times and stays, until standard input ends.
fn hold(options: &Options) -> Outcome<()> {
    let held = in_parallel(options, |worker| {
        let own = (worker..options.sessions).step_by(options.parallel);
        own.map(|_| Session::log_in(options)).collect::<Outcome<Vec<_>>>()
    })?;
    println!(r#"{{"held": {}}}"#, held.iter().map(Vec::len).sum::<usize>());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Runs `work` in `parallel` threads, each with its number.
fn in_parallel<T: Send>(
    options: &Options,
    work: impl Fn(usize) -> Outcome<T> + Sync,
) -> Outcome<Vec<T>> {
    let work = &work;
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..options.parallel).map(|number| scope.spawn(move || work(number))).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Err("a worker panicked".into())))
            .collect()
    })
}

/// A logged-in control connection.
struct Session {
    control: BufReader<Wire>,
    line: String,
    /// What its data connections resume.
    tls: Option<Tls>,
}

impl Session {
    fn log_in(options: &Options) -> Outcome<Self> {
        let stream = TcpStream::connect_timeout(&options.server, ANSWER_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let tls = options.tls.map(|_| Tls::new(&options.cipher, options.server)).transpose()?;
        let control = BufReader::new(Wire::Clear(stream));
        let mut session = Self { control, line: String::new(), tls };
        if options.tls == Some(Start::Implicit) {
            session = session.over_tls()?;
        }
        session.expect(220)?;
        if options.tls == Some(Start::Explicit) {
            session.send("AUTH TLS\r\n")?;
            session.expect(234)?;
            session = session.over_tls()?;
        }
        session.send(&format!("USER {}\r\n", options.user))?;
        session.expect(331)?;
        session.send("PASS bench@example.com\r\n")?;
        session.expect(230)?;
        if session.tls.is_some() {
            session.send("PBSZ 0\r\n")?;
            session.expect(200)?;
            session.send("PROT P\r\n")?;
            session.expect(200)?;
        }
        Ok(session)
    }

    /// Goes on in TLS.
    fn over_tls(mut self) -> Outcome<Self> {
        let (Some(tls), Wire::Clear(stream)) = (&self.tls, self.control.into_inner()) else {
            return Err("TLS within TLS".into());
        };
        self.control = BufReader::new(Wire::Tls(Box::new(tls.connect(stream)?)));
        Ok(self)
    }

    /// What `data` becomes in this session, and whether its TLS was resumed. Not later than the 150: HAProxy dials
    /// the server, which sends it, when the client's handshake is complete.
    fn secure(&self, data: TcpStream) -> Outcome<(Wire, bool)> {
        let Some(tls) = &self.tls else { return Ok((Wire::Clear(data), false)) };
        let data = tls.connect(data)?;
        let is_resumed = tls::is_resumed(&data);
        Ok((Wire::Tls(Box::new(data)), is_resumed))
    }

    /// Asks for a passive data connection and dials it. The address of a 227 is used as written: a gateway that
    /// writes a wrong one must fail here.
    fn open_data(&mut self, options: &Options) -> Outcome<TcpStream> {
        let address = if options.extended {
            self.send("EPSV\r\n")?;
            self.expect(229)?;
            let port = self.line.split('|').nth(3).ok_or("229 without a port")?.parse()?;
            SocketAddr::new(self.control.get_ref().tcp().peer_addr()?.ip(), port)
        } else {
            self.send("PASV\r\n")?;
            self.expect(227)?;
            address_of_227(&self.line).ok_or_else(|| format!("not understood: {:?}", self.line))?
        };
        let data = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)
            .map_err(|error| format!("data connection to {address}: {error}"))?;
        data.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(data)
    }

    fn quit(mut self) -> Outcome<()> {
        self.send("QUIT\r\n")?;
        self.expect(221)?;
        // The server closes first: this keeps TIME-WAIT, and with it the client's ports, on its side. What it
        // sends after the 221 is no figure of this bench, nor is the way in which it closes.
        let _ = self.control.read(&mut [0; 64]);
        Ok(())
    }

    fn send(&mut self, line: &str) -> io::Result<()> {
        self.control.get_mut().write_all(line.as_bytes())
    }

    /// Reads one reply, multi-line included (RFC 959, section 4.2), and holds its last line in `self.line`.
    fn expect(&mut self, code: u16) -> Outcome<()> {
        let wanted = format!("{code} ");
        for _ in 0..REPLY_LINES {
            self.line.clear();
            if self.control.read_line(&mut self.line)? == 0 {
                return Err(format!("the control connection ended where {code} was due").into());
            }
            if self.line.starts_with(&wanted) {
                return Ok(());
            }
            let is_final = self.line.as_bytes().get(3) == Some(&b' ')
                && self.line.bytes().take(3).all(|byte| byte.is_ascii_digit());
            if is_final {
                return Err(format!("{code} was due, got {:?}", self.line).into());
            }
        }
        Err(format!("no end of the reply where {code} was due").into())
    }
}

/// The address in `227 … (h1,h2,h3,h4,p1,p2)`.
fn address_of_227(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once('(')?;
    let (numbers, _) = rest.split_once(')')?;
    let bytes: Vec<u8> = numbers.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
    let &[a, b, c, d, high, low] = bytes.as_slice() else { return None };
    Some(SocketAddr::new(IpAddr::from([a, b, c, d]), u16::from_be_bytes([high, low])))
}

/// Takes everything out of the socket and returns how much it was.
fn discard_all(stream: &TcpStream) -> io::Result<u64> {
    let mut bytes = 0;
    loop {
        match discard(stream)? {
            0 => return Ok(bytes),
            taken => bytes += taken,
        }
    }
}

/// Takes what has arrived out of the socket without copying it. Returns 0 at the end of the stream.
fn discard(stream: &TcpStream) -> io::Result<u64> {
    loop {
        // SAFETY: with MSG_TRUNC on a TCP socket the kernel writes nothing through the pointer (tcp(7)), so a
        // null one with any length is valid; the descriptor is open as long as `stream` is borrowed.
        let taken = unsafe {
            libc::recv(stream.as_raw_fd(), std::ptr::null_mut(), DISCARD_AT_ONCE, libc::MSG_TRUNC)
        };
        match u64::try_from(taken) {
            Ok(taken) => return Ok(taken),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}
