//! The dialog that a new INVITE names: Replaces (RFC 3891 §6.1) and Join (RFC 3911 §7.1), which are spelt alike.

use crate::Params;
use crate::text::trim;

/// The value of a Replaces or Join field, tags as the receiver of the INVITE has them: `to_tag` is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialogId<'a> {
    /// The Call-ID of the dialog.
    pub call_id: &'a [u8],
    /// The tag of the user agent that receives the INVITE.
    pub to_tag: &'a [u8],
    /// The tag of its peer.
    pub from_tag: &'a [u8],
    /// Only a call that is not yet answered may be replaced.
    pub early_only: bool,
}

impl<'a> DialogId<'a> {
    /// Parses the value of the field. `None` when Call-ID, `to-tag` or `from-tag` is absent or empty.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let end = memchr::memchr(b';', value)?;
        let params = Params::new(value, end);
        let call_id = trim(value.get(..end)?);
        let tag = |name: &[u8]| params.value(name).filter(|tag| !tag.is_empty());
        let (to_tag, from_tag) = (tag(b"to-tag")?, tag(b"from-tag")?);
        (!call_id.is_empty()).then(|| Self {
            call_id,
            to_tag,
            from_tag,
            early_only: params.get(b"early-only").is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::DialogId;

    #[test]
    fn dialogs() {
        let id = DialogId::parse(b"98732@h ;from-tag=r33th4x0r\r\n ;to-tag=ff87ff").unwrap();
        assert_eq!((id.call_id, id.to_tag, id.from_tag), (&b"98732@h"[..], &b"ff87ff"[..], &b"r33th4x0r"[..]));
        assert!(!id.early_only);
        assert!(DialogId::parse(b"a;TO-TAG=b;from-tag=c;early-only;x=y").unwrap().early_only);
        for value in [
            "",
            "a",
            "a;to-tag=b",
            "a;from-tag=b",
            ";to-tag=a;from-tag=b",
            "a;to-tag=;from-tag=b",
            "a;to-tag;from-tag=b",
        ] {
            assert_eq!(DialogId::parse(value.as_bytes()), None, "{value}");
        }
    }
}
