//! A node that behaves as a measured `FreeSWITCH` does: it follows Record-Route, refuses at its limit and leaves a zombie
//! session there, says 410 in teardown and `SYSTEM_SHUTDOWN` on the way down, falls silent or dies.

use crate::agent::{Agent, Dialog, Heard, next_hop};
use crate::ledger::{ByeResult, Kind, Ledger, Plan, Side};
use crate::message::{Message, user};
use crate::network::{Alarm, Network, Who};
use crate::witness::client_of;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// What state a node is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Serving,
    /// Refuses new calls with its 503 (paused, shutting down).
    Refusing,
    /// Profile teardown: 410 to every new call.
    TearingDown,
    /// Says 100 to a new call and nothing more.
    Stuck,
    /// Hears nothing, says nothing.
    Silent,
    /// The port is closed.
    Dead,
}

const ZOMBIE_LIFE: Duration = Duration::from_secs(10);
/// The dialplan gives up on a far end that does not answer; past Timer C.
const RING_LIFE: Duration = Duration::from_secs(60);

struct Session {
    plan: Plan,
    invite: Message,
    /// The last response to the INVITE.
    dialog: Option<Dialog>,
    tag: String,
    answered: bool,
    confirmed: bool,
}

pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) address: SocketAddr,
    pub(crate) mood: Mood,
    /// Max-Sessions; one less is admitted.
    pub(crate) max_sessions: usize,
    agent: Agent,
    sessions: BTreeMap<String, Session>,
    zombies: usize,
    minted: usize,
    /// Whether it speaks TCP.
    pub(crate) stream: bool,
}

/// What a node needs of the world.
pub(crate) struct Around<'a> {
    pub(crate) network: &'a mut Network,
    pub(crate) ledger: &'a mut Ledger,
    /// Where its in-dialog requests may go first.
    pub(crate) node_side: SocketAddr,
}

impl Node {
    pub(crate) fn new(index: usize, address: SocketAddr, max_sessions: usize) -> Self {
        let agent = Agent::new(Who::Node(index));
        let sessions = BTreeMap::new();
        Self {
            index,
            address,
            mood: Mood::Serving,
            max_sessions,
            agent,
            sessions,
            zombies: 0,
            minted: 0,
            stream: false,
        }
    }

    /// Session-Count as a HEARTBEAT shows it.
    pub(crate) fn session_count(&self) -> usize {
        self.sessions.len() + self.zombies
    }

    /// Call-IDs of sessions that are left, but for those of outsiders, who never end what they began.
    pub(crate) fn left(&self) -> Vec<&str> {
        let call_ids = self.sessions.values().map(|session| session.invite.call_id());
        call_ids.filter(|call_id| client_of(call_id).is_some()).collect()
    }

    /// Messages sent again because nothing came back.
    pub(crate) fn retransmitted(&self) -> u64 {
        self.agent.retransmitted
    }

    /// Whether a request of its own still waits for a final response.
    pub(crate) fn is_waiting(&self) -> bool {
        self.agent.is_waiting()
    }

    /// Dies at once, or comes back without memory.
    pub(crate) fn reset(&mut self, mood: Mood) {
        self.mood = mood;
        self.agent.forget();
        self.sessions.clear();
        self.zombies = 0;
    }

    /// SIGTERM: ends what it has, with the reason `FreeSWITCH` gives.
    pub(crate) fn shut_down(&mut self, around: &mut Around<'_>) {
        self.mood = Mood::Refusing;
        let calls: Vec<String> = self.sessions.keys().cloned().collect();
        for key in calls {
            let Some(session) = self.sessions.get(&key) else { continue };
            if session.answered {
                self.hang_up(around, &key, Some("SIP;cause=701;text=\"SYSTEM_SHUTDOWN\""));
            } else {
                let refusal = Message::response(&session.invite, 480, "Temporarily Unavailable", &session.tag)
                    .with("Reason", "SIP;cause=701;text=\"SYSTEM_SHUTDOWN\"");
                self.agent.respond(around.network, refusal);
                self.sessions.remove(&key);
            }
        }
    }

    pub(crate) fn receive(&mut self, around: &mut Around<'_>, source: SocketAddr, message: Message) {
        let heard = self.agent.hear(around.network, self.address, source, message);
        self.act(around, heard);
    }

    /// Answers a malformed request as far as it can be read, or ignores it.
    pub(crate) fn reject(&mut self, around: &mut Around<'_>, source: SocketAddr, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        if text.starts_with("SIP/2.0") || text.starts_with("ACK ") || around.network.chance(0.5) {
            return;
        }
        let mut response = String::from("SIP/2.0 400 Bad Request\r\n");
        for line in text.lines().take_while(|line| !line.is_empty()) {
            let copied = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name));
            if copied {
                response.extend([line, "\r\n"]);
            }
        }
        response.push_str("Content-Length: 0\r\n\r\n");
        around.network.send(self.address, source, response.into_bytes());
    }

    pub(crate) fn alarm(&mut self, around: &mut Around<'_>, alarm: &Alarm) {
        match alarm {
            Alarm::Zombie => self.zombies = self.zombies.saturating_sub(1),
            Alarm::Step { call, step } => self.step(around, &call.clone(), step),
            _ => {
                let heard = self.agent.alarm(around.network, alarm);
                self.act(around, heard);
            }
        }
    }

    fn act(&mut self, around: &mut Around<'_>, heard: Option<Heard>) {
        match heard {
            Some(Heard::Request(request)) => match request.method().as_str() {
                "INVITE" if request.tag("To").is_empty() => self.invited(around, request),
                "INVITE" => self.reinvited(around, &request),
                "CANCEL" => self.cancelled(around, &request),
                "BYE" => self.bye(around, &request),
                _ => self.agent.respond(around.network, Message::response(&request, 200, "OK", "options")),
            },
            Some(Heard::Ack(ack)) => self.acknowledged(around, &ack),
            Some(Heard::Response { request, response }) => self.answered(around, &request, &response),
            Some(Heard::TimedOut(request)) => Self::timed_out(around, &request),
            Some(Heard::Unacknowledged(invite)) => self.unacknowledged(around, &invite),
            None => {}
        }
    }

    fn mint(&mut self) -> String {
        self.minted += 1;
        format!("n{}x{}", self.index, self.minted)
    }

    fn via(&mut self) -> String {
        let mint = self.mint();
        format!("SIP/2.0/UDP {};rport;branch=z9hG4bK{mint}", self.address.ip())
    }

    fn contact(&self) -> String {
        format!("<sip:mod_sofia@{};transport={}>", self.address, if self.stream { "tcp" } else { "udp" })
    }

    fn refuse(&mut self, around: &mut Around<'_>, request: &Message, code: u16, reason: &str) {
        let tag = self.mint();
        let mut response = Message::response(request, code, reason, &tag);
        if (code, reason) == (503, "Maximum Calls In Progress") {
            response = response.with("Retry-After", 300);
        }
        self.agent.respond(around.network, response);
    }

    fn invited(&mut self, around: &mut Around<'_>, invite: Message) {
        let call_id = invite.call_id().to_owned();
        if let Some(call) = around.ledger.call(&call_id) {
            call.invited.push((self.index, invite.branch()));
        }
        let merged = |session: &Session| session.invite.call_id() == call_id && !session.answered;
        match self.mood {
            Mood::Silent | Mood::Dead => return,
            Mood::TearingDown => return self.refuse(around, &invite, 410, "Gone"),
            Mood::Refusing => return self.refuse(around, &invite, 503, "Maximum Calls In Progress"),
            Mood::Serving | Mood::Stuck if self.sessions.values().any(merged) => {
                return self.refuse(around, &invite, 482, "Merged Request");
            }
            Mood::Stuck => {
                let trying = Message::response(&invite, 100, "Trying", "");
                return self.agent.respond(around.network, trying);
            }
            Mood::Serving => {}
        }
        if self.session_count() + 1 >= self.max_sessions {
            if self.session_count() < self.max_sessions {
                self.zombies += 1;
                around.network.wake_in(ZOMBIE_LIFE, Who::Node(self.index), Alarm::Zombie);
            }
            return self.refuse(around, &invite, 503, "Maximum Calls In Progress");
        }
        let Some(plan) = Plan::of_user(user(invite.uri())) else {
            return self.refuse(around, &invite, 404, "Not Found");
        };
        if plan.kind == Kind::Digest && !self.accepts_credentials(around, &invite) {
            return;
        }
        let mut trying = Message::response(&invite, 100, "Trying", "");
        let top = trying.list("Via").into_iter().next().unwrap_or_default();
        trying.remove("Via");
        trying.headers.insert(0, ("Via".into(), top));
        self.agent.respond(around.network, trying);
        let tag = self.mint();
        let who = Who::Node(self.index);
        let key = format!("{call_id} {tag}");
        let step = |step| Alarm::Step { call: key.clone(), step };
        around.network.wake_in(Duration::from_millis(plan.ring / 2), who, step("ring"));
        around.network.wake_in(Duration::from_millis(plan.ring), who, step("answer"));
        around.network.wake_in(RING_LIFE, who, step("no answer"));
        let session = Session { plan, invite, dialog: None, tag, answered: false, confirmed: false };
        self.sessions.insert(key, session);
    }

    /// Challenges an INVITE without credentials for this very node.
    fn accepts_credentials(&mut self, around: &mut Around<'_>, invite: &Message) -> bool {
        let nonce = format!("nonce-of-{}", self.index);
        let credentials = invite.header("Proxy-Authorization").unwrap_or_default().to_owned();
        if credentials.contains(&nonce) {
            return true;
        }
        if let Some(call) = around.ledger.call(invite.call_id()) {
            call.challenged_by = Some(self.index);
        }
        let tag = self.mint();
        let challenge = Message::response(invite, 407, "Proxy Authentication Required", &tag)
            .with("Proxy-Authenticate", format!("Digest realm=\"node\", nonce=\"{nonce}\""));
        self.agent.respond(around.network, challenge);
        false
    }

    fn respond_to_invite(&mut self, around: &mut Around<'_>, key: &str, code: u16, reason: &str) -> Option<Message> {
        let contact = self.contact();
        let session = self.sessions.get_mut(key)?;
        let mut response = Message::response(&session.invite, code, reason, &session.tag);
        if code < 300 {
            response = response.with_all("Record-Route", &session.invite.list("Record-Route")).with("Contact", contact);
        }
        if code == 200 {
            response.body = "v=0\r\no=FreeSWITCH\r\n".into();
            session.dialog = Some(Dialog::of_callee(&session.invite, &response));
        }
        self.agent.respond(around.network, response.clone());
        Some(response)
    }

    fn step(&mut self, around: &mut Around<'_>, key: &str, step: &'static str) {
        let Some(session) = self.sessions.get(key) else { return };
        if self.mood == Mood::Silent {
            let later = Alarm::Step { call: key.to_owned(), step };
            return around.network.wake_in(Duration::from_secs(1), Who::Node(self.index), later);
        }
        let (kind, answered, tag) = (session.plan.kind, session.answered, session.tag.clone());
        match step {
            "ring" if !answered => {
                self.respond_to_invite(around, key, 180, "Ringing");
            }
            "answer" => match kind {
                Kind::Answer | Kind::Digest => {
                    if let Some(session) = self.sessions.get_mut(key) {
                        session.answered = true;
                    }
                    let now = around.network.now;
                    let response = self.respond_to_invite(around, key, 200, "OK");
                    let call = response.and_then(|response| around.ledger.call(response.call_id()));
                    if let Some(call) = call {
                        call.answered.push((now, self.index, tag));
                    }
                }
                Kind::Busy => {
                    self.respond_to_invite(around, key, 486, "Busy Here");
                    self.sessions.remove(key);
                }
                Kind::FarUnavailable => {
                    let response = Message::response(&session.invite, 503, "Service Unavailable", &tag)
                        .with("Reason", "Q.850;cause=42;text=\"SWITCH_CONGESTION\"");
                    self.agent.respond(around.network, response);
                    self.sessions.remove(key);
                }
                Kind::Cancel(_) | Kind::RingsForever => {}
            },
            "no answer" if !answered => {
                let response = Message::response(&session.invite, 480, "Temporarily Unavailable", &tag)
                    .with("Reason", "Q.850;cause=19;text=\"NO_ANSWER\"");
                self.agent.respond(around.network, response);
                self.sessions.remove(key);
            }
            "reinvite" => self.reinvite(around, key),
            "hangup" => self.hang_up(around, key, None),
            _ => {}
        }
    }

    fn cancelled(&mut self, around: &mut Around<'_>, cancel: &Message) {
        let key = self.sessions.iter().find_map(|(key, session)| {
            (session.invite.branch() == cancel.branch() && session.invite.call_id() == cancel.call_id())
                .then(|| key.clone())
        });
        let Some(key) = key else { return self.refuse(around, cancel, 481, "Call/Transaction Does Not Exist") };
        let answered = self.sessions.get(&key).is_some_and(|session| session.answered);
        self.agent.respond(around.network, Message::response(cancel, 200, "OK", "cancel"));
        if !answered {
            self.respond_to_invite(around, &key, 487, "Request Terminated");
            self.sessions.remove(&key);
        }
    }

    fn find(&self, message: &Message) -> Option<String> {
        let key = format!("{} {}", message.call_id(), message.tag("To"));
        self.sessions.contains_key(&key).then_some(key)
    }

    fn acknowledged(&mut self, around: &mut Around<'_>, ack: &Message) {
        self.agent.acknowledge(ack);
        let Some(key) = self.find(ack) else { return };
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if session.confirmed || session.invite.cseq().0 != ack.cseq().0 {
            return;
        }
        session.confirmed = true;
        let (who, talk) = (Who::Node(self.index), Duration::from_millis(session.plan.talk));
        let step = |step| Alarm::Step { call: key.clone(), step };
        if session.plan.reinvite == Some(Side::Node) {
            around.network.wake_in(talk / 2, who, step("reinvite"));
        }
        if session.plan.hangup == Side::Node {
            around.network.wake_in(talk, who, step("hangup"));
        }
        if let Some(call) = around.ledger.call(ack.call_id()) {
            call.confirmed.insert(ack.tag("To"));
        }
    }

    fn reinvited(&mut self, around: &mut Around<'_>, invite: &Message) {
        if self.find(invite).is_none() {
            return self.refuse(around, invite, 481, "Call/Transaction Does Not Exist");
        }
        let response = Message::response(invite, 200, "OK", "").with("Contact", self.contact());
        self.agent.respond(around.network, response);
    }

    fn bye(&mut self, around: &mut Around<'_>, bye: &Message) {
        let Some(key) = self.find(bye) else {
            return self.refuse(around, bye, 481, "Call/Transaction Does Not Exist");
        };
        self.agent.respond(around.network, Message::response(bye, 200, "OK", ""));
        self.end(around, &key);
    }

    fn end(&mut self, around: &mut Around<'_>, key: &str) {
        if let Some(session) = self.sessions.remove(key)
            && let Some(call) = around.ledger.call(session.invite.call_id())
        {
            call.ended.insert(session.tag);
        }
    }

    fn send_in_dialog(&mut self, around: &mut Around<'_>, mut request: Message) {
        let via = self.via();
        request.headers.insert(0, ("Via".into(), via));
        let Some(to) = next_hop(&request) else { return };
        if to != around.node_side {
            around.ledger.violation(format!("node {} was told to send to {to}:\n{request}", self.index));
        }
        if request.method() == "ACK" {
            around.network.send(self.address, to, request.bytes());
        } else {
            self.agent.start(around.network, self.address, to, request);
        }
    }

    fn reinvite(&mut self, around: &mut Around<'_>, key: &str) {
        let contact = self.contact();
        let dialog = self.sessions.get_mut(key).and_then(|session| session.dialog.as_mut());
        let Some(invite) = dialog.map(|dialog| dialog.request("INVITE").with("Contact", contact)) else { return };
        self.send_in_dialog(around, invite);
    }

    fn hang_up(&mut self, around: &mut Around<'_>, key: &str, reason: Option<&str>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let tag = session.tag.clone();
        let Some(mut bye) = session.dialog.as_mut().map(|dialog| dialog.request("BYE")) else { return };
        if let Some(reason) = reason {
            bye = bye.with("Reason", reason);
        }
        around.ledger.bye(bye.call_id(), Side::Node, &tag, around.network.now);
        self.send_in_dialog(around, bye);
        self.end(around, key);
    }

    fn answered(&mut self, around: &mut Around<'_>, request: &Message, response: &Message) {
        let (code, tag) = (response.code(), request.tag("From"));
        if code < 200 {
            return;
        }
        match request.method().as_str() {
            "BYE" => around.ledger.bye_result(request.call_id(), Side::Node, &tag, ByeResult::Final(code)),
            "INVITE" => {
                if let Some(call) = around.ledger.call(request.call_id()) {
                    call.reinvites.push((Side::Node, code));
                }
                let key = format!("{} {tag}", request.call_id());
                let dialog = self.sessions.get_mut(&key).and_then(|session| session.dialog.as_mut());
                if let (Some(dialog), 200..300) = (dialog, code) {
                    let mut ack = dialog.request("ACK");
                    ack.remove("CSeq");
                    self.send_in_dialog(around, ack.with("CSeq", format!("{} ACK", request.cseq().0)));
                }
            }
            _ => {}
        }
    }

    fn timed_out(around: &mut Around<'_>, request: &Message) {
        let tag = request.tag("From");
        match request.method().as_str() {
            "BYE" => around.ledger.bye_result(request.call_id(), Side::Node, &tag, ByeResult::TimedOut),
            "INVITE" => {
                if let Some(call) = around.ledger.call(request.call_id()) {
                    call.reinvites.push((Side::Node, 0));
                }
            }
            _ => {}
        }
    }

    /// No ACK for its 200: `FreeSWITCH` ends the call.
    fn unacknowledged(&mut self, around: &mut Around<'_>, invite: &Message) {
        let unconfirmed = |session: &Session| session.invite.branch() == invite.branch() && !session.confirmed;
        let Some(key) = self.sessions.iter().find(|(_, session)| unconfirmed(session)).map(|(key, _)| key.clone())
        else {
            return;
        };
        if let (Some(session), Some(call)) = (self.sessions.get(&key), around.ledger.call(invite.call_id())) {
            call.unacknowledged.insert(session.tag.clone());
        }
        self.hang_up(around, &key, None);
    }
}
