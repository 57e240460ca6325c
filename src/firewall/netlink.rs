//! The netlink transport that nftables and conntrack share: messages written into one buffer, one
//! kept socket, answers read without trust in their lengths.
//!
//! Not here: what the messages mean (see [`super::encode`] and [`super::conntrack`]).

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use socket2::{SockFilter, SockRef};
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Message flags of `linux/netlink.h`.
pub(super) mod flag {
    pub(in super::super) const REQUEST: u16 = 0x1;
    pub(in super::super) const ACK: u16 = 0x4;
    pub(in super::super) const DUMP: u16 = 0x300;
    pub(in super::super) const EXCL: u16 = 0x200;
    pub(in super::super) const CREATE: u16 = 0x400;
    pub(in super::super) const APPEND: u16 = 0x800;
}

/// The kind of the message that carries an error or, with error 0, an acknowledgement.
pub(super) const NLMSG_ERROR: u16 = 2;
/// The kind of the message that ends a dump.
pub(super) const NLMSG_DONE: u16 = 3;
/// Set on the parts of a dump during which what is dumped has changed.
pub(super) const NLM_F_DUMP_INTR: u16 = 0x10;
/// Set on an error message that carries attributes after the echoed header.
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLA_F_NESTED: u16 = 0x8000;
/// Without the flags for "nested" and "network byte order".
const NLA_TYPE_MASK: u16 = 0x3fff;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct nfgenmsg`, which follows the header in every netfilter message.
pub(super) const GENERIC: usize = 4;
/// The kernel never puts more than this into one answer to a dump (NLMSG_GOODSIZE is 8 KiB, and
/// grows to 32 KiB for readers with large buffers).
const RECEIVE_BUFFER: usize = 64 * 1024;

/// Requests under construction, one after the other in one buffer that is reused.
#[derive(Debug, Default)]
pub(super) struct Requests {
    bytes: Vec<u8>,
    start: usize,
    sequence: u32,
}

impl Requests {
    /// Forgets the messages, keeps the buffer and the count.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The messages so far.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes one message; `body` adds its attributes. Returns its sequence number.
    pub(super) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        (family, resource): (u8, u16),
        body: impl FnOnce(&mut Self),
    ) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | flag::REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        body(self);
        let length = u32::try_from(self.bytes.len() - self.start).unwrap_or(u32::MAX);
        self.bytes[self.start..self.start + 4].copy_from_slice(&length.to_ne_bytes());
        self.sequence
    }

    /// Asks for an acknowledgement of the message written last.
    pub(super) fn acknowledge(&mut self) {
        if let Some(flags) = self.bytes.get_mut(self.start + 6..self.start + 8) {
            let [a, b] = flag::ACK.to_ne_bytes();
            flags[0] |= a;
            flags[1] |= b;
        }
    }

    /// An attribute with these bytes, padded.
    pub(super) fn bytes(&mut self, kind: u16, data: &[u8]) {
        let length = u16::try_from(data.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// An attribute with a number in network byte order, as netfilter wants them.
    pub(super) fn number(&mut self, kind: u16, number: u32) {
        self.bytes(kind, &number.to_be_bytes());
    }

    /// An attribute with a text, ended by a zero byte.
    pub(super) fn text(&mut self, kind: u16, text: &str) {
        let length = u16::try_from(text.len() + 5).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.resize((self.bytes.len() + 1).next_multiple_of(4), 0);
    }

    /// An attribute that holds the attributes which `body` adds.
    pub(super) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        body(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

/// One message from the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// All after the netlink header.
    pub(super) payload: &'a [u8],
}

/// What an error message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejection {
    /// Positive errno; 0 is an acknowledgement.
    pub(super) errno: i32,
    /// Of the message that is meant.
    pub(super) sequence: u32,
    /// The kernel's own words, where it has any.
    pub(super) message: Option<String>,
    /// Where in that message the offending attribute starts.
    pub(super) offset: Option<usize>,
}

impl Answer<'_> {
    /// The error or acknowledgement that this message is; `None` for any other kind.
    pub(super) fn rejection(&self) -> Option<Rejection> {
        if self.kind != NLMSG_ERROR {
            return None;
        }
        let errno = i32::from_ne_bytes(*self.payload.first_chunk()?);
        let mut rejection = Rejection {
            errno: errno.wrapping_neg(),
            sequence: self.sequence,
            message: None,
            offset: None,
        };
        // NETLINK_CAP_ACK: only the header of the request is echoed.
        if self.flags & NLM_F_ACK_TLVS != 0 {
            for (kind, data) in attributes(self.payload.get(4 + HEADER..).unwrap_or_default()) {
                match kind {
                    1 => {
                        let text = data.strip_suffix(&[0]).unwrap_or(data);
                        rejection.message = Some(String::from_utf8_lossy(text).into_owned());
                    }
                    // In host byte order, unlike netfilter's own attributes.
                    2 => {
                        rejection.offset = data
                            .first_chunk()
                            .and_then(|offset| usize::try_from(u32::from_ne_bytes(*offset)).ok());
                    }
                    _ => {}
                }
            }
        }
        Some(rejection)
    }
}

/// The messages in one datagram from the kernel; ends at the first that is cut short.
pub(super) fn answers(mut datagram: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let header: &[u8; HEADER] = datagram.first_chunk()?;
        let length = usize::try_from(u32::from_ne_bytes(*header.first_chunk()?)).ok()?;
        let payload = datagram.get(HEADER..length)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Answer {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
            payload,
        })
    })
}

/// The attributes in `bytes` as kind and data; ends at the first that is cut short.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header: &[u8; 4] = bytes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let data = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([header[2], header[3]]) & NLA_TYPE_MASK, data))
    })
}

/// The first attribute of that kind.
pub(super) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, data)| (kind == wanted).then_some(data))
}

/// A number in network byte order.
pub(super) fn number(data: &[u8]) -> Option<u32> {
    data.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A NETLINK_NETFILTER socket of the network namespace of the thread that opens it.
///
/// Closing one takes about 16 ms, since the kernel waits for a grace period: keep it.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens and binds a socket.
    pub(super) fn open() -> io::Result<Self> {
        let netfilter = Some(rustix::net::netlink::NETFILTER);
        let flags = SocketFlags::CLOEXEC;
        let fd = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, netfilter)?;
        let socket = Self::from_fd(fd);
        // Both are comforts: the kernel's words in errors, and short echoes.
        let _ = socket.set_option(libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1);
        let _ = socket.set_option(libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1);
        net::bind(&socket.fd, &SocketAddrNetlink::new(0, 0))?;
        Ok(socket)
    }

    /// Goes on with a socket that is open and bound.
    pub(super) fn from_fd(fd: OwnedFd) -> Self {
        Self { fd, buffer: vec![0; RECEIVE_BUFFER] }
    }

    /// The same socket for another process.
    pub(super) fn try_clone(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    /// Joins a multicast group.
    pub(super) fn subscribe(&self, group: i32) -> io::Result<()> {
        self.set_option(libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group)
    }

    /// Asks for room for `bytes` of unread messages, beyond the system's limit where permitted.
    pub(super) fn reserve(&self, bytes: usize) {
        // Less room only means an earlier ENOBUFS, which is handled.
        let _ = net::sockopt::set_socket_recv_buffer_size_force(&self.fd, bytes);
    }

    /// Receives only the messages that the filter passes.
    pub(super) fn filter(&self, program: &[libc::sock_filter]) -> io::Result<()> {
        let program: Vec<SockFilter> =
            program.iter().map(|op| SockFilter::new(op.code, op.jt, op.jf, op.k)).collect();
        SockRef::from(&self.fd).attach_filter(&program)
    }

    /// Neither rustix nor socket2 knows the options of netlink.
    #[allow(unsafe_code, reason = "setsockopt of a level that has no safe function")]
    fn set_option(&self, level: i32, name: i32, value: i32) -> io::Result<()> {
        let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
        // SAFETY: the value lives through the call and `length` is its size.
        let set = unsafe {
            let value = std::ptr::from_ref(&value).cast();
            libc::setsockopt(self.fd.as_raw_fd(), level, name, value, length)
        };
        if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sends requests to the kernel, which has dealt with them (dumps apart) when this returns.
    pub(super) fn send(&self, requests: &[u8]) -> io::Result<()> {
        net::send(&self.fd, requests, SendFlags::empty())?;
        Ok(())
    }

    /// Receives one datagram; with `wait` false, `WouldBlock` if there is none.
    pub(super) fn receive(&mut self, wait: bool) -> io::Result<&[u8]> {
        let flags = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        let (length, _) = net::recv(&self.fd, self.buffer.as_mut_slice(), flags)?;
        Ok(self.buffer.get(..length).unwrap_or_default())
    }
}

/// Waits for news at the socket or for a byte of the pipe, for at most `limit`; false when the other
/// end of the pipe is closed.
pub(super) fn wait(
    socket: &Socket,
    stop: &mut PipeReader,
    limit: Option<Duration>,
) -> io::Result<bool> {
    let mut fds = [PollFd::new(socket, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    match rustix::event::poll(&mut fds, limit.as_ref()) {
        Err(Errno::INTR) => return Ok(true),
        result => result?,
    };
    match fds[1].revents() {
        woken if woken.is_empty() => Ok(true),
        _ => Ok(stop.read(&mut [0; 64])? > 0),
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let mut requests = Requests::default();
        let sequence = requests.message(7, flag::CREATE, (2, 0), |r| {
            r.text(1, "abc");
            r.nest(2, |r| r.number(3, 0x0102_0304));
        });
        requests.acknowledge();
        let all: Vec<_> = answers(requests.as_bytes()).collect();
        let [answer] = all.as_slice() else { panic!("one message: {all:?}") };
        assert_eq!((answer.kind, answer.sequence), (7, sequence));
        assert_eq!(answer.flags, flag::REQUEST | flag::CREATE | flag::ACK);
        let body = &answer.payload[GENERIC..];
        assert_eq!(attribute(body, 1), Some(&b"abc\0"[..]));
        let nested = attribute(body, 2).unwrap();
        assert_eq!(attribute(nested, 3).and_then(number), Some(0x0102_0304));
        assert_eq!(attribute(body, 9), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let length: usize = answers(&bytes).map(|answer| HEADER + answer.payload.len()).sum();
            prop_assert!(length <= bytes.len());
            let length: usize = attributes(&bytes).map(|(_, data)| 4 + data.len()).sum();
            prop_assert!(length <= bytes.len());
            for answer in answers(&bytes) {
                let _ = answer.rejection();
            }
        }
    }
}
