//! Sessions against a reference model: whatever happens, in whatever order and split anywhere, a
//! session does just what a plain statement of the rules says, and nothing else.
//!
//! The model knows what each line means, since it is drawn from a vocabulary; the session has to read
//! it. Every action is compared, and every deadline. What the model leaves out has the check `session`:
//! TLS, conversion of modes and families, the relay's early replies, a gateway that drains.
//!
//! | file | what it holds |
//! |---|---|
//! | `words` | the lines that peers say, each with its meaning |
//! | `model` | the rules: the state of a session, and what each happening leads to |
//! | `data` | the rules for data connections |
//! | `replies` | the rules for what the server says |
//! | `play` | bytes as a conversation, and the comparison |

mod data;
mod model;
mod play;
mod replies;
mod words;

/// The first byte is the settings, the rest what happens, see `play`.
pub fn session_model(input: &[u8]) {
    play::play(input, false);
    play::play(input, true);
}
