//! A caller: places calls as planned, cancels, shows credentials, sends re-INVITE and BYE, answers the node's, and acts
//! from behind a NAT or an outbound proxy where it is of that kind.

use crate::agent::{Agent, Dialog, Heard, next_hop};
use crate::ledger::{ByeResult, Kind, Ledger, Plan, Side};
use crate::message::{Message, address, bare};
use crate::network::{Alarm, Network, Who};
use crate::witness::client_of;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Contact and Via name its real address.
    Direct,
    /// They name a private one that nobody else can reach.
    Nat,
    /// Behind an outbound proxy that record-routes; only that one is reachable.
    Edge,
}

/// How long a caller waits for a final response after a provisional one; past Timer C.
const PATIENCE: Duration = Duration::from_secs(90);

enum Stage {
    /// The INVITE is on its way; whether a provisional response came, whether it is to be cancelled.
    Calling {
        ringing: bool,
        cancel: bool,
    },
    /// CANCEL was sent.
    Cancelled,
    Done,
}

struct Leg {
    dialog: Dialog,
    ack: Message,
    over: bool,
}

struct Call {
    plan: Plan,
    invite: Message,
    stage: Stage,
    /// By the tag of the node.
    legs: BTreeMap<String, Leg>,
}

pub(crate) struct Client {
    pub(crate) index: usize,
    pub(crate) access: Access,
    /// Where its datagrams come from.
    pub(crate) source: SocketAddr,
    agent: Agent,
    calls: BTreeMap<String, Call>,
    balancer: SocketAddr,
    minted: usize,
    /// Whether it speaks TCP.
    pub(crate) stream: bool,
}

fn contact_of(index: usize, contact: SocketAddr, stream: bool) -> String {
    format!("<sip:caller{index}@{contact}{}>", if stream { ";transport=tcp" } else { "" })
}

impl Client {
    pub(crate) fn new(index: usize, access: Access, source: SocketAddr, balancer: SocketAddr) -> Self {
        let agent = Agent::new(Who::Client(index));
        Self { index, access, source, agent, calls: BTreeMap::new(), balancer, minted: 0, stream: false }
    }

    /// The address that it gives in Contact; reachable only for a direct client.
    fn contact(&self) -> SocketAddr {
        match self.access {
            Access::Direct => SocketAddr::new(self.source.ip(), 5060),
            Access::Nat => SocketAddr::from(([192, 168, 7, u8::try_from(self.index).unwrap_or(0)], 5060)),
            Access::Edge => SocketAddr::from(([172, 16, 7, u8::try_from(self.index).unwrap_or(0)], 5062)),
        }
    }

    /// Whether nothing of its calls is pending.
    pub(crate) fn is_quiet(&self) -> bool {
        let over = |call: &Call| matches!(call.stage, Stage::Done) && call.legs.values().all(|leg| leg.over);
        !self.agent.is_waiting() && self.calls.values().all(over)
    }

    /// Messages sent again because nothing came back.
    pub(crate) fn retransmitted(&self) -> u64 {
        self.agent.retransmitted
    }

    /// Gives up a call that is being made.
    pub(crate) fn give_up(&mut self, network: &mut Network, call_id: &str) {
        self.cancel(network, call_id);
    }

    /// The dialog that a call's first answer made.
    pub(crate) fn dialog(&self, call_id: &str) -> Option<&Dialog> {
        self.calls.get(call_id)?.legs.values().next().map(|leg| &leg.dialog)
    }

    fn mint(&mut self) -> String {
        self.minted += 1;
        format!("c{}x{}", self.index, self.minted)
    }

    /// Puts the Vias on: its own, and its outbound proxy's above.
    fn with_vias(&mut self, mut request: Message) -> Message {
        let mint = self.mint();
        let sent_by = self.contact();
        let own = match self.access {
            Access::Edge => format!("SIP/2.0/UDP {sent_by};branch=z9hG4bKua{mint};received=172.16.7.1"),
            Access::Nat => format!("SIP/2.0/UDP {sent_by};branch=z9hG4bK{mint};rport"),
            // Not every client asks for symmetric responses.
            Access::Direct if self.index % 2 == 0 => format!("SIP/2.0/UDP {sent_by};branch=z9hG4bK{mint}"),
            Access::Direct => format!("SIP/2.0/UDP {sent_by};rport;branch=z9hG4bK{mint}"),
        };
        request.headers.insert(0, ("Via".into(), own));
        if self.access == Access::Edge {
            let edge = format!("SIP/2.0/UDP {};branch=z9hG4bK{mint}", self.source);
            request.headers.insert(0, ("Via".into(), edge));
        }
        request
    }

    fn edge(&self) -> Vec<String> {
        if self.access == Access::Edge { vec![format!("<sip:edge@{};lr>", self.source)] } else { Vec::new() }
    }

    pub(crate) fn place(&mut self, network: &mut Network, ledger: &mut Ledger, plan: Plan) -> String {
        let mint = self.mint();
        let call_id = format!("call-{mint}@client{}", self.index);
        let contact = self.contact();
        let host = self.balancer;
        let invite = Message::request("INVITE", &format!("sip:{}@{host}", plan.user()))
            .with_all("Record-Route", &self.edge())
            .with("Max-Forwards", 70)
            .with("From", format!("\"Caller, a\" <sip:caller{}@example.com>;tag=f{mint}", self.index))
            .with("To", format!("<sip:{}@example.com>", plan.user()))
            .with("Call-ID", &call_id)
            .with("CSeq", "1 INVITE")
            .with("Contact", contact_of(self.index, contact, self.stream));
        let mut invite = self.with_vias(invite);
        invite.body = "v=0\r\no=caller\r\n".into();
        ledger.place(&call_id, plan.clone(), network.now);
        if let Kind::Cancel(after) = plan.kind {
            let alarm = Alarm::Step { call: call_id.clone(), step: "cancel" };
            network.wake_in(Duration::from_millis(after), Who::Client(self.index), alarm);
        }
        let patience = Alarm::Step { call: call_id.clone(), step: "patience" };
        network.wake_in(PATIENCE, Who::Client(self.index), patience);
        self.agent.start(network, self.source, self.balancer, invite.clone());
        let stage = Stage::Calling { ringing: false, cancel: false };
        self.calls.insert(call_id.clone(), Call { plan, invite, stage, legs: BTreeMap::new() });
        call_id
    }

    pub(crate) fn receive(
        &mut self,
        network: &mut Network,
        ledger: &mut Ledger,
        (source, local): (SocketAddr, SocketAddr),
        mut message: Message,
    ) {
        if message.is_request() && self.access == Access::Edge {
            // The outbound proxy takes itself off the route; without it a node's request would not have come this way.
            let by_node =
                client_of(message.call_id()).is_some() && !message.list("Via").iter().any(|via| via.contains("evil"));
            let ours = message.list("Route").first().is_some_and(|route| address(&bare(route)) == Some(self.source));
            if by_node && !ours {
                ledger.violation(format!("request came past the route of client {}:\n{message}", self.index));
            }
            message.remove("Route");
        }
        let heard = self.agent.hear(network, local, source, message);
        self.act(network, ledger, heard);
    }

    pub(crate) fn alarm(&mut self, network: &mut Network, ledger: &mut Ledger, alarm: &Alarm) {
        match alarm {
            Alarm::Step { call, step: "cancel" } => self.cancel(network, call),
            Alarm::Step { call, step: "patience" } => {
                // Nothing for so long: the caller hangs up whatever became of its INVITE.
                self.cancel(network, call);
                if let Some(call) = self.calls.get_mut(call) {
                    call.stage = Stage::Done;
                }
                ledger.decide(call, 0, network.now);
            }
            Alarm::Step { call, step } => {
                let Some((call_id, tag)) = call.split_once(' ') else { return };
                match *step {
                    "hangup" => self.hang_up(network, ledger, call_id, tag),
                    "reinvite" => self.reinvite(network, call_id, tag),
                    _ => {}
                }
            }
            _ => {
                let heard = self.agent.alarm(network, alarm);
                self.act(network, ledger, heard);
            }
        }
    }

    fn act(&mut self, network: &mut Network, ledger: &mut Ledger, heard: Option<Heard>) {
        match heard {
            Some(Heard::Request(request)) => self.requested(network, &request),
            Some(Heard::Ack(ack)) => self.agent.acknowledge(&ack),
            Some(Heard::Response { request, response }) => match request.method().as_str() {
                "INVITE" if request.tag("To").is_empty() => self.invite_answered(network, ledger, &request, &response),
                "INVITE" => self.reinvite_answered(network, ledger, &request, &response),
                "BYE" => {
                    let result = ByeResult::Final(response.code());
                    if response.code() >= 200 {
                        ledger.bye_result(request.call_id(), Side::Caller, &request.tag("To"), result);
                    }
                }
                _ => {}
            },
            Some(Heard::TimedOut(request)) => self.timed_out(network, ledger, &request),
            Some(Heard::Unacknowledged(_)) | None => {}
        }
    }

    fn timed_out(&mut self, network: &mut Network, ledger: &mut Ledger, request: &Message) {
        let (call_id, tag) = (request.call_id(), request.tag("To"));
        match request.method().as_str() {
            "INVITE" if tag.is_empty() => {
                if let Some(call) = self.calls.get_mut(call_id) {
                    call.stage = Stage::Done;
                }
                ledger.decide(call_id, 0, network.now);
            }
            "INVITE" => {
                if let Some(call) = ledger.call(call_id) {
                    call.reinvites.push((Side::Caller, 0));
                }
            }
            "BYE" => ledger.bye_result(call_id, Side::Caller, &tag, ByeResult::TimedOut),
            _ => {}
        }
    }

    fn cancel(&mut self, network: &mut Network, call_id: &str) {
        let Some(call) = self.calls.get_mut(call_id) else { return };
        match call.stage {
            Stage::Calling { ringing: true, .. } => {}
            // RFC 3261 §9.1: not before a provisional response.
            Stage::Calling { ringing: false, .. } => {
                call.stage = Stage::Calling { ringing: false, cancel: true };
                return;
            }
            Stage::Cancelled | Stage::Done => return,
        }
        call.stage = Stage::Cancelled;
        let mut cancel = Message::request("CANCEL", call.invite.uri());
        let top = call.invite.headers.iter().find(|(name, _)| name == "Via").cloned();
        cancel.headers.extend(top);
        for name in ["Max-Forwards", "From", "To", "Call-ID"] {
            cancel = cancel.with(name, call.invite.header(name).unwrap_or_default());
        }
        cancel = cancel.with("CSeq", format!("{} CANCEL", call.invite.cseq().0));
        self.agent.start(network, self.source, self.balancer, cancel);
    }

    fn invite_answered(&mut self, network: &mut Network, ledger: &mut Ledger, invite: &Message, response: &Message) {
        let (call_id, code) = (invite.call_id().to_owned(), response.code());
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        if call.invite.branch() != invite.branch() && code >= 300 {
            return;
        }
        match code {
            100..200 => {
                if let Stage::Calling { ringing, cancel } = &mut call.stage {
                    *ringing = true;
                    if std::mem::take(cancel) {
                        self.cancel(network, &call_id);
                    }
                }
            }
            200..300 => self.established(network, ledger, invite, response),
            407 if matches!(call.stage, Stage::Calling { .. }) && call.invite.cseq().0 == 1 => {
                self.show_credentials(network, &call_id, response);
            }
            _ => {
                call.stage = Stage::Done;
                ledger.decide(&call_id, code, network.now);
            }
        }
    }

    fn show_credentials(&mut self, network: &mut Network, call_id: &str, challenge: &Message) {
        let Some(call) = self.calls.get(call_id) else { return };
        let mut invite = call.invite.clone();
        invite.remove("Via");
        invite.remove("CSeq");
        let asked = challenge.header("Proxy-Authenticate").unwrap_or_default().to_owned();
        let invite = invite
            .with("CSeq", "2 INVITE")
            .with("Proxy-Authorization", format!("{asked}, username=\"caller\", response=\"0\""));
        let invite = self.with_vias(invite);
        if let Some(call) = self.calls.get_mut(call_id) {
            call.invite = invite.clone();
        }
        self.agent.start(network, self.source, self.balancer, invite);
    }

    /// A 2xx: acknowledged each time it comes (RFC 3261 §13.2.2.4). The first one makes the call, others are ended.
    fn established(&mut self, network: &mut Network, ledger: &mut Ledger, invite: &Message, response: &Message) {
        let (call_id, tag) = (invite.call_id().to_owned(), response.tag("To"));
        let Some(call) = self.calls.get(&call_id) else { return };
        if let Some(leg) = call.legs.get(&tag) {
            let ack = leg.ack.clone();
            return self.send_ack(network, &ack);
        }
        let wanted = call.legs.is_empty() && matches!(call.stage, Stage::Calling { .. });
        let plan = call.plan.clone();
        let mut dialog = Dialog::of_caller(invite, response);
        let mut ack = dialog.request("ACK");
        for name in ["Authorization", "Proxy-Authorization"] {
            if let Some(value) = invite.header(name) {
                ack = ack.with(name, value);
            }
        }
        let ack = self.through_edge(ack);
        let ack = self.with_vias(ack);
        self.send_ack(network, &ack);
        if let Some(record) = ledger.call(&call_id) {
            record.seen.insert(tag.clone());
        }
        ledger.decide(&call_id, 200, network.now);
        let Some(call) = self.calls.get_mut(&call_id) else { return };
        call.stage = Stage::Done;
        call.legs.insert(tag.clone(), Leg { dialog, ack, over: false });
        if !wanted {
            return self.hang_up(network, ledger, &call_id, &tag);
        }
        let step = |step| Alarm::Step { call: format!("{call_id} {tag}"), step };
        let (who, talk) = (Who::Client(self.index), Duration::from_millis(plan.talk));
        if plan.reinvite == Some(Side::Caller) {
            network.wake_in(talk / 2, who, step("reinvite"));
        }
        // A caller does not wait for ever for the node's BYE.
        let patience = if plan.hangup == Side::Caller { talk } else { talk + Duration::from_secs(40) };
        network.wake_in(patience, who, step("hangup"));
    }

    fn send_ack(&mut self, network: &mut Network, ack: &Message) {
        if let Some(to) = next_hop(ack) {
            network.send(self.source, to, ack.bytes());
        }
    }

    /// The outbound proxy, first in the route set, takes itself off.
    fn through_edge(&self, mut request: Message) -> Message {
        if self.access == Access::Edge {
            let route = request.list("Route");
            request.remove("Route");
            let at = request.headers.iter().position(|(name, _)| name == "Max-Forwards").unwrap_or(0);
            for (offset, value) in route.into_iter().skip(1).enumerate() {
                request.headers.insert(at + offset, ("Route".into(), value));
            }
        }
        request
    }

    fn send_in_dialog(&mut self, network: &mut Network, request: Message) {
        let request = self.through_edge(request);
        let request = self.with_vias(request);
        if let Some(to) = next_hop(&request) {
            self.agent.start(network, self.source, to, request);
        }
    }

    fn leg(&mut self, call_id: &str, tag: &str) -> Option<&mut Leg> {
        self.calls.get_mut(call_id)?.legs.get_mut(tag).filter(|leg| !leg.over)
    }

    fn hang_up(&mut self, network: &mut Network, ledger: &mut Ledger, call_id: &str, tag: &str) {
        let Some(leg) = self.leg(call_id, tag) else { return };
        leg.over = true;
        let bye = leg.dialog.request("BYE");
        ledger.bye(call_id, Side::Caller, tag, network.now);
        self.send_in_dialog(network, bye);
    }

    fn reinvite(&mut self, network: &mut Network, call_id: &str, tag: &str) {
        let contact = self.contact();
        let (index, stream) = (self.index, self.stream);
        let Some(leg) = self.leg(call_id, tag) else { return };
        let invite = leg.dialog.request("INVITE").with("Contact", contact_of(index, contact, stream));
        self.send_in_dialog(network, invite);
    }

    fn reinvite_answered(&mut self, network: &mut Network, ledger: &mut Ledger, invite: &Message, response: &Message) {
        let (call_id, tag, code) = (invite.call_id(), invite.tag("To"), response.code());
        if code < 200 {
            return;
        }
        if let Some(call) = ledger.call(call_id) {
            call.reinvites.push((Side::Caller, code));
        }
        let leg = self.calls.get_mut(call_id).and_then(|call| call.legs.get_mut(&tag));
        if let (Some(leg), 200..300) = (leg, code) {
            let mut ack = leg.dialog.request("ACK");
            ack.remove("CSeq");
            let ack = ack.with("CSeq", format!("{} ACK", invite.cseq().0));
            let ack = self.through_edge(ack);
            let ack = self.with_vias(ack);
            self.send_ack(network, &ack);
        }
    }

    /// A request of the node's.
    fn requested(&mut self, network: &mut Network, request: &Message) {
        let contact = self.contact();
        let (index, stream) = (self.index, self.stream);
        let response = match self.leg(request.call_id(), &request.tag("From")) {
            None => Message::response(request, 481, "Call/Transaction Does Not Exist", "none"),
            Some(leg) => {
                leg.over |= request.method() == "BYE";
                Message::response(request, 200, "OK", "").with("Contact", contact_of(index, contact, stream))
            }
        };
        self.agent.respond(network, response);
    }

    /// The IP address of this client, where all its datagrams come from.
    pub(crate) fn ip(&self) -> IpAddr {
        self.source.ip()
    }
}
