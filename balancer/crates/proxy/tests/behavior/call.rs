//! Whole calls, from INVITE to BYE.

use switchtender_proxy::{CHOICES_PER_SAMPLE, Counter, Delay, Local, Outcome};

use crate::text::{Request, Text, param};
use crate::world::{CLOCK_STEP_NANOS, NODES, Sent, World};

/// An INVITE that reached the first node; the 100 to the caller is checked and taken off the wire.
pub fn place(world: &mut World, invite: &Request) -> Sent {
    world.caller_sends(invite.text());
    let trying = world.sent_response(100);
    assert_eq!(trying.from, Local::Listener(0));
    world.sent_request("INVITE")
}

/// A call answered by its node: the INVITE as the node got it, and the 200 as the caller got it.
pub fn answered(world: &mut World, invite: &Request) -> (Sent, Text) {
    let sent = place(world, invite);
    world.respond(&sent, sent.text.response(100, "Trying", ""));
    world.silent();
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    world.sent_response(180);
    world.respond(&sent, sent.text.response(200, "OK", ""));
    let ok = world.sent_response(200).text;
    world.caller_sends(Request::in_dialog("ACK", "ack", &ok).text());
    let ack = world.sent_request("ACK");
    assert_eq!(ack.to, sent.to);
    world.silent();
    (sent, ok)
}

#[test]
fn invite_180_200_ack_bye() {
    let mut world = World::new();
    let invite = Request::invite();
    world.caller_sends(invite.text());
    let trying = world.sent_response(100);
    assert_eq!(trying.to.to_string(), "192.0.2.10:5060");
    assert_eq!(param(trying.text.get("Via").unwrap(), "received"), Some("192.0.2.10"));
    assert_eq!(param(trying.text.get("Via").unwrap(), "rport"), Some("5060"));

    let sent = world.sent_request("INVITE");
    assert!(sent.to_node(NODES[0]));
    assert_eq!(sent.from, Local::Worker);
    assert_eq!(sent.text.uri(), "sip:1000@sip.example.com", "the node routes by the Request-URI, as it came");
    assert_eq!(sent.text.get("Max-Forwards"), Some("69"));
    assert!(sent.text.get("Via").unwrap().starts_with("SIP/2.0/UDP 10.0.0.9:5071;branch=z9hG4bK"));
    assert_eq!(sent.text.all("Via").len(), 2);
    assert_eq!(sent.text.body(), invite.body);
    assert_eq!(world.ledger(NODES[0]).in_flight, 1);

    world.pass_ms(4);
    world.respond(&sent, sent.text.response(100, "Trying", ""));
    world.silent();
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    let ringing = world.sent_response(180);
    assert_eq!(ringing.text.all("Via").len(), 1, "our Via is gone");
    assert_eq!(ringing.from, Local::Listener(0));
    world.respond(&sent, sent.text.response(200, "OK", ""));
    let ok = world.sent_response(200).text;
    assert_eq!(world.ledger(NODES[0]).in_flight, 0);

    world.caller_sends(Request::in_dialog("ACK", "ack", &ok).text());
    let ack = world.sent_request("ACK");
    assert!(ack.to_node(NODES[0]));
    assert_eq!(ack.text.all("Route"), Vec::<&str>::new(), "both Routes were ours");

    world.caller_sends(Request::in_dialog("BYE", "bye", &ok).text());
    let bye = world.sent_request("BYE");
    assert!(bye.to_node(NODES[0]));
    assert_eq!(bye.text.uri(), "sip:node@10.1.0.1:5060");
    world.silent();
    world.respond(&bye, bye.text.response(200, "OK", ""));
    world.sent_response(200);
    assert_eq!(world.ledger(NODES[0]).ended, 1);
    assert_eq!(world.outcome(Outcome::Offered), 1);
    assert_eq!(world.outcome(Outcome::Answered), 1);
    world.settle_down();
}

#[test]
fn delays_are_from_the_invite_to_the_first_answer_above_100_and_to_the_first_word_of_the_node() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    world.pass_ms(4);
    world.respond(&sent, sent.text.response(100, "Trying", ""));
    assert_eq!((world.delay(Delay::FirstResponse), world.delay(Delay::PostDial)), ((1, 4), (0, 0)));
    world.pass_ms(20);
    world.respond(&sent, sent.text.response(183, "Session Progress", ""));
    world.sent_response(183);
    assert_eq!((world.delay(Delay::FirstResponse), world.delay(Delay::PostDial)), ((1, 4), (1, 24)));
    world.pass_ms(100);
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    world.sent_response(180);
    world.respond(&sent, sent.text.response(200, "OK", ""));
    let ok = world.sent_response(200).text;
    world.caller_sends(Request::in_dialog("ACK", "ack", &ok).text());
    world.sent_request("ACK");
    world.caller_sends(Request::in_dialog("INVITE", "again", &ok).text());
    world.sent_response(100);
    let again = world.sent_request("INVITE");
    world.respond(&again, again.text.response(200, "OK", ""));
    world.sent_response(200);
    let counted = (world.delay(Delay::FirstResponse), world.delay(Delay::PostDial));
    assert_eq!(counted, ((1, 4), (1, 24)), "one of each for a new call, and none in a dialog");
    world.settle_down();
}

#[test]
fn a_refusal_is_a_first_response_of_its_node_and_no_answer_of_the_call() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite());
    world.pass_ms(2);
    world.respond(&first, first.text.response(503, "Maximum Calls In Progress", ""));
    world.sent_request("ACK");
    let second = world.sent_request("INVITE");
    world.pass_ms(3);
    world.respond(&second, second.text.response(486, "Busy Here", ""));
    world.sent_request("ACK");
    world.sent_response(486);
    assert_eq!(world.delay(Delay::FirstResponse), (2, 5), "one for each attempt, from that attempt on");
    assert_eq!(world.delay(Delay::PostDial), (0, 0));
    world.caller_sends(Request::invite().of_same_transaction("ACK"));
    world.settle_down();
}

#[test]
fn rfc_3261_16_6_two_record_routes_with_the_token_as_the_only_secret_and_lr_as_the_only_parameter() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    let routes = sent.text.all("Record-Route");
    assert_eq!(routes.len(), 2, "RFC 5658: the two sides differ");
    let token = |route: &str| {
        let user = route.strip_prefix("<sip:").unwrap().split('@').next().unwrap().to_owned();
        assert!(user.len() > 40 && user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)));
        user
    };
    assert_eq!(token(routes[0]), token(routes[1]));
    assert!(routes[0].ends_with("@10.96.7.7:5070;lr>"), "the stable node side on top, never a worker's port");
    assert!(routes[1].ends_with("@sip.example.com:5060;lr>"));
}

#[test]
fn one_record_route_when_the_first_listener_serves_both_sides() {
    let mut config = crate::world::config();
    config.node_side = None;
    let mut world = World::with(config, &crate::world::Setup::default());
    let (sent, ok) = answered(&mut world, &Request::invite());
    assert_eq!(sent.text.all("Record-Route").len(), 1);
    assert_eq!(sent.from, Local::Worker);
    let bye = Request::by_node("BYE", "nodebye", &sent.text);
    world.receive_at(Local::Listener(0), NODES[0], bye.text());
    let bye = world.sent_request("BYE");
    assert_eq!(bye.to.to_string(), "192.0.2.10:5060");
    assert_eq!(ok.all("Record-Route").len(), 1);
    world.respond(&bye, bye.text.response(200, "OK", ""));
    world.sent_response(200);
    world.settle_down();
}

#[test]
fn a_bye_from_the_node_reaches_the_caller_and_ends_the_call() {
    let mut world = World::new();
    let (sent, _) = answered(&mut world, &Request::invite());
    world.receive_at(Local::NodeSide, NODES[0], Request::by_node("BYE", "nodebye", &sent.text).text());
    let bye = world.sent_request("BYE");
    assert_eq!(bye.from, Local::Listener(0), "out of the listener that the caller knows");
    assert_eq!(bye.to.to_string(), "192.0.2.10:5060");
    assert_eq!(bye.text.uri(), "sip:caller@192.0.2.10:5060");
    assert!(bye.text.get("Via").unwrap().starts_with("SIP/2.0/UDP sip.example.com:5060;"));
    assert_eq!(bye.text.all("Route"), Vec::<&str>::new());
    world.respond(&bye, bye.text.response(200, "OK", ""));
    let ok = world.sent_response(200);
    assert_eq!(ok.from, Local::NodeSide, "out of the socket that the BYE came in on");
    assert_eq!(ok.to.to_string(), NODES[0]);
    assert_eq!(world.ledger(NODES[0]).ended, 1);
    world.settle_down();
}

#[test]
fn only_a_bye_that_succeeds_ends_a_call() {
    let mut world = World::new();
    let (_, ok) = answered(&mut world, &Request::invite());
    for (method, status, ended) in [("INFO", 200, 0), ("BYE", 481, 0), ("UPDATE", 200, 0), ("BYE", 200, 1)] {
        world.caller_sends(Request::in_dialog(method, &format!("{method}{status}"), &ok).text());
        let sent = world.sent_request(method);
        for _ in 0..2 {
            world.respond(&sent, sent.text.response(status, "Whatever", ""));
        }
        world.sent_response(status);
        world.silent();
        assert_eq!(world.ledger(NODES[0]).ended, ended, "{method} {status}");
    }
}

#[test]
fn a_reinvite_follows_the_token_and_is_no_new_call() {
    let mut world = World::new();
    let (_, ok) = answered(&mut world, &Request::invite());
    let before = world.ledger(NODES[0]);
    let reinvite = Request::in_dialog("INVITE", "reinvite", &ok);
    world.caller_sends(reinvite.text());
    world.sent_response(100);
    let sent = world.sent_request("INVITE");
    assert!(sent.to_node(NODES[0]));
    assert_eq!(sent.text.all("Record-Route"), Vec::<&str>::new());
    assert_eq!(world.ledger(NODES[0]).assigned, before.assigned);
    assert_eq!(world.ledger(NODES[0]).in_flight, 0);
    world.respond(&sent, sent.text.response(488, "Not Acceptable Here", ""));
    world.sent_request("ACK");
    world.sent_response(488);
    world.caller_sends(reinvite.of_same_transaction("ACK"));
    world.silent();
    world.settle_down();
    assert_eq!(world.count(Counter::StrayAcks), 0);
}

#[test]
fn other_requests_are_forwarded_like_invite_but_not_counted() {
    for method in ["MESSAGE", "SUBSCRIBE", "REGISTER", "OPTIONS", "PUBLISH", "FANCY"] {
        let mut world = World::new();
        world.caller_sends(Request::new(method, "other").text());
        let sent = world.sent_request(method);
        assert!(sent.to_node(NODES[0]), "no 100 comes first");
        let records = usize::from(method == "SUBSCRIBE") * 2;
        assert_eq!(sent.text.all("Record-Route").len(), records, "{method}");
        assert_eq!(sent.text.all("Path").len(), usize::from(method == "REGISTER"), "{method}");
        world.respond(&sent, sent.text.response(200, "OK", ""));
        world.sent_response(200);
        let ledger = world.ledger(NODES[0]);
        assert_eq!((ledger.assigned, ledger.in_flight, ledger.requests), (0, 0, 1));
        assert_eq!(world.outcome(Outcome::Offered), 0);
        world.settle_down();
    }
}

#[test]
fn the_time_of_one_choice_in_sixteen_is_taken() {
    let mut world = World::new();
    for call in 0..=CHOICES_PER_SAMPLE {
        let branch = format!("choice{call}");
        let invite = Request { call_id: branch.clone(), ..Request::new("INVITE", &branch) };
        let sent = place(&mut world, &invite);
        world.respond(&sent, sent.text.response(486, "Busy Here", ""));
        world.drain();
    }
    let choices = world.proxy.counters().choices();
    assert_eq!((choices.len(), choices.sum_nanos), (2, 2 * CLOCK_STEP_NANOS), "the first and the seventeenth");
    world.settle_down();
}
