//! The transaction layer of the simulated endpoints (RFC 3261 §17 over UDP) and their dialogs (§12). Written apart from
//! the product's own, so that the two check each other.

use crate::message::{Message, address, bare};
use crate::network::{Alarm, Network, Who};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) const T1: Duration = Duration::from_millis(500);
pub(crate) const T2: Duration = Duration::from_secs(4);
pub(crate) const PATIENCE: Duration = Duration::from_secs(32);

/// What reaches the user of the transaction layer.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A new request, Via completed with `received` and `rport`.
    Request(Message),
    /// An ACK that belongs to no transaction: for a 2xx.
    Ack(Message),
    /// A response, and the request it answers. Of retransmissions only those of a 2xx to an INVITE.
    Response { request: Message, response: Message },
    /// Timer B or F.
    TimedOut(Message),
    /// No ACK came for the 2xx to this INVITE.
    Unacknowledged(Message),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Calling,
    Proceeding,
    Completed,
}

struct ClientTransaction {
    request: Message,
    from: SocketAddr,
    to: SocketAddr,
    interval: Duration,
    phase: Phase,
}

struct ServerTransaction {
    request: Message,
    local: SocketAddr,
    response: Option<(SocketAddr, Message)>,
    interval: Duration,
    acknowledged: bool,
}

/// One endpoint's transactions.
pub(crate) struct Agent {
    who: Who,
    clients: BTreeMap<String, ClientTransaction>,
    servers: BTreeMap<String, ServerTransaction>,
    /// Messages sent again because nothing came back.
    pub(crate) retransmitted: u64,
}

impl Agent {
    pub(crate) fn new(who: Who) -> Self {
        Self { who, clients: BTreeMap::new(), servers: BTreeMap::new(), retransmitted: 0 }
    }

    /// Forgets everything, as a crash does.
    pub(crate) fn forget(&mut self) {
        self.clients.clear();
        self.servers.clear();
    }

    /// Whether any request still waits for its final response; an INVITE that rings is its user's to wait for.
    pub(crate) fn is_waiting(&self) -> bool {
        let waits = |transaction: &ClientTransaction| match transaction.phase {
            Phase::Calling => true,
            Phase::Proceeding => transaction.request.method() != "INVITE",
            Phase::Completed => false,
        };
        self.clients.values().any(waits)
    }

    /// A client transaction for `request`, whose top Via is there already.
    pub(crate) fn start(&mut self, network: &mut Network, from: SocketAddr, to: SocketAddr, request: Message) {
        let key = client_key(&request);
        network.send(from, to, request.bytes());
        network.wake_in(T1, self.who, Alarm::Retransmit(key.clone()));
        network.wake_in(PATIENCE, self.who, Alarm::GiveUp(key.clone()));
        let transaction = ClientTransaction { request, from, to, interval: T1, phase: Phase::Calling };
        self.clients.insert(key, transaction);
    }

    /// The response to a request that was heard; provisional, final, or a final after provisional ones.
    pub(crate) fn respond(&mut self, network: &mut Network, response: Message) {
        let Some(key) = self.servers.keys().find(|key| **key == response.transaction()).cloned() else { return };
        let Some(transaction) = self.servers.get_mut(&key) else { return };
        let Some(to) = response.via().reply_to() else { return };
        network.send(transaction.local, to, response.bytes());
        let code = response.code();
        transaction.response = Some((to, response));
        if transaction.request.method() == "INVITE" && code >= 200 {
            network.wake_in(T1, self.who, Alarm::RetransmitResponse(key.clone()));
            network.wake_in(PATIENCE, self.who, Alarm::Unacknowledged(key));
        }
    }

    /// The ACK for the 2xx to an INVITE came.
    pub(crate) fn acknowledge(&mut self, ack: &Message) {
        let about = |message: &Message| (message.call_id().to_owned(), message.cseq().0, message.tag("To"));
        for transaction in self.servers.values_mut() {
            let answer = transaction.response.as_ref().map(|(_, response)| response);
            if answer.is_some_and(|answer| answer.method() == "INVITE" && about(answer) == about(ack)) {
                transaction.acknowledged = true;
            }
        }
    }

    /// Takes a datagram that came from `source` to `local`.
    pub(crate) fn hear(
        &mut self,
        network: &mut Network,
        local: SocketAddr,
        source: SocketAddr,
        message: Message,
    ) -> Option<Heard> {
        if message.is_request() {
            self.hear_request(network, local, complete_via(message, source))
        } else {
            self.hear_response(network, message)
        }
    }

    fn hear_request(&mut self, network: &mut Network, local: SocketAddr, request: Message) -> Option<Heard> {
        let is_ack = request.method() == "ACK";
        match self.servers.get_mut(&request.transaction()) {
            Some(transaction) if is_ack => {
                transaction.acknowledged = true;
                None
            }
            Some(transaction) => {
                if let Some((to, response)) = &transaction.response {
                    network.send(transaction.local, *to, response.bytes());
                }
                None
            }
            None if is_ack => Some(Heard::Ack(request)),
            None => {
                let transaction = ServerTransaction {
                    request: request.clone(),
                    local,
                    response: None,
                    interval: T1,
                    acknowledged: false,
                };
                self.servers.insert(request.transaction(), transaction);
                Some(Heard::Request(request))
            }
        }
    }

    fn hear_response(&mut self, network: &mut Network, response: Message) -> Option<Heard> {
        let transaction = self.clients.get_mut(&client_key(&response))?;
        let invite = transaction.request.method() == "INVITE";
        let code = response.code();
        let known = transaction.phase == Phase::Completed;
        transaction.phase = if code >= 200 { Phase::Completed } else { transaction.phase.max_proceeding() };
        if invite && code >= 300 {
            let ack = acknowledgement(&transaction.request, &response);
            network.send(transaction.from, transaction.to, ack.bytes());
        }
        let success = invite && (200..300).contains(&code);
        (!known || success).then(|| Heard::Response { request: transaction.request.clone(), response })
    }

    /// One of this layer's timers fired.
    pub(crate) fn alarm(&mut self, network: &mut Network, alarm: &Alarm) -> Option<Heard> {
        match alarm {
            Alarm::Retransmit(key) => {
                let transaction = self.clients.get_mut(key)?;
                let invite = transaction.request.method() == "INVITE";
                if transaction.phase == Phase::Completed || (invite && transaction.phase == Phase::Proceeding) {
                    return None;
                }
                network.send(transaction.from, transaction.to, transaction.request.bytes());
                self.retransmitted += 1;
                transaction.interval *= 2;
                if !invite {
                    transaction.interval = transaction.interval.min(T2);
                }
                network.wake_in(transaction.interval, self.who, Alarm::Retransmit(key.clone()));
                None
            }
            Alarm::GiveUp(key) => {
                let transaction = self.clients.get_mut(key)?;
                let invite = transaction.request.method() == "INVITE";
                if transaction.phase == Phase::Completed || (invite && transaction.phase == Phase::Proceeding) {
                    return None;
                }
                transaction.phase = Phase::Completed;
                Some(Heard::TimedOut(transaction.request.clone()))
            }
            Alarm::RetransmitResponse(key) => {
                let transaction = self.servers.get_mut(key).filter(|transaction| !transaction.acknowledged)?;
                let (to, response) = transaction.response.as_ref()?;
                network.send(transaction.local, *to, response.bytes());
                self.retransmitted += 1;
                transaction.interval = (transaction.interval * 2).min(T2);
                network.wake_in(transaction.interval, self.who, Alarm::RetransmitResponse(key.clone()));
                None
            }
            Alarm::Unacknowledged(key) => {
                let transaction = self.servers.get_mut(key).filter(|transaction| !transaction.acknowledged)?;
                transaction.acknowledged = true;
                let (_, response) = transaction.response.as_ref()?;
                (response.code() < 300).then(|| Heard::Unacknowledged(transaction.request.clone()))
            }
            _ => None,
        }
    }
}

impl Phase {
    fn max_proceeding(self) -> Self {
        if self == Self::Completed { self } else { Self::Proceeding }
    }
}

fn client_key(message: &Message) -> String {
    format!("{} {}", message.branch(), message.method())
}

/// The ACK for a final response other than 2xx (RFC 3261 §17.1.1.3).
fn acknowledgement(invite: &Message, response: &Message) -> Message {
    let mut ack = Message::request("ACK", invite.uri());
    for (name, value) in &invite.headers {
        match name.as_str() {
            "Via" | "From" | "Call-ID" | "Route" | "Max-Forwards" => ack = ack.with(name, value),
            "To" => ack = ack.with("To", response.header("To").unwrap_or(value)),
            "CSeq" => ack = ack.with("CSeq", format!("{} ACK", invite.cseq().0)),
            _ => {}
        }
    }
    ack
}

/// RFC 3261 §18.2.1 and RFC 3581 §4.
fn complete_via(mut request: Message, source: SocketAddr) -> Message {
    let via = request.via();
    if let Some((_, value)) = request.headers.iter_mut().find(|(name, _)| name == "Via") {
        let (first, others) = value
            .split_once(',')
            .map_or((value.clone(), None), |(first, others)| (first.to_owned(), Some(others.to_owned())));
        let mut first = match via.rport.as_deref() {
            Some("") => first.replace(";rport", &format!(";rport={}", source.port())),
            _ => first,
        };
        if via.rport.is_some() || !via.sent_by.starts_with(&source.ip().to_string()) {
            first = format!("{first};received={}", source.ip());
        }
        *value = others.map_or_else(|| first.clone(), |others| format!("{first},{others}"));
    }
    request
}

/// One side's view of a dialog (RFC 3261 §12).
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub(crate) call_id: String,
    /// From of the requests that this side sends, with its tag.
    pub(crate) local: String,
    /// Their To, with the other side's tag.
    pub(crate) remote: String,
    pub(crate) target: String,
    pub(crate) route: Vec<String>,
    pub(crate) cseq: u32,
}

impl Dialog {
    /// The caller's side, from its INVITE and a response to it (RFC 3261 §12.1.2).
    pub(crate) fn of_caller(invite: &Message, response: &Message) -> Self {
        let mut route = response.list("Record-Route");
        route.reverse();
        Self {
            call_id: invite.call_id().to_owned(),
            local: invite.header("From").unwrap_or_default().to_owned(),
            remote: response.header("To").unwrap_or_default().to_owned(),
            target: response.contact(),
            route,
            cseq: invite.cseq().0,
        }
    }

    /// The other side's, from the INVITE it got and the response it gave (RFC 3261 §12.1.1).
    pub(crate) fn of_callee(invite: &Message, response: &Message) -> Self {
        Self {
            call_id: invite.call_id().to_owned(),
            local: response.header("To").unwrap_or_default().to_owned(),
            remote: invite.header("From").unwrap_or_default().to_owned(),
            target: invite.contact(),
            route: invite.list("Record-Route"),
            cseq: 0,
        }
    }

    /// A request in this dialog, without Via (RFC 3261 §12.2.1.1); only loose routers are expected.
    pub(crate) fn request(&mut self, method: &str) -> Message {
        if method != "ACK" {
            self.cseq += 1;
        }
        Message::request(method, &self.target)
            .with_all("Route", &self.route)
            .with("Max-Forwards", 70)
            .with("From", &self.local)
            .with("To", &self.remote)
            .with("Call-ID", &self.call_id)
            .with("CSeq", format!("{} {method}", self.cseq))
    }
}

/// Where a request goes: to its first Route, else to its Request-URI.
pub(crate) fn next_hop(request: &Message) -> Option<SocketAddr> {
    match request.list("Route").first() {
        Some(route) => address(&bare(route)),
        None => address(request.uri()),
    }
}
