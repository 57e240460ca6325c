//! Carries sessions: accepts clients, dials servers, executes what the session decides, and moves
//! data where the kernel does not.
//!
//! | file | what it holds |
//! |---|---|
//! | `listener` | accepts clients, finds out where they dialled |
//! | `admission` | who may have a session: the limits, and what is remembered of clients |
//! | `advertise` | what new sessions are to tell instead of the gateway's own address |
//! | `arrival` | an accepted connection, until it is known whose it is |
//! | `driver` | one session: the only executor of actions; the TLS that ends here |
//! | `control` | one control connection with what is still to be sent on it |
//! | `course` | how the gateway comes to its end: told to sessions, which are waited for |
//! | `layer` | what lies over its bytes: text, or TLS that ends here. No I/O |
//! | `termination` | what the handshakes of one session need, and what came of them |
//! | `openings` | opens and closes what a transfer awaits, on either path |
//! | `data` | one data connection on the relay path: two legs, joined |
//! | `introduction` | PROXY headers: clients that a balancer introduces, what servers are told |
//! | `intake` | receives the connections that the firewall captures for the relay |
//! | `data_tls` | TLS on one leg: how it is begun, and why it could not be |
//! | `splice` | moves the bytes where both legs are clear |
//! | `pump` | moves the bytes where TLS ends on a leg |
//! | `shards` | the threads that carry sessions |
//! | `shared` | what the sessions share: ports, pipes, the loop guard |
//!
//! Not here: FTP. What a line means is [`crate::session`]'s.

mod admission;
mod advertise;
mod arrival;
mod control;
mod course;
mod data;
mod data_tls;
mod driver;
mod intake;
mod introduction;
mod layer;
mod listener;
mod openings;
mod pump;
mod shards;
mod shared;
mod splice;
mod termination;

pub use admission::Limits;
pub use advertise::{Advertise, Front};
pub use course::{Course, CourseReceiver, CourseSender};
pub use intake::Intake;
pub use introduction::ProxyProtocol;
pub use listener::{CaptureKind, Listener, ListenerHandle, ListenerSettings, ServerAddress};
pub use pump::{Leg as DataLeg, join as join_legs};
pub use shards::Shards;
pub use shared::{Shared, SharedSettings};
pub use termination::Termination;

#[cfg(test)]
mod tests {
    pub(super) mod peers;
}
