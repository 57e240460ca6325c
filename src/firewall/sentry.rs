//! The thread that hears when somebody changes the rules of this host, and has what must stand looked
//! at: `nft flush ruleset`, another firewall that loads its rules, a script.
//!
//! Not here: what must stand, and how it is put back (see `nftables`).

use super::netlink::{Answer, GENERIC, Socket, answers, attribute, wait};
use std::io::{self, PipeReader, PipeWriter};
use std::thread::JoinHandle;

/// `NFNLGRP_NFTABLES`.
const GROUP: i32 = 7;
/// `NFT_MSG_NEWSETELEM` and `NFT_MSG_DELSETELEM` of the subsystem nf_tables.
const ELEMENTS: [u16; 2] = [(10 << 8) | 12, (10 << 8) | 14];
/// `NFTA_TABLE_NAME`, and the name of the table in all other messages.
const TABLE: u16 = 1;

/// The thread `ftpgate-guard`; ends when dropped.
#[derive(Debug)]
pub(super) struct Sentry {
    /// Closing it ends the thread.
    alive: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Sentry {
    /// Calls `alarm` whenever something about one of `tables` changes, in the network namespace of
    /// the calling thread; also for the changes of this process.
    pub(super) fn start(
        tables: Vec<String>,
        alarm: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let socket = Socket::open()?;
        // Without it each pinhole wakes the thread.
        if let Err(error) = socket.filter(&rules_only()) {
            tracing::warn!(%error, "news of rules cannot be filtered in the kernel");
        }
        socket.subscribe(GROUP)?;
        let (stop, alive) = io::pipe()?;
        let thread = std::thread::Builder::new()
            .name("ftpgate-guard".to_owned())
            .spawn(move || run(socket, stop, &tables, &alarm))?;
        Ok(Self { alive: Some(alive), thread: Some(thread) })
    }
}

impl Drop for Sentry {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread ftpgate-guard has panicked");
        }
    }
}

fn run(mut socket: Socket, mut stop: PipeReader, tables: &[String], alarm: &impl Fn()) {
    loop {
        match wait(&socket, &mut stop, None) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::error!(%error, "changes of rules are noticed late from now on");
                return;
            }
        }
        let concerned = match socket.receive(false) {
            Ok(datagram) => answers(datagram).any(|answer| is_about(&answer, tables)),
            // Some were lost: whose they were is unknown.
            Err(error) => error.raw_os_error() == Some(libc::ENOBUFS),
        };
        if concerned {
            alarm();
        }
    }
}

fn is_about(answer: &Answer<'_>, tables: &[String]) -> bool {
    let name = answer.payload.get(GENERIC..).and_then(|about| attribute(about, TABLE));
    let name = name.map(|name| name.strip_suffix(&[0]).unwrap_or(name));
    !ELEMENTS.contains(&answer.kind) && tables.iter().any(|table| name == Some(table.as_bytes()))
}

/// A socket filter that drops what begins with news of elements: of a batch the kernel tells in one
/// datagram, and the gateway's own for pinholes hold nothing else.
#[expect(clippy::cast_possible_truncation, reason = "libc widens the codes, which are 16 bits")]
fn rules_only() -> [libc::sock_filter; 5] {
    const KIND: u32 = 4;
    // Loaded in network byte order, while netlink headers are in the host's.
    let [added, deleted] = ELEMENTS.map(|kind| u32::from(kind.to_be()));
    let op = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let same = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    [
        op(libc::BPF_LD | libc::BPF_ABS | libc::BPF_H, 0, 0, KIND),
        op(same, 2, 0, added),
        op(same, 1, 0, deleted),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ]
}
