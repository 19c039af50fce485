//! SIP messages as an index over the received bytes, and a splice writer (RFC 3261 §7, §18–20, §25).
//!
//! [`Index::parse`] notes in one pass where the start line, the header fields and the body are. [`Message`] reads values
//! from there when asked. [`Edits`] collects changes and writes the forwarded message into one buffer; [`respond`],
//! [`ack`] and [`cancel`] build the messages that a proxy makes itself. Everything not read passes through byte by
//! byte. [`stream`] finds the messages in a byte stream. Nothing here allocates, panics on input, does I/O, or knows time,
//! transactions or nodes.
//!
//! ```
//! use switchtender_sip::{Edits, HeaderName, Index, Output};
//!
//! let datagram = b"OPTIONS sip:a@192.0.2.1 SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1\r\n\
//!     f: <sip:b@192.0.2.7>;tag=1\r\nt: <sip:a@192.0.2.1>\r\ni: 1@b\r\nCSeq: 1 OPTIONS\r\n\r\n";
//! let mut index = Index::new();
//! index.parse(datagram)?;
//! let message = index.message(datagram);
//! message.validate()?;
//!
//! let mut edits = Edits::new();
//! edits.push_field(&message, HeaderName::Via, |output| output.bytes(b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK2"));
//! edits.set_max_forwards(&message, 69);
//! let mut buffer = [0; 2048];
//! let mut output = Output::new(&mut buffer);
//! edits.splice(&message, &mut output)?;
//! assert!(output.written().starts_with(b"OPTIONS sip:a@192.0.2.1 SIP/2.0\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is wrong, and what is answered
//!
//! A request is answered as the table says; a response, an ACK, and a request without a readable top Via are dropped
//! instead ([`Message::answer`]). All work is linear in the length of the message.
//!
//! | fault | limit | error | answer |
//! |---|---|---|---|
//! | empty, or only CR, LF, blanks, NUL | | [`Error::KeepAlive`] | ignored |
//! | first line has no SIP version | | [`Error::NotSip`] | dropped |
//! | malformed Request-Line, Request-URI | | [`Error::RequestLine`], [`Error::RequestUri`] | 400 |
//! | NUL (but for a `quoted-pair`), or CR without LF, above the body: other readers see a line end there | | [`Error::ControlCharacter`] | dropped |
//! | malformed Status-Line | code in 100–699 | [`Error::StatusLine`] | dropped |
//! | version is not 2.0 | | [`Error::Version`] | 505 |
//! | start line too long | 8,192 bytes | [`Error::UriTooLong`] | 414 |
//! | header line without a colon, or whose name is no token | | [`Error::HeaderLine`] | 400 |
//! | no empty line after the header fields | | [`Error::Unterminated`] | 400 |
//! | too many header fields | 128 | [`Error::TooManyHeaders`] | 513 |
//! | header field too long, folds included | 8,192 bytes | [`Error::FieldTooLong`] | 513 |
//! | header fields do not end within the limit | 65,535 bytes | [`Error::MessageTooLong`] | 513 |
//! | message with its body too long | 65,535 bytes | [`Error::BodyTooLong`] | 413 |
//! | Content-Length larger than the datagram holds | | [`Error::Incomplete`] | 400 |
//! | Via, From, To, Call-ID or `CSeq` absent | | [`Error::Missing`] | 400 |
//! | From, To, Call-ID, `CSeq`, Max-Forwards or Content-Length repeated | | [`Error::Repeated`] | 400 |
//! | one of those, or a Via element in the top field, malformed | `CSeq` < 2^31, Max-Forwards ≤ 255 | [`Error::Malformed`] | 400 |
//! | method in `CSeq` is not the request's | | [`Error::CSeqMethod`] | 400 |
//!
//! In a stream Content-Length is needed, and says where the next message begins: what is wrong with it there, or keeps
//! the end of a message from being known, ends the connection ([`stream::Frame::Bad`]).
//!
//! Tolerated: bare LF as line end, line ends before the start line, white space before the colon, folds, bytes from
//! 0x80 up, any order of fields, bytes after the body (discarded), no Content-Length (the body is the rest), empty
//! list elements. What is tolerated is passed on as it stands, except what precedes the start line or follows the body.

#![forbid(unsafe_code)]

mod address;
mod credentials;
mod edits;
mod error;
mod index;
mod list;
mod message;
mod name;
mod output;
mod params;
mod replaces;
mod respond;
#[cfg(test)]
mod samples;
mod scan;
mod span;
pub mod stream;
mod text;
mod uri;
mod via;

pub use address::NameAddr;
pub use credentials::digest_username;
pub use edits::Edits;
pub use error::{Answer, Error};
pub use index::{Header, Index, Kind};
pub use list::{Value, Values};
pub use message::{CSeq, Message};
pub use name::{HeaderName, Method};
pub use output::{Output, Overflow};
pub use params::{Param, Params, ParamsIter};
pub use replaces::DialogId;
pub use respond::{Response, ack, cancel, respond};
pub use span::Span;
pub use uri::{Host, Scheme, Uri};
pub use via::{Rport, Transport, Via};

/// The limits that hold for every message.
pub mod limits {
    /// Bytes of a message, header fields and body.
    pub const MESSAGE: usize = 65_535;
    /// Header fields. A call through ten proxies with everything repeated stays below half of it.
    pub const HEADERS: usize = 128;
    /// Bytes of the start line, or of one header field with its folds.
    pub const FIELD: usize = 8_192;
}
