//! The arithmetic of limits: how fast something may happen, how long somebody has to wait, how much
//! of what is scarce one may take. For [`crate::relay`] and [`crate::telemetry`].
//!
//! | file | what it holds |
//! |---|---|
//! | `rate` | so many in a time, and who has had how many |
//! | `backoff` | how long a client waits after failed logins |
//! | `clients` | what is remembered of clients, bounded; who is one client |
//! | `share` | how much of the ports one client may take |
//! | `flood` | which of many like lines are written |
//!
//! Pure: the time goes in. Not here: who is counted and what happens then (see `relay/admission`).

mod backoff;
mod clients;
mod flood;
mod rate;
mod share;

pub use backoff::{Backoff, FIRST_PAUSE, LONGEST_PAUSE};
pub use clients::{ClientKey, ClientTable, Memory};
pub use flood::Flood;
pub use rate::{Bucket, Rate, RateError};
pub use share::{Share, ShareError};
