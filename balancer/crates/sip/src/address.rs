//! `name-addr` and `addr-spec` of From, To, Contact, Route, Record-Route, Path (RFC 3261 §20, §25.1).

use crate::scan::{find, find3};
use crate::text::{find_unquoted, quotes_are_closed, trim, trim_start};
use crate::{Params, Uri};

/// One address with the parameters of its header field.
#[derive(Debug, Clone, Copy)]
pub struct NameAddr<'a> {
    /// As it stands there, quotes included; empty when absent.
    pub display: &'a [u8],
    /// The text of the URI, without angle brackets, not yet parsed.
    pub uri_text: &'a [u8],
    /// The parameters of the header field, not of the URI.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Parses one list element. Without angle brackets a semicolon ends the URI (RFC 3261 §20). `None` when a quote or
    /// bracket is not closed, something other than parameters follows the URI, or there is no URI.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let Some(open) = find_unquoted(b'<', text) else {
            let end = find(b';', text).unwrap_or(text.len());
            let uri_text = trim(text.get(..end)?);
            let bare = !uri_text.is_empty()
                && find3(b'"', b'<', b'>', uri_text).is_none()
                && quotes_are_closed(text.get(end..)?);
            return bare.then_some(Self { display: b"", uri_text, params: Params::new(text, end) });
        };
        let close = open + find(b'>', text.get(open..)?)?;
        let uri_text = text.get(open + 1..close)?;
        let follows = trim_start(text.get(close + 1..)?);
        let params_follow = matches!(follows.first(), None | Some(b';')) && quotes_are_closed(follows);
        if uri_text.is_empty() || !params_follow {
            return None;
        }
        Some(Self { display: trim(text.get(..open)?), uri_text, params: Params::new(text, close + 1) })
    }

    /// Parses the URI.
    #[must_use]
    pub fn uri(&self) -> Option<Uri<'a>> {
        Uri::parse(self.uri_text)
    }

    /// The `tag` parameter of From and To; `None` when absent or empty.
    #[must_use]
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.params.value(b"tag").filter(|tag| !tag.is_empty())
    }
}
