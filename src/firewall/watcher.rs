//! The thread that hears from conntrack what became of the connections.

use super::conntrack::{Flow, Happening, Query, State, events, subscribe};
use super::flows::Flows;
use super::netlink::{Socket, wait};
use super::repairs::{Tally, count};
use super::worker::lock;
use super::{BlindRange, FlowEvent};
use crate::pinhole::Pinhole;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Between two looks for idle connections: so many within the time that one may be idle, within
/// bounds. A look reads all of conntrack's entries in the kernel, and the marked ones here.
const LOOKS: u32 = 5;
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After events were lost and conntrack could not be asked.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The thread `ftpgate-ct`; ends when dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    flows: Arc<Mutex<Flows>>,
    /// How long a connection may move nothing, if that is limited.
    idle: Arc<Mutex<Option<Duration>>>,
    /// A byte wakes the thread; closing it ends the thread.
    alive: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Subscribes in the network namespace of the calling thread.
    pub(super) fn start(mark: u32, tally: Arc<Tally>) -> io::Result<Self> {
        let flows = Arc::new(Mutex::new(Flows::default()));
        let idle = Arc::<Mutex<Option<Duration>>>::default();
        let (stop, alive) = io::pipe()?;
        let mut ear = Ear {
            events: subscribe(mark)?,
            query: Query::open(mark)?,
            mark,
            stop,
            idle: Arc::clone(&idle),
            look_at: Instant::now(),
            deaf_since: None,
            tally,
        };
        let shared = Arc::clone(&flows);
        let thread = std::thread::Builder::new()
            .name("ftpgate-ct".to_owned())
            .spawn(move || ear.run(&shared))?;
        Ok(Self { flows, idle, alive: Some(alive), thread: Some(thread) })
    }

    /// Connections that move nothing for so long are ended.
    pub(super) fn set_idle_timeout(&self, limit: Duration) {
        *lock(&self.idle) = Some(limit);
        self.wake_if(true);
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
    idle: Arc<Mutex<Option<Duration>>>,
    /// When it is looked for idle connections again.
    look_at: Instant,
    /// Events were lost, and conntrack could not be asked since: when it was tried last.
    deaf_since: Option<Instant>,
    tally: Arc<Tally>,
}

impl Ear {
    fn run(&mut self, flows: &Mutex<Flows>) {
        let mut again = None;
        loop {
            match wait(&self.events, &mut self.stop, again) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(%error, "connections through the kernel are no longer watched");
                    return;
                }
            }
            self.hear(flows);
            let now = Instant::now();
            if self.deaf_since.is_some_and(|since| now >= since + ASK_AGAIN) {
                self.ask_for_all(flows);
            }
            let asked = self.deaf_since.map(|_| ASK_AGAIN);
            let looked = self.end_idle(flows, now);
            let forgotten = lock(flows).forget_closed(now);
            again = [asked, looked, forgotten].into_iter().flatten().min();
        }
    }

    /// Ends the connections that have moved nothing for too long; says when to look again.
    fn end_idle(&mut self, flows: &Mutex<Flows>, now: Instant) -> Option<Duration> {
        let limit = (*lock(&self.idle))?;
        let often = (limit / LOOKS).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        // A shorter limit counts at once.
        self.look_at = self.look_at.min(now + often);
        if now < self.look_at {
            return Some(self.look_at - now);
        }
        self.look_at = now + often;
        if !lock(flows).any_runs() {
            return Some(often);
        }
        let ended = self.query.all().and_then(|entries| {
            let quiet = lock(flows).quiet(&entries, limit, now);
            quiet.iter().try_for_each(|flow| {
                let (from, to) = (flow.from, flow.to);
                tracing::info!(%from, %to, ?limit, "a data connection through the kernel is idle: ended");
                self.query.forget(flow)
            })
        });
        if let Err(error) = ended {
            tracing::warn!(%error, "conntrack could not be asked");
        }
        Some(often)
    }

    /// Brings what is known to what is so.
    fn ask_for_all(&mut self, flows: &Mutex<Flows>) {
        match self.query.all() {
            Ok(entries) => {
                lock(flows).on_resync(&entries);
                self.deaf_since = None;
                count(&self.tally.flows);
            }
            Err(error) => {
                self.deaf_since = Some(Instant::now());
                tracing::warn!(%error, "conntrack could not be asked: tried again");
            }
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
                self.ask_for_all(flows);
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
