//! Forwarding a request (RFC 3261 §16.6): the copy with its changes, and the client transaction that carries it.

use std::net::SocketAddr;
use std::time::Duration;

use switchtender_select::{GroupSlot, NodeSlot, Nodes, Snapshot};
use switchtender_sip::{Edits, HeaderName, Host, Message, NameAddr, Output as Writer, Overflow, Uri};

use crate::branch::{STATELESS_LEN, stateless};
use crate::config::SentBy;
use crate::core::{Core, Step, count_request};
use crate::counters::Counter;
use crate::fingerprint;
use crate::output::{Flow, Local, Output};
use crate::route;
use crate::slab::Handle;
use crate::token::{Binding, Caller, Kind, MAX_TOKEN_LEN, Token};
use crate::transaction::{
    Cancel, Client, ClientState, ClientTimer, Counted, MAX_ATTEMPTS, Origin, Record, Shape, T1, T1_64,
};

/// Header fields with this prefix are ours alone: none comes in, none goes out.
const INTERNAL_PREFIX: &[u8] = b"X-Switchtender-";
/// Max-Forwards of a request that came without (RFC 3261 §16.6 step 3).
const MAX_FORWARDS: u8 = 70;

/// The next hop of one attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop {
    pub(crate) flow: Flow,
    /// The node at the next hop.
    pub(crate) node: Option<NodeSlot>,
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
            node: hop.node,
            counted: Counted::No,
            request,
            call,
            abandoned: false,
            cancel: Cancel::No,
            sent_again: false,
            interval: T1,
            timer_c: hop.timer_c,
            progress_timeout: hop.patience.map(|(_, progress)| progress),
            deadlines: [None; ClientTimer::ALL.len()],
        });
        let Some(handle) = handle else { return false };
        self.open += 1;
        if self.compose(step, server, handle, message, hop).is_none() {
            if let Some(client) = self.clients.remove(handle) {
                self.open -= 1;
                self.buffers.give(client.request);
            }
            return false;
        }
        if let Some(server) = self.servers.get_mut(server) {
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
        self.set_client_timer(step.now, handle, ClientTimer::Retransmit, T1);
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
        let branch = self.branches.mint(client.into(), server.loop_hash);
        let mut text = [0; MAX_TOKEN_LEN];
        let token = match token(step.snapshot, message, &origin, record, group, hop) {
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
        push_via(edits, message, via, &branch);
        let near = Core::sent_by(config, step.output, &near_side(hop.flow));
        match record {
            Record::Nothing => {}
            Record::FromCaller(_) | Record::FromNode(..) => {
                let far = Core::sent_by(config, step.output, &near_side(origin.flow));
                push_own_uri(edits, message, HeaderName::RecordRoute, token, near);
                if far != near {
                    push_own_uri(edits, message, HeaderName::RecordRoute, token, far);
                }
            }
            Record::Path(_) => push_own_uri(edits, message, HeaderName::Path, token, near),
        }
        write_changes(edits, message, shape, &origin);
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
        push_via(edits, message, Core::sent_by(config, step.output, &hop.flow), &branch);
        write_changes(edits, message, shape, origin);
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
fn token(
    snapshot: &Snapshot,
    message: &Message<'_>,
    origin: &Origin,
    record: Record,
    group: Option<GroupSlot>,
    hop: &Hop,
) -> Option<Token> {
    let call_id = message.call_id().unwrap_or_default();
    let from_tag = message.from_tag().unwrap_or_default();
    let (kind, reach) = match record {
        Record::Nothing => return None,
        Record::FromNode(caller, listener) => {
            let kind = Kind::Dialog(route::binding_of_node(call_id, from_tag));
            return Some(Token { kind, node: origin.flow.peer, listener, caller, group: 0, resources: 0 });
        }
        Record::FromCaller(reach) => (Kind::Dialog(Binding::new(call_id, from_tag)), reach),
        Record::Path(reach) => (Kind::Path, reach),
    };
    let group = group.and_then(|slot| snapshot.group(slot));
    Some(Token {
        kind,
        node: hop.flow.peer,
        listener: route::listener_of(origin.flow.local),
        caller: Caller { address: origin.flow.peer, transport: origin.flow.transport, reach },
        group: group.map_or(0, |group| fingerprint::of_group(&group.namespace, &group.name)),
        resources: 0,
    })
}

/// The way by which the next hop is to come back: towards nodes the socket that all workers share.
fn near_side(flow: Flow) -> Flow {
    match flow.local {
        Local::Worker => Flow { local: Local::NodeSide, ..flow },
        Local::Listener(_) | Local::NodeSide => flow,
    }
}

fn push_via(edits: &mut Edits, message: &Message<'_>, sent_by: SentBy<'_>, branch: &[u8]) {
    edits.push_field(message, HeaderName::Via, |writer| {
        writer.bytes(b"SIP/2.0/UDP ")?;
        sent_by.write(writer)?;
        writer.bytes(b";branch=")?;
        writer.bytes(branch)?;
        writer.bytes(b";rport")
    });
}

/// `<sip:TOKEN@host:port;lr>`: the token is the user part, `lr` the only parameter.
fn push_own_uri(edits: &mut Edits, message: &Message<'_>, name: HeaderName, token: &[u8], sent_by: SentBy<'_>) {
    edits.push_field(message, name, |writer| {
        writer.bytes(b"<sip:")?;
        writer.bytes(token)?;
        writer.bytes(b"@")?;
        sent_by.write(writer)?;
        writer.bytes(b";lr>")
    });
}

/// The changes that every forwarded request takes, whatever carries it: Max-Forwards, the source in the caller's Via,
/// Request-URI and Routes, no internal header fields.
fn write_changes(edits: &mut Edits, message: &Message<'_>, shape: Shape, origin: &Origin) {
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
    } else if shape.without_maddr
        && let Some(uri) = Uri::parse(uri)
    {
        edits.set_uri(message, |writer| write_without_maddr(&uri, writer));
    } else if last.is_some() {
        edits.set_uri(message, |writer| writer.bytes(uri));
    }
}

/// The URI without `maddr` and without port and transport (RFC 3261 §16.4).
fn write_without_maddr(uri: &Uri<'_>, writer: &mut Writer<'_>) -> Result<(), Overflow> {
    writer.bytes(b"sip:")?;
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
    for param in uri.params {
        if param.name.eq_ignore_ascii_case(b"maddr") || param.name.eq_ignore_ascii_case(b"transport") {
            continue;
        }
        writer.bytes(uri.text.get(param.start..param.end).unwrap_or_default())?;
    }
    if let Some(headers) = uri.headers {
        writer.bytes(b"?")?;
        writer.bytes(headers)?;
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
