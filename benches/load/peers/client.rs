//! One FTP session, as a client leads it.

use crate::{Outcome, tls};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

/// Whom to dial, and how.
pub(crate) struct Client {
    server: SocketAddr,
    from: Vec<IpAddr>,
    next: AtomicUsize,
    tls: Option<TlsConnector>,
    pub(crate) parallel: usize,
}

impl Client {
    pub(crate) fn new(server: &str, words: &[&str]) -> Outcome<Self> {
        let server = server.parse()?;
        let mut client =
            Self { server, from: Vec::new(), next: AtomicUsize::new(0), tls: None, parallel: 32 };
        for word in words {
            match word.split_once('=') {
                Some(("from", list)) => {
                    client.from = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                Some(("parallel", count)) => client.parallel = count.parse()?,
                Some(("tls", "none")) => client.tls = None,
                Some(("tls", version)) => {
                    client.tls = Some(TlsConnector::from(Arc::new(tls::client(version)?)));
                }
                _ => return Err(format!("unknown option {word:?}").into()),
            }
        }
        Ok(client)
    }

    /// A session that is logged in.
    pub(crate) async fn log_in(&self) -> Outcome<Session> {
        let socket = TcpSocket::new_v4()?;
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        if let Some(from) = self.from.get(turn % self.from.len().max(1)) {
            socket.bind(SocketAddr::new(*from, 0))?;
        }
        let stream = socket.connect(self.server).await?;
        stream.set_nodelay(true)?;
        let mut session = Session { wire: BufReader::with_capacity(256, Box::new(stream)) };
        session.reply("220").await?;
        if let Some(tls) = &self.tls {
            session = session.secured(tls, self.server).await?;
        }
        session.command("USER load", "331").await?;
        session.command("PASS load", "230").await?;
        Ok(session)
    }
}

/// A control connection.
pub(crate) struct Session {
    wire: BufReader<Box<dyn tls::Wire>>,
}

impl Session {
    /// Sends a line and takes the reply, which has to begin with `code`.
    pub(crate) async fn command(&mut self, line: &str, code: &str) -> Outcome<String> {
        self.wire.write_all(format!("{line}\r\n").as_bytes()).await?;
        self.wire.flush().await?;
        self.reply(code).await
    }

    async fn reply(&mut self, code: &str) -> Outcome<String> {
        let mut line = String::new();
        self.wire.read_line(&mut line).await?;
        if line.starts_with(code) {
            Ok(line)
        } else {
            Err(format!("{line:?} where {code} is due").into())
        }
    }

    async fn secured(mut self, tls: &TlsConnector, server: SocketAddr) -> Outcome<Self> {
        self.command("AUTH TLS", "234").await?;
        let stream = tls.connect(server.ip().into(), self.wire.into_inner()).await?;
        Ok(Self { wire: BufReader::with_capacity(256, Box::new(stream)) })
    }

    /// Fetches a file of this size in passive mode.
    pub(crate) async fn fetch(&mut self, bytes: u64) -> Outcome<()> {
        let reply = self.command("PASV", "227").await?;
        let numbers = reply.split(['(', ')']).nth(1).ok_or("227 without an address")?;
        let numbers: Vec<u8> = numbers.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let [a, b, c, d, high, low] = numbers.as_slice() else {
            return Err("227 without six numbers".into());
        };
        let address = Ipv4Addr::new(*a, *b, *c, *d);
        let port = u16::from_be_bytes([*high, *low]);
        let local = self.wire.get_ref().local()?.ip();
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(local, 0))?;
        let data = socket.connect(SocketAddr::new(address.into(), port)).await?;
        self.command(&format!("RETR {bytes}"), "150").await?;
        let came = discard(data).await?;
        self.reply("226").await?;
        if came == bytes { Ok(()) } else { Err(format!("{came} of {bytes} bytes came").into()) }
    }

    pub(crate) async fn quit(mut self) -> Outcome<()> {
        self.command("QUIT", "221").await?;
        // The end, so that it is the far side that has closed first.
        let mut rest = Vec::new();
        self.wire.read_to_end(&mut rest).await?;
        Ok(())
    }
}

async fn discard(mut data: TcpStream) -> Outcome<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        match data.read(&mut buffer).await? {
            0 => return Ok(bytes),
            count => bytes += count as u64,
        }
    }
}
