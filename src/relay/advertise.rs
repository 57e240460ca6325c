//! What the sessions of a listener tell instead of the gateway's own address: each session is told when
//! it begins, and keeps it.

use crate::addr::{Addresses, ByOwn, External};
use tokio::sync::watch;

/// Both sides of a listener.
#[derive(Debug, Clone, Default)]
pub struct Advertise {
    /// By the address that the client dialled.
    pub client: ByOwn<Front>,
    /// By the address that the server sees.
    pub server: ByOwn<Front>,
}

/// What stands in front of an address of the gateway's own.
#[derive(Debug, Clone)]
pub enum Front {
    /// What the configuration says.
    Fixed(External),
    /// What may change at any time.
    Followed(watch::Receiver<Addresses>),
}

impl Default for Front {
    fn default() -> Self {
        Self::Fixed(External::Own)
    }
}

impl Front {
    /// What is told now.
    pub(super) fn now(&self) -> External {
        match self {
            Self::Fixed(external) => *external,
            Self::Followed(addresses) => External::Found(*addresses.borrow()),
        }
    }
}
