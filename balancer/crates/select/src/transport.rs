//! How SIP messages travel to a node or a caller.

/// A transport that we speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    #[default]
    Udp,
    /// A stream of messages (RFC 3261 §18.3).
    Tcp,
}

impl Transport {
    /// As in configuration and in Via.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }

    /// Whether what is sent arrives, or the sender learns that it did not (RFC 3261 §17: no retransmissions).
    pub const fn is_reliable(self) -> bool {
        matches!(self, Self::Tcp)
    }
}
