//! A small FTP server (RFC 959, RFC 2428, RFC 3659 §3 and §4 for SIZE) with its files in memory,
//! for the demo and for tests.
//!
//! Any login is good. Data connections go to and come from the address of the control connection
//! only, as with vsftpd and ProFTPD by default: behind a gateway a transfer succeeds only if the
//! data connection comes from the address that the server already knows.
//!
//! Not here: directories, TLS, ASCII conversion (TYPE A is accepted and changes nothing).

use crate::demo::dialogue::{Dialogue, PATIENCE, Record};
use crate::ftp::{format_port, parse_eprt, parse_port};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How long a session may say nothing.
const IDLE: Duration = Duration::from_secs(300);

/// Largest file taken, in bytes: room for any experiment, and a bound on memory.
const MAX_FILE: usize = 64 << 20;

/// Most files kept, for the same reason.
const MAX_FILES: usize = 32;

/// Most commands that may wait for the end of a transfer.
const MAX_WAITING: usize = 100;

/// The files of a server, by name. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Files(Arc<Mutex<BTreeMap<String, Arc<Vec<u8>>>>>);

impl Files {
    /// The content of a file.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Vec<u8>>> {
        self.lock().get(plain_name(name)).cloned()
    }

    /// Adds or replaces a file. False if there are too many.
    pub(super) fn put(&self, name: &str, content: Vec<u8>) -> bool {
        let mut files = self.lock();
        let room = files.len() < MAX_FILES || files.contains_key(plain_name(name));
        if room {
            files.insert(plain_name(name).to_owned(), Arc::new(content));
        }
        room
    }

    /// Names and lengths, in order of name.
    fn list(&self) -> Vec<(String, usize)> {
        self.lock().iter().map(|(name, content)| (name.clone(), content.len())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Vec<u8>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// There is one directory: `/a` and `a` are one file.
fn plain_name(name: &str) -> &str {
    name.trim_start_matches('/')
}

/// A listening server.
#[derive(Debug)]
pub(super) struct Server {
    listener: TcpListener,
    files: Files,
    record: Record,
}

impl Server {
    /// Listens on `address`; `record` receives what is said in every session.
    ///
    /// # Errors
    ///
    /// What the socket says.
    pub(super) async fn bind(
        address: SocketAddr,
        files: Files,
        record: Record,
    ) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, files, record })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until dropped.
    pub(super) async fn run(self) {
        while let Ok((stream, _)) = self.listener.accept().await {
            let (files, record) = (self.files.clone(), self.record.clone());
            tokio::spawn(async move {
                // A lost peer ends its own session and nothing else.
                if let Ok(dialogue) = Dialogue::new(stream, record) {
                    let _ = Session::new(dialogue, files).serve().await;
                }
            });
        }
    }
}

/// How the next data connection comes about.
#[derive(Debug)]
enum NextData {
    /// Neither PASV nor PORT was said.
    None,
    /// The client will dial.
    Await(TcpListener),
    /// The client listens.
    Dial(SocketAddr),
}

/// What a transfer command does once the data connection stands.
enum Transfer {
    Send(Arc<Vec<u8>>, usize),
    Receive(String),
}

struct Session {
    dialogue: Dialogue,
    files: Files,
    data: NextData,
    restart_at: usize,
    /// What the client said during a transfer.
    waiting: VecDeque<String>,
}

impl Session {
    fn new(dialogue: Dialogue, files: Files) -> Self {
        Self { dialogue, files, data: NextData::None, restart_at: 0, waiting: VecDeque::new() }
    }

    async fn serve(mut self) -> io::Result<()> {
        self.dialogue.write_line("220 ftpgate demo server").await?;
        while let Some(line) = self.next_line().await? {
            let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
            let verb = verb.to_ascii_uppercase();
            if verb == "QUIT" {
                return self.dialogue.write_line("221 Goodbye").await;
            }
            match self.transfer_of(&verb, argument) {
                Some(Ok(transfer)) => self.run_transfer(transfer).await?,
                Some(Err(refusal)) => self.dialogue.write_line(refusal).await?,
                None => self.answer(&verb, argument).await?,
            }
            if verb != "REST" {
                self.restart_at = 0;
            }
        }
        Ok(())
    }

    async fn next_line(&mut self) -> io::Result<Option<String>> {
        match self.waiting.pop_front() {
            Some(line) => Ok(Some(line)),
            None => timeout(IDLE, self.dialogue.read_line()).await?,
        }
    }

    /// The transfer that a command asks for; `None` if it asks for none.
    fn transfer_of(&self, verb: &str, argument: &str) -> Option<Result<Transfer, &'static str>> {
        let transfer = match verb {
            "RETR" => match self.files.get(argument) {
                Some(content) if self.restart_at <= content.len() => {
                    Transfer::Send(content, self.restart_at)
                }
                Some(_) => return Some(Err("554 Restart point beyond the end")),
                None => return Some(Err("550 No such file")),
            },
            "STOR" if plain_name(argument).is_empty() => {
                return Some(Err("501 A file name, please"));
            }
            "STOR" => Transfer::Receive(argument.to_owned()),
            "LIST" | "NLST" => {
                let entries = self.files.list().into_iter().map(|(name, length)| match verb {
                    "LIST" => format!("-rw-r--r-- 1 ftp ftp {length:>10} Jan  1  2026 {name}\r\n"),
                    _ => format!("{name}\r\n"),
                });
                Transfer::Send(Arc::new(entries.collect::<String>().into_bytes()), 0)
            }
            _ => return None,
        };
        Some(Ok(transfer))
    }

    /// Answers a command that moves no data.
    async fn answer(&mut self, verb: &str, argument: &str) -> io::Result<()> {
        let reply = match verb {
            "USER" => "331 Any password will do".to_owned(),
            "PASS" => "230 Welcome".to_owned(),
            "SYST" => "215 UNIX Type: L8".to_owned(),
            "TYPE" => "200 Type set".to_owned(),
            "NOOP" => "200 Well".to_owned(),
            "PWD" => "257 \"/\" is the only directory".to_owned(),
            "CWD" if argument == "/" => "250 Still there".to_owned(),
            "CWD" => "550 / is the only directory".to_owned(),
            "ABOR" => "226 Nothing to abort".to_owned(),
            "FEAT" => {
                "211-Features:\r\n EPRT\r\n EPSV\r\n PASV\r\n REST STREAM\r\n SIZE\r\n211 End"
                    .to_owned()
            }
            "SIZE" => match self.files.get(argument) {
                Some(content) => format!("213 {}", content.len()),
                None => "550 No such file".to_owned(),
            },
            "REST" => match argument.parse() {
                Ok(offset) => {
                    self.restart_at = offset;
                    format!("350 Restarting at {offset}")
                }
                Err(_) => "501 A number, please".to_owned(),
            },
            "PASV" | "EPSV" => self.listen(verb == "PASV").await?,
            "PORT" | "EPRT" => {
                let named = match verb {
                    "PORT" => parse_port(argument.as_bytes()).map(SocketAddr::V4).ok(),
                    _ => parse_eprt(argument.as_bytes()).map(|told| told.address).ok(),
                };
                self.await_dial(named)?
            }
            _ => "502 Not in this server".to_owned(),
        };
        self.dialogue.write_line(&reply).await
    }

    async fn listen(&mut self, in_ipv4: bool) -> io::Result<String> {
        let own = self.dialogue.local()?.ip().to_canonical();
        let listener = TcpListener::bind(SocketAddr::new(own, 0)).await?;
        let port = listener.local_addr()?.port();
        let reply = match own {
            _ if !in_ipv4 => format!("229 Entering Extended Passive Mode (|||{port}|)"),
            IpAddr::V4(own) => {
                format!("227 Entering Passive Mode ({})", format_port(SocketAddrV4::new(own, port)))
            }
            IpAddr::V6(_) => return Ok("425 PASV is for IPv4; use EPSV".to_owned()),
        };
        self.data = NextData::Await(listener);
        Ok(reply)
    }

    fn await_dial(&mut self, named: Option<SocketAddr>) -> io::Result<String> {
        let peer = self.dialogue.peer()?.ip().to_canonical();
        Ok(match named {
            None => "501 Not an address".to_owned(),
            Some(named) if named.ip().to_canonical() != peer => {
                "504 That is not the address that you come from".to_owned()
            }
            Some(named) => {
                self.data = NextData::Dial(named);
                "200 Well".to_owned()
            }
        })
    }

    /// Runs one transfer. ABOR ends it; whatever else the client says meanwhile waits its turn.
    async fn run_transfer(&mut self, transfer: Transfer) -> io::Result<()> {
        let data = std::mem::replace(&mut self.data, NextData::None);
        if matches!(data, NextData::None) {
            return self.dialogue.write_line("425 PASV or PORT first").await;
        }
        self.dialogue.write_line("150 Here it comes").await?;
        let ends = Ends {
            own: self.dialogue.local()?.ip().to_canonical(),
            peer: self.dialogue.peer()?.ip().to_canonical(),
            record: self.dialogue.record().clone(),
        };
        let mut running = std::pin::pin!(carry(data, ends, transfer, self.files.clone()));
        let reply = loop {
            tokio::select! {
                reply = &mut running => break reply,
                line = self.dialogue.read_line() => match line? {
                    Some(line) if line.eq_ignore_ascii_case("ABOR") => {
                        self.dialogue.write_line("426 Transfer aborted").await?;
                        break "226 Abort done";
                    }
                    Some(line) if self.waiting.len() < MAX_WAITING => {
                        self.waiting.push_back(line);
                    }
                    Some(_) | None => return Ok(()),
                },
            }
        };
        self.dialogue.write_line(reply).await
    }
}

/// Between whom a data connection may be, and where it is noted.
struct Ends {
    own: IpAddr,
    peer: IpAddr,
    record: Record,
}

/// Opens the data connection, moves the data, and returns the reply.
async fn carry(data: NextData, ends: Ends, transfer: Transfer, files: Files) -> &'static str {
    let Ok(Ok(stream)) = timeout(PATIENCE, open(data, &ends)).await else {
        return "425 No data connection";
    };
    let outcome = match transfer {
        Transfer::Send(content, from) => send(stream, content.get(from..).unwrap_or(&[])).await,
        Transfer::Receive(name) => match receive(stream).await {
            Ok(content) => match files.put(&name, content) {
                true => Ok(()),
                false => return "552 Too many files",
            },
            Err(error) => Err(error),
        },
    };
    match outcome {
        Ok(()) => "226 Done",
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => "552 Too large",
        Err(_) => "426 The data connection broke",
    }
}

async fn open(data: NextData, ends: &Ends) -> io::Result<TcpStream> {
    match data {
        NextData::None => Err(io::ErrorKind::NotConnected.into()),
        NextData::Dial(address) => {
            let socket = if address.is_ipv4() {
                tokio::net::TcpSocket::new_v4()?
            } else {
                tokio::net::TcpSocket::new_v6()?
            };
            socket.bind(SocketAddr::new(ends.own, 0))?;
            let stream = socket.connect(address).await?;
            ends.record.add_data(stream.local_addr()?, address);
            Ok(stream)
        }
        NextData::Await(listener) => loop {
            let (stream, from) = listener.accept().await?;
            // Whoever else comes is sent away, and the rightful peer awaited on.
            if from.ip().to_canonical() == ends.peer {
                ends.record.add_data(from, stream.local_addr()?);
                return Ok(stream);
            }
        },
    }
}

async fn send(mut stream: TcpStream, content: &[u8]) -> io::Result<()> {
    for block in content.chunks(64 << 10) {
        timeout(PATIENCE, stream.write_all(block)).await??;
    }
    stream.shutdown().await
}

async fn receive(mut stream: TcpStream) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    while timeout(PATIENCE, stream.read_buf(&mut content)).await?? > 0 {
        if content.len() > MAX_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory() {
        let files = Files::default();
        assert!(files.put("/a", vec![1]));
        assert_eq!(files.get("a").as_deref(), Some(&vec![1]));
        assert_eq!(files.list(), [("a".to_owned(), 1)]);
    }

    #[test]
    fn the_number_of_files_is_bounded() {
        let files = Files::default();
        for number in 0..MAX_FILES {
            assert!(files.put(&number.to_string(), Vec::new()));
        }
        assert!(!files.put("one more", Vec::new()));
        assert!(files.put("0", vec![1]), "an existing file can still be replaced");
    }
}
