//! The state machine of one session: pure.

mod action;
mod event;

pub use action::{Action, Dial, Leg, TransferPlan};
pub use event::Event;
