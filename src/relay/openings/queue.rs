//! News on their way to the session. It stands only while there may be some.
//!
//! A channel of tokio's holds room for 32 messages from its beginning: kilobytes that a session
//! without data connections, which most are at any time, has no use for.

use std::task::{Context, Poll};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A queue of news; empty and without room until a sender is asked for.
pub(super) struct NewsQueue<T> {
    sender: Option<UnboundedSender<T>>,
    receiver: Option<UnboundedReceiver<T>>,
}

impl<T> Default for NewsQueue<T> {
    fn default() -> Self {
        Self { sender: None, receiver: None }
    }
}

impl<T> NewsQueue<T> {
    /// Where news are sent; the same queue until it is [dissolved](Self::dissolve).
    pub(super) fn sender(&mut self) -> UnboundedSender<T> {
        if let Some(sender) = &self.sender {
            return sender.clone();
        }
        let (sender, receiver) = unbounded_channel();
        self.receiver = Some(receiver);
        self.sender.insert(sender).clone()
    }

    /// The next piece of news; `None` once, when nobody can send any more, which is after
    /// [`close`](Self::close) only.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(receiver) = &mut self.receiver else { return Poll::Pending };
        let polled = receiver.poll_recv(cx);
        if matches!(polled, Poll::Ready(None)) {
            self.dissolve();
        }
        polled
    }

    /// No sender is asked for any more: the queue ends with those that have one.
    pub(super) fn close(&mut self) {
        self.sender = None;
    }

    /// True if nothing can come.
    pub(super) fn is_over(&self) -> bool {
        self.receiver.is_none()
    }

    /// Gives up the queue; what is sent to it from now on is lost.
    pub(super) fn dissolve(&mut self) {
        *self = Self::default();
    }
}
