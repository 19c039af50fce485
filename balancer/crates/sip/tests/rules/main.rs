//! The rules of the crate, one test each.

// Clippy's leave for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fields;
mod forward;
mod lists;
mod oddities;
mod parse;
mod properties;
mod respond;
mod stream;
mod torture;
mod uri;
mod validate;
mod via;

use switchtender_sip::{Error, Index, Message, Span};

/// An INVITE that nothing is wrong with.
pub(crate) const INVITE: &str = "INVITE sip:conf@sip.example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bK-1;rport\r\n\
    Max-Forwards: 70\r\n\
    From: \"Ann\" <sip:ann@example.com>;tag=f1\r\n\
    To: <sip:conf@sip.example.com>\r\n\
    Call-ID: c1@192.0.2.7\r\n\
    CSeq: 7 INVITE\r\n\
    Contact: <sip:ann@192.0.2.7:5062>\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 5\r\n\
    \r\n\
    v=0\r\n";

/// Indexes `bytes`, which must be free of faults, and hands the message to `check`.
#[track_caller]
pub(crate) fn with<R>(bytes: impl AsRef<[u8]>, check: impl FnOnce(Message<'_>) -> R) -> R {
    let mut index = Index::new();
    assert_eq!(index.parse(bytes.as_ref()), Ok(()), "{}", String::from_utf8_lossy(bytes.as_ref()));
    check(index.message(bytes.as_ref()))
}

/// The fault that indexing finds.
#[track_caller]
pub(crate) fn fault(bytes: impl AsRef<[u8]>) -> Error {
    Index::new().parse(bytes.as_ref()).expect_err("a fault")
}

/// Bytes as text, for comparisons one can read.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The text of a span.
pub(crate) fn at(message: Message<'_>, span: Span) -> String {
    text(span.of(message.bytes()))
}
