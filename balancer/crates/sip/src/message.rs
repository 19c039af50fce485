//! A message: the index joined with its bytes, and the values read from it on demand.

use crate::list::{Elements, Values};
use crate::text::{decimal, is_lws};
use crate::{Answer, DialogId, Error, Header, HeaderName, Index, Kind, Method, NameAddr, Span, Uri, Via};

/// An indexed message. A cheap view: two references.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    index: &'a Index,
    bytes: &'a [u8],
}

/// The value of `CSeq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Below 2^31.
    pub number: u32,
    /// The method.
    pub method: Method,
    /// The method as it stands there.
    pub method_text: &'a [u8],
}

impl<'a> Message<'a> {
    pub(crate) fn new(index: &'a Index, bytes: &'a [u8]) -> Self {
        Self { index, bytes }
    }

    /// The bytes all spans refer to.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &'a Index {
        self.index
    }

    /// What the start line says.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.index.kind()
    }

    /// The method of a request.
    #[must_use]
    pub fn method(&self) -> Option<Method> {
        match self.kind() {
            Kind::Request { method, .. } => Some(method),
            _ => None,
        }
    }

    /// The text of a request's method.
    #[must_use]
    pub fn method_text(&self) -> Option<&'a [u8]> {
        match self.kind() {
            Kind::Request { method_span, .. } => Some(method_span.of(self.bytes)),
            _ => None,
        }
    }

    /// The text of the Request-URI.
    #[must_use]
    pub fn uri_text(&self) -> Option<&'a [u8]> {
        match self.kind() {
            Kind::Request { uri, .. } => Some(uri.of(self.bytes)),
            _ => None,
        }
    }

    /// The Request-URI.
    #[must_use]
    pub fn uri(&self) -> Option<Uri<'a>> {
        Uri::parse(self.uri_text()?)
    }

    /// The status code of a response.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self.kind() {
            Kind::Response { code, .. } => Some(code),
            _ => None,
        }
    }

    /// The reason phrase of a response.
    #[must_use]
    pub fn reason(&self) -> Option<&'a [u8]> {
        match self.kind() {
            Kind::Response { reason, .. } => Some(reason.of(self.bytes)),
            _ => None,
        }
    }

    /// All fields in the order received.
    #[must_use]
    pub fn headers(&self) -> &'a [Header] {
        self.index.headers()
    }

    /// The name of a field as it stands there.
    #[must_use]
    pub fn name_text(&self, header: &Header) -> &'a [u8] {
        let field = header.field.of(self.bytes);
        let end = field.iter().position(|byte| *byte == b':' || is_lws(*byte)).unwrap_or(field.len());
        field.get(..end).unwrap_or_default()
    }

    /// The first field of that name, in constant time.
    #[must_use]
    pub fn first(&self, name: HeaderName) -> Option<&'a Header> {
        self.index.first(name)
    }

    /// The whole value of the first field of that name.
    #[must_use]
    pub fn value(&self, name: HeaderName) -> Option<&'a [u8]> {
        Some(self.first(name)?.value.of(self.bytes))
    }

    /// Every field of that name, in the order received.
    pub fn all(&self, name: HeaderName) -> impl Iterator<Item = &'a Header> + use<'a> {
        self.index.all(name)
    }

    /// Every field whose name is `name`, without case; for names that [`HeaderName`] does not list. Compact forms are
    /// not resolved.
    pub fn named<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'a Header> + use<'a, 'n> {
        let message = *self;
        self.headers().iter().filter(move |header| message.name_text(header).eq_ignore_ascii_case(name))
    }

    /// The value of the first field whose name is `name`, in any case and in its compact form too (RFC 3261 §7.3.3 and
    /// those registered since): what someone who configures a header field by its name means.
    #[must_use]
    pub fn field(&self, name: &[u8]) -> Option<&'a [u8]> {
        let known = HeaderName::from_bytes(name);
        if known != HeaderName::Other {
            return self.value(known);
        }
        let other = crate::name::other_form(name);
        let same = |text: &[u8]| {
            text.eq_ignore_ascii_case(name) || other.is_some_and(|other| text.eq_ignore_ascii_case(other))
        };
        let header =
            self.headers().iter().find(|header| header.name == HeaderName::Other && same(self.name_text(header)))?;
        Some(header.value.of(self.bytes))
    }

    /// The user name in Proxy-Authorization, else in Authorization, where that is a digest.
    #[must_use]
    pub fn auth_user(&self) -> Option<&'a [u8]> {
        let of = |name| self.all(name).find_map(|header| crate::digest_username(header.value.of(self.bytes)));
        of(HeaderName::ProxyAuthorization).or_else(|| of(HeaderName::Authorization))
    }

    /// The dialog that this INVITE is to take the place of (RFC 3891). `None` when the field is absent, malformed or
    /// repeated, which the node is to refuse.
    #[must_use]
    pub fn replaces(&self) -> Option<DialogId<'a>> {
        self.dialog_named_in(b"replaces")
    }

    /// The dialog that this INVITE is to be joined with (RFC 3911), likewise.
    #[must_use]
    pub fn join(&self) -> Option<DialogId<'a>> {
        self.dialog_named_in(b"join")
    }

    fn dialog_named_in(&self, name: &[u8]) -> Option<DialogId<'a>> {
        let mut fields = self.named(name);
        let first = fields.next()?;
        if fields.next().is_some() { None } else { DialogId::parse(first.value.of(self.bytes)) }
    }

    /// Every element of all fields of that name, in order, commas resolved. Only for fields that hold lists
    /// (RFC 3261 §7.3.1): Via, Route, Record-Route, Path, Contact, Require, Supported and such.
    #[must_use]
    pub fn values(&self, name: HeaderName) -> Values<'a> {
        Values::new(*self, name)
    }

    /// The value of Call-ID.
    #[must_use]
    pub fn call_id(&self) -> Option<&'a [u8]> {
        self.value(HeaderName::CallId)
    }

    /// `None` when absent, malformed, or not below 2^31 (RFC 3261 §8.1.1.5).
    #[must_use]
    pub fn cseq(&self) -> Option<CSeq<'a>> {
        let value = self.value(HeaderName::CSeq)?;
        let digits = value.iter().position(|byte| !byte.is_ascii_digit())?;
        let number = decimal(value.get(..digits)?).filter(|number| *number < 1 << 31)?;
        let rest = value.get(digits..)?;
        let method_text = crate::text::trim_start(rest);
        let separated = method_text.len() < rest.len() && crate::text::is_token(method_text);
        separated.then(|| CSeq { number, method: Method::from_bytes(method_text), method_text })
    }

    /// From; `None` when absent or malformed.
    #[must_use]
    pub fn from(&self) -> Option<NameAddr<'a>> {
        NameAddr::parse(self.value(HeaderName::From)?)
    }

    /// To; `None` when absent or malformed.
    #[must_use]
    pub fn to(&self) -> Option<NameAddr<'a>> {
        NameAddr::parse(self.value(HeaderName::To)?)
    }

    /// The tag in From, which is the caller's in every message of a dialog's first transaction.
    #[must_use]
    pub fn from_tag(&self) -> Option<&'a [u8]> {
        self.from()?.tag()
    }

    /// The tag in To.
    #[must_use]
    pub fn to_tag(&self) -> Option<&'a [u8]> {
        self.to()?.tag()
    }

    /// `None` when there is no Via or the first cannot be parsed.
    #[must_use]
    pub fn top_via(&self) -> Option<Via<'a>> {
        let element = self.all(HeaderName::Via).find_map(|header| Elements::new(self.bytes, header.value).next())?;
        Via::parse(element.of(self.bytes))
    }

    /// `None` when absent or not a number in 0–255.
    #[must_use]
    pub fn max_forwards(&self) -> Option<u8> {
        decimal(self.value(HeaderName::MaxForwards)?).and_then(|hops| u8::try_from(hops).ok())
    }

    /// Content-Length as it stands there; `None` when absent or not a number.
    #[must_use]
    pub fn content_length(&self) -> Option<u32> {
        decimal(self.value(HeaderName::ContentLength)?)
    }

    /// The body, cut to Content-Length.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body_span().of(self.bytes)
    }

    /// Where the body is, cut to Content-Length.
    #[must_use]
    pub fn body_span(&self) -> Span {
        self.index.body_span()
    }

    /// Checks what must be there in every message before a proxy handles it (RFC 3261 §8.1.1, §16.3 step 1): Via, From,
    /// To, Call-ID and `CSeq` are there and parse; what may stand once does; the method in `CSeq` is the request's; the
    /// Request-URI is a URI; Max-Forwards, when there, is in 0–255 (a proxy adds an absent one, §16.6 step 3). Of the
    /// Via fields only the first is read, with all of its elements. Call it after [`Index::parse`] succeeded.
    ///
    /// # Errors
    /// The first fault found.
    pub fn validate(&self) -> Result<(), Error> {
        use HeaderName::{CSeq, CallId, ContentLength, From, MaxForwards, To, Via};
        if self.kind() == Kind::Unknown {
            return Err(Error::NotSip);
        }
        for name in [Via, From, To, CallId, CSeq] {
            if self.first(name).is_none() {
                return Err(Error::Missing(name));
            }
        }
        for name in [From, To, CallId, CSeq, MaxForwards, ContentLength] {
            if self.index.is_repeated(name) {
                return Err(Error::Repeated(name));
            }
        }
        let well_formed = |name, parses: bool| if parses { Ok(()) } else { Err(Error::Malformed(name)) };
        well_formed(Via, self.top_vias_parse())?;
        well_formed(From, self.from().is_some())?;
        well_formed(To, self.to().is_some())?;
        let call_id = self.call_id().unwrap_or_default();
        well_formed(CallId, !call_id.is_empty() && !call_id.iter().any(|byte| is_lws(*byte)))?;
        let cseq = self.cseq().ok_or(Error::Malformed(CSeq))?;
        well_formed(MaxForwards, self.first(MaxForwards).is_none() || self.max_forwards().is_some())?;
        if let Some(method) = self.method_text() {
            if cseq.method_text != method {
                return Err(Error::CSeqMethod);
            }
            if self.uri().is_none() {
                return Err(Error::RequestUri);
            }
        }
        Ok(())
    }

    /// Whether the first Via field holds Vias of SIP/2.0, and nothing else between its commas.
    fn top_vias_parse(&self) -> bool {
        let Some(header) = self.first(HeaderName::Via) else { return false };
        let mut elements = Elements::new(self.bytes, header.value).peekable();
        let parses = |element: Span| Via::parse(element.of(self.bytes)).is_some_and(|via| via.version == b"2.0");
        elements.peek().is_some() && elements.all(parses)
    }

    /// What to do with this message because of `error`: responses and ACKs are never answered (RFC 3261 §8.1.3,
    /// §17), nor is a request without a top Via that tells where to.
    #[must_use]
    pub fn answer(&self, error: Error) -> Answer {
        let answer = error.answer();
        let answerable = self.method().is_some_and(|method| method != Method::Ack) && self.top_via().is_some();
        match answer {
            Answer::Respond { .. } if !answerable => Answer::Drop,
            _ => answer,
        }
    }
}
