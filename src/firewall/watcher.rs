//! The thread that hears from conntrack what became of the connections.

use super::conntrack::{Flow, Happening, Query, State, events, subscribe};
use super::flows::Flows;
use super::netlink::Socket;
use super::worker::lock;
use super::{BlindRange, FlowEvent};
use crate::pinhole::Pinhole;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The thread `ftpgate-ct`; ends when dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    flows: Arc<Mutex<Flows>>,
    /// A byte wakes the thread; closing it ends the thread.
    alive: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Subscribes in the network namespace of the calling thread.
    pub(super) fn start(mark: u32) -> io::Result<Self> {
        let flows = Arc::new(Mutex::new(Flows::default()));
        let (stop, alive) = io::pipe()?;
        let mut ear = Ear { events: subscribe(mark)?, query: Query::open(mark)?, mark, stop };
        let shared = Arc::clone(&flows);
        let thread = std::thread::Builder::new()
            .name("ftpgate-ct".to_owned())
            .spawn(move || ear.run(&shared))?;
        Ok(Self { flows, alive: Some(alive), thread: Some(thread) })
    }

    /// The connections that are watched.
    pub(super) fn flows(&self) -> std::sync::MutexGuard<'_, Flows> {
        lock(&self.flows)
    }

    /// The pinhole is closed, but was used or has expired before: its connection is awaited for a
    /// little while, then given up.
    pub(super) fn close(&self, pinhole: Pinhole) {
        let wake = lock(&self.flows).close(pinhole, Instant::now());
        self.wake_if(wake);
    }

    /// A session closes a canonical range: the news of its connections are awaited likewise.
    pub(super) fn close_range(&self, range: BlindRange, holder: &mpsc::UnboundedSender<FlowEvent>) {
        let wake = lock(&self.flows).close_range(range, holder, Instant::now());
        self.wake_if(wake);
    }

    fn wake_if(&self, wake: bool) {
        if wake && let Some(mut alive) = self.alive.as_ref() {
            // An error means that the thread has ended.
            let _ = alive.write(&[0]);
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread ftpgate-ct has panicked");
        }
    }
}

/// What the thread owns.
struct Ear {
    events: Socket,
    query: Query,
    mark: u32,
    stop: PipeReader,
}

impl Ear {
    fn run(&mut self, flows: &Mutex<Flows>) {
        let mut again = None;
        loop {
            match self.wait(again) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(%error, "connections through the kernel are no longer watched");
                    return;
                }
            }
            self.hear(flows);
            again = lock(flows).forget_closed(Instant::now());
        }
    }

    /// Waits for an event or a byte, for at most `limit`; false when it is time to end.
    fn wait(&mut self, limit: Option<Duration>) -> io::Result<bool> {
        let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut fds = [poll(self.events.as_raw_fd()), poll(self.stop.as_raw_fd())];
        // Rounded up, so that the time has passed when this returns.
        let limit = limit.map_or(-1, |limit| {
            i32::try_from(limit.as_millis()).unwrap_or(i32::MAX).saturating_add(1)
        });
        // SAFETY: the array lives through the call and has two elements.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), 2, limit) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(true) } else { Err(error) };
        }
        match fds[1].revents {
            0 => Ok(true),
            // No byte but the end: the other end of the pipe is closed.
            _ => Ok(self.stop.read(&mut [0; 64])? > 0),
        }
    }

    /// Reads one datagram of events, if there is one.
    fn hear(&mut self, flows: &Mutex<Flows>) {
        match self.events.receive(false) {
            Ok(datagram) => {
                for (happening, flow) in events(datagram, self.mark) {
                    tell(&mut lock(flows), &mut self.query, happening, &flow);
                }
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                tracing::warn!("conntrack events were lost: asking for all connections");
                match self.query.all() {
                    Ok(entries) => lock(flows).on_resync(&entries),
                    Err(error) => tracing::warn!(%error, "conntrack could not be asked"),
                }
            }
            Err(_) => {}
        }
    }
}

fn tell(flows: &mut Flows, query: &mut Query, happening: Happening, flow: &Flow) {
    match (happening, flow.state) {
        (Happening::Began, _) => flows.on_began(flow),
        // The entry itself lives on for two minutes, and only its end would bring the counters.
        (Happening::Changed, Some(state @ (State::Finished | State::Reset))) => {
            if !flows.runs(flow) {
                return;
            }
            match query.entry(flow) {
                Ok(Some(entry)) => flows.on_ended(flow, state, entry.bytes),
                // Its end is already on the way, with the counters.
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "conntrack could not be asked");
                    flows.on_ended(flow, state, None);
                }
            }
        }
        (Happening::Changed, Some(State::Alive) | None) => {}
        (Happening::Gone, _) => flows.on_gone(flow),
    }
}
