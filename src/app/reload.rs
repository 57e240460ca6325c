//! Another configuration for a gateway that runs: all of it, or nothing.
//!
//! Whatever can fail is done before anything changes; the last of it is the firewall, which changes
//! in one step. Sessions under way keep the settings that they began with.

use super::confinement::needs;
use super::external::Followed;
use super::settings::{captures, listener_settings, needs_transparency, shared_settings};
use super::{RunningGateway, carries_data, notices, tls};
use crate::config::{self, Capture, Config};
use crate::confinement::Confined;
use crate::net::Inherited;
use crate::relay::{Listener, ListenerHandle, ListenerSettings};
use crate::telemetry::snapshot::ListenerSnapshot;
use anyhow::Context;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::task::AbortHandle;

/// One listener that accepts.
pub(super) struct Accepting {
    pub(super) listener: config::Listener,
    /// It takes IPv4 beside IPv6.
    pub(super) dual: bool,
    pub(super) handle: ListenerHandle,
    pub(super) task: AbortHandle,
}

impl Accepting {
    fn needs(&self) -> (bool, bool) {
        (self.dual, self.listener.capture == Capture::Tproxy)
    }
}

/// What becomes of one listener of the new configuration.
struct Next<'a> {
    listener: &'a config::Listener,
    settings: ListenerSettings,
    /// The place of the one that has its socket already.
    kept: Option<usize>,
}

impl RunningGateway {
    /// Reads `file` and goes on with it; tells what has changed, a line each. Certificates are read
    /// again in any case.
    ///
    /// # Errors
    /// All problems, a line or more each; everything is then as it was.
    pub async fn reload(&mut self, file: &Path) -> Result<Vec<String>, String> {
        let result = match config::load(file) {
            Ok(new) => match self.given_up(&new, file) {
                problems if problems.is_empty() => {
                    self.change(new).await.map_err(|problems| problems.join("\n"))
                }
                problems => Err(problems.join("\n")),
            },
            Err(problems) => Err(problems.to_string()),
        };
        self.telemetry.count_reload(result.is_ok());
        result
    }

    /// Opens the file of the audit anew, for one that has been renamed.
    pub fn reopen_audit(&self) {
        self.telemetry.reopen_audit();
    }

    /// Tells where clients are accepted.
    pub(super) fn show_listeners(&self) {
        let shown =
            self.listeners.iter().map(|Accepting { listener, handle, .. }| ListenerSnapshot {
                name: listener.name.clone(),
                address: handle.address(),
                capture: listener.capture.label().into(),
                server: listener.server.to_string(),
            });
        self.telemetry.set_listeners(shown.collect());
    }

    async fn change(&mut self, new: Config) -> Result<Vec<String>, Vec<String>> {
        let mut problems = self.fixed(&new);
        let begun = self.followed.begin_more(&new).await;
        let (next, certificates) = self.next(&new, &begun, &mut problems);
        let shared = shared_settings(&new).map_err(|error| problems.push(format!("{error:#}")));
        let (Some(certificates), Ok(shared), true) = (certificates, shared, problems.is_empty())
        else {
            return Err(problems);
        };
        let mut bound = Vec::new();
        for Next { listener, settings, kept } in next {
            let socket = match kept {
                Some(_) => None,
                None => self
                    .bind(listener, settings.clone())
                    .inspect_err(|error| problems.push(format!("{error:#}")))
                    .ok(),
            };
            bound.push((listener.clone(), settings, kept, socket));
        }
        if problems.is_empty()
            && let Some(firewall) = &self.firewall
            && captures(&self.config) != captures(&new)
            && let Err(error) = firewall.capture(captures(&new)).await
        {
            problems.push(format!("firewall.backend: nftables: {error}"));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut changes = config::changes(&self.config, &new);
        if new.listeners.iter().any(|listener| listener.tls.mode.terminates()) {
            changes.push("certificates and keys are read again".to_owned());
        }
        if changes.is_empty() {
            changes.push("nothing is different".to_owned());
        }
        self.shared.change(shared);
        if let Some(firewall) = &self.firewall {
            firewall.set_idle_timeout(new.data.idle_timeout);
        }
        let mut old: Vec<Option<Accepting>> = self.listeners.drain(..).map(Some).collect();
        for (listener, settings, kept, socket) in bound {
            let kept = kept.and_then(|at| old.get_mut(at)?.take());
            let dual = new.is_dual(&listener);
            let (handle, task) = match (kept, socket) {
                (Some(Accepting { handle, task, .. }), _) => {
                    handle.change(settings, self.telemetry.listener(&listener.name));
                    (handle, task)
                }
                (None, Some(socket)) => {
                    (socket.handle(), self.tasks.spawn(socket.run(self.course.subscribe())))
                }
                (None, None) => continue,
            };
            self.listeners.push(Accepting { listener, dual, handle, task });
        }
        for removed in old.into_iter().flatten() {
            removed.task.abort();
        }
        while self.tasks.try_join_next().is_some() {}
        self.show_listeners();
        self.telemetry.watch_certificates(certificates.expiries());
        self.followed.change(begun, &new);
        self.notices = notices::missing(self.kernel, certificates.ca_expires(), SystemTime::now());
        self.notices.extend(self.followed.unknown(&new));
        self.notices.extend(notices::doubtful_commands(&new));
        self.config = new;
        self.telemetry.set_config_loaded(SystemTime::now());
        Ok(changes)
    }

    /// What `new` needs that this process gave up at its start.
    fn given_up(&self, new: &Config, file: &Path) -> Vec<String> {
        let refuses = |confined: &Confined| confined.refuses(&needs(new, Some(file)));
        self.confined.as_ref().map(refuses).unwrap_or_default()
    }

    /// What cannot change while the gateway runs.
    fn fixed(&self, new: &Config) -> Vec<String> {
        let mut problems = Vec::new();
        let keys = config::fixed_changes(&self.config, new);
        if !keys.is_empty() {
            problems.push(format!(
                "{}: cannot change while the gateway runs: restart it, or take the change back",
                keys.join(", ")
            ));
        }
        if needs_transparency(new) && self.routing.is_none() {
            problems.push(
                "listeners: the first one with `capture: redirect` or `tproxy`, or with `source: \
                 client`, needs what is set up at the start only: restart the gateway"
                    .to_owned(),
            );
        }
        problems
    }

    /// Reads what the listeners of `new` need, and finds the sockets that there are.
    fn next<'a>(
        &self,
        new: &'a Config,
        begun: &Followed,
        problems: &mut Vec<String>,
    ) -> (Vec<Next<'a>>, Option<tls::Certificates>) {
        let mut note = |error: anyhow::Error| problems.push(format!("{error:#}"));
        let kernel = carries_data(self.firewall.as_ref(), new).map_err(&mut note).ok();
        let certificates = tls::Certificates::load(new).map_err(&mut note).ok();
        let (Some(kernel), Some(certificates)) = (kernel, certificates) else {
            return (Vec::new(), None);
        };
        let mut next = Vec::new();
        for listener in &new.listeners {
            let advertise = self.followed.advertise(begun, listener);
            let settings = certificates.termination(new, listener).map(|tls| ListenerSettings {
                tls,
                ..listener_settings(new, listener, kernel, advertise)
            });
            let at = self.listeners.iter().position(|old| old.listener.listen == listener.listen);
            let needs = (new.is_dual(listener), listener.capture == Capture::Tproxy);
            if at.and_then(|at| self.listeners.get(at)).is_some_and(|old| old.needs() != needs) {
                problems.push(format!(
                    "listener {}: with this `capture`, or these listeners beside it, its address \
                     needs another socket: restart the gateway, or write another port",
                    listener.name
                ));
            }
            if let (None, Some(old)) = (at, self.in_the_way(listener)) {
                problems.push(format!(
                    "listener {}: {} cannot be listened on beside {}, where this gateway listens \
                     now: restart the gateway, or write another port",
                    listener.name, listener.listen, old.listener.listen
                ));
            }
            match settings.with_context(|| format!("listener {}", listener.name)) {
                Ok(settings) => next.push(Next { listener, settings, kept: at }),
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
        (next, Some(certificates))
    }

    /// The listener of now that keeps the socket of `new` from being bound: new sockets are bound
    /// while the old ones are open.
    fn in_the_way(&self, new: &config::Listener) -> Option<&Accepting> {
        self.listeners.iter().find(|old| config::collide(old.listener.listen, new.listen))
    }

    fn bind(
        &self,
        listener: &config::Listener,
        settings: ListenerSettings,
    ) -> anyhow::Result<Listener> {
        let (shared, shards) = (Arc::clone(&self.shared), Arc::clone(&self.shards));
        // What was handed over has been taken or closed at the start.
        let none = &mut Inherited::default();
        Listener::bind(settings, none, shared, shards, self.telemetry.listener(&listener.name))
            .with_context(|| format!("listener {}", listener.name))
    }
}
