//! Sessions: whatever the peers say, however it is split, and whatever becomes of the data
//! connections, what is promised of a session holds.
//!
//! | file | what it holds |
//! |---|---|
//! | `script` | bytes as a conversation: settings, then what happens |
//! | `step` | what may happen, and the bytes that say so |
//! | `vocabulary` | what the peers say |
//! | `stage` | plays it through a `Session`, to the end of both, with the clock of the play |
//! | `stage::executor` | does what the session wants, and answers |
//! | `stage::peers` | what the peers send, in which pieces |
//! | `layer` | what lies over the bytes where TLS ends at the gateway |
//! | `server` | a server that answers in order and says whom |
//! | `text` | what is said, as the checks read it |
//! | `judge` | what has to hold during a play and at its end |
//! | `judge::told` | of that, what each side is told |
//! | `ended_tls` | the same where TLS ends at the gateway |
//! | `ended_tls::agreed` | of that, what data connections are given |
//! | `rules` | the owner's policies, and what they keep from the server, in plain words |
//! | `truth` | what is true of the client on a server that answers in order |
//! | `ruled` | what has to hold besides where there are rules |

mod ended_tls;
mod judge;
mod layer;
mod ruled;
mod rules;
mod script;
mod server;
mod stage;
mod step;
mod text;
mod truth;
mod vocabulary;

use script::Script;
use stage::{Play, Splits};

/// The first bytes are the settings, the rest is the conversation, see `script`.
pub fn session(input: &[u8]) {
    if let Some(script) = Script::read(input) {
        play(&script, input);
    }
}

/// The first byte chooses the owner's rules, the rest is as for [`session`].
pub fn session_policy(input: &[u8]) {
    if let Some(script) = Script::read_with_rules(input) {
        play(&script, input);
    }
}

fn play(script: &Script, input: &[u8]) {
    let whole = Play::of(script, Splits::Whole);
    let seed = input
        .iter()
        .fold(1, |seed: u32, byte| seed.wrapping_mul(0x0100_0193).wrapping_add(u32::from(*byte)));
    for splits in [Splits::Bytes, Splits::Random(seed)] {
        let split = Play::of(script, splits);
        // How far a peer gets that is held back depends on when it is held back.
        // What stands behind AUTH or its 234 ends the session where it is, and that may be elsewhere.
        let injected = whole.was_injected() || split.was_injected();
        if !whole.held_back && !split.held_back && !injected {
            for (at, (one, other)) in whole.trace.iter().zip(&split.trace).enumerate() {
                assert_eq!(one, other, "at {at}, with the input in pieces: {splits:?}");
            }
            assert_eq!(whole.trace.len(), split.trace.len(), "{splits:?}");
            assert_eq!(whole.news, split.news, "{splits:?}");
        }
    }
}
