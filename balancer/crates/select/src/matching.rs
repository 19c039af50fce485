//! Which group takes a call.

use core::cell::OnceCell;

use regex::bytes::Regex;

use crate::group::Group;
use crate::network::Network;
use crate::request::{Request, UriParts};
use crate::resources::ResourceSet;
use crate::text::{canonical_host, unescaped};

/// The group that takes a call, and what it has to say about it.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'a> {
    /// The group.
    pub group: &'a Group,
    /// Which of its rules held; `None` = it has no rules.
    pub rule: Option<usize>,
    /// The limited resources that the call uses.
    pub resources: ResourceSet,
    /// The call may use what is kept for emergencies.
    pub emergency: bool,
}

/// What is asked of a URI; all that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct UriRule {
    /// Exact user part; percent-escapes are equal to what they stand for (RFC 3261 §19.1.4).
    pub user: Option<Vec<u8>>,
    /// Host, any case.
    pub host: Option<Vec<u8>>,
    /// Searched in the unescaped user part; anchor it to match the whole.
    pub user_pattern: Option<Regex>,
}

/// What is asked of a header field.
#[derive(Clone, Debug)]
pub struct HeaderRule {
    /// Its name, any case.
    pub name: Vec<u8>,
    /// What its value must be.
    pub value: HeaderValue,
}

/// What the value of a header field must be.
#[derive(Clone, Debug)]
pub enum HeaderValue {
    /// Anything: the field is there.
    Any,
    /// Exactly this.
    Exact(Vec<u8>),
    /// Something in which the pattern is found.
    Pattern(Regex),
}

/// One rule: all fields that are given must hold.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// About the Request-URI.
    pub request_uri: Option<UriRule>,
    /// About the URI in To.
    pub to: Option<UriRule>,
    /// About the URI in From.
    pub from: Option<UriRule>,
    /// One of these methods; empty = any.
    pub methods: Vec<Vec<u8>>,
    /// The source lies in one of these; empty = anywhere.
    pub sources: Vec<Network>,
    /// All of these hold.
    pub headers: Vec<HeaderRule>,
    /// It came in on one of these listeners (by index); empty = on any.
    pub listeners: Vec<u16>,
    /// The limited resources that such a call uses.
    pub resources: ResourceSet,
    /// Such a call may use what is kept for emergencies.
    pub emergency: bool,
}

/// The rules of a group; no rules = every call.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    /// The first that holds counts.
    pub rules: Vec<Rule>,
}

/// The first of `groups` that takes the request.
pub(crate) fn classify<'a>(groups: &'a [Group], request: &impl Request) -> Option<Matched<'a>> {
    let seen = Seen::new(request);
    groups.iter().find_map(|group| group.matcher.matched(&seen).map(|found| found.of(group)))
}

impl Group {
    /// What the group's rules say of a request; `None` when they do not take it.
    pub fn matches(&self, request: &impl Request) -> Option<Matched<'_>> {
        self.matcher.matched(&Seen::new(request)).map(|found| found.of(self))
    }
}

/// The rule that held, with its index; `None` in a group without rules.
struct Hit<'a>(Option<(usize, &'a Rule)>);

impl<'a> Hit<'a> {
    fn of(self, group: &'a Group) -> Matched<'a> {
        let Self(hit) = self;
        Matched {
            group,
            rule: hit.map(|(index, _)| index),
            resources: hit.map_or(ResourceSet::EMPTY, |(_, rule)| rule.resources),
            emergency: hit.is_some_and(|(_, rule)| rule.emergency),
        }
    }
}

impl Matcher {
    fn matched<R: Request>(&self, seen: &Seen<'_, R>) -> Option<Hit<'_>> {
        if self.rules.is_empty() {
            return Some(Hit(None));
        }
        self.rules.iter().enumerate().find(|(_, rule)| rule.holds(seen)).map(|hit| Hit(Some(hit)))
    }
}

/// The request's parts, each asked for at most once.
struct Seen<'a, R> {
    request: &'a R,
    request_uri: OnceCell<UriParts<'a>>,
    to: OnceCell<Option<UriParts<'a>>>,
    from: OnceCell<Option<UriParts<'a>>>,
}

impl<'a, R: Request> Seen<'a, R> {
    const fn new(request: &'a R) -> Self {
        Self { request, request_uri: OnceCell::new(), to: OnceCell::new(), from: OnceCell::new() }
    }

    fn request_uri(&self) -> UriParts<'a> {
        *self.request_uri.get_or_init(|| self.request.request_uri())
    }

    fn to(&self) -> Option<UriParts<'a>> {
        *self.to.get_or_init(|| self.request.to())
    }

    fn from(&self) -> Option<UriParts<'a>> {
        *self.from.get_or_init(|| self.request.from())
    }
}

impl Rule {
    /// What is cheap to know comes first.
    fn holds<R: Request>(&self, seen: &Seen<'_, R>) -> bool {
        self.method_holds(seen.request.method())
            && self.listener_holds(seen.request)
            && (self.sources.is_empty() || {
                let source = seen.request.source();
                self.sources.iter().any(|network| network.contains(source))
            })
            && self.request_uri.as_ref().is_none_or(|rule| rule.holds(&seen.request_uri()))
            && self.to.as_ref().is_none_or(|rule| seen.to().is_some_and(|uri| rule.holds(&uri)))
            && self.from.as_ref().is_none_or(|rule| seen.from().is_some_and(|uri| rule.holds(&uri)))
            && self.headers.iter().all(|rule| seen.request.header(&rule.name).is_some_and(|value| rule.holds(value)))
    }

    fn method_holds(&self, method: &[u8]) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|wanted| wanted == method)
    }

    fn listener_holds(&self, request: &impl Request) -> bool {
        self.listeners.is_empty() || request.listener().is_some_and(|listener| self.listeners.contains(&listener))
    }
}

impl UriRule {
    fn holds(&self, uri: &UriParts<'_>) -> bool {
        self.host.as_ref().is_none_or(|wanted| canonical_host(wanted).eq(canonical_host(uri.host)))
            && self.user_holds(uri.user)
    }

    fn user_holds(&self, user: Option<&[u8]>) -> bool {
        if self.user.is_none() && self.user_pattern.is_none() {
            return true;
        }
        let Some(user) = user else { return false };
        self.user.as_ref().is_none_or(|wanted| unescaped(wanted).eq(unescaped(user)))
            && self.user_pattern.as_ref().is_none_or(|pattern| found(pattern, user))
    }
}

impl HeaderRule {
    fn holds(&self, value: &[u8]) -> bool {
        match &self.value {
            HeaderValue::Any => true,
            HeaderValue::Exact(wanted) => wanted == value,
            HeaderValue::Pattern(pattern) => pattern.is_match(value),
        }
    }
}

/// Whether the pattern is found in the unescaped user part. A copy is made only where there is an escape.
fn found(pattern: &Regex, user: &[u8]) -> bool {
    if !user.contains(&b'%') {
        return pattern.is_match(user);
    }
    let mut room = [0; 128];
    if user.len() > room.len() {
        return pattern.is_match(&unescaped(user).collect::<Vec<_>>());
    }
    let length = room.iter_mut().zip(unescaped(user)).map(|(to, byte)| *to = byte).count();
    pattern.is_match(room.get(..length).unwrap_or_default())
}
