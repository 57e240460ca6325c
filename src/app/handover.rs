//! What goes from one process to the next: listening sockets and the firewall's table, which the
//! service manager keeps in between (`sd_listen_fds(3)`, `sd_notify(3)`).
//!
//! Not here: how a socket is taken (`net`), or a table (`firewall`).

use crate::firewall::{self, Firewall, FirewallError, Predecessor};
use crate::net::{Inherited, InheritedError};
use sd_notify::NotifyState;
use std::os::fd::AsFd;

/// Begins the name under which the service manager keeps the firewall's socket; the name of the
/// table follows.
const FIREWALL: &str = "ftpgate-firewall-";

/// What a process was started with, besides its configuration.
#[derive(Debug, Default)]
pub struct Handover {
    /// What nobody has asked for yet.
    pub(super) sockets: Inherited,
    manager: Manager,
}

/// The service manager that has started this process, if one has; the default is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manager {
    listens: bool,
    keeps: bool,
}

impl Handover {
    /// Takes what the environment announces. To be called once, at the start of a process.
    ///
    /// # Errors
    /// The environment contradicts itself, or what is open.
    pub fn take() -> Result<Self, InheritedError> {
        let sockets = Inherited::take()?;
        let listens = std::env::var_os("NOTIFY_SOCKET").is_some();
        let most = std::env::var("FDSTORE").ok().and_then(|most| most.parse().ok());
        let keeps = listens && keeps_descriptors(most, &sockets);
        Ok(Self { sockets, manager: Manager { listens, keeps } })
    }

    /// Starts the firewall over what an earlier process has left, and leaves it for the next one.
    pub(super) async fn start_firewall(
        &mut self,
        settings: &firewall::Settings,
    ) -> Result<Firewall, FirewallError> {
        let mut left = self.sockets.named(FIREWALL);
        // The one of this very table, if there is one: it is what the kernel lets us replace.
        left.sort_by_key(|(table, _)| *table == settings.table);
        let names: Vec<String> = left.iter().map(|(table, _)| table.clone()).collect();
        let predecessor = left.pop().map(|(table, socket)| Predecessor { table, socket });
        let firewall = Firewall::start_after(settings, predecessor)?;
        // The manager does not change the name of what it keeps, nor replace what has that name.
        for table in &names {
            self.manager.forget(table);
        }
        if self.manager.keeps {
            let socket = firewall.hand_over().await?;
            self.manager.keep(&settings.table, &socket);
        }
        Ok(firewall)
    }

    /// Lets go of what nobody has asked for, and tells of it.
    pub(super) fn finish(mut self) -> Manager {
        for (table, _) in self.sockets.named(FIREWALL) {
            self.manager.forget(&table);
        }
        for (name, what) in self.sockets.left_over() {
            tracing::warn!(
                name,
                what,
                "a socket was handed over that nothing here uses, and clients that connect to it are \
                 not served: give a listener (or telemetry.listen) just this address as `listen`, \
                 or take the socket out of the unit"
            );
        }
        self.manager
    }
}

impl Manager {
    /// True if the firewall's table and what goes with it are left for the next process.
    pub(super) fn keeps(self) -> bool {
        self.keeps
    }

    /// Clients are accepted, for the first time or after a reload.
    pub fn ready(self) {
        self.tell(&[NotifyState::Ready, NotifyState::Status("accepting clients")]);
    }

    /// The configuration is being read again; [`Manager::ready`] ends it.
    pub fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "no clock to tell the service manager"),
        }
    }

    /// No more clients are accepted.
    pub fn stopping(self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("sessions end")]);
    }

    fn keep(self, table: &str, socket: &impl AsFd) {
        let name = format!("{FIREWALL}{table}");
        // A netlink socket whose reader is slow is in error, but no less of use (FDPOLL).
        let state =
            [NotifyState::FdStore, NotifyState::FdName(&name), NotifyState::Custom("FDPOLL=0")];
        let told = sd_notify::notify_with_fds(&state, &[socket.as_fd()]);
        if let Err(error) = told {
            tracing::warn!(%error, "the service manager cannot keep the firewall over a restart");
        }
    }

    fn forget(self, table: &str) {
        let name = format!("{FIREWALL}{table}");
        self.tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)]);
    }

    fn tell(self, state: &[NotifyState<'_>]) {
        if !self.listens {
            return;
        }
        if let Err(error) = sd_notify::notify(state) {
            tracing::warn!(%error, "NOTIFY_SOCKET: the service manager cannot be told");
        }
    }
}

/// True if the service manager may be relied on to keep what it is given. `most`: how many
/// descriptors it says that it keeps (FDSTORE, systemd 254 or newer). Where it says nothing, the
/// owner of a unit with sockets is taken to want the rest of an upgrade in place as well: if nothing
/// is kept after all, only a routing rule without effect stays behind.
fn keeps_descriptors(most: Option<u32>, sockets: &Inherited) -> bool {
    most.map_or(!sockets.is_empty(), |most| most > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_says_what_it_keeps_is_believed() {
        let none = Inherited::default();
        assert!(keeps_descriptors(Some(4), &none));
        assert!(!keeps_descriptors(Some(0), &none));
        assert!(!keeps_descriptors(None, &none), "a unit without sockets, of whatever systemd");
    }

    #[test]
    fn without_a_manager_nobody_is_told_and_nothing_is_kept() {
        let manager = Handover::default().finish();
        assert!(!manager.keeps());
        manager.ready();
        manager.stopping();
    }
}
