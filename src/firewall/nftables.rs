//! One table in the kernel: installed, filled, emptied and removed over one kept socket.

mod failure;
mod restore;

use super::conntrack::{Flow, Query, State};
use super::encode::{Batch, TABLE_OWNER};
use super::error::FirewallError;
use super::handover::Predecessor;
use super::netlink::{Socket, answers};
use super::range::Ranges;
use super::repairs::Tally;
use super::rule::Table;
use super::ruleset::{Element, range_elements};
use super::{BlindRange, Closed};
use failure::{Failure, kernel, no_socket};
use restore::Standing;
pub(super) use restore::Used;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The translations outlive the pinhole by this much, so that a connection that begins in the last
/// moment is translated to its end of the handshake: the key is deleted at the first SYN, while the
/// maps are asked a little later on the packet's way.
const MAPS_OUTLIVE: Duration = Duration::from_secs(5);
/// How often a batch is repeated that another program's netfilter work made fail in passing.
const ATTEMPTS: u32 = 5;
/// The pause between two such attempts.
const PAUSE: Duration = Duration::from_millis(2);
/// In the words of an error.
const INSTALLING: &str = "install the nftables table";

/// A table and the socket that owns it.
#[derive(Debug)]
pub(super) struct Nftables {
    socket: Socket,
    batch: Batch,
    table: Table,
    /// A second table that stays behind while connections run.
    keeper: Option<Table>,
    /// What stands until it is closed, and is restored with the table.
    ranges: Ranges,
    /// Pinholes that are awaited, and are restored with the table.
    standing: Standing,
    /// Which of these are not awaited any more.
    used: Used,
    tally: Arc<Tally>,
}

impl Nftables {
    /// Opens the socket in the network namespace of the calling thread and installs the table,
    /// replacing an older one of the same name, in one step. With a `keeper`, which is left behind
    /// for the connections that run, the table lives no longer than the socket, and nobody else may
    /// change it; without one it lives until anybody removes it. The socket of a `predecessor` is
    /// taken instead of a new one, and its table is replaced, whatever its name.
    pub(super) fn install(
        table: Table,
        keeper: Option<Table>,
        predecessor: Option<Predecessor>,
    ) -> Result<Self, FirewallError> {
        let (socket, older) = match predecessor.and_then(Predecessor::adopt) {
            Some((socket, older)) => (socket, Some(older)),
            None => (Socket::open().map_err(no_socket)?, None),
        };
        let (batch, ranges, standing, used, tally) = Default::default();
        let mut this = Self { socket, batch, table, keeper, ranges, standing, used, tally };
        this.install_table(older.as_deref())?;
        Ok(this)
    }

    /// Asks there which pinholes are used, and counts there what is put back.
    pub(super) fn on_duty(&mut self, used: Used, tally: Arc<Tally>) {
        (self.used, self.tally) = (used, tally);
    }

    /// True unless it is known that no connection runs that came through a pinhole.
    fn carries(&mut self) -> bool {
        let runs = |flow: &Flow| flow.state == Some(State::Alive);
        let flows = self.used.query.as_mut().map(Query::all);
        !matches!(flows, Some(Ok(flows)) if !flows.iter().any(runs))
    }

    /// Empties the table: nothing but its rules stands, and these without a gap.
    pub(super) fn empty(&mut self) -> Result<(), FirewallError> {
        self.ranges.clear();
        self.standing.clear();
        self.install_table(None)
    }

    /// The socket, for whoever is to keep the table when this process has ended.
    pub(super) fn hand_over(&self) -> Result<OwnedFd, FirewallError> {
        let cloned = self.socket.try_clone();
        cloned.map_err(|error| kernel("hand the nftables table over", &error.to_string()))
    }

    /// Makes the table in place of what is there under its name, and of one named `older`.
    fn install_table(&mut self, older: Option<&str>) -> Result<(), FirewallError> {
        let keeper = self.keeper.clone();
        let older = older.filter(|older| *older != self.table.name).map(str::to_owned);
        let install = |batch: &mut Batch, table: &Table, flags| {
            batch.begin();
            if let Some(older) = &older {
                batch.delete_table_if_there(older);
            }
            batch.replace_table(table, flags);
            if let Some(keeper) = &keeper {
                batch.ensure_table(keeper);
            }
        };
        let flags = if self.keeper.is_some() { TABLE_OWNER } else { 0 };
        let mut result = self.commit(|batch, table| install(batch, table, flags));
        if let Err(failure) = &result
            && flags != 0
            && self.is_about_table_flags(failure)
        {
            tracing::warn!(
                table = self.table.name,
                "the kernel (before 5.12) has no owned nftables tables: if this process is killed, \
                 its table stays, with unused pinholes until they expire"
            );
            result = self.commit(|batch, table| install(batch, table, 0));
        }
        result.map_err(|failure| self.explain(INSTALLING, &failure))
    }

    /// Puts the rules of `table`, which has the name, the sets and the chains of this one, in place
    /// of those that stand, in one step: a packet meets the old ones or the new ones. The elements
    /// stay. After an error the old rules stand.
    pub(super) fn replace_rules(&mut self, table: Table) -> Result<(), FirewallError> {
        let old = std::mem::replace(&mut self.table, table);
        let mut repaired = false;
        loop {
            let result = self.commit(|batch, table| {
                batch.begin();
                batch.replace_rules(table);
            });
            let result = match result {
                Ok(()) => return Ok(()),
                Err(failure) if !repaired && failure.errno() == libc::ENOENT => self.reinstall(),
                // Twice is the same as once.
                Err(failure) if !repaired && failure.answer_lost() => Ok(()),
                Err(failure) => Err(self.explain("change the nftables rules", &failure)),
            };
            if let Err(error) = result {
                self.table = old;
                return Err(error);
            }
            repaired = true;
        }
    }

    /// Adds the elements of one opening, all or none.
    pub(super) fn add(
        &mut self,
        elements: &[Element],
        timeout: Duration,
    ) -> Result<(), FirewallError> {
        let mut repaired = false;
        loop {
            let result = self.commit(|batch, table| {
                batch.begin();
                add_pinhole(batch, table, elements, timeout);
            });
            match result {
                Ok(()) => {
                    self.standing.add(elements, Instant::now() + timeout);
                    return Ok(());
                }
                Err(failure) if !repaired && failure.errno() == libc::ENOENT => {
                    self.reinstall()?;
                }
                // Left over from an earlier use of the same key. Its timeout is not renewed by
                // adding it again before Linux 6.12.
                Err(failure)
                    if !repaired && (failure.errno() == libc::EEXIST || failure.answer_lost()) =>
                {
                    self.delete(elements)?;
                }
                Err(failure) => return Err(self.explain("open a pinhole", &failure)),
            }
            repaired = true;
        }
    }

    /// One more session holds a canonical range open. The elements are added although another
    /// session has them there: it costs one batch, and shows whether the table is.
    pub(super) fn open_range(&mut self, range: BlindRange) -> Result<(), FirewallError> {
        self.ranges.hold(range)?;
        let result = self.ensure(&range_elements(&range));
        if result.is_err() {
            self.ranges.release(range);
        }
        result
    }

    /// One session fewer holds a canonical range open. After an error it still does.
    pub(super) fn close_range(&mut self, range: BlindRange) -> Result<(), FirewallError> {
        if !self.ranges.release(range) {
            return Ok(());
        }
        let result = self.delete(&range_elements(&range));
        if result.is_err() {
            self.ranges.hold(range)?;
        }
        result
    }

    /// Adds the elements of one range where they are not there, all or none.
    fn ensure(&mut self, elements: &[Element]) -> Result<(), FirewallError> {
        let mut repaired = false;
        loop {
            match self.commit_standing(elements) {
                Ok(()) => return Ok(()),
                Err(failure) if !repaired && failure.errno() == libc::ENOENT => {
                    self.reinstall()?;
                }
                // Left over with another value.
                Err(failure)
                    if !repaired && (failure.errno() == libc::EEXIST || failure.answer_lost()) =>
                {
                    self.delete(elements)?;
                }
                Err(failure) => return Err(self.explain("open a range of ports", &failure)),
            }
            repaired = true;
        }
    }

    fn commit_standing(&mut self, elements: &[Element]) -> Result<(), Failure> {
        self.commit(|batch, table| {
            batch.begin();
            for element in elements {
                batch.ensure(&table.name, element);
            }
        })
    }

    /// Deletes the elements of one pinhole: the pin, which stands last, by itself, since the packet
    /// path deletes it too and only then is it known who was first; the maps where it was there.
    pub(super) fn close(&mut self, elements: &[Element]) -> Result<Closed, FirewallError> {
        let Some((pin, maps)) = elements.split_last() else { return Ok(Closed::Gone) };
        self.standing.remove(elements);
        let result = self.commit(|batch, table| {
            batch.begin();
            batch.delete(&table.name, pin);
        });
        match result {
            Ok(()) if maps.is_empty() => Ok(Closed::Unused),
            Ok(()) => self.delete(maps).map(|()| Closed::Unused),
            // A connection that has come through may still be on its way to the maps.
            Err(failure) if failure.errno() == libc::ENOENT => Ok(Closed::Gone),
            Err(failure) => Err(self.explain("close a pinhole", &failure)),
        }
    }

    /// Deletes the elements of pinholes or ranges; those that do not exist are no failure.
    pub(super) fn delete(&mut self, elements: &[Element]) -> Result<(), FirewallError> {
        self.standing.remove(elements);
        let result = self.commit(|batch, table| {
            batch.begin();
            // The pin first: from then on nothing comes in.
            for element in elements.iter().rev() {
                batch.delete_if_there(&table.name, element);
            }
        });
        if result.is_ok() {
            return Ok(());
        }
        // A map element with another value, or a set that is full: one by one.
        for element in elements.iter().rev() {
            let result = self.commit(|batch, table| {
                batch.begin();
                batch.delete(&table.name, element);
            });
            if let Err(failure) = result
                && failure.errno() != libc::ENOENT
            {
                return Err(self.explain("close a pinhole", &failure));
            }
        }
        Ok(())
    }

    /// Removes the table; that it is gone already is no failure.
    pub(super) fn remove(&mut self) -> Result<(), FirewallError> {
        let name = self.table.name.clone();
        self.delete_table(&name)
    }

    /// Removes the table that keeps running connections translated, where none runs.
    pub(super) fn remove_keeper(&mut self) -> Result<(), FirewallError> {
        match self.keeper.take() {
            Some(keeper) if !self.carries() => self.delete_table(&keeper.name),
            Some(_) | None => Ok(()),
        }
    }

    fn delete_table(&mut self, name: &str) -> Result<(), FirewallError> {
        let result = self.commit(|batch, _| {
            batch.begin();
            batch.delete_table(name);
        });
        match result {
            Err(failure) if failure.errno() != libc::ENOENT => {
                Err(self.explain("remove the nftables table", &failure))
            }
            _ => Ok(()),
        }
    }

    /// Sends the batch that `fill` writes; repeats it where the kernel asks for that.
    fn commit(&mut self, fill: impl Fn(&mut Batch, &Table)) -> Result<(), Failure> {
        for attempt in 1.. {
            fill(&mut self.batch, &self.table);
            let result = self.send();
            let again = match &result {
                Ok(()) => false,
                Err(failure) => {
                    [libc::EAGAIN, libc::EBUSY, libc::EINTR, libc::ERESTART]
                        .contains(&failure.errno())
                        && !failure.answer_lost()
                }
            };
            if !again || attempt == ATTEMPTS {
                return result;
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), Failure> {
        let bytes = self.batch.end();
        self.socket.send(bytes).map_err(Failure::Socket)?;
        let mut failure = None;
        // The kernel has put every answer into the socket before `send` returned.
        loop {
            let datagram = match self.socket.receive(false) {
                Ok(datagram) => datagram,
                Err(error) => return Err(failure.unwrap_or(Failure::Socket(error))),
            };
            for rejection in answers(datagram).filter_map(|answer| answer.rejection()) {
                let batch = self.batch.first..=self.batch.last;
                if !batch.contains(&rejection.sequence) {
                    continue;
                }
                let last = rejection.sequence == self.batch.last;
                if rejection.errno != 0 && failure.is_none() {
                    failure = Some(Failure::Rejected(rejection));
                }
                if last {
                    return failure.map_or(Ok(()), Err);
                }
            }
        }
    }
}

/// The elements of one pinhole that is open for `timeout`.
fn add_pinhole(batch: &mut Batch, table: &Table, elements: &[Element], timeout: Duration) {
    for element in elements {
        let lasts = match element.data.as_bytes() {
            [] => timeout,
            _ => timeout.saturating_add(MAPS_OUTLIVE),
        };
        batch.add(&table.name, element, lasts);
    }
}

#[cfg(test)]
mod tests;
