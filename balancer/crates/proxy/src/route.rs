//! Where a request goes: Route preprocessing (RFC 3261 §16.4), the token, and what holds without one.
//!
//! Decides and changes nothing. The one rule above all: nobody can use us as a relay. A request goes to a node, to the
//! caller's own flow, or, sent by a node we know, to where that node says.

use std::net::{IpAddr, SocketAddr};

use switchtender_select::{NodeSlot, Snapshot};
use switchtender_sip::{HeaderName, Host, Message, Method, NameAddr, Scheme, Uri};

use crate::config::Config;
use crate::output::{Local, Packet};
use crate::token::{Binding, Direction, Keys, Kind, Reach, Token};
use crate::transaction::Shape;

/// Own values at the top of Route: two Record-Routes where the two sides differ (RFC 5658).
const MOST_OWN_ROUTES: usize = 2;

/// A request after Route preprocessing.
#[derive(Debug)]
pub(crate) struct Preprocessed<'a> {
    /// The Request-URI that counts.
    pub(crate) uri: Uri<'a>,
    /// The first Route that is not ours.
    pub(crate) next_route: Option<Uri<'a>>,
    pub(crate) token: Found,
    pub(crate) shape: Shape,
}

/// The token in a Route of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// Something that is not a token of ours: an unknown key, a forgery, another element's user part.
    Refused,
    Token(Token),
}

/// Where a request in a dialog, or along a Path, goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// To a node.
    Node { address: SocketAddr, slot: Option<NodeSlot> },
    /// To the caller, out of the listener it came in on.
    Caller { address: SocketAddr, listener: u16, strict: bool, forced: bool },
}

/// RFC 3261 §16.4: a strict router upstream, `maddr`, own Routes. Opens at most three tokens.
pub(crate) fn preprocess<'a>(
    config: &Config,
    keys: &mut Keys,
    packet: &Packet<'_>,
    message: &Message<'a>,
) -> Option<Preprocessed<'a>> {
    let mut uri = message.uri()?;
    let mut shape = Shape::default();
    let mut token = Found::Nothing;
    let bytes = message.bytes();
    let route = |span: switchtender_sip::Span| NameAddr::parse(span.of(bytes)).and_then(|address| address.uri());

    if uri.is_loose_router() {
        let found = open(keys, &uri);
        if matches!(found, Found::Token(_)) || config.is_own(&uri, packet.flow.local_ip) {
            token = found;
            if let Some(last) = message.values(HeaderName::Route).last().and_then(|value| route(value.span)) {
                uri = last;
                shape.uri_from_last_route = true;
            }
        }
    }
    if let Some(maddr) = uri.params.value(b"maddr")
        && names_own_address(config, maddr, &uri, packet.flow.local_ip)
    {
        shape.without_maddr = true;
    }

    let values = message.values(HeaderName::Route).count();
    let usable = values - usize::from(shape.uri_from_last_route).min(values);
    let mut next_route = None;
    let mut last_user = None;
    for value in message.values(HeaderName::Route).take(usable) {
        let Some(uri) = route(value.span) else { break };
        let found = if last_user.is_some() && uri.user == last_user { token } else { open(keys, &uri) };
        let own = matches!(found, Found::Token(_)) || config.is_own(&uri, packet.flow.local_ip);
        if !own || shape.own_routes == MOST_OWN_ROUTES {
            next_route = Some(uri);
            break;
        }
        shape.own_routes += 1;
        last_user = uri.user;
        if !matches!(token, Found::Token(_)) && found != Found::Nothing {
            token = found;
        }
    }
    Some(Preprocessed { uri, next_route, token, shape })
}

fn open(keys: &mut Keys, uri: &Uri<'_>) -> Found {
    match uri.user {
        None => Found::Nothing,
        Some(user) => keys.open(user).map_or(Found::Refused, Found::Token),
    }
}

/// Whether `maddr` with the port of `uri` is an address of ours (RFC 3261 §16.4).
fn names_own_address(config: &Config, maddr: &[u8], uri: &Uri<'_>, local_ip: Option<IpAddr>) -> bool {
    let text = std::str::from_utf8(maddr).unwrap_or_default();
    let ip = text.trim_matches(['[', ']']).parse::<IpAddr>();
    let host = ip.map_or(Host::Name(maddr), Host::Ip);
    config.is_own_host(host, uri.port_or_default(), local_ip)
}

/// The binding of a dialog that a node began, along a Path: the tag of the node stands for the caller's, marked so that
/// the direction is read the other way round. A semicolon cannot occur in a tag.
pub(crate) fn binding_of_node(call_id: &[u8], node_tag: &[u8]) -> Binding {
    let mut marked = [0; 1 + 255];
    marked[0] = b';';
    let len = node_tag.len().min(255);
    if let (Some(to), Some(from)) = (marked.get_mut(1..=len), node_tag.get(..len)) {
        to.copy_from_slice(from);
    }
    Binding::new(call_id, marked.get(..=len).unwrap_or_default())
}

/// Which way the request goes in the token's dialog; `None`: it is of another dialog.
pub(crate) fn direction(token: &Token, message: &Message<'_>) -> Option<Direction> {
    let call_id = message.call_id()?;
    let from_tag = message.from_tag().unwrap_or_default();
    let to_tag = message.to_tag().unwrap_or_default();
    let Kind::Dialog(binding) = token.kind else { return None };
    token.direction(call_id, from_tag, to_tag).or_else(|| {
        let from_node = binding_of_node(call_id, from_tag) == binding;
        let to_node = binding_of_node(call_id, to_tag) == binding;
        match (from_node, to_node) {
            (true, false) => Some(Direction::FromNode),
            (false, true) => Some(Direction::FromCaller),
            _ => None,
        }
    })
}

/// The target of a request in a dialog. `None`: there is no such dialog here, 481.
///
/// Without a token that holds, the Request-URI counts where it is exactly a node's endpoint. A BYE that a known node
/// sends goes on to its Route or Request-URI even so: the caller's Contact stands there, and a call that cannot be ended
/// is worse than one BYE too many.
pub(crate) fn in_dialog(
    config: &Config,
    snapshot: &Snapshot,
    packet: &Packet<'_>,
    message: &Message<'_>,
    request: &Preprocessed<'_>,
) -> Option<Target> {
    let known_node = is_known_node(config, snapshot, packet.flow.peer.ip());
    if let Found::Token(token) = request.token {
        match direction(&token, message) {
            Some(Direction::FromCaller) => {
                return Some(Target::Node { address: token.node, slot: snapshot.node_at(token.node) });
            }
            Some(Direction::FromNode) => return Some(to_caller(config, request, &token, known_node)),
            None if token.kind == Kind::Path && known_node => {
                return Some(to_caller(config, request, &token, known_node));
            }
            None => {}
        }
    }
    if let Some(address) = address_of(&request.uri)
        && let Some(slot) = snapshot.node_at(address)
    {
        return Some(Target::Node { address, slot: Some(slot) });
    }
    if message.method() == Some(Method::Bye) && known_node {
        let next = request.next_route.as_ref().unwrap_or(&request.uri);
        let address = address_of(next).filter(|_| !config.is_own(next, packet.flow.local_ip))?;
        let same_family = |bound: SocketAddr| bound.is_ipv4() == address.is_ipv4();
        let listener = config.listeners.iter().position(|listener| same_family(listener.address));
        let listener = u16::try_from(listener.unwrap_or(0)).unwrap_or(0);
        return Some(Target::Caller { address, listener, strict: is_strict(request), forced: false });
    }
    None
}

/// From a node to the caller: where Route or Request-URI say, if the node is known and the caller can be reached at the
/// address it names; else its own flow and nothing else. Names are not resolved here, so a caller that gave one is
/// reached over its flow.
pub(crate) fn to_caller(config: &Config, request: &Preprocessed<'_>, token: &Token, known_node: bool) -> Target {
    let listener = token.listener;
    let named = || {
        let next = request.next_route.as_ref().unwrap_or(&request.uri);
        address_of(next).filter(|_| !config.is_own(next, None))
    };
    match token.caller.reach {
        Reach::Direct if known_node => match named() {
            Some(address) => Target::Caller { address, listener, strict: is_strict(request), forced: false },
            None => Target::Caller { address: token.caller.address, listener, strict: false, forced: false },
        },
        _ => Target::Caller { address: token.caller.address, listener, strict: false, forced: !known_node },
    }
}

fn is_strict(request: &Preprocessed<'_>) -> bool {
    request.next_route.as_ref().is_some_and(|route| !route.is_loose_router())
}

/// Whether requests from there come from a node: a member, one that left a while ago, or a configured network.
pub(crate) fn is_known_node(config: &Config, snapshot: &Snapshot, source: IpAddr) -> bool {
    snapshot.node_by_ip(source) || config.is_node_source(source)
}

/// The address in a URI that can be sent to over UDP without asking DNS.
pub(crate) fn address_of(uri: &Uri<'_>) -> Option<SocketAddr> {
    let udp = uri.params.value(b"transport").is_none_or(|transport| transport.eq_ignore_ascii_case(b"udp"));
    let ip = ip_of(uri)?.to_canonical();
    let port = uri.port_or_default();
    let usable = uri.scheme == Scheme::Sip && udp && port != 0 && !ip.is_unspecified() && !ip.is_multicast();
    usable.then(|| SocketAddr::new(ip, port))
}

/// The literal address that a URI leads to: `maddr`, else the host (RFC 3263 §4).
fn ip_of(uri: &Uri<'_>) -> Option<IpAddr> {
    match uri.params.value(b"maddr") {
        Some(maddr) => std::str::from_utf8(maddr).ok()?.trim_matches(['[', ']']).parse().ok(),
        None => uri.host.ip(),
    }
}

/// The listener that a socket stands for.
pub(crate) fn listener_of(local: Local) -> u16 {
    match local {
        Local::Listener(index) => index,
        Local::NodeSide | Local::Worker => 0,
    }
}

/// Whether the caller can be reached at the address it names. Not so when its Via gives another address than the one it
/// sent from, or the URI that requests to it would go to first does (the top Record-Route, else the Contact), or when its
/// listener says so: it is behind NAT then, or would have us send to someone else.
pub(crate) fn reach(config: &Config, packet: &Packet<'_>, message: &Message<'_>) -> Reach {
    let source = packet.flow.peer.ip().to_canonical();
    let elsewhere = |ip: Option<IpAddr>| ip.is_some_and(|ip| ip.to_canonical() != source);
    let first_of = |name: HeaderName| {
        let value = message.values(name).next()?;
        NameAddr::parse(value.span.of(message.bytes()))?.uri()
    };
    let named = first_of(HeaderName::RecordRoute).or_else(|| first_of(HeaderName::Contact));
    let nat = config.listener(listener_of(packet.flow.local)).is_some_and(|listener| listener.nat)
        || message.top_via().is_some_and(|via| elsewhere(via.host.ip()))
        || named.is_some_and(|uri| elsewhere(ip_of(&uri)));
    if nat { Reach::Flow { replica: config.replica, connection: packet.flow.connection } } else { Reach::Direct }
}
