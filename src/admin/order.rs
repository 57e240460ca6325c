//! What the owner may ask of a running gateway.

use crate::terms::SessionId;
use tokio::sync::{mpsc, oneshot};

/// One wish. Whoever sends it may go away before the answer comes.
#[derive(Debug)]
pub enum Order {
    /// Read the configuration file again and go on with it.
    Reload {
        /// What has changed, a line each; or why everything stays as it was, all problems at once.
        answer: oneshot::Sender<Result<Vec<String>, String>>,
    },
    /// Take no more sessions, let running transfers finish, and end.
    Drain,
    /// End one session.
    CloseSession {
        /// Which.
        id: SessionId,
        /// False if there is no such session.
        answer: oneshot::Sender<bool>,
    },
}

/// Where orders come from.
pub type Orders = mpsc::Receiver<Order>;
