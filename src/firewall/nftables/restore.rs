//! What has to stand, and how it is put back when somebody else has taken it away.
//!
//! The kernel lets nobody but its owner change an owned table: `nft flush ruleset` passes over it.
//! The keeper has no owner, nor has the table on kernels before 5.12; and whoever has the socket may
//! do anything. A table without its rules is as good as none, so it is the rules that are counted.

use super::super::conntrack::{Query, State};
use super::super::error::FirewallError;
use super::super::netlink::{
    Answer, GENERIC, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, answers, attribute,
};
use super::super::repairs::count;
use super::super::rule::Table;
use super::super::ruleset::{Element, Layout, pinhole_key, range_elements};
use super::super::worker::{Remains, lock};
use super::failure::Failure;
use super::{ATTEMPTS, Nftables, PAUSE, add_pinhole};
use std::collections::{HashMap, HashSet};
use std::io;
use std::time::Instant;

/// Ranges or pinholes restored in one batch: with three elements each it stays far below what the
/// send buffer takes.
const RESTORED_AT_ONCE: usize = 32;
/// Below so many pinholes nobody looks for those whose time is over.
const FEW: usize = 1024;
/// `NFTA_RULE_CHAIN`: the chain that a rule is in, by name.
const RULE_CHAIN: u16 = 2;

/// The pinholes that are awaited, as far as is known here: one that has been used is forgotten a
/// moment later, when its remains are cleared away.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pinholes: HashMap<Layout, Pinhole>,
    /// From this number on it is looked for those whose time is over.
    many: usize,
}

#[derive(Debug, Clone)]
struct Pinhole {
    elements: Vec<Element>,
    until: Instant,
}

impl Standing {
    pub(super) fn add(&mut self, elements: &[Element], until: Instant) {
        let Some(first) = elements.first() else { return };
        self.pinholes.insert(first.key, Pinhole { elements: elements.to_vec(), until });
        if self.pinholes.len() >= self.many.max(FEW) {
            self.forget_expired(Instant::now());
            self.many = self.pinholes.len().saturating_mul(2);
        }
    }

    /// Those that these elements belong to are closed.
    pub(super) fn remove(&mut self, elements: &[Element]) {
        for element in elements {
            self.pinholes.remove(&element.key);
        }
    }

    pub(super) fn clear(&mut self) {
        self.pinholes.clear();
    }

    fn forget_expired(&mut self, now: Instant) {
        self.pinholes.retain(|_, pinhole| pinhole.until > now);
    }
}

/// Tells which pinholes a connection has come through: they are not opened a second time.
#[derive(Debug, Default)]
pub(in super::super) struct Used {
    /// Those that a session has said so of, and that are still to be cleared away.
    pub(in super::super) remains: Remains,
    /// Where those are asked for that no session has heard of yet.
    pub(in super::super) query: Option<Query>,
}

impl Used {
    fn keys(&mut self) -> HashSet<Layout> {
        let mut keys: HashSet<Layout> = lock(&self.remains).keys().copied().collect();
        match self.query.as_mut().map(Query::all) {
            Some(Ok(flows)) => {
                let running = flows.iter().filter(|flow| flow.state == Some(State::Alive));
                keys.extend(running.map(|flow| pinhole_key(flow.pinhole())));
            }
            Some(Err(error)) => tracing::warn!(%error, "conntrack could not be asked"),
            None => {}
        }
        keys
    }
}

impl Nftables {
    /// The names of what has to stand.
    pub(in super::super) fn names(&self) -> Vec<String> {
        let keeper = self.keeper.as_ref().map(|keeper| keeper.name.clone());
        [self.table.name.clone()].into_iter().chain(keeper).collect()
    }

    /// Puts back what is not in place.
    ///
    /// # Errors
    ///
    /// It is to be tried again.
    pub(in super::super) fn check(&mut self) -> Result<(), FirewallError> {
        if !self.stands(&self.table.clone())? {
            self.reinstall()?;
        }
        if let Some(keeper) = self.keeper.clone()
            && !self.stands(&keeper)?
        {
            tracing::warn!(
                table = keeper.name,
                "the table has vanished, or somebody has changed it: reinstalled"
            );
            let result = self.commit(|batch, _| {
                batch.begin();
                batch.ensure_table(&keeper);
            });
            result.map_err(|failure| self.explain("reinstall the nftables table", &failure))?;
            count(&self.tally.keeper);
        }
        Ok(())
    }

    /// True if the table's chains have as many rules as they should. Chains that somebody else has put
    /// into it are his.
    fn stands(&mut self, table: &Table) -> Result<bool, FirewallError> {
        let wanted: usize = table.chains.iter().map(|chain| chain.rules.len()).sum();
        let mut counted = self.count_rules(table);
        for _ in 1..ATTEMPTS {
            if !counted.as_ref().is_err_and(|failure| failure.errno() == libc::EINTR) {
                break;
            }
            std::thread::sleep(PAUSE);
            counted = self.count_rules(table);
        }
        match counted {
            Ok(count) => Ok(count == wanted),
            Err(failure) if failure.errno() == libc::ENOENT => Ok(false),
            Err(failure) => Err(self.explain("look at the nftables table", &failure)),
        }
    }

    /// `EINTR` if somebody has changed rules meanwhile, so that the count says nothing.
    fn count_rules(&mut self, table: &Table) -> Result<usize, Failure> {
        let (sequence, request) = self.batch.ask_for_rules(&table.name);
        self.socket.send(request).map_err(Failure::Socket)?;
        let (mut count, mut interrupted) = (0, false);
        loop {
            let datagram = self.socket.receive(false).map_err(Failure::Socket)?;
            for answer in answers(datagram).filter(|answer| answer.sequence == sequence) {
                interrupted |= answer.flags & NLM_F_DUMP_INTR != 0;
                match answer.kind {
                    NLMSG_DONE if interrupted => {
                        return Err(Failure::Socket(io::Error::from_raw_os_error(libc::EINTR)));
                    }
                    NLMSG_DONE => return Ok(count),
                    NLMSG_ERROR => {
                        let rejection = answer.rejection().filter(|rejection| rejection.errno != 0);
                        return rejection.map_or(Ok(count), |why| Err(Failure::Rejected(why)));
                    }
                    _ => count += usize::from(is_in(&answer, table)),
                }
            }
        }
    }

    /// Puts the table back in place, with the ranges and with the pinholes that are awaited.
    pub(super) fn reinstall(&mut self) -> Result<(), FirewallError> {
        tracing::warn!(
            table = self.table.name,
            "the table has vanished, or somebody has changed it: reinstalled"
        );
        self.install_table(None)?;
        count(&self.tally.table);
        for some in self.ranges.standing().chunks(RESTORED_AT_ONCE) {
            let elements: Vec<Element> = some.iter().flat_map(range_elements).collect();
            self.commit_standing(&elements)
                .map_err(|failure| self.explain("restore a range of ports", &failure))?;
        }
        let now = Instant::now();
        self.standing.forget_expired(now);
        for key in self.used.keys() {
            self.standing.pinholes.remove(&key);
        }
        let awaited: Vec<Pinhole> = self.standing.pinholes.values().cloned().collect();
        for some in awaited.chunks(RESTORED_AT_ONCE) {
            let result = self.commit(|batch, table| {
                batch.begin();
                for Pinhole { elements, until } in some {
                    let left = until.saturating_duration_since(now);
                    add_pinhole(batch, table, elements, left);
                }
            });
            result.map_err(|failure| self.explain("restore a pinhole", &failure))?;
        }
        if !awaited.is_empty() {
            tracing::info!(pinholes = awaited.len(), "what is awaited is open again");
        }
        Ok(())
    }
}

/// True for a rule in one of the table's own chains.
fn is_in(rule: &Answer<'_>, table: &Table) -> bool {
    let name = rule.payload.get(GENERIC..).and_then(|about| attribute(about, RULE_CHAIN));
    let name = name.map(|name| name.strip_suffix(&[0]).unwrap_or(name));
    table.chains.iter().any(|chain| name == Some(chain.name.as_bytes()))
}
