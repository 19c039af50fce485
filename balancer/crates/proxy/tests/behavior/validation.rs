//! What is checked before anything else (RFC 3261 §16.3), and what is for us.

use switchtender_proxy::Counter;

use crate::text::Request;
use crate::world::{CALLER, PUBLIC, Setup, World};

/// Every refusal needs no transaction, and carries a To tag.
fn refused(world: &mut World, request: &Request, status: u16) -> crate::world::Sent {
    world.caller_sends(request.text());
    let refusal = world.sent_response(status);
    world.silent();
    assert_eq!(world.proxy.transactions(), 0);
    assert!(refusal.text.get("To").unwrap().contains(";tag="));
    world.caller_sends(request.text());
    assert_eq!(world.sent_response(status).text.get("To"), refusal.text.get("To"), "the same tag each time");
    world.caller_sends(request.of_same_transaction("ACK"));
    world.silent();
    refusal
}

#[test]
fn rfc_3261_16_3_1_malformed_requests_are_answered_and_counted() {
    for (found, put, status) in [
        ("CSeq: 1 INVITE", "CSeq: 1 BYE", 400),
        ("Call-ID: ", "X-ID: ", 400),
        ("Max-Forwards: 70", "Max-Forwards: 700", 400),
        (" SIP/2.0\r\n", " SIP/3.0\r\n", 505),
        ("Content-Length: 3", "Content-Length: 9999", 400),
    ] {
        let mut world = World::new();
        let mut invite = Request::invite();
        invite.body = "abc".into();
        let text = invite.text().replacen(found, put, 1);
        assert_ne!(text, invite.text());
        world.caller_sends(text);
        world.sent_response(status);
        world.silent();
        assert_eq!(world.count(Counter::MalformedAnswered), 1);
    }
}

#[test]
fn what_is_not_sip_is_dropped_and_counted() {
    let mut world = World::new();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\xff\xfe\x00\x01garbage", b"SIP/2.0 99 X\r\n\r\n", b"ACK x\r\n\r\n"]
    {
        world.caller_sends(bytes);
    }
    let mut ack = Request::new("ACK", "ack");
    ack.max_forwards = None;
    world.caller_sends(ack.text().replace("Call-ID", "X-ID"));
    world.silent();
    assert_eq!(world.count(Counter::MalformedDropped), 5);
    for bytes in [&b""[..], b"\r\n\r\n", b"\0"] {
        world.caller_sends(bytes);
    }
    world.silent();
    assert_eq!(world.count(Counter::KeepAlives), 3);
    assert_eq!(world.count(Counter::Received), 8);
}

#[test]
fn rfc_3261_16_3_2_an_unknown_scheme_gets_416() {
    let mut world = World::new();
    refused(&mut world, &Request::invite().uri("urn:service:sos"), 416);
    assert_eq!(world.count(Counter::RejectedTarget), 2);
}

#[test]
fn a_tel_uri_is_matched_by_its_number() {
    let mut world = World::with(crate::world::config(), &Setup { user_pattern: Some("^[+]1"), ..Setup::default() });
    world.caller_sends(Request::invite().uri("tel:+15551234").text());
    world.sent_response(100);
    assert_eq!(world.sent_request("INVITE").text.uri(), "tel:+15551234");
}

#[test]
fn rfc_3261_16_3_3_max_forwards_0_gets_483() {
    let mut world = World::new();
    let mut invite = Request::invite();
    invite.max_forwards = Some(0);
    refused(&mut world, &invite, 483);
    let mut options = Request::new("OPTIONS", "options");
    options.max_forwards = Some(0);
    world.caller_sends(options.text());
    world.sent_response(200);
    assert_eq!(world.count(Counter::RejectedHops), 2);
}

#[test]
fn rfc_3261_16_3_4_a_loop_gets_482_and_a_spiral_goes_on() {
    let mut world = World::new();
    let invite = Request::invite();
    world.caller_sends(invite.text());
    world.sent_response(100);
    let sent = world.sent_request("INVITE");
    // The node turns out to lead back to us.
    world.receive_at(PUBLIC, "10.1.0.1:5060", &sent.text);
    let refusal = world.sent_response(482);
    assert_eq!(refusal.to, sent.to);
    world.silent();
    assert_eq!(world.count(Counter::RejectedLoop), 1);
    // With another Request-URI it is another request.
    let spiral = sent.text.to_string().replace("INVITE sip:1000@", "INVITE sip:2000@");
    world.receive_at(PUBLIC, "10.1.0.1:5060", spiral);
    world.sent_response(100);
    world.sent_request("INVITE");
}

#[test]
fn rfc_3261_16_3_5_proxy_require_gets_420_with_unsupported() {
    let mut world = World::new();
    let refusal = refused(&mut world, &Request::invite().extra("Proxy-Require: foo, bar"), 420);
    assert_eq!(refusal.text.all("Unsupported"), ["foo", "bar"]);
}

#[test]
fn rfc_3261_16_3_6_credentials_are_left_alone() {
    let mut world = World::new();
    world.caller_sends(Request::invite().extra("Proxy-Authorization: Digest username=\"u\"").text());
    world.sent_response(100);
    let sent = world.sent_request("INVITE");
    assert_eq!(sent.text.get("Proxy-Authorization"), Some("Digest username=\"u\""));
}

#[test]
fn no_group_matches_404() {
    let mut world = World::with(crate::world::config(), &Setup { user_pattern: Some("^conf"), ..Setup::default() });
    refused(&mut world, &Request::invite(), 404);
    world.caller_sends(Request::invite().uri("sip:conf1@sip.example.com").text());
    world.sent_response(100);
    world.sent_request("INVITE");
}

#[test]
fn options_to_our_own_address_without_a_user_part_is_answered() {
    let mut world = World::new();
    for uri in [
        "sip:sip.example.com",
        "sip:SIP.example.com:5060",
        "sip:198.51.100.1",
        "sip:10.96.7.7:5070",
        "sip:10.0.0.9:5070",
    ] {
        world.caller_sends(Request::new("OPTIONS", "options").call_id(uri).uri(uri).text());
        let ok = world.sent_response(200);
        assert!(ok.text.all("Allow").contains(&"INVITE"), "{uri}");
        assert_eq!(ok.text.get("Accept"), Some("application/sdp"));
        world.silent();
    }
    // Anyone else's address is matched like a call.
    world.caller_sends(Request::new("OPTIONS", "foreign").uri("sip:198.51.100.1:5062").text());
    world.sent_request("OPTIONS");
    assert_eq!(world.count(Counter::OptionsAnswered), 5);
}

#[test]
fn other_requests_to_us_without_a_user_part() {
    let mut world = World::new();
    refused(&mut world, &Request::invite().uri("sip:sip.example.com"), 404);
    let refusal = refused(&mut world, &Request::new("MESSAGE", "message").uri("sip:sip.example.com"), 405);
    assert_eq!(refusal.text.all("Allow"), ["OPTIONS"]);
    // A registration names the domain only.
    world.caller_sends(Request::new("REGISTER", "register").uri("sip:sip.example.com").text());
    world.sent_request("REGISTER");
}

#[test]
fn refusals_go_back_where_the_request_came_from() {
    let mut world = World::new();
    let mut invite = Request::invite().uri("urn:x:y").via("SIP/2.0/UDP phone.example.org:5080;branch=z9hG4bKx");
    world.receive_at(PUBLIC, "192.0.2.33:40000", invite.text());
    let refusal = world.sent_response(416);
    assert_eq!(refusal.to.to_string(), "192.0.2.33:5080", "RFC 3261 §18.2.2: the port of sent-by");
    assert!(refusal.text.get("Via").unwrap().ends_with(";received=192.0.2.33"));
    invite = invite.via("SIP/2.0/UDP 203.0.113.66:5080;maddr=203.0.113.66;branch=z9hG4bKy;received=203.0.113.66;rport");
    world.receive_at(PUBLIC, "192.0.2.33:40000", invite.text());
    let refusal = world.sent_response(416);
    assert_eq!(refusal.to.to_string(), "192.0.2.33:40000", "never to a third party");
    assert_eq!(refusal.from, PUBLIC);
    let via = refusal.text.get("Via").unwrap();
    assert!(via.contains(";rport=40000") && via.contains(";received=192.0.2.33") && !via.contains("received=203"));
}

#[test]
fn a_stranger_on_the_side_of_the_nodes_gets_403() {
    let mut world = World::new();
    for source in [CALLER, "10.2.3.4:5060"] {
        world.receive_at(switchtender_proxy::Local::NodeSide, source, Request::invite().text());
        assert_eq!(world.sent_response(403).from, switchtender_proxy::Local::NodeSide);
        world.silent();
    }
    assert_eq!(world.count(Counter::RejectedOutward), 2);
}

#[test]
fn a_socket_bound_to_every_address_is_ours_at_the_one_that_was_called_and_answers_from_there() {
    let mut config = crate::world::config();
    config.listeners[0].address = crate::world::address("0.0.0.0:5060");
    config.listeners[0].advertise = None;
    let mut world = World::with(config, &Setup::default());
    let options = |branch: &str, uri: &str| Request::new("OPTIONS", branch).uri(uri).text();
    world.receive_on(PUBLIC, Some("198.51.100.5"), CALLER, options("ours", "sip:198.51.100.5"));
    let ok = world.sent_response(200);
    assert_eq!(ok.local_ip, Some("198.51.100.5".parse().unwrap()));
    world.receive_on(PUBLIC, Some("198.51.100.5"), CALLER, options("other", "sip:198.51.100.6"));
    world.sent_request("OPTIONS");
    world.receive_on(PUBLIC, Some("198.51.100.5"), CALLER, Request::invite().text());
    assert_eq!(world.sent_response(100).local_ip, Some("198.51.100.5".parse().unwrap()));
    let invite = world.sent_request("INVITE");
    assert!(
        invite.text.all("Record-Route")[1].ends_with("@198.51.100.5:5060;lr>"),
        "the address that the caller knows"
    );
}
