//! Capture files, pcap and pcapng, read as streams: the memory is one buffer, however long they are.

use super::packet::LinkType;
use super::{CaptureError, Captured, Progress};
use pcap_parser::pcapng::Block;
use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{PcapBlockOwned, PcapError, create_reader};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Cursor, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The buffer, and so the longest packet: twice what tcpdump and dumpcap capture of one at most
/// (262,144 bytes).
const BUFFER: usize = 512 * 1024;

/// Interfaces of one section of a pcapng file. `dumpcap -i any -i …` names a few.
const MAX_INTERFACES: usize = 1024;

/// The longest header of a pcapng file that is read at once: comments may stand in it.
const MAX_HEADER: usize = 64 * 1024;

/// How often a read that waits looks whether it shall end.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Set when reading shall end. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Reading ends, soon.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True once it is set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A file, a pipe or a terminal, which ends when it shall.
struct Stoppable<R> {
    inner: R,
    stop: Stop,
}

impl<R: Read + AsFd> Read for Stoppable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stop.is_set() {
                return Ok(0);
            }
            let mut waiting = [PollFd::new(&self.inner, PollFlags::IN)];
            match poll(&mut waiting, Some(&LOOK)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return self.inner.read(buffer),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// An interface that a file has packets of.
#[derive(Debug, Clone, Copy)]
struct Interface {
    /// The number of what is not read.
    link: Result<LinkType, i32>,
    /// Units of its time in a second.
    resolution: u64,
    /// Seconds to be added.
    offset: i64,
}

/// A capture file.
pub struct FileCapture {
    reader: Box<dyn PcapReaderIterator + Send>,
    interfaces: Vec<Interface>,
    /// The file ends in the middle of a packet.
    cut_short: bool,
}

impl FileCapture {
    /// Reads `file` until it ends or `stop` is set.
    ///
    /// # Errors
    /// It is no capture, or of a kind that is not read.
    pub fn open(file: impl Read + AsFd + Send + 'static, stop: Stop) -> Result<Self, CaptureError> {
        Self::from_reader(Stoppable { inner: file, stop })
    }

    /// Reads anything.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn from_reader(mut file: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        // The parser wants the whole first header from one read, which a pipe may not give.
        let header = read_header(&mut file)?;
        let whole = Cursor::new(header).chain(file);
        match create_reader(BUFFER, whole) {
            Ok(reader) => Ok(Self { reader, interfaces: Vec::new(), cut_short: false }),
            Err(_) => Err(CaptureError::NotACapture),
        }
    }

    /// True if the file ends in the middle of a packet.
    pub fn is_cut_short(&self) -> bool {
        self.cut_short
    }

    /// Hands the next packet to `take`.
    ///
    /// # Errors
    /// The file is damaged, or cannot be read any more.
    pub fn next(&mut self, take: &mut impl FnMut(&Captured<'_>)) -> Result<Progress, CaptureError> {
        let at = self.reader.consumed();
        match self.reader.next() {
            Ok((length, block)) => {
                let taken = take_block(&block, &mut self.interfaces, take)
                    .ok_or(CaptureError::Damaged(at))?;
                if let PcapBlockOwned::LegacyHeader(header) = &block {
                    link_of(header.network.0).map_err(CaptureError::LinkType)?;
                }
                drop(block);
                self.reader.consume(length);
                Ok(if taken { Progress::Packet } else { Progress::Idle })
            }
            Err(PcapError::Eof) => self.end(),
            Err(PcapError::UnexpectedEof) => {
                self.cut_short = true;
                self.end()
            }
            Err(PcapError::Incomplete(_)) => self.refill(at),
            Err(PcapError::ReadError) => Err(io::Error::other("the capture cannot be read").into()),
            Err(_) => Err(CaptureError::Damaged(at)),
        }
    }

    /// A file of pcapng may have interfaces of several kinds. One of which none is read shows nothing,
    /// and has to say why.
    fn end(&self) -> Result<Progress, CaptureError> {
        let read = self.interfaces.iter().any(|interface| interface.link.is_ok());
        match self.interfaces.first().map(|interface| interface.link) {
            Some(Err(number)) if !read => Err(CaptureError::LinkType(number)),
            _ => Ok(Progress::End),
        }
    }

    fn refill(&mut self, at: usize) -> Result<Progress, CaptureError> {
        let before = self.reader.data().len();
        if self.reader.refill().is_err() {
            return Err(io::Error::other("the capture cannot be read").into());
        }
        if self.reader.data().len() == before && !self.reader.reader_exhausted() {
            // A packet that says to be longer than its block, or than any can be.
            return Err(CaptureError::Damaged(at));
        }
        Ok(Progress::Idle)
    }
}

/// The first header: 24 bytes of pcap, or a section header of pcapng (length in its bytes 4 to 7, in
/// the byte order that bytes 8 to 11 show).
fn read_header(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut header = Vec::new();
    file.take(12).read_to_end(&mut header)?;
    let whole = match *header.as_slice() {
        [0x0a, 0x0d, 0x0d, 0x0a, a, b, c, d, 0x1a, ..] => u32::from_be_bytes([a, b, c, d]),
        [0x0a, 0x0d, 0x0d, 0x0a, a, b, c, d, ..] => u32::from_le_bytes([a, b, c, d]),
        _ => 24,
    };
    let whole = usize::try_from(whole).unwrap_or(MAX_HEADER).min(MAX_HEADER);
    let rest = u64::try_from(whole.saturating_sub(header.len())).unwrap_or(0);
    file.take(rest).read_to_end(&mut header)?;
    Ok(header)
}

/// Takes what a block has to give: true for a packet. `None` if the file contradicts itself.
fn take_block(
    block: &PcapBlockOwned<'_>,
    interfaces: &mut Vec<Interface>,
    take: &mut impl FnMut(&Captured<'_>),
) -> Option<bool> {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let resolution =
                if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
            let link = link_of(header.network.0);
            interfaces.push(Interface { link, resolution, offset: 0 });
        }
        PcapBlockOwned::Legacy(packet) => {
            let interface = interfaces.first()?;
            let seconds = Duration::from_secs(packet.ts_sec.into());
            let time = seconds + fraction(packet.ts_usec.into(), interface.resolution);
            take(&Captured { link: interface.link.ok(), time, bytes: packet.data });
            return Some(true);
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
        PcapBlockOwned::NG(Block::InterfaceDescription(described)) => {
            if interfaces.len() >= MAX_INTERFACES {
                return None;
            }
            interfaces.push(Interface {
                link: link_of(described.linktype.0),
                resolution: resolution_of(described.if_tsresol),
                offset: described.if_tsoffset,
            });
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let interface = interfaces.get(usize::try_from(packet.if_id).ok()?)?;
            let units = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
            let seconds = (units / interface.resolution).saturating_add_signed(interface.offset);
            let part = fraction(units % interface.resolution, interface.resolution);
            let time = Duration::from_secs(seconds).saturating_add(part);
            take(&Captured { link: interface.link.ok(), time, bytes: packet.packet_data() });
            return Some(true);
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            // It has no time.
            let link = interfaces.first()?.link.ok();
            take(&Captured { link, time: Duration::ZERO, bytes: packet.packet_data() });
            return Some(true);
        }
        PcapBlockOwned::NG(_) => {}
    }
    Some(false)
}

fn link_of(number: i32) -> Result<LinkType, i32> {
    LinkType::from_number(number).ok_or(number)
}

/// Units in a second, by the option `if_tsresol`: a power of ten, or of two with the highest bit set.
/// What no 64 bits hold is taken as nanoseconds.
fn resolution_of(option: u8) -> u64 {
    let power = u32::from(option & 0x7f);
    let base: u64 = if option & 0x80 == 0 { 10 } else { 2 };
    base.checked_pow(power).unwrap_or(1_000_000_000)
}

fn fraction(units: u64, resolution: u64) -> Duration {
    let nanoseconds = u128::from(units) * 1_000_000_000 / u128::from(resolution.max(1));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
