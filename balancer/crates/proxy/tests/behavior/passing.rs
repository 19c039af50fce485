//! What passes through us end to end: forks behind a node, reliable provisionals, target refreshes, transfers,
//! subscriptions, and the races between them.

use switchtender_proxy::{Counter, Local, Outcome};

use crate::call::{answered, place};
use crate::text::{Request, Text};
use crate::world::{CALLER, NODES, PUBLIC, Sent, World};

/// A response of one of several user agents behind the node.
fn of_fork(sent: &Sent, status: u16, tag: &str) -> String {
    sent.text.response(status, "Fork", "").replace("tag=node", &format!("tag={tag}"))
}

/// The caller's request in the dialog of one fork.
fn in_fork(method: &'static str, branch: &str, answer: &Text) -> String {
    Request::in_dialog(method, branch, answer).text()
}

#[test]
fn forks_behind_a_node_ring_and_answer_each_for_itself() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    for tag in ["left", "right"] {
        world.respond(&sent, of_fork(&sent, 180, tag));
        assert!(world.sent_response(180).text.get("To").unwrap().ends_with(tag));
    }
    let mut answers = Vec::new();
    for tag in ["left", "right"] {
        world.respond(&sent, of_fork(&sent, 200, tag));
        let ok = world.sent_response(200).text;
        assert!(ok.get("To").unwrap().ends_with(tag));
        world.caller_sends(in_fork("ACK", tag, &ok));
        assert_eq!(world.sent_request("ACK").to, sent.to);
        answers.push(ok);
    }
    assert_eq!(world.count(Counter::Further2xx), 1);
    assert_eq!(world.outcome(Outcome::Answered), 1, "one call, whatever forked");
    // The caller keeps one (RFC 3261 §13.2.2.4); both hang up along the same token.
    for (ok, branch) in answers.iter().zip(["byeleft", "byeright"]) {
        world.caller_sends(in_fork("BYE", branch, ok));
        let bye = world.sent_request("BYE");
        assert_eq!(bye.to, sent.to);
        world.respond(&bye, bye.text.response(200, "OK", ""));
        world.sent_response(200);
    }
    world.settle_down();
}

#[test]
fn a_late_provisional_after_the_final_response_is_nobodys() {
    let mut world = World::new();
    let invite = Request::invite();
    let sent = place(&mut world, &invite);
    world.respond(&sent, sent.text.response(200, "OK", ""));
    world.sent_response(200);
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    world.respond(&sent, sent.text.response(486, "Busy Here", ""));
    world.silent();
    assert_eq!(world.count(Counter::StrayResponses), 2);
    world.settle_down();
}

#[test]
fn a_late_2xx_after_timer_m_is_nobodys() {
    let mut world = World::new();
    let (sent, _) = answered(&mut world, &Request::invite());
    world.pass_ms(32_001);
    world.respond(&sent, sent.text.response(200, "OK", ""));
    world.silent();
    assert_eq!(world.count(Counter::StrayResponses), 1);
}

#[test]
fn rfc_3262_a_prack_goes_to_the_node_before_the_call_is_answered() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite().extra("Supported: 100rel"));
    assert_eq!(sent.text.get("Supported"), Some("100rel"));
    world.respond(
        &sent,
        sent.text.response(
            183,
            "Session Progress",
            "Require: 100rel\r\nRSeq: 813520\r\nContact: <sip:node@10.1.0.1:5060>\r\n",
        ),
    );
    let progress = world.sent_response(183).text;
    assert_eq!((progress.get("Require"), progress.get("RSeq")), (Some("100rel"), Some("813520")));
    let prack = Request::in_dialog("PRACK", "prack", &progress).extra("RAck: 813520 1 INVITE");
    world.caller_sends(prack.text());
    let prack = world.sent_request("PRACK");
    assert_eq!(prack.to, sent.to);
    assert_eq!(prack.text.get("RAck"), Some("813520 1 INVITE"));
    world.respond(&prack, prack.text.response(200, "OK", ""));
    world.sent_response(200);
    // RFC 3311: and so may an UPDATE, from either side.
    world.caller_sends(Request::in_dialog("UPDATE", "early", &progress).text());
    let update = world.sent_request("UPDATE");
    assert_eq!(update.to, sent.to);
    world.receive_at(Local::NodeSide, NODES[0], Request::by_node("UPDATE", "nodeupdate", &sent.text).text());
    let update = world.sent_request("UPDATE");
    assert_eq!((update.from, update.to.to_string()), (PUBLIC, CALLER.to_owned()));
    world.respond(&sent, sent.text.response(200, "OK", ""));
    world.sent_response(200);
    assert_eq!(world.outcome(Outcome::Answered), 1);
}

#[test]
fn a_reinvite_of_the_node_reaches_the_caller_and_is_no_new_call() {
    let mut world = World::new();
    let (sent, _) = answered(&mut world, &Request::invite());
    let reinvite = Request::by_node("INVITE", "nodereinvite", &sent.text);
    world.receive_at(Local::NodeSide, NODES[0], reinvite.text());
    assert_eq!(world.sent_response(100).from, Local::NodeSide);
    let passed = world.sent_request("INVITE");
    assert_eq!(passed.to.to_string(), CALLER);
    world.respond(&passed, passed.text.response(200, "OK", ""));
    let ok = world.sent_response(200);
    assert_eq!((ok.from, ok.to.to_string()), (Local::NodeSide, NODES[0].to_owned()));
    let ack = Request { method: "ACK", ..Request::by_node("ACK", "nodeack", &sent.text) };
    world.receive_at(Local::NodeSide, NODES[0], ack.text());
    assert_eq!(world.sent_request("ACK").to.to_string(), CALLER);
    assert_eq!(world.ledger(NODES[0]).assigned, 1, "the call itself");
    world.settle_down();
}

#[test]
fn rfc_3515_a_refer_and_its_notifies_stay_in_the_dialog() {
    let mut world = World::new();
    let (sent, ok) = answered(&mut world, &Request::invite());
    world.caller_sends(Request::in_dialog("REFER", "refer", &ok).extra("Refer-To: <sip:bob@example.org>").text());
    let refer = world.sent_request("REFER");
    assert_eq!(refer.to, sent.to);
    world.respond(&refer, refer.text.response(202, "Accepted", ""));
    world.sent_response(202);
    for number in 0..2 {
        let notify = Request::by_node("NOTIFY", &format!("notify{number}"), &sent.text).extra("Event: refer");
        world.receive_at(Local::NodeSide, NODES[0], notify.text());
        let notify = world.sent_request("NOTIFY");
        assert_eq!((notify.from, notify.to.to_string()), (PUBLIC, CALLER.to_owned()));
        world.respond(&notify, notify.text.response(200, "OK", ""));
        assert_eq!(world.sent_response(200).to.to_string(), NODES[0]);
    }
    world.settle_down();
}

#[test]
fn rfc_6665_a_notify_may_come_before_the_answer_to_its_subscribe() {
    let mut world = World::new();
    world.caller_sends(Request::new("SUBSCRIBE", "subscribe").extra("Event: dialog").text());
    let sent = world.sent_request("SUBSCRIBE");
    let notify = Request::by_node("NOTIFY", "notify", &sent.text).extra("Event: dialog");
    world.receive_at(Local::NodeSide, NODES[0], notify.text());
    let passed = world.sent_request("NOTIFY");
    assert_eq!(passed.to.to_string(), CALLER);
    world.respond(&passed, passed.text.response(200, "OK", ""));
    assert_eq!(world.sent_response(200).to.to_string(), NODES[0]);
    world.respond(&sent, sent.text.response(202, "Accepted", ""));
    let accepted = world.sent_response(202).text;
    // The refresh and the end of the subscription go to the node that has it.
    for (branch, expires) in [("refresh", 600), ("end", 0)] {
        let refresh = Request::in_dialog("SUBSCRIBE", branch, &accepted).extra(&format!("Expires: {expires}"));
        world.caller_sends(refresh.text());
        let refresh = world.sent_request("SUBSCRIBE");
        assert_eq!(refresh.to, sent.to);
        world.respond(&refresh, refresh.text.response(200, "OK", ""));
        world.sent_response(200);
    }
    assert_eq!(world.ledger(NODES[0]).assigned, 0, "a subscription is no call");
    world.settle_down();
}

#[test]
fn a_bye_that_crosses_a_reinvite_ends_the_call_and_the_reinvite() {
    let mut world = World::new();
    let (sent, ok) = answered(&mut world, &Request::invite());
    let reinvite = Request::in_dialog("INVITE", "reinvite", &ok);
    world.caller_sends(reinvite.text());
    world.sent_response(100);
    let passed = world.sent_request("INVITE");
    // The node hung up in the meantime.
    world.receive_at(Local::NodeSide, NODES[0], Request::by_node("BYE", "nodebye", &sent.text).text());
    let bye = world.sent_request("BYE");
    world.respond(&bye, bye.text.response(200, "OK", ""));
    world.sent_response(200);
    world.respond(&passed, passed.text.response(481, "Call/Transaction Does Not Exist", ""));
    world.sent_request("ACK");
    world.sent_response(481);
    world.caller_sends(reinvite.of_same_transaction("ACK"));
    assert_eq!(world.ledger(NODES[0]).ended, 1);
    world.settle_down();
}

#[test]
fn a_cancel_that_crosses_the_200_leaves_an_answered_call_that_can_be_ended() {
    let mut world = World::new();
    let invite = Request::invite();
    let sent = place(&mut world, &invite);
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    world.sent_response(180);
    world.caller_sends(invite.of_same_transaction("CANCEL"));
    world.sent_response(200);
    let cancel = world.sent_request("CANCEL");
    // The node had answered before the CANCEL came, and says so to it as well.
    world.respond(&sent, sent.text.response(200, "OK", ""));
    let ok = world.sent_response(200).text;
    world.respond(&sent, cancel.text.response(481, "Call/Transaction Does Not Exist", ""));
    world.silent();
    world.caller_sends(Request::in_dialog("ACK", "ack", &ok).text());
    assert_eq!(world.sent_request("ACK").to, sent.to);
    world.caller_sends(Request::in_dialog("BYE", "bye", &ok).text());
    let bye = world.sent_request("BYE");
    world.respond(&bye, bye.text.response(200, "OK", ""));
    world.sent_response(200);
    assert_eq!(world.ledger(NODES[0]).ended, 1);
    world.settle_down();
}

#[test]
fn when_the_ack_for_a_2xx_is_lost_the_node_repeats_the_2xx_and_the_caller_the_ack() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    world.respond(&sent, sent.text.response(200, "OK", ""));
    let ok = world.sent_response(200).text;
    for _ in 0..3 {
        world.pass_ms(500);
        world.silent();
        world.respond(&sent, sent.text.response(200, "OK", ""));
        assert_eq!(world.sent_response(200).text, ok);
        world.caller_sends(Request::in_dialog("ACK", "ack", &ok).text());
        assert_eq!(world.sent_request("ACK").to, sent.to);
    }
    assert_eq!(world.outcome(Outcome::Answered), 1);
    world.settle_down();
}

#[test]
fn a_preloaded_route_of_ours_is_taken_off_and_the_call_is_a_new_one() {
    let mut world = World::new();
    for routes in [
        &["<sip:sip.example.com;lr>"][..],
        &["<sip:sip.example.com;lr>", "<sip:10.96.7.7:5070;lr>"],
        &["<sip:sip.example.com;lr>", "<sip:203.0.113.66;lr>"],
    ] {
        let mut invite = Request::invite().call_id(routes[routes.len() - 1]);
        invite.routes = routes.iter().map(|route| (*route).to_owned()).collect();
        let sent = place(&mut world, &invite);
        assert!(sent.to_node(NODES[0]) || sent.to_node(NODES[1]), "a foreign one leads nowhere else");
        assert!(!sent.text.all("Route").iter().any(|route| route.contains("sip.example.com")), "{}", sent.text);
        assert_eq!(sent.text.all("Record-Route").len(), 2);
    }
    assert_eq!(world.outcome(Outcome::Offered), 3);
}

#[test]
fn a_preloaded_token_of_another_call_makes_no_in_dialog_request_of_an_invite() {
    let mut world = World::new();
    let (_, ok) = answered(&mut world, &Request::invite());
    let slot = world.slot(NODES[0]);
    world.book.edit(slot, |ledger| ledger.closed = true);
    let mut other = Request::invite().call_id("other");
    other.routes = Request::in_dialog("BYE", "x", &ok).routes;
    assert!(place(&mut world, &other).to_node(NODES[1]), "by selection, not by the token");
}

#[test]
fn rfc_3891_an_invite_with_replaces_goes_to_the_node_of_the_named_dialog() {
    for name in ["Replaces", "Join"] {
        let mut world = World::new();
        let high = world.slot(NODES[0]);
        world.book.edit(high, |ledger| ledger.closed = true);
        let (sent, _) = answered(&mut world, &Request::invite());
        assert!(sent.to_node(NODES[1]));
        // By room and priority the first node would have it now, and the other takes no new calls.
        world.book.edit(high, |ledger| ledger.closed = false);
        let low = world.slot(NODES[1]);
        world.book.edit(low, |ledger| ledger.closed = true);
        let naming = |call_id: &str, dialog: &str| {
            let via = format!("SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{call_id};rport");
            Request::invite().call_id(call_id).via(&via).extra(&format!("{name}: {dialog};to-tag=node;from-tag=caller"))
        };
        let transferred = naming("transferred", "call@192.0.2.10");
        let taken = place(&mut world, &transferred);
        assert!(taken.to_node(NODES[1]), "{name}");
        assert_eq!(world.ledger(NODES[1]).assigned, 2, "and counts there");
        assert_eq!(world.count(Counter::NamedDialog), 1);
        // Nobody else can do it, so its refusal is the answer.
        world.respond(&taken, taken.text.response(503, "Maximum Calls In Progress", ""));
        world.sent_request("ACK");
        world.sent_response(503);
        world.silent();
        world.caller_sends(transferred.of_same_transaction("ACK"));
        assert!(place(&mut world, &naming("unknown", "nobody@192.0.2.10")).to_node(NODES[0]), "a call like any other");
        world.book.edit(low, |ledger| ledger.sessions = 999.0);
        world.caller_sends(naming("full", "call@192.0.2.10").text());
        world.sent_response(503);
        world.silent();
    }
}

#[test]
fn a_dialog_that_ended_is_named_in_vain() {
    let mut world = World::new();
    let (_, ok) = answered(&mut world, &Request::invite());
    assert_eq!(world.wire.standing.len(), 1);
    world.caller_sends(Request::in_dialog("BYE", "bye", &ok).text());
    let bye = world.sent_request("BYE");
    world.respond(&bye, bye.text.response(200, "OK", ""));
    world.sent_response(200);
    assert_eq!(world.wire.standing.len(), 0);
}

#[test]
fn a_call_that_rang_and_was_refused_is_named_in_vain_and_a_refused_reinvite_forgets_nothing() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    assert_eq!(world.wire.standing.len(), 1);
    world.respond(&sent, sent.text.response(486, "Busy Here", ""));
    assert_eq!(world.wire.standing.len(), 0);
    let mut world = World::new();
    let (_, ok) = answered(&mut world, &Request::invite());
    world.caller_sends(Request::in_dialog("INVITE", "reinvite", &ok).text());
    world.sent_response(100);
    let reinvite = world.sent_request("INVITE");
    world.respond(&reinvite, reinvite.text.response(488, "Not Acceptable Here", ""));
    assert_eq!(world.wire.standing.len(), 1);
}
