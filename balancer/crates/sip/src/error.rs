//! What can be wrong with a message, and the answer each fault deserves.

use crate::HeaderName;

/// A fault in a received message. [`Error::answer`] says what to do about it in a request; what to do with the message
/// at hand, which may be a response or an ACK, says [`crate::Message::answer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// Nothing but CR, LF, blanks and NUL: a keep-alive (RFC 5626 §3.5.1) or an empty datagram.
    KeepAlive,
    /// The first line is neither a Request-Line nor a Status-Line.
    NotSip,
    /// A Request-Line that is not `Method SP Request-URI SP SIP-Version` (RFC 3261 §7.1).
    RequestLine,
    /// A Status-Line that is not `SIP-Version SP Status-Code SP Reason-Phrase` with a code in 100–699 (§7.2).
    StatusLine,
    /// SIP, but not version 2.0.
    Version,
    /// The start line is longer than [`crate::limits::FIELD`].
    UriTooLong,
    /// The Request-URI is no URI.
    RequestUri,
    /// A header line without a colon or with a name that is no token.
    HeaderLine,
    /// NUL outside a `quoted-pair`, or a CR without LF, among the header fields: other stacks would see a line end where
    /// we see none.
    ControlCharacter,
    /// The header fields are not ended by an empty line.
    Unterminated,
    /// More than [`crate::limits::HEADERS`] header fields.
    TooManyHeaders,
    /// A header field longer than [`crate::limits::FIELD`].
    FieldTooLong,
    /// The header fields alone pass [`crate::limits::MESSAGE`].
    MessageTooLong,
    /// With its body the message passes [`crate::limits::MESSAGE`].
    BodyTooLong,
    /// Content-Length promises more than the datagram holds (§18.3).
    Incomplete,
    /// A mandatory header field is absent (§8.1.1).
    Missing(HeaderName),
    /// A header field that may stand once stands twice.
    Repeated(HeaderName),
    /// A header field that we must understand cannot be parsed.
    Malformed(HeaderName),
    /// The method in `CSeq` is not the request's (§8.1.1.5).
    CSeqMethod,
}

/// What to do with a faulty message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Answer the request with this status; build it with [`crate::respond`].
    Respond {
        /// Status code.
        code: u16,
        /// Reason phrase.
        reason: &'static str,
    },
    /// Discard and count.
    Drop,
    /// Discard; nothing is wrong.
    Ignore,
}

impl Error {
    /// The answer when the message is a request other than ACK.
    #[must_use]
    pub fn answer(self) -> Answer {
        let code = match self {
            Self::KeepAlive => return Answer::Ignore,
            Self::NotSip | Self::StatusLine | Self::ControlCharacter => return Answer::Drop,
            Self::Version => 505,
            Self::UriTooLong => 414,
            Self::TooManyHeaders | Self::FieldTooLong | Self::MessageTooLong => 513,
            Self::BodyTooLong => 413,
            Self::RequestLine
            | Self::RequestUri
            | Self::HeaderLine
            | Self::Unterminated
            | Self::Incomplete
            | Self::Missing(_)
            | Self::Repeated(_)
            | Self::Malformed(_)
            | Self::CSeqMethod => 400,
        };
        Answer::Respond { code, reason: self.reason() }
    }

    /// The fault in words fit for a reason phrase.
    #[must_use]
    pub fn reason(self) -> &'static str {
        use HeaderName as N;
        match self {
            Self::KeepAlive => "Keep-Alive",
            Self::NotSip => "Not SIP",
            Self::RequestLine => "Malformed Request-Line",
            Self::StatusLine => "Malformed Status-Line",
            Self::Version => "Version Not Supported",
            Self::UriTooLong => "Request-URI Too Long",
            Self::RequestUri => "Malformed Request-URI",
            Self::HeaderLine => "Malformed Header Field",
            Self::ControlCharacter => "Control Character in Header Field",
            Self::Unterminated => "Header Fields Not Terminated",
            Self::TooManyHeaders => "Too Many Header Fields",
            Self::FieldTooLong => "Header Field Too Long",
            Self::MessageTooLong => "Message Too Large",
            Self::BodyTooLong => "Request Entity Too Large",
            Self::Incomplete => "Content-Length Exceeds Datagram",
            Self::CSeqMethod => "CSeq Method Mismatch",
            Self::Missing(N::Via) => "Missing Via",
            Self::Missing(N::From) => "Missing From",
            Self::Missing(N::To) => "Missing To",
            Self::Missing(N::CallId) => "Missing Call-ID",
            Self::Missing(N::CSeq) => "Missing CSeq",
            Self::Missing(N::ContentLength) => "Missing Content-Length",
            Self::Missing(_) => "Missing Header Field",
            Self::Repeated(N::From) => "Repeated From",
            Self::Repeated(N::To) => "Repeated To",
            Self::Repeated(N::CallId) => "Repeated Call-ID",
            Self::Repeated(N::CSeq) => "Repeated CSeq",
            Self::Repeated(N::MaxForwards) => "Repeated Max-Forwards",
            Self::Repeated(N::ContentLength) => "Repeated Content-Length",
            Self::Repeated(_) => "Repeated Header Field",
            Self::Malformed(N::Via) => "Malformed Via",
            Self::Malformed(N::From) => "Malformed From",
            Self::Malformed(N::To) => "Malformed To",
            Self::Malformed(N::CallId) => "Malformed Call-ID",
            Self::Malformed(N::CSeq) => "Malformed CSeq",
            Self::Malformed(N::MaxForwards) => "Malformed Max-Forwards",
            Self::Malformed(N::ContentLength) => "Malformed Content-Length",
            Self::Malformed(_) => "Malformed Header Value",
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Error {}
