//! What stands open for data connections that the session cannot see being agreed
//! (`data.blind_ports`).

use super::{OpenError, Openings};
use crate::firewall;
use crate::session::BlindRange;
use tokio::sync::mpsc;

impl Openings {
    /// Opens the ports of `data.blind_ports` between the two ends of the session.
    pub(in crate::relay) async fn open_range(
        &mut self,
        range: BlindRange,
    ) -> Result<(), OpenError> {
        let BlindRange { client, entry, server, source } = range;
        let range = firewall::BlindRange { client, entry, server, source };
        self.firewall()?.open_range(range, self.flows.clone()).await?;
        self.range = Some(range);
        self.had_range = true;
        Ok(())
    }

    /// True if a range was open for the session. Nothing more is opened from then on, so that the news
    /// end with those who tell of its connections.
    pub(in crate::relay) fn leaves_range(&mut self) -> bool {
        if self.had_range {
            self.flows = mpsc::unbounded_channel().0;
        }
        self.had_range
    }

    /// Closes them; connections that run go on.
    pub(in crate::relay) async fn close_range(&mut self) {
        if let (Some(range), Some(firewall)) = (self.range.take(), &self.shared.firewall)
            && let Err(error) = firewall.close_range(range, &self.flows).await
        {
            tracing::warn!(%error, "data.blind_ports could not be closed for this session");
        }
    }
}
