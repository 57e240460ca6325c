//! What lies over the bytes of the two control connections, as far as TLS ends at the gateway: the
//! executor's side of it, without the cryptography.

use super::stage::index;
use ftpgate::terms::Side;

/// How far TLS of one side has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Layer {
    /// None, or none that ends here.
    #[default]
    Text,
    /// The client's hello is awaited.
    Hello,
    /// It has been told.
    HelloRead,
    /// The handshake goes on.
    Handshake,
    /// Established.
    Tls,
    /// What the gateway sends is text again; the peer may still have something inside TLS.
    Ended,
    /// Failed: nothing more comes from there.
    Broken,
}

impl Layer {
    pub(super) fn is_in_handshake(self) -> bool {
        matches!(self, Self::Hello | Self::HelloRead | Self::Handshake)
    }

    /// True if bytes that were sent inside TLS, or outside of it, are not what is due.
    pub(super) fn is_garbled_by(self, inside: bool) -> bool {
        match self {
            Self::Text | Self::Ended | Self::Broken => false,
            Self::Hello | Self::HelloRead | Self::Handshake => true,
            Self::Tls => !inside,
        }
    }

    pub(super) fn may_fail(self) -> bool {
        matches!(self, Self::Hello | Self::Handshake | Self::Tls)
    }
}

/// TLS of both sides.
#[derive(Debug, Default)]
pub(super) struct Layers {
    layers: [Layer; 2],
    /// A peer has sent bytes in the clear where TLS was due.
    pub(super) was_injected: bool,
}

impl Layers {
    pub(super) fn of(&self, side: Side) -> Layer {
        self.layers[index(side)]
    }

    pub(super) fn set(&mut self, side: Side, layer: Layer) {
        self.layers[index(side)] = layer;
    }

    pub(super) fn is_secured(&self, side: Side) -> bool {
        self.of(side) == Layer::Tls
    }

    /// True while a handshake is due that a peer may delay.
    pub(super) fn are_due(&self) -> bool {
        self.layers.iter().any(|layer| layer.is_in_handshake())
    }
}
