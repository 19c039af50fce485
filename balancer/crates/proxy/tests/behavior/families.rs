//! Both IP families, and several listeners: each peer sees the address of ours that is meant for it and no other.

use switchtender_proxy::{Advertised, Config, ConnectionId, Flow, Listener, Local, NodeAdvertise, NodeSide, Transport};

use crate::text::{Request, Text};
use crate::world::{NODES, Sent, Setup, World, address, config};

const CALLER6: &str = "[2001:db8:1::7]:5060";
const NODE6: &str = "[2001:db8:2::1]:5060";

/// A listener of each family, and a node side of both.
fn dual_stack() -> Config {
    let mut config = config();
    config.listeners.push(Listener {
        address: address("[2001:db8::1]:5060"),
        advertise: None,
        ..config.listeners[0].clone()
    });
    config.node_side = Some(NodeSide {
        address: address("[::]:5070"),
        advertise: vec![NodeAdvertise {
            networks: vec!["0.0.0.0/0".parse().unwrap()],
            address: Advertised { host: "10.96.7.7".into(), port: 5070 },
        }],
        sources: vec![],
    });
    config.worker_address = address("[::]:5071");
    config
}

fn of6(request: Request) -> Request {
    let own = |text: &str| text.replace("192.0.2.10:5060", CALLER6).replace("@192.0.2.10", "@[2001:db8:1::7]");
    Request {
        via: request.via.iter().map(|via| own(via)).collect(),
        contact: request.contact.as_deref().map(own),
        from: own(&request.from),
        ..request
    }
}

/// A call of `request` from `source` to `node`, answered; then a request of each side.
fn call(world: &mut World, (listener, source): (u16, &str), node: &str, dress: impl Fn(Request) -> Request) -> Sent {
    let public = Local::Listener(listener);
    world.receive_at(public, source, dress(Request::invite()).text());
    assert_eq!(world.sent_response(100).to, address(source));
    let sent = world.sent_request("INVITE");
    assert!(sent.to_node(node));
    world.respond(&sent, sent.text.response(200, "OK", ""));
    let ok = world.sent_response(200);
    assert_eq!((ok.to, ok.from), (address(source), public));
    let of_dialog = |method, branch| {
        let inside = Request::in_dialog(method, branch, &ok.text);
        dress(Request { from: dress(Request::invite()).from, ..inside })
    };
    world.receive_at(public, source, of_dialog("ACK", "ack").text());
    assert!(world.sent_request("ACK").to_node(node));
    let mut info = Request::by_node("INFO", "info", &sent.text);
    info.via = vec![format!("SIP/2.0/UDP {node};branch=z9hG4bKinfo;rport")];
    world.receive_at(Local::NodeSide, node, info.text());
    let info = world.sent_request("INFO");
    assert_eq!((info.to, info.from), (address(source), public));
    world.respond(&info, info.text.response(200, "OK", ""));
    assert_eq!(world.sent_response(200).to, address(node));
    world.receive_at(public, source, of_dialog("BYE", "bye").text());
    let bye = world.sent_request("BYE");
    assert!(bye.to_node(node));
    world.respond(&bye, bye.text.response(200, "OK", ""));
    world.sent_response(200);
    world.settle_down();
    sent
}

#[test]
fn a_caller_with_ipv6_reaches_a_node_with_ipv4() {
    let mut world = World::with(dual_stack(), &Setup::default());
    let sent = call(&mut world, (1, CALLER6), NODES[0], of6);
    let routes = sent.text.all("Record-Route");
    assert!(routes[0].ends_with("@10.96.7.7:5070;lr>"), "{routes:?}");
    assert!(routes[1].ends_with("@[2001:db8::1]:5060;lr>"), "{routes:?}");
    let vias = sent.text.all("Via");
    assert!(vias[0].starts_with("SIP/2.0/UDP 198.51.100.99:5071;"), "the family of the node: {vias:?}");
    assert!(vias[1].contains(";received=2001:db8:1::7"), "without brackets (RFC 5118 §4.5): {vias:?}");
}

#[test]
fn a_caller_with_ipv4_reaches_a_node_with_ipv6() {
    let mut world = World::with(dual_stack(), &Setup { nodes: vec![NODE6], ..Setup::default() });
    let sent = call(&mut world, (0, "192.0.2.10:5060"), NODE6, |request| request);
    let routes = sent.text.all("Record-Route");
    assert!(routes[0].ends_with("@[2001:db8::99]:5070;lr>"), "{routes:?}");
    assert!(routes[1].ends_with("@sip.example.com:5060;lr>"), "{routes:?}");
    assert!(sent.text.get("Via").unwrap().starts_with("SIP/2.0/UDP [2001:db8::99]:5071;"));
}

#[test]
fn a_mapped_source_is_the_ipv4_address_that_it_is() {
    let mut config = dual_stack();
    config.listeners[1].address = address("[::]:5062");
    let mut world = World::with(config, &Setup::default());
    let (listener, caller) = (Local::Listener(1), "[::ffff:192.0.2.10]:5060");
    world.receive_on(listener, Some("::ffff:198.51.100.5"), caller, Request::invite().text());
    let trying = world.sent_response(100);
    assert!(trying.text.get("Via").unwrap().contains(";received=192.0.2.10"), "{}", trying.text);
    let sent = world.sent_request("INVITE");
    let routes = sent.text.all("Record-Route");
    assert!(routes[1].ends_with("@198.51.100.5:5062;lr>"), "{routes:?}");
    world.receive_at(Local::NodeSide, "[::ffff:10.1.0.1]:5060", Request::by_node("INFO", "info", &sent.text).text());
    let info = world.sent_request("INFO");
    assert_eq!((info.to, info.from), (address("192.0.2.10:5060"), listener), "its Contact is no other host");
}

/// Callers outside and callers inside, nodes further in; all sockets have addresses that only we know.
fn inside_and_outside() -> Config {
    let listener = |bound: &str, host: &str| Listener {
        address: address(bound),
        advertise: Some(Advertised { host: host.into(), port: 5060 }),
        nat: false,
        allow: vec![],
    };
    let mut config = config();
    config.listeners =
        vec![listener("172.31.0.5:5060", "sip.example.com"), listener("172.31.0.6:5060", "pbx.corp.example")];
    config.node_side.as_mut().unwrap().address = address("172.31.0.9:5070");
    config
}

/// What must not be seen by the one or the other: bound addresses anywhere, and the addresses meant for others. The
/// worker's own port stands in the Via towards nodes, where responses come back to.
fn check(world: &mut World, outside: &str) {
    for sent in world.drain() {
        let head = sent.text.to_string().split("\r\n\r\n").next().unwrap().to_owned();
        let hidden: &[&str] = match sent.from {
            Local::Listener(0) => &["172.31.", "10.96.7.7", "10.0.0.9", "pbx.corp"],
            Local::Listener(_) => &["172.31.", "10.96.7.7", "10.0.0.9", "sip.example.com:"],
            Local::NodeSide | Local::Worker => &["172.31."],
        };
        for secret in hidden {
            assert!(!head.contains(secret), "{secret} stands in what goes to {}:\n{head}", sent.to);
        }
        if let Local::Listener(_) = sent.from {
            assert_eq!(sent.to.ip(), address(outside).ip());
        }
    }
}

#[test]
fn no_inside_address_stands_in_a_header_that_we_write() {
    for (listener, transport) in [(0, Transport::Udp), (1, Transport::Udp), (0, Transport::Tcp)] {
        let mut world = World::with(inside_and_outside(), &Setup::default());
        let connection = (transport == Transport::Tcp).then_some(ConnectionId::new(0, 1));
        let public = Local::Listener(listener);
        let caller = Flow { transport, connection, ..Flow::udp(public, None, address("192.0.2.10:5060")) };
        let last = |world: &mut World, method: Option<&str>| {
            let found = world.wire.sent.iter().rev().find(|sent| method.is_none_or(|_| sent.text.method() == method));
            let found = found.expect("it was sent").clone();
            check(world, "192.0.2.10:1");
            found
        };
        world.receive_over(&caller, Request::invite().text());
        let invite = last(&mut world, Some("INVITE"));
        world.respond(&invite, invite.text.response(180, "Ringing", ""));
        last(&mut world, None);
        world.respond(&invite, invite.text.response(200, "OK", ""));
        let ok = last(&mut world, None).text;
        assert_eq!(ok.all("Record-Route").len(), 1, "the one that is for the caller: {ok}");
        world.receive_over(&caller, Request::in_dialog("ACK", "ack", &ok).text());
        assert_eq!(last(&mut world, Some("ACK")).to, invite.to);

        world.receive_at(Local::NodeSide, NODES[0], Request::by_node("INVITE", "again", &invite.text).text());
        let again = last(&mut world, Some("INVITE"));
        assert_eq!(again.from, public);
        world.respond(&again, again.text.response(200, "OK", ""));
        last(&mut world, None);
        world.receive_over(&caller, Request::in_dialog("BYE", "bye", &ok).text());
        let bye = last(&mut world, Some("BYE"));
        world.respond(&bye, bye.text.response(200, "OK", ""));
        last(&mut world, None);

        world.receive_over(&caller, Request::new("OPTIONS", "options").uri("sip:sip.example.com").text());
        last(&mut world, None);
        let cancelled = Request::invite().call_id("cancelled");
        world.receive_over(&caller, cancelled.text());
        let invite = last(&mut world, Some("INVITE"));
        world.respond(&invite, invite.text.response(180, "Ringing", ""));
        last(&mut world, None);
        world.receive_over(&caller, cancelled.of_same_transaction("CANCEL"));
        last(&mut world, Some("CANCEL"));
        world.respond(&invite, invite.text.response(487, "Request Terminated", ""));
        last(&mut world, None);

        // A phone registers, and is called.
        world.receive_over(&caller, Request::new("REGISTER", "register").call_id("registration").text());
        let register = last(&mut world, Some("REGISTER"));
        let path = register.text.get("Path").unwrap().to_owned();
        world.respond(&register, register.text.response(200, "OK", &format!("Path: {path}\r\n")));
        assert_eq!(last(&mut world, None).text.get("Path"), None);
        let mut call = Request::invite().uri("sip:caller@192.0.2.10:5060").route(&path).call_id("to-the-phone");
        call.via = vec!["SIP/2.0/UDP 10.1.0.1;branch=z9hG4bKnode;rport".into()];
        call.from = "<sip:1000@10.1.0.1>;tag=calling".into();
        world.receive_at(Local::NodeSide, NODES[0], call.text());
        let invite = last(&mut world, Some("INVITE"));
        assert_eq!(invite.from, public);
        assert_eq!(invite.text.all("Record-Route").len(), 1, "the one that is for the phone");
        world.respond(&invite, invite.text.response(200, "OK", ""));
        let ok = last(&mut world, None);
        assert_eq!(ok.to, address(NODES[0]));
        let routes = ok.text.all("Record-Route");
        assert_eq!(routes.len(), 2, "the node gets its own with the response: {routes:?}");
        assert!(routes[1].ends_with(";lr>") && !routes[1].contains("example"), "and sends by it: {routes:?}");
        node_acknowledges(&mut world, &ok.text, &invite);
        check(&mut world, "192.0.2.10:1");
    }
}

/// The node's ACK takes the route that the response gave it, and reaches the phone.
fn node_acknowledges(world: &mut World, ok: &Text, invite: &Sent) {
    let mut ack = Request::in_dialog("ACK", "phoneack", ok);
    ack.via = vec!["SIP/2.0/UDP 10.1.0.1;branch=z9hG4bKphoneack;rport".into()];
    ack.from = ok.get("From").unwrap().into();
    ack.uri = "sip:caller@192.0.2.10:5060".into();
    world.receive_at(Local::NodeSide, NODES[0], ack.text());
    let ack = world.wire.sent.back().expect("it was sent").clone();
    assert_eq!((ack.to, ack.text.method()), (invite.to, Some("ACK")));
    assert_eq!(ack.text.all("Route"), Vec::<&str>::new());
}
