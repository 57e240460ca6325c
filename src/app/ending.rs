//! The end of a gateway: drain, which lets what runs finish, and shutdown, which does not wait.

use super::RunningGateway;
use crate::relay::Course;
use std::time::Duration;

/// How long sessions have to say good-bye when the gateway stops.
const FAREWELL: Duration = Duration::from_secs(3);

impl RunningGateway {
    /// Takes no more sessions, and returns when those that there are have ended: each does when its
    /// transfers have. What is left after `limits.drain_timeout` is left to
    /// [`shutdown`](Self::shutdown), which has to follow. Metrics and health are served meanwhile,
    /// and `/readyz` says that the gateway drains. May be dropped at any time.
    pub async fn drain(&self) {
        self.manager.stopping();
        self.readiness.set_not_ready("draining");
        self.course.set(Course::Draining);
        let limit = self.config.limits.drain_timeout;
        if tokio::time::timeout(limit, self.course.all_over()).await.is_err() {
            tracing::warn!(?limit, "limits.drain_timeout is over: what still runs is ended");
        }
    }

    /// Stops accepting, says good-bye to every session, and takes back what was set up in the
    /// kernel, except what is left for the next process. Transfers that the kernel carries go on.
    pub async fn shutdown(mut self) {
        self.manager.stopping();
        self.readiness.set_not_ready("shutting down");
        self.course.set(Course::Ending);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            tracing::warn!("some parts did not stop in time");
        }
        // Each session holds a receiver until it has hung up.
        if tokio::time::timeout(FAREWELL, self.course.all_hung_up()).await.is_err() {
            tracing::warn!("some sessions are cut off");
        }
        // With it goes the intake of captured connections.
        drop(self.shared);
        let shards = self.shards;
        if tokio::task::spawn_blocking(move || drop(shards)).await.is_err() {
            tracing::warn!("the threads for sessions did not stop in order");
        }
        if self.manager.keeps() && self.firewall.is_some() {
            tracing::info!("captures of control connections are left for the next process");
        } else if let Some(routing) = self.routing
            && let Err(error) = routing.remove().await
        {
            tracing::warn!(%error, "policy routing is left behind");
        }
        if let Some(firewall) = self.firewall {
            let stopped = tokio::task::spawn_blocking(move || firewall.shutdown()).await;
            if stopped.is_err() {
                tracing::warn!("the firewall did not stop in order; the kernel removes its table");
            }
        }
        let telemetry = self.telemetry;
        let flushed = tokio::task::spawn_blocking(move || telemetry.flush_audit(FAREWELL)).await;
        if !flushed.is_ok_and(|flushed| flushed) {
            tracing::warn!("telemetry.audit: not everything is written");
        }
    }
}
