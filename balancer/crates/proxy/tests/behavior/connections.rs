//! SIP over TCP (RFC 3261 §17, §18), between connections and datagrams, and connections that end.

use switchtender_proxy::{ConnectionId, Counter, FailureKind, Flow, Local, Outcome, Transport};

use crate::call::place;
use crate::text::{Request, Text, param};
use crate::world::{CALLER, NODES, OPENED, PUBLIC, Sent, Setup, World, address, config};

/// The caller's connection to the public listener.
pub fn connection() -> Flow {
    Flow {
        transport: Transport::Tcp,
        connection: Some(ConnectionId::new(0, 1)),
        ..Flow::udp(PUBLIC, None, address("192.0.2.10:49152"))
    }
}

/// A node's connection to the node side.
fn of_node() -> Flow {
    Flow {
        transport: Transport::Tcp,
        connection: Some(ConnectionId::new(0, 2)),
        ..Flow::udp(Local::NodeSide, None, address("10.1.0.1:33333"))
    }
}

/// A world whose nodes speak TCP.
fn over_tcp() -> World {
    let mut world = World::new();
    for node in &mut world.snapshot.nodes {
        node.transport = Transport::Tcp;
    }
    world
}

fn tcp(mut request: Request) -> Request {
    request.via =
        request.via.iter().map(|via| via.replace("SIP/2.0/UDP", "SIP/2.0/TCP").replace(";rport", "")).collect();
    request.contact = request.contact.map(|contact| contact.replace('>', ";transport=tcp>"));
    request
}

fn invite() -> Request {
    tcp(Request::invite())
}

/// Behind NAT: neither Via nor Contact is where it comes from.
fn natted() -> Request {
    let mut invite = invite().via("SIP/2.0/TCP 192.168.1.5;branch=z9hG4bKinvite");
    invite.contact = Some("<sip:caller@192.168.1.5;transport=tcp>".into());
    invite
}

fn place_over(world: &mut World, invite: &Request) -> Sent {
    world.receive_over(&connection(), invite.text());
    assert_eq!(world.sent_response(100).flow, connection());
    world.sent_request("INVITE")
}

fn answer_over(world: &mut World, sent: &Sent) -> Text {
    world.respond(sent, sent.text.response(200, "OK", ""));
    let ok = world.sent_response(200);
    assert_eq!(ok.flow, connection());
    world.receive_over(&connection(), tcp(Request::in_dialog("ACK", "ack", &ok.text)).text());
    world.sent_request("ACK");
    ok.text
}

fn by_node(method: &'static str, sent: &Sent) -> Request {
    Request::by_node(method, &format!("node{method}"), &sent.text)
}

#[test]
fn a_call_of_a_tcp_caller_to_a_udp_node() {
    let mut world = World::new();
    let sent = place_over(&mut world, &invite());
    assert_eq!(sent.flow.transport, Transport::Udp);
    assert!(sent.text.get("Via").unwrap().starts_with("SIP/2.0/UDP 10.0.0.9:5071;"), "by the flow that it leaves on");
    let routes = sent.text.all("Record-Route");
    assert!(routes[0].ends_with("@10.96.7.7:5070;lr>"), "{routes:?}");
    assert!(routes[1].ends_with("@sip.example.com:5060;transport=tcp;lr>"), "{routes:?}");
    let ok = answer_over(&mut world, &sent);
    world.receive_over(&connection(), tcp(Request::in_dialog("BYE", "bye", &ok)).text());
    let bye = world.sent_request("BYE");
    assert!(bye.to_node(NODES[0]));
    assert_eq!(bye.text.all("Route"), Vec::<&str>::new());
    world.respond(&bye, bye.text.response(200, "OK", ""));
    assert_eq!(world.sent_response(200).flow, connection());
    world.settle_down();
}

#[test]
fn a_call_of_a_udp_caller_to_a_tcp_node() {
    let mut world = over_tcp();
    let sent = place(&mut world, &Request::invite());
    assert_eq!(sent.flow, Flow { transport: Transport::Tcp, ..Flow::udp(Local::Worker, None, address(NODES[0])) });
    let via = sent.text.get("Via").unwrap();
    assert!(via.starts_with("SIP/2.0/TCP 10.0.0.9:5071;branch=z9hG4bK") && !via.contains("rport"), "{via}");
    let routes = sent.text.all("Record-Route");
    assert!(routes[0].ends_with("@10.96.7.7:5070;transport=tcp;lr>"), "{routes:?}");
    assert!(routes[1].ends_with("@sip.example.com:5060;lr>"), "{routes:?}");
    world.respond(&sent, sent.text.response(200, "OK", ""));
    let ok = world.sent_response(200);
    assert_eq!(ok.to, address(CALLER));
    world.caller_sends(Request::in_dialog("ACK", "ack", &ok.text).text());
    let ack = world.sent_request("ACK");
    assert_eq!(ack.flow, sent.flow);
    assert!(ack.text.get("Via").unwrap().starts_with("SIP/2.0/TCP "));
    world.receive_over(&of_node(), tcp(by_node("BYE", &sent)).text());
    let bye = world.sent_request("BYE");
    assert_eq!(bye.flow, Flow::udp(PUBLIC, None, address(CALLER)));
    world.respond(&bye, bye.text.response(200, "OK", ""));
    assert_eq!(world.sent_response(200).flow, of_node());
    assert_eq!(world.ledger(NODES[0]).ended, 1);
    world.settle_down();
}

#[test]
fn rfc_5658_one_record_route_where_both_sides_are_one_socket_and_one_transport() {
    for (node, routes) in [(Transport::Tcp, 1), (Transport::Udp, 2)] {
        let mut config = config();
        config.node_side = None;
        let mut world = World::with(config, &Setup::default());
        world.snapshot.nodes[0].transport = node;
        let sent = place_over(&mut world, &invite());
        assert_eq!(sent.text.all("Record-Route").len(), routes);
        let ok = answer_over(&mut world, &sent);
        assert_eq!(ok.all("Record-Route").len(), 1, "the caller gets the one that is for it");
    }
}

#[test]
fn rfc_3261_17_1_1_2_nothing_is_sent_again_over_a_connection_but_timer_b_runs() {
    let mut setup = Setup { attempts: 1, ..Setup::default() };
    setup.nodes.truncate(1);
    let mut world = World::with(config(), &setup);
    world.snapshot.nodes[0].transport = Transport::Tcp;
    place_over(&mut world, &invite());
    world.pass_ms(31_999);
    world.silent();
    world.pass_ms(1);
    assert_eq!(world.sent_response(408).flow, connection());
    assert_eq!(world.count(Counter::Retransmitted), 0);
    world.pass_ms(31_999);
    world.silent();
    assert_eq!(world.proxy.transactions(), 1, "Timer H waits for the ACK");
    world.settle_down();
}

#[test]
fn rfc_3261_17_timers_d_i_j_and_k_are_zero_over_a_connection() {
    let mut world = over_tcp();
    let request = invite();
    let sent = place_over(&mut world, &request);
    world.respond(&sent, sent.text.response(486, "Busy Here", ""));
    assert_eq!(world.sent_request("ACK").flow.transport, Transport::Tcp);
    world.sent_response(486);
    world.pass_ms(0);
    assert_eq!(world.proxy.transactions(), 1, "Timer D is over at once");
    world.receive_over(&connection(), request.of_same_transaction("ACK"));
    world.pass_ms(0);
    assert_eq!(world.proxy.transactions(), 0, "and so is Timer I");

    world.receive_over(&connection(), tcp(Request::new("MESSAGE", "message")).text());
    let message = world.sent_request("MESSAGE");
    world.respond(&message, message.text.response(200, "OK", ""));
    world.sent_response(200);
    world.pass_ms(0);
    assert_eq!(world.proxy.transactions(), 0, "Timers J and K");
    world.settle_down();
}

#[test]
fn a_cancel_is_sent_once_over_a_connection() {
    let mut world = over_tcp();
    let request = invite();
    let sent = place_over(&mut world, &request);
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    world.sent_response(180);
    world.receive_over(&connection(), request.of_same_transaction("CANCEL"));
    assert_eq!(world.sent_response(200).flow, connection());
    let cancel = world.sent_request("CANCEL");
    assert_eq!(cancel.flow, sent.flow);
    assert_eq!(cancel.text.get("Via"), sent.text.get("Via"));
    world.pass_ms(31_000);
    world.silent();
    world.respond(&sent, sent.text.response(487, "Request Terminated", ""));
    world.sent_request("ACK");
    world.sent_response(487);
    world.settle_down();
}

#[test]
fn rfc_3261_16_6_step_9_content_length_is_added_towards_a_connection() {
    let mut world = over_tcp();
    let request = Request::invite();
    let without = request.text().replace(&format!("Content-Length: {}\r\n", request.body.len()), "");
    world.caller_sends(&without);
    world.sent_response(100);
    let sent = world.sent_request("INVITE");
    assert_eq!(sent.text.get("Content-Length"), Some(&*request.body.len().to_string()));
    assert_eq!(sent.text.body(), request.body);

    let mut world = World::new();
    let sent = place_over(&mut world, &invite());
    world.respond(&sent, sent.text.response(183, "Session Progress", "").replace("Content-Length: 0\r\n", ""));
    assert_eq!(world.sent_response(183).text.get("Content-Length"), Some("0"));
    world.respond(&sent, sent.text.response(200, "OK", "").replace("Content-Length: 0\r\n", "l: 0\r\n"));
    assert_eq!(world.sent_response(200).text.all("Content-Length"), Vec::<&str>::new(), "it has one");
}

#[test]
fn rfc_3261_18_3_a_request_without_content_length_on_a_stream_gets_400() {
    let mut world = World::new();
    let text = invite().text();
    let without: String = text.split_inclusive("\r\n").filter(|line| !line.starts_with("Content-Length")).collect();
    world.receive_over(&connection(), &without);
    let refusal = world.sent_response(400);
    assert_eq!(refusal.text.reason(), "Missing Content-Length");
    assert_eq!(refusal.flow, connection());
    world.silent();
}

#[test]
fn rfc_3261_18_2_2_a_response_whose_connection_is_gone_goes_to_sent_by_over_a_new_one() {
    let mut world = World::new();
    let sent = place_over(&mut world, &invite());
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    let ringing = world.sent_response(180);
    world.close(&connection());
    world.silent();
    world.fail_over(FailureKind::Closed, &ringing.flow, &ringing.text);
    let again = world.sent_response(180);
    let expected = Flow { peer: address("192.0.2.10:5060"), connection: None, ..connection() };
    assert_eq!(again.flow, expected);
    assert_eq!(again.text, ringing.text);
    world.respond(&sent, sent.text.response(486, "Busy Here", ""));
    world.sent_request("ACK");
    let busy = world.sent_response(486);
    assert_eq!(busy.flow, expected, "and so do the ones that follow");
    world.fail_over(FailureKind::Connect, &busy.flow, &busy.text);
    world.silent();
    assert_eq!(world.count(Counter::ResponsesRerouted), 1);
    world.settle_down();
}

#[test]
fn a_response_to_a_caller_behind_nat_is_lost_with_its_connection() {
    let mut world = World::new();
    let sent = place_over(&mut world, &natted());
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    let ringing = world.sent_response(180);
    assert_eq!(param(ringing.text.get("Via").unwrap(), "received"), Some("192.0.2.10"));
    world.fail_over(FailureKind::Closed, &ringing.flow, &ringing.text);
    world.silent();
    assert_eq!(world.count(Counter::ResponsesLost), 1);
}

#[test]
fn a_refused_connection_leads_to_the_next_node_at_once() {
    let mut world = over_tcp();
    let sent = place_over(&mut world, &invite());
    world.fail_over(FailureKind::Connect, &sent.flow, &sent.text);
    let next = world.sent_request("INVITE");
    assert!(next.to_node(NODES[1]));
    assert_eq!(world.outcome(Outcome::FailoverTransport), 1);
    assert_eq!(world.ledger(NODES[0]).in_flight, 0);
    assert!(world.ledger(NODES[0]).suspect);
    answer_over(&mut world, &next);
    world.settle_down();
}

#[test]
fn rfc_3261_17_1_4_the_end_of_a_connection_fails_what_waits_for_a_first_response_on_it() {
    let mut world = over_tcp();
    let first = place_over(&mut world, &invite());
    world.close(&Flow { connection: Some(ConnectionId::new(0, 7)), ..first.flow });
    let next = world.sent_request("INVITE");
    assert!(next.to_node(NODES[1]));
    world.respond(&next, next.text.response(180, "Ringing", ""));
    world.sent_response(180);
    world.close(&Flow { connection: Some(ConnectionId::new(0, 8)), ..next.flow });
    world.silent();
    world.respond(&next, next.text.response(200, "OK", ""));
    world.sent_response(200);
    world.settle_down();
}

#[test]
fn the_end_of_a_connection_says_nothing_of_datagrams() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    world.close(&Flow { transport: Transport::Tcp, connection: Some(ConnectionId::new(0, 1)), ..sent.flow });
    world.silent();
}

#[test]
fn a_nodes_request_goes_over_the_callers_connection_while_it_stands() {
    let mut world = World::new();
    let sent = place_over(&mut world, &invite());
    answer_over(&mut world, &sent);
    world.receive_at(Local::NodeSide, NODES[0], by_node("INFO", &sent).text());
    let info = world.sent_request("INFO");
    assert_eq!(info.flow, connection());
    let via = info.text.get("Via").unwrap();
    assert!(via.starts_with("SIP/2.0/TCP sip.example.com:5060;branch=z9hG4bK") && !via.contains("rport"), "{via}");
    world.respond(&info, info.text.response(200, "OK", ""));
    world.sent_response(200);

    world.receive_at(Local::NodeSide, NODES[0], by_node("BYE", &sent).text());
    let bye = world.sent_request("BYE");
    world.fail_over(FailureKind::Closed, &bye.flow, &bye.text);
    let again = world.sent_request("BYE");
    let expected = Flow { peer: address("192.0.2.10:5060"), connection: None, ..connection() };
    assert_eq!(again.flow, expected, "to the address that it names, over a new one");
    world.respond(&again, again.text.response(200, "OK", ""));
    world.sent_response(200);
    world.silent();
    assert_eq!(world.ledger(NODES[0]).ended, 1);
    world.settle_down();
}

#[test]
fn rfc_5626_5_3_430_when_the_flow_of_a_caller_behind_nat_is_gone() {
    let mut world = World::new();
    let sent = place_over(&mut world, &natted());
    answer_over(&mut world, &sent);
    world.receive_at(Local::NodeSide, NODES[0], by_node("INFO", &sent).text());
    let info = world.sent_request("INFO");
    assert_eq!(info.flow, connection());
    world.close(&connection());
    assert_eq!(world.sent_response(430).text.reason(), "Flow Failed");
    world.fail_over(FailureKind::Closed, &info.flow, &info.text);
    world.silent();

    // After a restart the connection is nobody's, whatever has its number now.
    let mut config = config();
    config.replica = 8;
    world.restart(config);
    world.receive_at(Local::NodeSide, NODES[0], by_node("BYE", &sent).text());
    world.sent_response(430);
    assert_eq!(world.count(Counter::RejectedFlowFailed), 1);
}

#[test]
fn another_replica_reaches_a_caller_that_can_be_reached() {
    let mut world = World::new();
    let sent = place_over(&mut world, &invite());
    answer_over(&mut world, &sent);
    let mut config = config();
    config.replica = 8;
    world.restart(config);
    world.receive_at(Local::NodeSide, NODES[0], by_node("BYE", &sent).text());
    let bye = world.sent_request("BYE");
    assert_eq!(bye.flow, Flow { peer: address("192.0.2.10:5060"), connection: None, ..connection() });
}

#[test]
fn requests_for_a_flow_of_this_replica_come_to_this_replica() {
    let mut world = World::new();
    let sent = place_over(&mut world, &natted());
    let routes = sent.text.all("Record-Route");
    assert!(routes[0].ends_with("@10.0.0.9:5070;lr>"), "its own node side, not the one that all share: {routes:?}");
    assert!(routes[1].ends_with("@sip.example.com:5060;transport=tcp;lr>"));
}

#[test]
fn rfc_3327_a_path_leads_back_through_the_flow_of_the_registration() {
    let mut world = World::new();
    let mut register = tcp(Request::new("REGISTER", "register")).via("SIP/2.0/TCP 192.168.1.5;branch=z9hG4bKregister");
    register.contact = Some("<sip:phone@192.168.1.5;transport=tcp>".into());
    world.receive_over(&connection(), register.text());
    let sent = world.sent_request("REGISTER");
    let path = sent.text.get("Path").unwrap().to_owned();
    assert!(path.ends_with("@10.0.0.9:5070;lr>"), "{path}");

    let mut call = Request::invite().uri("sip:phone@192.168.1.5;transport=tcp").route(&path).call_id("to-the-phone");
    call.via = vec!["SIP/2.0/TCP 10.1.0.1;branch=z9hG4bKnode".into()];
    call.from = "<sip:1000@10.1.0.1>;tag=calling".into();
    world.receive_over(&of_node(), call.text());
    assert_eq!(world.sent_response(100).flow, of_node());
    let invite = world.sent_request("INVITE");
    assert_eq!(invite.flow, connection());
    let routes = invite.text.all("Record-Route");
    assert!(routes[0].ends_with("@sip.example.com:5060;transport=tcp;lr>"), "{routes:?}");
    world.respond(&invite, invite.text.response(200, "OK", ""));
    let ok = world.sent_response(200);
    let routes = ok.text.all("Record-Route");
    assert!(routes[1].ends_with("@10.0.0.9:5070;transport=tcp;lr>"), "{routes:?}");

    let mut bye = tcp(Request::by_node("BYE", "phone", &invite.text));
    bye.via = vec!["SIP/2.0/TCP 192.168.1.5;branch=z9hG4bKphone".into()];
    world.receive_over(&connection(), bye.text());
    let bye = world.sent_request("BYE");
    assert_eq!(bye.flow.transport, Transport::Tcp, "as the node spoke");
    assert!(bye.to_node(NODES[0]), "at its own endpoint, not the port of its connection");
}

#[test]
fn rfc_3261_18_1_1_a_request_too_large_for_a_datagram_goes_over_tcp_where_the_group_says_so() {
    for large in [Transport::Udp, Transport::Tcp] {
        let mut world = World::new();
        world.snapshot.groups[0].large_requests = large;
        let mut invite = Request::invite();
        invite.body = "v=0\r\n".repeat(220);
        let sent = place(&mut world, &invite);
        assert_eq!(sent.flow.transport, large);
        assert!(sent.text.get("Via").unwrap().starts_with(&format!("SIP/2.0/{} ", large.name())));
        let routes = sent.text.all("Record-Route");
        assert!(routes[0].ends_with("@10.96.7.7:5070;lr>"), "what comes back need not be large: {routes:?}");
        world.respond(&sent, sent.text.response(200, "OK", ""));
        let ok = world.sent_response(200).text;
        world.caller_sends(Request::in_dialog("ACK", "ack", &ok).text());
        assert_eq!(world.sent_request("ACK").flow.transport, Transport::Udp);
        let mut reinvite = Request::in_dialog("INVITE", "reinvite", &ok);
        reinvite.body = invite.body;
        world.caller_sends(reinvite.text());
        world.sent_response(100);
        assert_eq!(world.sent_request("INVITE").flow.transport, large, "in the dialog, too");
    }
}

#[test]
fn rfc_3261_18_1_1_without_a_connection_a_large_request_is_a_datagram_after_all() {
    let mut world = World::new();
    world.snapshot.groups[0].large_requests = Transport::Tcp;
    let mut invite = Request::invite();
    invite.body = "v=0\r\n".repeat(250);
    let sent = place(&mut world, &invite);
    world.fail_over(FailureKind::Connect, &sent.flow, &sent.text);
    let again = world.sent_request("INVITE");
    assert_eq!(again.flow, Flow::udp(Local::Worker, None, address(NODES[0])), "the same node");
    assert!(again.text.get("Via").unwrap().starts_with("SIP/2.0/UDP "));
    assert_eq!((world.ledger(NODES[0]).assigned, world.ledger(NODES[0]).in_flight), (1, 1), "one attempt, not two");
    assert!(!world.ledger(NODES[0]).suspect);
    world.fail_over(FailureKind::Icmp, &again.flow, &again.text);
    let next = world.sent_request("INVITE");
    assert!(next.to_node(NODES[1]));
    assert_eq!(next.flow.transport, Transport::Tcp);
    world.settle_down();
}

#[test]
fn a_caller_that_names_our_own_host_or_a_nodes_other_ports_is_reached_where_it_is() {
    for named in [
        "127.0.0.1:8080;transport=tcp",
        "[::1]:8080;transport=tcp",
        "169.254.169.254:80;transport=tcp",
        "[fe80::1]",
        "10.1.0.2:8021;transport=tcp",
    ] {
        let mut world = World::new();
        let sent = place(&mut world, &Request::invite());
        world.respond(&sent, sent.text.response(200, "OK", ""));
        world.sent_response(200);
        // What a re-INVITE of the caller made of its Contact stands in the node's Request-URI.
        let info = by_node("INFO", &sent).uri(&format!("sip:x@{named}"));
        world.receive_at(Local::NodeSide, NODES[0], info.text());
        assert_eq!(world.sent_request("INFO").flow, Flow::udp(PUBLIC, None, address(CALLER)), "{named}");
        // Without a token that holds, nobody speaks for the address.
        let lost = Request { routes: vec![], call_id: "lost".into(), ..by_node("BYE", &sent) };
        let lost = lost.uri(&format!("sip:x@{named}")).via("SIP/2.0/UDP 10.1.0.1;rport;branch=z9hG4bKlost");
        world.receive_at(Local::NodeSide, NODES[0], lost.text());
        world.sent_response(481);
        world.silent();
    }
}

#[test]
fn a_connection_that_ends_says_nothing_of_another_to_the_same_peer() {
    let mut world = over_tcp();
    let sent = place_over(&mut world, &invite());
    assert_eq!(sent.flow.connection, None);
    for other in [
        Flow { local: PUBLIC, connection: Some(OPENED), ..sent.flow },
        Flow { connection: Some(ConnectionId::new(1, 5)), ..sent.flow },
    ] {
        world.close(&other);
        world.silent();
    }
    world.close(&Flow { connection: Some(OPENED), ..sent.flow });
    assert!(world.sent_request("INVITE").to_node(NODES[1]));
}
