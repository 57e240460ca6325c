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

/// How many messages the filter looks at: those that tell of one pinhole, and some more. What has more
/// of them wakes the thread.
const LOOKED_AT: usize = 8;

/// A socket filter that drops what holds news of elements and nothing else. The kernel tells of a batch in
/// few datagrams: those about the gateway's own pinholes are such, those of another program's batch may
/// begin with elements and go on with rules.
#[expect(clippy::cast_possible_truncation, reason = "libc widens the codes, which are 16 bits")]
fn rules_only() -> Vec<libc::sock_filter> {
    use libc::{
        BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JEQ, BPF_JGT, BPF_JMP,
        BPF_K, BPF_LD, BPF_LDX, BPF_LEN, BPF_LSH, BPF_MEM, BPF_MISC, BPF_OR, BPF_RET, BPF_ST,
        BPF_STX, BPF_TAX, BPF_W, BPF_X,
    };
    const KIND: u32 = 4;
    // A length, of which the filter can load single bytes in the host's order.
    const LOW: u32 = if cfg!(target_endian = "little") { 0 } else { 3 };
    const HIGH: u32 = if cfg!(target_endian = "little") { 1 } else { 2 };
    const START: u32 = 0;
    const BYTE: u32 = 1;
    // Loaded in network byte order, while netlink headers are in the host's.
    let [added, deleted] = ELEMENTS.map(|kind| u32::from(kind.to_be()));
    let op = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let pass = op(BPF_RET | BPF_K, 0, 0, u32::MAX);
    let drop = op(BPF_RET | BPF_K, 0, 0, 0);

    // X is where a message starts.
    let mut program = vec![op(BPF_LDX | BPF_IMM, 0, 0, 0)];
    for _ in 0..LOOKED_AT {
        program.extend([
            op(BPF_LD | BPF_IND | BPF_H, 0, 0, KIND),
            op(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, added),
            op(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, deleted),
            pass,
            // The next one starts behind its length, which is a multiple of four.
            op(BPF_STX, 0, 0, START),
            op(BPF_LD | BPF_IND | BPF_B, 0, 0, HIGH),
            op(BPF_ALU | BPF_LSH | BPF_K, 0, 0, 8),
            op(BPF_ST, 0, 0, BYTE),
            op(BPF_LD | BPF_IND | BPF_B, 0, 0, LOW),
            op(BPF_LDX | BPF_MEM, 0, 0, BYTE),
            op(BPF_ALU | BPF_OR | BPF_X, 0, 0, 0),
            op(BPF_ALU | BPF_ADD | BPF_K, 0, 0, 3),
            op(BPF_ALU | BPF_AND | BPF_K, 0, 0, !3),
            op(BPF_LDX | BPF_MEM, 0, 0, START),
            op(BPF_ALU | BPF_ADD | BPF_X, 0, 0, 0),
            op(BPF_MISC | BPF_TAX, 0, 0, 0),
            op(BPF_LD | BPF_W | BPF_LEN, 0, 0, 0),
            op(BPF_JMP | BPF_JGT | BPF_X, 1, 0, 0),
            drop,
        ]);
    }
    program.push(pass);
    program
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::netlink::Requests;
    use rstest::rstest;
    use std::io::ErrorKind;
    use std::os::unix::net::UnixDatagram;

    const RULE: u16 = (10 << 8) | 6;
    const ADDED: u16 = ELEMENTS[0];
    const DELETED: u16 = ELEMENTS[1];

    /// A datagram with messages of these kinds, of which no two are of one length.
    fn datagram(kinds: &[u16]) -> Vec<u8> {
        let mut requests = Requests::default();
        for (number, kind) in kinds.iter().enumerate() {
            let data = vec![0xff; 300 * number + 1];
            requests.message(*kind, 0, (1, 0), |about| about.bytes(TABLE, &data));
        }
        requests.as_bytes().to_vec()
    }

    /// Filters of sockets are the same for every kind of datagram.
    fn passes(datagram: &[u8]) -> bool {
        let (kernel, own) = UnixDatagram::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        Socket::from_fd(own.try_clone().unwrap().into()).filter(&rules_only()).unwrap();
        kernel.send(datagram).unwrap();
        match own.recv(&mut [0]) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    }

    #[rstest]
    #[case::a_pinhole(&[ADDED], false)]
    #[case::a_pinhole_that_is_translated(&[ADDED, ADDED, ADDED], false)]
    #[case::one_goes(&[DELETED, DELETED], false)]
    #[case::a_rule(&[RULE], true)]
    #[case::a_rule_ahead_of_elements(&[RULE, ADDED], true)]
    #[case::a_rule_behind_an_element(&[ADDED, RULE], true)]
    #[case::a_rule_behind_some(&[ADDED, DELETED, ADDED, ADDED, ADDED, RULE, ADDED], true)]
    #[case::as_many_as_are_looked_at(&[ADDED; LOOKED_AT], false)]
    #[case::more(&[ADDED; LOOKED_AT + 1], true)]
    fn news_of_elements_alone_wake_nobody(#[case] kinds: &[u16], #[case] wakes: bool) {
        assert_eq!(passes(&datagram(kinds)), wakes);
    }
}
