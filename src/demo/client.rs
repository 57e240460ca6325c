//! A small FTP client (RFC 959, RFC 2428), for the demo and for tests: login, one download or
//! upload at a time in any of the four ways, and no trust in what it need not believe.
//!
//! Like careful clients it dials the address of the control connection, whatever address a 227
//! names (CVE-2020-8284), and takes a data connection only from there.

use crate::demo::dialogue::{Dialogue, PATIENCE, Record};
use crate::ftp::{format_eprt, format_port, parse_227, parse_229};
use crate::terms::DataMode;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Most that a download may bring, in bytes.
const MAX_DOWNLOAD: usize = 64 << 20;

/// Why a step did not succeed.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    /// A socket failed.
    #[error("{doing}: {source}")]
    Socket {
        /// What was going on.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Nothing happened for [`PATIENCE`].
    #[error("{doing}: nothing came for {} s", PATIENCE.as_secs())]
    TooLong {
        /// What was going on.
        doing: &'static str,
    },
    /// The server said no, or something else than it should.
    #[error("the server answered {verb} with: {reply}")]
    Refused {
        /// The command's first word.
        verb: String,
        /// The last line of the reply.
        reply: String,
    },
    /// PORT and PASV were asked for over IPv6.
    #[error("PORT and PASV are for IPv4 only")]
    Family,
}

/// The four ways to arrange a data connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrangement {
    /// PASV: the server listens (RFC 959).
    Pasv,
    /// EPSV: the server listens (RFC 2428).
    Epsv,
    /// PORT: the client listens (RFC 959).
    Port,
    /// EPRT: the client listens (RFC 2428).
    Eprt,
}

impl Arrangement {
    /// The verb of the command.
    pub(super) const fn verb(self) -> &'static str {
        match self {
            Self::Pasv => "PASV",
            Self::Epsv => "EPSV",
            Self::Port => "PORT",
            Self::Eprt => "EPRT",
        }
    }

    /// Who listens.
    pub(super) const fn mode(self) -> DataMode {
        match self {
            Self::Pasv | Self::Epsv => DataMode::Passive,
            Self::Port | Self::Eprt => DataMode::Active,
        }
    }
}

/// A data connection on its way.
enum PendingData {
    Connected(TcpStream),
    Awaited(TcpListener),
}

/// A session with a server.
#[derive(Debug)]
pub(super) struct Client {
    dialogue: Dialogue,
}

impl Client {
    /// Connects, reads the greeting, logs in and asks for binary transfers.
    ///
    /// # Errors
    ///
    /// The first step that failed; so everywhere below.
    pub(super) async fn login(server: SocketAddr, record: Record) -> Result<Self, ClientError> {
        let stream = within("connecting", TcpStream::connect(server)).await?;
        let dialogue = Dialogue::new(stream, record)
            .map_err(|source| ClientError::Socket { doing: "connecting", source })?;
        let mut client = Self { dialogue };
        client.expect("the connection", '2').await?;
        client.command("USER demo", '3').await?;
        client.command("PASS demo", '2').await?;
        client.command("TYPE I", '2').await?;
        Ok(client)
    }

    /// Fetches a file.
    pub(super) async fn download(
        &mut self,
        arrangement: Arrangement,
        name: &str,
    ) -> Result<Vec<u8>, ClientError> {
        let pending = self.arrange(arrangement).await?;
        self.command(&format!("RETR {name}"), '1').await?;
        let mut stream = self.data_connection(pending).await?;
        let mut content = Vec::new();
        while within("downloading", stream.read_buf(&mut content)).await? > 0 {
            if content.len() > MAX_DOWNLOAD {
                let source = io::ErrorKind::FileTooLarge.into();
                return Err(ClientError::Socket { doing: "downloading", source });
            }
        }
        drop(stream);
        self.expect("RETR", '2').await?;
        Ok(content)
    }

    /// Stores a file.
    pub(super) async fn upload(
        &mut self,
        arrangement: Arrangement,
        name: &str,
        content: &[u8],
    ) -> Result<(), ClientError> {
        let pending = self.arrange(arrangement).await?;
        self.command(&format!("STOR {name}"), '1').await?;
        let mut stream = self.data_connection(pending).await?;
        for block in content.chunks(64 << 10) {
            within("uploading", stream.write_all(block)).await?;
        }
        within("uploading", stream.shutdown()).await?;
        // The peer's end is awaited, so that the connection closes in order.
        within("uploading", stream.read(&mut [0])).await?;
        drop(stream);
        self.expect("STOR", '2').await?;
        Ok(())
    }

    /// Ends the session in order.
    pub(super) async fn quit(mut self) -> Result<(), ClientError> {
        self.command("QUIT", '2').await.map(drop)
    }

    async fn arrange(&mut self, arrangement: Arrangement) -> Result<PendingData, ClientError> {
        let failed = |source| ClientError::Socket { doing: "arranging data", source };
        let server = self.dialogue.peer().map_err(failed)?.ip();
        match arrangement.mode() {
            DataMode::Passive => {
                let verb = arrangement.verb();
                let reply = self.command(verb, '2').await?;
                let port = match arrangement {
                    Arrangement::Pasv => {
                        parse_227(reply.as_bytes()).ok().map(|told| told.address.port())
                    }
                    _ => parse_229(reply.as_bytes()).ok().map(|told| told.port),
                };
                let refused = || ClientError::Refused { verb: verb.to_owned(), reply };
                let address = SocketAddr::new(server, port.ok_or_else(refused)?);
                let stream = within("dialling the data port", TcpStream::connect(address)).await?;
                Ok(PendingData::Connected(stream))
            }
            DataMode::Active => {
                let own = self.dialogue.local().map_err(failed)?.ip().to_canonical();
                let listener = TcpListener::bind(SocketAddr::new(own, 0)).await.map_err(failed)?;
                let argument = match (arrangement, listener.local_addr().map_err(failed)?) {
                    (Arrangement::Port, SocketAddr::V4(address)) => format_port(address),
                    (Arrangement::Port, SocketAddr::V6(_)) => return Err(ClientError::Family),
                    (_, address) => format_eprt(address, b'|'),
                };
                self.command(&format!("{} {argument}", arrangement.verb()), '2').await?;
                Ok(PendingData::Awaited(listener))
            }
        }
    }

    async fn data_connection(&self, pending: PendingData) -> Result<TcpStream, ClientError> {
        let failed = |source| ClientError::Socket { doing: "awaiting data", source };
        let server = self.dialogue.peer().map_err(failed)?.ip().to_canonical();
        let record = self.dialogue.record();
        match pending {
            PendingData::Connected(stream) => {
                let (own, peer) = ends(&stream).map_err(failed)?;
                record.add_data(own, peer);
                Ok(stream)
            }
            PendingData::Awaited(listener) => {
                let accept = async {
                    loop {
                        let (stream, peer) = listener.accept().await?;
                        if peer.ip().to_canonical() == server {
                            return Ok(stream);
                        }
                    }
                };
                let stream = within("awaiting the server's data connection", accept).await?;
                let (own, peer) = ends(&stream).map_err(failed)?;
                record.add_data(peer, own);
                Ok(stream)
            }
        }
    }

    /// Sends one command and awaits a reply of the given first digit.
    async fn command(&mut self, line: &str, digit: char) -> Result<String, ClientError> {
        within("sending a command", self.dialogue.write_line(line)).await?;
        self.expect(line.split(' ').next().unwrap_or(line), digit).await
    }

    /// Awaits the last line of a reply of the given first digit.
    async fn expect(&mut self, verb: &str, digit: char) -> Result<String, ClientError> {
        loop {
            let line = within("awaiting a reply", self.dialogue.read_line()).await?;
            let reply = line.unwrap_or_else(|| "(connection closed)".to_owned());
            let is_last = reply.as_bytes().get(3) == Some(&b' ')
                && reply.bytes().take(3).all(|byte| byte.is_ascii_digit());
            if is_last && reply.starts_with(digit) {
                return Ok(reply);
            }
            if is_last || reply.starts_with('(') {
                return Err(ClientError::Refused { verb: verb.to_owned(), reply });
            }
        }
    }
}

/// This side's address and the peer's.
fn ends(stream: &TcpStream) -> io::Result<(SocketAddr, SocketAddr)> {
    Ok((stream.local_addr()?, stream.peer_addr()?))
}

async fn within<T>(
    doing: &'static str,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, ClientError> {
    match timeout(PATIENCE, step).await {
        Ok(outcome) => outcome.map_err(|source| ClientError::Socket { doing, source }),
        Err(_) => Err(ClientError::TooLong { doing }),
    }
}
