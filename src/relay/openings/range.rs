//! What stands open for data connections that the session cannot see being agreed
//! (`data.blind_ports`).

use super::{OpenError, Openings};
use crate::firewall;
use crate::session::BlindRange;

impl Openings {
    /// Opens the ports of `data.blind_ports` between the two ends of the session.
    pub(in crate::relay) async fn open_range(
        &mut self,
        range: BlindRange,
    ) -> Result<(), OpenError> {
        let BlindRange { client, entry, server, source } = range;
        let range = firewall::BlindRange { client, entry, server, source };
        let flows = self.flows.sender();
        self.firewall()?.open_range(range, flows).await?;
        self.range = Some(range);
        self.had_range = true;
        Ok(())
    }

    /// True if no more news of data connections can come. What passed within the range may become
    /// known a moment after the session that it belongs to has ended: nothing more is opened then, and
    /// the news end with those who tell of its connections.
    pub(in crate::relay) fn has_told_all(&mut self) -> bool {
        self.flows.close();
        !self.had_range || self.flows.is_over()
    }

    /// Closes them; connections that run go on.
    pub(in crate::relay) async fn close_range(&mut self) {
        let Some(range) = self.range.take() else { return };
        let flows = self.flows.sender();
        if let Some(firewall) = &self.shared.firewall
            && let Err(error) = firewall.close_range(range, &flows).await
        {
            tracing::warn!(%error, "data.blind_ports could not be closed for this session");
        }
    }
}
