//! One word from one end of a connection to the other: the least that shows that it is there.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

use crate::netns::Namespace;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Longer than a handshake takes in the lab by orders of magnitude, shorter than a second SYN.
const REFUSED_AFTER: Duration = Duration::from_millis(500);
/// Bounds every wait for something that has to come.
pub(crate) const COMES_WITHIN: Duration = Duration::from_secs(5);

/// Dials from the calling namespace and says a word.
pub(crate) fn say_hello(to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&to, REFUSED_AFTER)?;
    stream.set_read_timeout(Some(COMES_WITHIN))?;
    stream.write_all(b"hello")?;
    Ok(stream)
}

/// Accepts, and hears the word.
pub(crate) fn hear_hello(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let (mut stream, from) = accept(listener).expect("a connection");
    let mut word = [0; 5];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"hello");
    (stream, from)
}

/// Accepts within a bounded time.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    listener.set_nonblocking(true)?;
    let start = Instant::now();
    loop {
        match listener.accept() {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && start.elapsed() < COMES_WITHIN =>
            {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error),
            Ok((stream, from)) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(COMES_WITHIN))?;
                return Ok((stream, from));
            }
        }
    }
}

pub(crate) fn listen(namespace: &Namespace, at: SocketAddr) -> TcpListener {
    namespace.run(|| TcpListener::bind(at).unwrap())
}
