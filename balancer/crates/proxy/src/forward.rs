//! Forwarding a request (RFC 3261 §16.6): the copy with its changes, and the client transaction that carries it.

use std::net::SocketAddr;
use std::time::Duration;

use switchtender_select::{Group, GroupSlot, NodeSlot, Nodes, Snapshot, Transport, Wanted};
use switchtender_sip::{Edits, HeaderName, Host, Index, Message, NameAddr, Output as Writer, Overflow, Scheme, Uri};

use crate::branch::{STATELESS_LEN, stateless};
use crate::config::{Config, SentBy};
use crate::core::{Core, Step, count_request};
use crate::counters::Counter;
use crate::fingerprint;
use crate::output::{Decision, Flow, Local, Output};
use crate::route;
use crate::slab::Handle;
use crate::token::{Binding, Caller, Kind, MAX_TOKEN_LEN, Reach, Token};
use crate::transaction::{
    Cancel, Client, ClientState, ClientTimer, Counted, MAX_ATTEMPTS, Origin, Record, Removal, Shape, T1, T1_64,
};

/// Header fields with this prefix are ours alone: none comes in, none goes out.
const INTERNAL_PREFIX: &[u8] = b"X-Switchtender-";
/// Max-Forwards of a request that came without (RFC 3261 §16.6 step 3).
const MAX_FORWARDS: u8 = 70;
/// A longer request is for a connection, as the path MTU is not known (RFC 3261 §18.1.1).
pub(crate) const LARGEST_DATAGRAM: usize = 1300;

/// The next hop of one attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop {
    pub(crate) flow: Flow,
    /// The way to take if that one turns out to be none.
    pub(crate) otherwise: Option<Flow>,
    /// How a request goes that is too large for a datagram (RFC 3261 §18.1.1).
    pub(crate) large: Transport,
    /// The node at the next hop.
    pub(crate) node: Option<NodeSlot>,
    /// The group whose node was chosen; `None`: there was no choice.
    pub(crate) chosen_of: Option<GroupSlot>,
    /// Legs of a new call, which counts; `None`: nothing to count.
    pub(crate) legs: Option<u32>,
    /// `firstResponseTimeout` and `progressTimeout`, where there may be a next node.
    pub(crate) patience: Option<(Duration, Duration)>,
    pub(crate) timer_c: Duration,
}

impl Core {
    /// Sends the request of a server transaction to its next hop in a new client transaction (RFC 3261 §16.6 step 8 to
    /// 11, §17.1). `message` is that request, as received. `false`: it cannot be written, nothing was done.
    pub(crate) fn launch<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        server: Handle,
        message: &Message<'_>,
        hop: &Hop,
    ) -> bool {
        let Some(call) = fingerprint::of_call(&self.config.secret, message) else { return false };
        let Some(method) = self.servers.get(server).map(|server| server.method) else { return false };
        let request = self.buffers.take();
        let handle = self.clients.insert(Client {
            state: ClientState::Calling,
            method,
            server,
            flow: hop.flow,
            otherwise: hop.otherwise,
            node: hop.node,
            counted: Counted::No,
            request,
            call,
            abandoned: false,
            cancel: Cancel::No,
            sent_again: false,
            launched: step.now,
            interval: T1,
            timer_c: hop.timer_c,
            patience: hop.patience,
            deadlines: [None; ClientTimer::ALL.len()],
        });
        let Some(handle) = handle else { return false };
        self.open += 1;
        if self.compose_to_fit(step, server, handle, message, hop).is_none() {
            if let Some(client) = self.clients.remove(handle) {
                self.open -= 1;
                self.buffers.give(client.request);
            }
            return false;
        }
        if let Some(server) = self.servers.get_mut(server) {
            if let (Some(group), Some(node)) = (hop.chosen_of, hop.node) {
                let tried = server.tried.get(..server.attempts).unwrap_or_default();
                let decision = Decision::Placed { group, node, wanted: &server.wanted, tried };
                step.output.decided(message.bytes(), &decision);
            }
            server.current = Some(handle);
            if let Some(free) = server.clients.iter_mut().find(|slot| slot.is_none()) {
                *free = Some(handle);
            }
            if let (Some(node), Some(slot)) = (hop.node, server.tried.get_mut(server.attempts)) {
                *slot = node;
            }
            server.attempts = (server.attempts + 1).min(MAX_ATTEMPTS);
        }
        if let (Some(legs), Some(node)) = (hop.legs, hop.node) {
            step.nodes.assign(node, legs, step.now);
            if let Some(client) = self.clients.get_mut(handle) {
                client.counted = Counted::InFlight;
            }
        }
        if !self.clients.get(handle).is_some_and(Client::is_reliable) {
            self.set_client_timer(step.now, handle, ClientTimer::Retransmit, T1);
        }
        self.set_client_timer(step.now, handle, ClientTimer::Timeout, T1_64);
        if let Some((first_response, _)) = hop.patience {
            self.set_client_timer(step.now, handle, ClientTimer::Patience, first_response);
        }
        if self.clients.get(handle).is_some_and(Client::is_invite) {
            self.set_client_timer(step.now, handle, ClientTimer::C, hop.timer_c);
        }
        self.transmit(step, handle);
        true
    }

    /// Sends the request of a server transaction, kept since it came, to another next hop; as [`Core::launch`].
    pub(crate) fn launch_again<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        handle: Handle,
        hop: &Hop,
    ) -> bool {
        let Some(server) = self.servers.get_mut(handle) else { return false };
        let request = std::mem::take(&mut server.request);
        let mut index = Index::new();
        // It was parsed when it came in.
        let _ = index.parse(&request);
        let launched = self.launch(step, handle, &index.message(&request), hop);
        if let Some(server) = self.servers.get_mut(handle) {
            server.request = request;
        }
        launched
    }

    /// Writes the forwarded request, and once more for a connection if it came out too large for a datagram
    /// (RFC 3261 §18.1.1: Via names the transport). Should there be no connection, it is a datagram after all.
    fn compose_to_fit<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        server: Handle,
        handle: Handle,
        message: &Message<'_>,
        hop: &Hop,
    ) -> Option<()> {
        self.compose(step, server, handle, message, hop)?;
        let client = self.clients.get_mut(handle)?;
        let switches = hop.flow.transport == Transport::Udp && hop.large == Transport::Tcp;
        if !switches || client.request.len() <= LARGEST_DATAGRAM {
            return Some(());
        }
        let flow = Flow { transport: Transport::Tcp, ..hop.flow };
        (client.flow, client.otherwise) = (flow, Some(hop.flow));
        client.request.clear();
        self.compose(step, server, handle, message, &Hop { flow, otherwise: Some(hop.flow), ..*hop })
    }

    /// Writes the forwarded request into the buffer of its client transaction. `None`: it does not fit, or there is no
    /// key to seal a token with.
    fn compose<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        server: Handle,
        client: Handle,
        message: &Message<'_>,
        hop: &Hop,
    ) -> Option<()> {
        let server = self.servers.get(server)?;
        let (origin, shape, record, group) = (server.origin, server.shape, server.record, server.group);
        let wanted = server.wanted;
        let branch = self.branches.mint(client.into(), server.loop_hash);
        let mut text = [0; MAX_TOKEN_LEN];
        let token = match token(step.snapshot, message, &origin, record, (group, &wanted), hop) {
            Some(token) => {
                self.refresh_keys(step.snapshot);
                let len = self.keys.seal(&token, &mut text)?;
                text.get(..len)?
            }
            None => &[],
        };
        let Self { config, edits, scratch, clients, counters, .. } = self;
        edits.clear();
        let via = Core::sent_by(config, step.output, &hop.flow);
        push_via(edits, message, hop.flow.transport, via, &branch);
        let own_only = record.is_of_a_connection();
        let near = Side::of(config, step.output, lasting(hop), own_only);
        match record {
            Record::Nothing => {}
            // The node gets the other one with the response: it is none of the callee's business.
            Record::FromNode(..) | Record::Outward if Side::of_origin(config, origin.flow, own_only).is_some() => {
                push_own_uri(edits, message, HeaderName::RecordRoute, token, near);
            }
            Record::FromCaller(_) | Record::FromNode(..) | Record::Outward => {
                let far = Side::of(config, step.output, origin.flow, own_only);
                push_own_uri(edits, message, HeaderName::RecordRoute, token, near);
                if far != near {
                    // RFC 5658: one for each side, where they differ in address, transport or family.
                    push_own_uri(edits, message, HeaderName::RecordRoute, token, far);
                }
            }
            Record::Path(_) => push_own_uri(edits, message, HeaderName::Path, token, near),
        }
        write_changes(edits, message, shape, &origin);
        write_length(edits, message, hop.flow.transport);
        let mut writer = Writer::new(scratch);
        if edits.splice(message, &mut writer).is_err() {
            counters.count(Counter::Oversized);
            return None;
        }
        clients.get_mut(client)?.request.extend_from_slice(writer.written());
        Some(())
    }

    /// Forwards a request that gets no response, an ACK for a 2xx, without a transaction (RFC 3261 §16.11).
    pub(crate) fn forward_statelessly<N: Nodes, O: Output>(
        &mut self,
        step: &mut Step<'_, N, O>,
        origin: &Origin,
        shape: Shape,
        message: &Message<'_>,
        hop: &Hop,
    ) {
        let mut address = [0; 64];
        let mut number = [0; 20];
        let branch = stateless_branch(message, &mut address, &mut number);
        let Self { config, edits, scratch, counters, .. } = self;
        edits.clear();
        push_via(edits, message, hop.flow.transport, Core::sent_by(config, step.output, &hop.flow), &branch);
        write_changes(edits, message, shape, origin);
        write_length(edits, message, hop.flow.transport);
        let mut writer = Writer::new(scratch);
        if edits.splice(message, &mut writer).is_err() {
            counters.count(Counter::Oversized);
            return;
        }
        step.output.send(&hop.flow, writer.written());
        count_request(step, counters, hop.node);
    }
}

/// The token for Record-Route or Path; `None` where none is written.
pub(crate) fn token(
    snapshot: &Snapshot,
    message: &Message<'_>,
    origin: &Origin,
    record: Record,
    (group, wanted): (Option<GroupSlot>, &Wanted),
    hop: &Hop,
) -> Option<Token> {
    let call_id = message.call_id().unwrap_or_default();
    let from_tag = message.from_tag().unwrap_or_default();
    let (kind, reach) = match record {
        Record::Nothing => return None,
        Record::FromNode(caller, listener, group) => {
            let kind = Kind::Dialog(route::binding_of_node(call_id, from_tag));
            let node = route::endpoint(&origin.flow, message);
            let transport = origin.flow.transport;
            return Some(Token { kind, node, transport, listener, caller, group, resources: 0 });
        }
        Record::Outward => {
            let kind = Kind::Dialog(route::binding_of_node(call_id, from_tag));
            let Flow { peer: address, transport, local, .. } = lasting(hop);
            return Some(Token {
                kind,
                node: route::endpoint(&origin.flow, message),
                transport: origin.flow.transport,
                listener: route::listener_of(local),
                caller: Caller { address, transport, reach: Reach::Direct { held: None } },
                group: group.and_then(|slot| snapshot.group(slot)).map_or(0, hash_of),
                resources: 0,
            });
        }
        Record::FromCaller(reach) => (Kind::Dialog(Binding::new(call_id, from_tag)), reach),
        Record::Path(reach) => (Kind::Path, reach),
    };
    let group = group.and_then(|slot| snapshot.group(slot));
    Some(Token {
        kind,
        node: hop.flow.peer,
        transport: lasting(hop).transport,
        listener: route::listener_of(origin.flow.local),
        caller: Caller { address: origin.flow.peer, transport: origin.flow.transport, reach },
        group: group.map_or(0, hash_of),
        resources: group.map_or(0, |group| resource_bits(group, wanted)),
    })
}

fn hash_of(group: &Group) -> u32 {
    fingerprint::of_group(&group.namespace, &group.name)
}

/// The limited resources that a call holds, by their place among those of its group: the same on every replica.
fn resource_bits(group: &Group, wanted: &Wanted) -> u16 {
    let holds = |index: &usize| group.resources.get(*index).is_some_and(|one| wanted.resources.contains(one.slot));
    (0..16).filter(holds).fold(0, |bits, index| bits | 1 << index)
}

/// How the next hop is spoken to from now on. What is large for a datagram goes to a node over a connection, and says
/// nothing of what comes back.
fn lasting(hop: &Hop) -> Flow {
    match (hop.node, hop.otherwise) {
        (Some(_), Some(otherwise)) => otherwise,
        _ => hop.flow,
    }
}

/// Our address and transport as the peer on one side is to use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side<'a> {
    sent_by: SentBy<'a>,
    transport: Transport,
}

impl<'a> Side<'a> {
    /// Towards nodes the socket that all workers share, at the address that all replicas share, unless the requests must
    /// come to this one.
    pub(crate) fn of(config: &'a Config, output: &mut impl Output, flow: Flow, this_replica: bool) -> Self {
        let known = Self::of_origin(config, flow, this_replica);
        known.unwrap_or_else(|| {
            let local = if flow.local == Local::Worker { Local::NodeSide } else { flow.local };
            let ip = output.local_ip(local, flow.peer).to_canonical();
            let sent_by = SentBy::Address(SocketAddr::new(ip, config.port_of(local)));
            Self { sent_by, transport: flow.transport }
        })
    }

    /// As [`Side::of`], where it takes nobody to ask which address of ours the peer of `flow` sees.
    pub(crate) fn of_origin(config: &'a Config, flow: Flow, this_replica: bool) -> Option<Self> {
        let flow = match flow.local {
            Local::Worker => Flow { local: Local::NodeSide, ..flow },
            Local::Listener(_) | Local::NodeSide => flow,
        };
        let own = config.node_side.as_ref().filter(|_| this_replica && flow.local == Local::NodeSide);
        let sent_by = match own {
            Some(side) => SentBy::bound(side.address, &flow)?,
            None => config.sent_by(&flow)?,
        };
        Some(Self { sent_by, transport: flow.transport })
    }
}

/// `rport` asks for datagrams to come back the way they went (RFC 3581 §3); a connection does that by itself.
pub(crate) fn push_via(
    edits: &mut Edits,
    message: &Message<'_>,
    transport: Transport,
    sent_by: SentBy<'_>,
    branch: &[u8],
) {
    edits.push_field(message, HeaderName::Via, |writer| {
        writer.bytes(b"SIP/2.0/")?;
        writer.bytes(transport.name().as_bytes())?;
        writer.bytes(b" ")?;
        sent_by.write(writer)?;
        writer.bytes(b";branch=")?;
        writer.bytes(branch)?;
        if transport.is_reliable() { Ok(()) } else { writer.bytes(b";rport") }
    });
}

/// `<sip:TOKEN@host:port;lr>`: the token is the user part; the one parameter besides `lr` is the transport that is not
/// the default.
pub(crate) fn push_own_uri(edits: &mut Edits, message: &Message<'_>, name: HeaderName, token: &[u8], side: Side<'_>) {
    edits.push_field(message, name, |writer| write_own_uri(writer, token, side));
}

pub(crate) fn write_own_uri(writer: &mut Writer<'_>, token: &[u8], side: Side<'_>) -> Result<(), Overflow> {
    writer.bytes(b"<sip:")?;
    writer.bytes(token)?;
    writer.bytes(b"@")?;
    side.sent_by.write(writer)?;
    if side.transport == Transport::Tcp {
        writer.bytes(b";transport=tcp")?;
    }
    writer.bytes(b";lr>")
}

/// A stream has no other end of message than the one that Content-Length tells (RFC 3261 §18.3).
pub(crate) fn write_length(edits: &mut Edits, message: &Message<'_>, transport: Transport) {
    if transport == Transport::Tcp && message.first(HeaderName::ContentLength).is_none() {
        edits.insert(message.index().fields().end, |writer| {
            writer.bytes(b"Content-Length: ")?;
            writer.decimal(message.body().len() as u64)?;
            writer.bytes(b"\r\n")
        });
    }
}

/// The changes that every forwarded request takes, whatever carries it: Max-Forwards, the source in the caller's Via,
/// Request-URI and Routes, no internal header fields.
pub(crate) fn write_changes(edits: &mut Edits, message: &Message<'_>, shape: Shape, origin: &Origin) {
    let hops = message.max_forwards().map_or(MAX_FORWARDS, |hops| hops.saturating_sub(1));
    edits.set_max_forwards(message, hops);
    edits.set_source(message, origin.flow.peer);
    remove_internal(edits, message);
    write_routes(edits, message, shape);
}

/// Removes header fields that only we may write.
pub(crate) fn remove_internal(edits: &mut Edits, message: &Message<'_>) {
    for header in message.headers().iter().filter(|header| header.name == HeaderName::Other) {
        let name = message.name_text(header);
        if name.get(..INTERNAL_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(INTERNAL_PREFIX)) {
            edits.remove(header);
        }
    }
}

/// Request-URI and Routes (RFC 3261 §16.4, §16.6 step 6).
fn write_routes(edits: &mut Edits, message: &Message<'_>, shape: Shape) {
    let bytes = message.bytes();
    let uri_of = |value: switchtender_sip::Value| NameAddr::parse(value.span.of(bytes)).map(|address| address.uri_text);
    let routes = || message.values(HeaderName::Route);
    let last = if shape.uri_from_last_route { routes().last().and_then(uri_of) } else { None };
    let uri = last.or(message.uri_text()).unwrap_or_default();

    let removed_first = shape.own_routes + usize::from(shape.strict_next_hop);
    let removed = removed_first + usize::from(last.is_some());
    if removed >= routes().count() {
        edits.remove_all(message, HeaderName::Route);
    } else {
        edits.remove_first(message, HeaderName::Route, removed_first);
        if last.is_some() {
            edits.remove_last(message, HeaderName::Route);
        }
    }

    if shape.strict_next_hop
        && let Some(next) = routes().nth(shape.own_routes).and_then(uri_of)
        && let Some(header) = message.all(HeaderName::Route).last()
    {
        edits.set_uri(message, |writer| writer.bytes(next));
        edits.insert(header.field.end, |writer| {
            writer.bytes(b"Route: <")?;
            writer.bytes(uri)?;
            writer.bytes(b">\r\n")
        });
    } else if shape.removal != Removal::Nothing
        && let Some(uri) = Uri::parse(uri)
    {
        edits.set_uri(message, |writer| write_target(&uri, shape.removal, writer));
    } else if last.is_some() {
        edits.set_uri(message, |writer| writer.bytes(uri));
    }
}

/// The URI as it may stand in a Request-URI: without `method` and without headers (RFC 3261 §16.6 step 2, §19.1.1), and
/// where `maddr` named us without that, port and transport (§16.4).
fn write_target(uri: &Uri<'_>, removal: Removal, writer: &mut Writer<'_>) -> Result<(), Overflow> {
    let without_maddr = removal == Removal::Maddr;
    writer.bytes(if uri.scheme == Scheme::Sips { b"sips:" } else { b"sip:" })?;
    if let Some(user) = uri.user {
        writer.bytes(user)?;
        if let Some(password) = uri.password {
            writer.bytes(b":")?;
            writer.bytes(password)?;
        }
        writer.bytes(b"@")?;
    }
    match uri.host {
        Host::Name(name) => writer.bytes(name)?,
        Host::Ip(ip) => writer.ip(ip)?,
    }
    if let Some(port) = uri.port.filter(|_| !without_maddr) {
        writer.bytes(b":")?;
        writer.decimal(port.into())?;
    }
    let dropped: &[&[u8]] = if without_maddr { &[b"method", b"maddr", b"transport"] } else { &[b"method"] };
    for param in uri.params {
        if !dropped.iter().any(|name| param.name.eq_ignore_ascii_case(name)) {
            writer.bytes(uri.text.get(param.start..param.end).unwrap_or_default())?;
        }
    }
    Ok(())
}

/// The branch of a request forwarded statelessly, from the parts that [`stateless`] asks for.
fn stateless_branch(message: &Message<'_>, address: &mut [u8; 64], number: &mut [u8; 20]) -> [u8; STATELESS_LEN] {
    let via = message.top_via();
    let mut sent_by = Writer::new(address);
    let host = match via.map(|via| via.host) {
        Some(Host::Name(name)) => name,
        Some(Host::Ip(ip)) => {
            // An address with a port always fits.
            let port = via.map_or(0, |via| via.port_or_default());
            let _ = sent_by.socket_addr(SocketAddr::new(ip, port));
            b""
        }
        None => b"",
    };
    let mut cseq = Writer::new(number);
    let _ = cseq.decimal(message.cseq().map_or(0, |cseq| cseq.number).into());
    stateless([
        via.and_then(|via| via.branch).unwrap_or_default(),
        host,
        sent_by.written(),
        message.uri_text().unwrap_or_default(),
        message.from_tag().unwrap_or_default(),
        message.to_tag().unwrap_or_default(),
        message.call_id().unwrap_or_default(),
        cseq.written(),
    ])
}
