//! The two threads behind a [`super::Firewall`]: what one opens, the other one hears of.

use super::error::FirewallError;
use super::nftables::Nftables;
use super::repairs::Tally;
use super::rule::Family;
use super::ruleset::{self, elements};
use super::sentry::Sentry;
use super::watcher::Watcher;
use super::worker::{Worker, lock};
use super::{BlindRange, Capture, Closed, FlowEvent, Opening, Predecessor, Settings};
use crate::addr::canonical;
use crate::pinhole::{Pinhole, PortRange};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

type Events = mpsc::UnboundedSender<FlowEvent>;

#[derive(Debug)]
pub(super) struct Kernel {
    settings: Settings,
    /// `None` where changes of rules are not told of.
    sentry: Mutex<Option<Sentry>>,
    worker: Worker,
    /// `None` where conntrack's events are not to be had.
    watcher: Option<Watcher>,
    tally: Arc<Tally>,
}

impl Kernel {
    /// Installs the table and starts the threads, see [`super::Firewall::start`].
    pub(super) fn start(
        settings: &Settings,
        predecessor: Option<Predecessor>,
    ) -> Result<Self, FirewallError> {
        // Conntrack keeps events only while somebody listens, so this comes first.
        let tally = Arc::<Tally>::default();
        let watcher = Watcher::start(settings.mark, Arc::clone(&tally));
        let keeper = Some(ruleset::keeper(settings));
        let nftables = Nftables::install(ruleset::gateway(settings), keeper, predecessor)?;
        let watcher = watcher.inspect_err(|error| {
            tracing::warn!(
                %error,
                "no conntrack events (module nf_conntrack_netlink): transfers through the kernel \
                 are neither counted nor seen to end"
            );
        });
        let tables = nftables.names();
        let worker = Worker::start(nftables, settings.mark, Arc::clone(&tally))?;
        let sentry = Sentry::start(tables, worker.alarm()).inspect_err(|error| {
            tracing::warn!(%error, "what others do to the tables of the gateway is noticed late");
        });
        let (sentry, watcher) = (Mutex::new(sentry.ok()), watcher.ok());
        Ok(Self { settings: settings.clone(), sentry, worker, watcher, tally })
    }

    /// What was put back since the start.
    pub(super) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Ends connections through the kernel that move nothing for so long.
    pub(super) fn set_idle_timeout(&self, limit: Duration) {
        if let Some(watcher) = &self.watcher {
            watcher.set_idle_timeout(limit);
        }
    }

    /// True if connections are watched.
    pub(super) fn watches(&self) -> bool {
        self.watcher.is_some()
    }

    pub(super) async fn hand_over(&self) -> Result<OwnedFd, FirewallError> {
        self.worker.hand_over().await
    }

    pub(super) fn stop(&self) {
        // Ahead of the table's end, which is no alarm.
        *lock(&self.sentry) = None;
        self.worker.stop();
    }

    pub(super) async fn capture(&self, captures: Vec<Capture>) -> Result<(), FirewallError> {
        let settings = Settings { captures, ..self.settings.clone() };
        self.worker.replace_rules(ruleset::gateway(&settings)).await
    }

    pub(super) async fn open(
        &self,
        opening: Opening,
        timeout: Duration,
        events: Events,
    ) -> Result<(), FirewallError> {
        let elements = elements(&opening)?;
        let pinhole = opening.pinhole();
        let watched = match opening {
            Opening::Forward { .. } => self.watcher.as_ref(),
            Opening::Capture { .. } => {
                ruleset::intake(&self.settings, Family::of(pinhole.peer))
                    .ok_or(FirewallError::NoIntake)?;
                None
            }
        };
        // Before the element is there: the first packet may come at once.
        let watch = watched.map(|watcher| Watch::pinhole(watcher, watched_key(pinhole), events));
        self.worker.add(elements, timeout).await?;
        if let Some(watch) = watch {
            watch.keep();
        }
        Ok(())
    }

    pub(super) async fn open_range(
        &self,
        range: BlindRange,
        events: Events,
    ) -> Result<(), FirewallError> {
        let ports = self.settings.blind_ports.ok_or(FirewallError::NoBlindPorts)?;
        let range = range.canonical()?;
        let watcher = self.watcher.as_ref();
        let watch = watcher.map(|watcher| Watch::range(watcher, range, ports, events));
        self.worker.open_range(range).await?;
        if let Some(watch) = watch {
            watch.keep();
        }
        Ok(())
    }

    pub(super) async fn close_range(
        &self,
        range: BlindRange,
        events: &Events,
    ) -> Result<(), FirewallError> {
        let range = range.canonical()?;
        let result = self.worker.close_range(range).await;
        if let Some(watcher) = &self.watcher {
            watcher.close_range(range, events);
        }
        result
    }

    pub(super) async fn close(&self, opening: Opening) -> Result<Closed, FirewallError> {
        let result = self.worker.close(elements(&opening)?).await;
        if let (Opening::Forward { pinhole, .. }, Some(watcher)) = (opening, &self.watcher) {
            match result {
                Ok(Closed::Unused) => watcher.flows().abandon(watched_key(pinhole)),
                Ok(Closed::Gone) | Err(_) => watcher.close(watched_key(pinhole)),
            }
        }
        result
    }

    pub(super) fn clear_away(&self, opening: Opening) {
        // Mixed families were refused when it was opened.
        if let Ok(elements) = elements(&opening) {
            self.worker.sweep(elements);
        }
    }
}

/// A watch that ends when dropped, since nothing was opened: by an error, or because nobody waits
/// for the opening any longer.
struct Watch<'a> {
    watcher: &'a Watcher,
    watched: Option<Watched>,
}

enum Watched {
    Pinhole(Pinhole),
    Range(BlindRange, Events),
}

impl<'a> Watch<'a> {
    fn pinhole(watcher: &'a Watcher, pinhole: Pinhole, events: Events) -> Self {
        watcher.flows().watch(pinhole, events);
        Self { watcher, watched: Some(Watched::Pinhole(pinhole)) }
    }

    fn range(watcher: &'a Watcher, range: BlindRange, ports: PortRange, events: Events) -> Self {
        watcher.flows().hold(range, ports, events.clone());
        Self { watcher, watched: Some(Watched::Range(range, events)) }
    }

    fn keep(mut self) {
        self.watched = None;
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        match self.watched.take() {
            Some(Watched::Pinhole(pinhole)) => self.watcher.flows().abandon(pinhole),
            Some(Watched::Range(range, events)) => self.watcher.flows().let_go(range, &events),
            None => {}
        }
    }
}

/// The pinhole as conntrack names it.
fn watched_key(pinhole: Pinhole) -> Pinhole {
    Pinhole { peer: pinhole.peer.to_canonical(), entry: canonical(pinhole.entry) }
}
