//! What a running gateway watches over: its figures, and an audit that sessions are not to go on
//! without.

use crate::admin::Readiness;
use crate::firewall::{Firewall, Repairs};
use crate::relay::{Shards, Shared};
use crate::telemetry::{VitalSigns, Vitals};
use std::sync::{Arc, Weak};
use tokio::sync::watch;

/// Reads what the parts have counted.
pub(super) fn vital_signs(shards: &Arc<Shards>, firewall: Option<&Firewall>) -> VitalSigns {
    // Neither is kept alive by a scrape: the end of each is that of the gateway.
    let shards: Weak<Shards> = Arc::downgrade(shards);
    let repairs = firewall.map(Firewall::repairs);
    Arc::new(move || {
        let repairs = repairs.as_ref().map_or_else(Repairs::default, |read| read());
        let Repairs { table, keeper, flows } = repairs;
        let tasks = shards.upgrade().map_or(0, |shards| shards.tasks());
        Vitals { tasks, repairs: [table, keeper, flows] }
    })
}

/// Ends all sessions when the audit cannot be written, and takes none until it can be.
pub(super) async fn hold_without_audit(
    mut failing: watch::Receiver<bool>,
    readiness: Readiness,
    shared: Weak<Shared>,
) {
    loop {
        if failing.wait_for(|failing| *failing).await.is_err() {
            return;
        }
        let Some(held) = shared.upgrade() else { return };
        tracing::error!("telemetry.audit.on_error: stop: all sessions end, and none is taken");
        readiness.hold(Some("the audit cannot be written"));
        held.hold();
        drop(held);
        if failing.wait_for(|failing| !*failing).await.is_err() {
            return;
        }
        let Some(held) = shared.upgrade() else { return };
        tracing::warn!("the audit is written again: sessions are taken");
        held.release();
        readiness.hold(None);
    }
}
