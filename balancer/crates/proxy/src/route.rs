//! Where a request goes: Route preprocessing (RFC 3261 §16.4), the token, and what holds without one.
//!
//! Decides and changes nothing. The one rule above all: nobody can use us as a relay. A request goes to a node, to the
//! caller's own flow, or, sent by a node we know, to where that node says.

use std::net::{IpAddr, SocketAddr};

use switchtender_select::{Group, Node, NodeSlot, Snapshot, Transport, canonical};
use switchtender_sip::{HeaderName, Host, Message, Method, NameAddr, Scheme, Uri};

use crate::config::{Config, Listener};
use crate::fingerprint;
use crate::forward::LARGEST_DATAGRAM;
use crate::output::{Flow, Local, Packet};
use crate::token::{Binding, Direction, Held, Keys, Kind, Reach, Token};
use crate::transaction::{Removal, Shape};

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
    /// Which way it goes in the token's dialog; `None`: there is no token, or it is of another dialog or of none.
    pub(crate) direction: Option<Direction>,
    pub(crate) shape: Shape,
}

impl Preprocessed<'_> {
    /// The token, if it is of the dialog of this request.
    pub(crate) fn dialog_token(&self) -> Option<&Token> {
        match &self.token {
            Found::Token(token) if self.direction.is_some() => Some(token),
            _ => None,
        }
    }
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
    Node { address: SocketAddr, transport: Transport, large: Transport, slot: Option<NodeSlot> },
    /// To the caller, out of the listener it came in on: one way, and another if that one is no more.
    Caller { flow: Flow, otherwise: Option<Flow>, strict: bool, forced: bool },
    /// To a caller whose flow is in another replica, or was in a former run of this one.
    Gone,
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
    shape.removal = removal(config, &uri, packet.flow.local_ip);

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
    let direction = match &token {
        Found::Token(token) => direction(token, message),
        Found::Nothing | Found::Refused => None,
    };
    Some(Preprocessed { uri, next_route, token, direction, shape })
}

/// What must go from the Request-URI before the request is sent on.
fn removal(config: &Config, uri: &Uri<'_>, local_ip: Option<IpAddr>) -> Removal {
    let is_own = |maddr| names_own_address(config, maddr, uri, local_ip);
    if uri.params.value(b"maddr").is_some_and(is_own) {
        return Removal::Maddr;
    }
    let sip = matches!(uri.scheme, Scheme::Sip | Scheme::Sips);
    if sip && (uri.headers.is_some() || uri.params.get(b"method").is_some()) {
        Removal::NoTarget
    } else {
        Removal::Nothing
    }
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

/// Whether the token's dialog was begun by its node, along a Path or to the outside.
pub(crate) fn is_begun_by_node(token: &Token, message: &Message<'_>) -> bool {
    let call_id = message.call_id().unwrap_or_default();
    let tags = [message.from_tag(), message.to_tag()];
    let Kind::Dialog(binding) = token.kind else { return false };
    tags.into_iter().any(|tag| binding_of_node(call_id, tag.unwrap_or_default()) == binding)
}

/// Which way the request goes in the token's dialog; `None`: it is of another dialog.
fn direction(token: &Token, message: &Message<'_>) -> Option<Direction> {
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
        match request.direction {
            Some(Direction::FromCaller) => {
                return Some(Target::Node {
                    address: token.node,
                    transport: token.transport,
                    large: for_large(snapshot, message, token.group),
                    slot: snapshot.node_at(token.node),
                });
            }
            Some(Direction::FromNode) => return Some(to_caller(config, snapshot, request, &token, known_node)),
            None if token.kind == Kind::Path && known_node => {
                return Some(to_caller(config, snapshot, request, &token, known_node));
            }
            None => {}
        }
    }
    if let Some((address, transport)) = address_of(&request.uri)
        && let Some(slot) = snapshot.node_at(address)
    {
        let transport = match request.uri.params.value(b"transport") {
            None => snapshot.node(slot).map_or(transport, |node| node.transport),
            Some(_) => transport,
        };
        return Some(Target::Node { address, transport, large: Transport::Udp, slot: Some(slot) });
    }
    if message.method() == Some(Method::Bye) && known_node {
        let next = request.next_route.as_ref().unwrap_or(&request.uri);
        let (address, transport) = address_of(next).filter(|_| !config.is_own(next, packet.flow.local_ip))?;
        if !may_be_at(snapshot, packet.flow.peer.ip(), address.ip()) {
            return None;
        }
        let flow = new_flow(config, 0, address, transport);
        return Some(Target::Caller { flow, otherwise: None, strict: is_strict(request), forced: false });
    }
    None
}

/// The transport for requests that are too large for a datagram, of the group in a token. Looked up only for what may
/// come to be that large.
fn for_large(snapshot: &Snapshot, message: &Message<'_>, group: u32) -> Transport {
    if message.bytes().len() < LARGEST_DATAGRAM / 2 {
        return Transport::Udp;
    }
    let is_meant = |of: &&Group| fingerprint::of_group(&of.namespace, &of.name) == group;
    snapshot.groups.iter().find(is_meant).map_or(Transport::Udp, |group| group.large_requests)
}

/// A way out to a caller: of the listener with this index, or where that is bound to an address of the other family, of
/// the first one that is not.
fn new_flow(config: &Config, listener: u16, peer: SocketAddr, transport: Transport) -> Flow {
    if listener == NODE_SIDE {
        return Flow { transport, ..Flow::udp(Local::NodeSide, None, peer) };
    }
    let reaches = |listener: &Listener| {
        let bound = listener.address;
        bound.is_ipv4() == peer.is_ipv4() || bound.ip().is_unspecified() && bound.is_ipv6()
    };
    let fits = config.listener(listener).is_some_and(reaches);
    let other = || config.listeners.iter().position(reaches).and_then(|index| u16::try_from(index).ok());
    let local = Local::Listener(if fits { listener } else { other().unwrap_or(listener) });
    Flow { transport, ..Flow::udp(local, None, peer) }
}

/// From a node to the caller: where Route or Request-URI say, if the node is known and the caller can be reached at the
/// address it names; else its own flow and nothing else. Names are not resolved here, so a caller that gave one is
/// reached over its flow. A connection that the caller has to us is taken before another one to the same host is opened
/// (RFC 5626 §5.3, RFC 5923 in spirit).
pub(crate) fn to_caller(
    config: &Config,
    snapshot: &Snapshot,
    request: &Preprocessed<'_>,
    token: &Token,
    known_node: bool,
) -> Target {
    let (listener, caller) = (token.listener, token.caller);
    let direct = matches!(caller.reach, Reach::Direct { .. });
    let next = request.next_route.as_ref().unwrap_or(&request.uri);
    let named = address_of(next).filter(|_| direct && known_node && !config.is_own(next, None));
    let named = named.filter(|(address, _)| may_be_at(snapshot, caller.address.ip(), address.ip()));
    let named = named.map(|(address, transport)| new_flow(config, listener, address, transport));
    let held = caller.reach.connection_in(config.replica).map(|connection| Flow {
        transport: Transport::Tcp,
        connection: Some(connection),
        ..Flow::udp(local_of(listener), None, caller.address)
    });
    let own = match (caller.transport, caller.reach) {
        (Transport::Udp, _) => Some(Flow::udp(local_of(listener), None, caller.address)),
        // One whom a node called: what is known of it is where it listens, not where it connects from.
        (Transport::Tcp, Reach::Direct { held: None }) => {
            Some(new_flow(config, listener, caller.address, Transport::Tcp))
        }
        (Transport::Tcp, _) => held,
    };
    let strict = is_strict(request);
    let same_host = |named: &Flow| !strict && named.peer.ip() == caller.address.ip().to_canonical();
    match (named, own) {
        (Some(named), Some(own)) if same_host(&named) && own.transport == Transport::Tcp => {
            Target::Caller { flow: own, otherwise: Some(named), strict: false, forced: false }
        }
        (Some(named), own) => {
            let otherwise = own.filter(|_| same_host(&named) && named.transport == Transport::Tcp);
            Target::Caller { flow: named, otherwise, strict, forced: false }
        }
        (None, Some(own)) => Target::Caller { flow: own, otherwise: None, strict: false, forced: !known_node },
        (None, None) => Target::Gone,
    }
}

/// Whether one whom we know to be at `known` can be at an address that a message names. At a node's address is the node
/// alone, and what ends at a host or a link is another place for us: who is not there himself would have us speak to our
/// own host, or to the other ports of a node.
fn may_be_at(snapshot: &Snapshot, known: IpAddr, named: IpAddr) -> bool {
    let (known, named) = (canonical(known), canonical(named));
    known == named || !(is_confined(named) && !is_confined(known) || snapshot.node_by_ip(named))
}

/// Whether the address means something on one host or one link only: loopback, link-local.
pub(crate) fn is_confined(ip: IpAddr) -> bool {
    match canonical(ip) {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

fn is_strict(request: &Preprocessed<'_>) -> bool {
    request.next_route.as_ref().is_some_and(|route| !route.is_loose_router())
}

/// Whether requests from there come from a node: a member, one that left a while ago, or a configured network.
pub(crate) fn is_known_node(config: &Config, snapshot: &Snapshot, source: IpAddr) -> bool {
    snapshot.node_by_ip(source) || config.is_node_source(source)
}

/// Where a URI leads without asking DNS, and by which transport (RFC 3263 §4.1).
pub(crate) fn address_of(uri: &Uri<'_>) -> Option<(SocketAddr, Transport)> {
    let transport = match uri.params.value(b"transport") {
        None => Transport::Udp,
        Some(name) if name.eq_ignore_ascii_case(b"udp") => Transport::Udp,
        Some(name) if name.eq_ignore_ascii_case(b"tcp") => Transport::Tcp,
        Some(_) => return None,
    };
    let ip = ip_of(uri)?.to_canonical();
    let port = uri.port_or_default();
    let usable = uri.scheme == Scheme::Sip && port != 0 && !ip.is_unspecified() && !ip.is_multicast();
    usable.then(|| (SocketAddr::new(ip, port), transport))
}

/// The endpoint that a node's request comes from: over UDP its source, over a connection, which has any port, the port
/// of its sent-by at that address.
pub(crate) fn endpoint(flow: &Flow, message: &Message<'_>) -> SocketAddr {
    match (flow.transport, message.top_via()) {
        (Transport::Tcp, Some(via)) => SocketAddr::new(flow.peer.ip().to_canonical(), via.port_or_default()),
        _ => flow.peer,
    }
}

/// The literal address that a URI leads to: `maddr`, else the host (RFC 3263 §4).
fn ip_of(uri: &Uri<'_>) -> Option<IpAddr> {
    match uri.params.value(b"maddr") {
        Some(maddr) => std::str::from_utf8(maddr).ok()?.trim_matches(['[', ']']).parse().ok(),
        None => uri.host.ip(),
    }
}

/// What stands in a token for the side of the nodes: a node called there, and is called back from there.
const NODE_SIDE: u16 = u16::MAX;

/// The listener that a socket stands for in a token.
pub(crate) fn listener_of(local: Local) -> u16 {
    match local {
        Local::Listener(index) => index,
        Local::NodeSide | Local::Worker => NODE_SIDE,
    }
}

/// The reverse of [`listener_of`].
pub(crate) fn local_of(listener: u16) -> Local {
    if listener == NODE_SIDE { Local::NodeSide } else { Local::Listener(listener) }
}

/// The node that a request comes from: the one with exactly that endpoint, else one with that address, since a node may
/// have further ports.
pub(crate) fn node_of<'a>(snapshot: &'a Snapshot, flow: &Flow, message: &Message<'_>) -> Option<&'a Node> {
    let at_endpoint = snapshot.node_at(endpoint(flow, message)).and_then(|slot| snapshot.node(slot));
    at_endpoint.or_else(|| {
        let address = canonical(flow.peer.ip());
        let lives_there = |node: &&Node| canonical(node.sip.ip()) == address;
        snapshot.node_by_ip(address).then(|| snapshot.nodes.iter().find(lives_there)).flatten()
    })
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
    let nat = config.is_nat(packet.flow.local)
        || message.top_via().is_some_and(|via| elsewhere(via.host.ip()))
        || named.is_some_and(|uri| elsewhere(ip_of(&uri)));
    let (replica, connection) = (config.replica, packet.flow.connection);
    if nat {
        Reach::Flow { replica, connection }
    } else {
        Reach::Direct { held: connection.map(|connection| Held { replica, connection }) }
    }
}
