//! Looks at every datagram that goes into a worker or comes out of one, and knows what must never be seen there.

use crate::ledger::Ledger;
use crate::message::{Message, Start, address, bare};
use crate::replica::{NODE_SIDE, PUBLIC};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use switchtender_proxy::{Flow, Local, Snapshot, Time};

/// Where something was seen: a worker, in one run of its process, by its own clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) replica: usize,
    pub(crate) life: u64,
    pub(crate) worker: usize,
    pub(crate) ip: IpAddr,
    pub(crate) now: Time,
}

/// A branch of an INVITE that a worker sent.
struct Branch {
    first_sent: Time,
    call_id: String,
    /// It got a final response other than 2xx, or could not be delivered.
    over: bool,
}

/// How many datagrams of a sort one process took in or put out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) taken_in: u64,
    pub(crate) requests_out: u64,
    pub(crate) responses_out: u64,
}

/// What is remembered from one datagram to the next.
#[derive(Default)]
pub(crate) struct Book {
    branches: BTreeMap<(usize, u64, usize, String), Branch>,
    /// First final response per server transaction, and when it was sent.
    finals: BTreeMap<(usize, u64, usize, String), (u16, Time)>,
    /// From where we got a request with this Call-ID.
    askers: BTreeMap<String, BTreeSet<SocketAddr>>,
    pub(crate) traffic: BTreeMap<(usize, u64), Traffic>,
}

/// Who lives where.
#[derive(Default)]
pub(crate) struct Directory {
    pub(crate) nodes: Vec<SocketAddr>,
    /// Address of each client.
    pub(crate) clients: Vec<IpAddr>,
    /// Those that keep to no rules.
    pub(crate) outsiders: Vec<IpAddr>,
}

pub(crate) struct Witness<'a> {
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) book: &'a mut Book,
    pub(crate) directory: &'a Directory,
}

/// The port in the Contact of a client that can be reached there.
const CONTACT_PORT: u16 = 5060;
const TIMER_B: Duration = Duration::from_secs(32);
const TIMER_I: Duration = Duration::from_secs(5);
const TIMER_J: Duration = Duration::from_secs(32);

impl Witness<'_> {
    /// `bytes` went into a worker, which then sent `sent` and perhaps passed them on to a sibling.
    pub(crate) fn took_in(
        &mut self,
        place: &Place,
        source: SocketAddr,
        bytes: &[u8],
        sent: &[(Flow, Vec<u8>)],
        was_passed: bool,
    ) {
        self.book.traffic.entry((place.replica, place.life)).or_default().taken_in += 1;
        let Ok(message) = Message::parse(bytes) else { return };
        if message.is_request() {
            self.book.askers.entry(message.call_id().to_owned()).or_default().insert(source);
            return;
        }
        if was_passed || message.method() != "INVITE" || message.code() < 200 {
            return;
        }
        let key = (place.replica, place.life, place.worker, message.branch());
        let Some(branch) = self.book.branches.get_mut(&key) else { return };
        if branch.call_id != message.call_id() {
            return;
        }
        if message.code() >= 300 {
            branch.over = true;
            return;
        }
        let alive = !branch.over && place.now.since(branch.first_sent) < TIMER_B;
        let same = |sent: &Message| sent.code() == message.code() && sent.tag("To") == message.tag("To");
        let forwarded = sent.iter().any(|(_, bytes)| Message::parse(bytes).is_ok_and(|sent| same(&sent)));
        if alive && !forwarded {
            self.ledger.violation(format!("{place:?} kept a 2xx for itself:\n{message}"));
        }
    }

    /// A worker learned that `quoted` could not be delivered.
    pub(crate) fn failed(&mut self, place: &Place, quoted: &[u8]) {
        if let Ok(message) = Message::parse(quoted) {
            let key = (place.replica, place.life, place.worker, message.branch());
            if let Some(branch) = self.book.branches.get_mut(&key) {
                branch.over = true;
            }
        }
    }

    /// A worker puts a datagram on the wire.
    pub(crate) fn put_out(&mut self, place: &Place, snapshot: &Snapshot, from: Local, to: SocketAddr, bytes: &[u8]) {
        let is_response = bytes.starts_with(b"SIP/2.0 ");
        let traffic = self.book.traffic.entry((place.replica, place.life)).or_default();
        if is_response {
            traffic.responses_out += 1;
        } else {
            traffic.requests_out += 1;
        }
        let known = self.is_known(to);
        match Message::parse(bytes) {
            Ok(message) => {
                let verdict = match message.start {
                    Start::Request(..) => self.check_request(place, snapshot, from, to, &message),
                    Start::Response(..) => self.check_response(place, to, &message),
                };
                if let Err(what) = verdict {
                    self.ledger.violation(format!("{place:?} sent {to} {what}:\n{message}"));
                }
            }
            // What outsiders sent and the proxy let pass may be ugly; what our own endpoints sent may not become so.
            Err(error) if contains(bytes, b"Call-ID: call-") => {
                let text = String::from_utf8_lossy(bytes);
                self.ledger.violation(format!("{place:?} sent {to} a malformed message ({error}):\n{text}"));
            }
            Err(_) => {}
        }
        if !known {
            let text = String::from_utf8_lossy(bytes);
            self.ledger.violation(format!("{place:?} is an open relay to {to}:\n{text}"));
        }
    }

    fn is_known(&self, to: SocketAddr) -> bool {
        let Directory { nodes, clients, outsiders } = self.directory;
        nodes.contains(&to) || clients.contains(&to.ip()) || outsiders.contains(&to.ip())
    }

    /// A request goes to a node, or to the caller whose call it belongs to.
    fn check_request(
        &mut self,
        place: &Place,
        snapshot: &Snapshot,
        from: Local,
        to: SocketAddr,
        request: &Message,
    ) -> Result<(), String> {
        let owner = client_of(request.call_id()).and_then(|client| self.directory.clients.get(client));
        let to_node = self.directory.nodes.contains(&to);
        let asker = self.book.askers.get(request.call_id()).is_some_and(|askers| askers.contains(&to));
        let for_caller = owner == Some(&to.ip()) && (asker || to.port() == CONTACT_PORT);
        // A node that took an outsider's call follows the Contact it was given, as it must.
        let for_outsider = owner.is_none() && (self.directory.outsiders.contains(&to.ip()) || is_of_node(request));
        if !to_node && !for_caller && !for_outsider {
            return Err("a request that is neither for a node nor for its caller".into());
        }
        let sent_by = request.via().sent_by.parse::<SocketAddr>();
        let expected = if to_node {
            let worker = u16::try_from(place.worker).unwrap_or(u16::MAX);
            if from != Local::Worker {
                return Err(format!("a request to a node from {from:?}"));
            }
            SocketAddr::new(place.ip, 5071 + worker)
        } else {
            PUBLIC
        };
        if sent_by != Ok(expected) {
            return Err(format!("a Via that is not {expected}"));
        }
        let hops = request.header("Max-Forwards").and_then(|hops| hops.parse::<u32>().ok());
        let method = request.method();
        // An outsider's request may have come without, and gets 70.
        let inserted = client_of(request.call_id()).is_none();
        if !inserted && hops.is_none_or(|hops| hops > 70 || (hops == 70 && method != "CANCEL" && method != "ACK")) {
            return Err(format!("Max-Forwards {hops:?}"));
        }
        if request.headers.iter().any(|(name, _)| name.to_ascii_lowercase().starts_with("x-switchtender")) {
            return Err("an internal header".into());
        }
        if method == "INVITE" {
            self.check_invite(place, snapshot, to_node.then_some(to), request)?;
        }
        Ok(())
    }

    fn check_invite(
        &mut self,
        place: &Place,
        snapshot: &Snapshot,
        node: Option<SocketAddr>,
        invite: &Message,
    ) -> Result<(), String> {
        let key = (place.replica, place.life, place.worker, invite.branch());
        let is_first = !self.book.branches.contains_key(&key);
        self.book.branches.entry(key).or_insert_with(|| Branch {
            first_sent: place.now,
            call_id: invite.call_id().to_owned(),
            over: false,
        });
        let (Some(node), true) = (node, is_first && invite.tag("To").is_empty()) else { return Ok(()) };
        let route: Vec<_> = invite.list("Record-Route").iter().map(|route| bare(route)).collect();
        let hosts: Vec<_> = route.iter().take(2).filter_map(|uri| address(uri)).collect();
        let from_caller = client_of(invite.call_id()).is_some();
        let expected: &[_] = if from_caller { &[NODE_SIDE, PUBLIC] } else { &[NODE_SIDE] };
        if !hosts.starts_with(expected) || !route.iter().take(expected.len()).all(|uri| uri.ends_with(";lr")) {
            return Err(format!("Record-Route {route:?}"));
        }
        let may_take_calls = |slot| {
            let mut members = snapshot.groups.iter().flat_map(|group| &group.members);
            members.any(|member| member.slot == slot && !member.draining)
        };
        let slot = snapshot.node_at(node);
        let returns = invite.header("Proxy-Authorization").is_some();
        if !returns && !slot.is_some_and(may_take_calls) {
            return Err("a new call that it may not take".into());
        }
        Ok(())
    }

    /// A response goes to somebody who asked; a server transaction has one final response, except for further 2xx.
    fn check_response(&mut self, place: &Place, to: SocketAddr, response: &Message) -> Result<(), String> {
        let asked = self
            .book
            .askers
            .get(response.call_id())
            .is_some_and(|askers| askers.iter().any(|asker| asker.ip() == to.ip()));
        // Whom an outsider's garbled call comes from cannot always be read.
        if !asked && client_of(response.call_id()).is_some() {
            return Err("a response it did not ask for".into());
        }
        let code = response.code();
        if code < 200 {
            return Ok(());
        }
        let key = (place.replica, place.life, place.worker, format!("{to} {}", response.transaction()));
        let (before, since) = *self.book.finals.entry(key).or_insert((code, place.now));
        let outsider = self.directory.outsiders.contains(&to.ip());
        // A CANCEL is answered for as long as its INVITE is remembered, which is Timer I once the ACK came.
        let memory = if response.method() == "CANCEL" { TIMER_I } else { TIMER_J };
        let remembered = place.now.since(since) < memory;
        if before != code && !(200..300).contains(&code) && !outsider && remembered {
            return Err(format!("{code} after {before}"));
        }
        Ok(())
    }
}

/// The client that placed the call with this Call-ID.
pub(crate) fn client_of(call_id: &str) -> Option<usize> {
    call_id.strip_prefix("call-c")?.split_once('x')?.0.parse().ok()
}

/// Whether a node sent this request, by the form of its tags.
fn is_of_node(request: &Message) -> bool {
    request.tag("From").starts_with('n')
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
