//! An FTP server with one user and files of any size: `RETR 1024` sends so many bytes.

use crate::{Outcome, tls};
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;

/// Clients that wait to be accepted: more than are begun at a time.
const BACKLOG: u32 = 4096;

/// One write of a file.
static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];

pub(crate) async fn serve(address: &str, files: &[&str]) -> Outcome<()> {
    let address: SocketAddr = address.parse()?;
    let tls = match files {
        [certificate, key, version] => Some(tls::server(certificate, key, version)?),
        _ => None,
    };
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (tls, ip) = (tls.clone(), address.ip());
        // A client that is gone is no concern of the others.
        tokio::spawn(async move { session(Box::new(stream), tls, ip).await });
    }
}

async fn session(
    stream: Box<dyn tls::Wire>,
    tls: Option<TlsAcceptor>,
    address: IpAddr,
) -> Outcome<()> {
    let mut wire = BufReader::with_capacity(256, stream);
    let mut passive = None;
    let mut line = String::new();
    wire.write_all(b"220 ready\r\n").await?;
    loop {
        wire.flush().await?;
        line.clear();
        if wire.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let (verb, argument) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        match (verb, &tls) {
            ("USER", _) => wire.write_all(b"331 password\r\n").await?,
            ("PASS", _) => wire.write_all(b"230 welcome\r\n").await?,
            ("NOOP", _) => wire.write_all(b"200 done\r\n").await?,
            ("AUTH", Some(tls)) => {
                wire.write_all(b"234 go on\r\n").await?;
                wire.flush().await?;
                let stream = tls.accept(wire.into_inner()).await?;
                wire = BufReader::with_capacity(256, Box::new(stream));
            }
            ("PASV", _) => {
                let listener = TcpListener::bind((address, 0)).await?;
                let [high, low] = listener.local_addr()?.port().to_be_bytes();
                let host = address.to_string().replace('.', ",");
                let reply = format!("227 Entering Passive Mode ({host},{high},{low}).\r\n");
                wire.write_all(reply.as_bytes()).await?;
                passive = Some(listener);
            }
            ("RETR", _) => {
                let listener = passive.take().ok_or("RETR without PASV")?;
                wire.write_all(b"150 here it comes\r\n").await?;
                wire.flush().await?;
                let (mut data, _) = listener.accept().await?;
                let mut left: u64 = argument.parse()?;
                while left > 0 {
                    let count = left.min(CHUNK.len() as u64);
                    data.write_all(&CHUNK[..usize::try_from(count)?]).await?;
                    left -= count;
                }
                data.shutdown().await?;
                drop(data);
                wire.write_all(b"226 sent\r\n").await?;
            }
            ("QUIT", _) => {
                wire.write_all(b"221 goodbye\r\n").await?;
                return Ok(wire.shutdown().await?);
            }
            _ => wire.write_all(b"500 unknown\r\n").await?,
        }
    }
}
