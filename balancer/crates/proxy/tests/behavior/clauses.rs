//! Clauses of RFC 3261 and its kin that no other file here has: each one test, named after its section.

use std::time::Duration;

use switchtender_proxy::{Counter, Local};

use crate::call::{answered, place};
use crate::text::Request;
use crate::world::{CALLER, NODES, PUBLIC, Setup, World, config};

#[test]
fn rfc_3261_16_3_step_3_options_with_no_hop_left_is_answered_by_us() {
    let mut world = World::new();
    let mut options = Request::new("OPTIONS", "last");
    options.max_forwards = Some(0);
    world.caller_sends(options.text());
    let ok = world.sent_response(200);
    assert!(ok.text.all("Allow").contains(&"INVITE"));
    world.silent();
    assert_eq!(world.count(Counter::OptionsAnswered), 1);
}

#[test]
fn rfc_5393_5_3_3_max_breadth_goes_on_as_it_came_since_attempts_follow_one_another() {
    let mut world = World::new();
    let first = place(&mut world, &Request::invite().extra("Max-Breadth: 3"));
    world.respond(&first, first.text.response(503, "Maximum Calls In Progress", ""));
    world.sent_request("ACK");
    let second = world.sent_request("INVITE");
    for sent in [first, second] {
        assert_eq!(sent.text.all("Max-Breadth"), ["3"]);
    }
}

#[test]
fn rfc_3261_16_5_a_request_for_another_domain_keeps_its_request_uri() {
    let mut world = World::new();
    for uri in ["sip:bob@biloxi.example.org:5062;user=phone", "sip:+1-555@203.0.113.9", "tel:+1-555-0100"] {
        let sent = place(&mut world, &Request::invite().call_id(uri).uri(uri));
        assert_eq!(sent.text.uri(), uri);
    }
}

#[test]
fn rfc_3261_16_5_in_a_dialog_the_token_is_the_only_target() {
    let mut world = World::new();
    let (sent, ok) = answered(&mut world, &Request::invite());
    let moved =
        Request::in_dialog("UPDATE", "moved", &ok).uri("sip:1000@203.0.113.66:5099").route("<sip:203.0.113.67;lr>");
    world.caller_sends(moved.text());
    let update = world.sent_request("UPDATE");
    assert_eq!(update.to, sent.to);
    assert_eq!(update.text.uri(), "sip:1000@203.0.113.66:5099", "which the node routes by, as it came");
}

#[test]
fn rfc_3261_16_6_step_1_the_copy_has_every_field_in_its_order() {
    let mut world = World::new();
    let mut invite = Request::invite()
        .extra("Subject: first")
        .extra("X-Unheard-Of: a;b=\"c, d\",e")
        .extra("Supported: 100rel, timer")
        .extra("Subject: second");
    invite.via.push("SIP/2.0/UDP 192.168.0.7:5062;branch=z9hG4bKphone".into());
    invite.routes = vec!["<sip:203.0.113.66;lr>".into(), "<sip:203.0.113.67;lr>".into()];
    let sent = place(&mut world, &invite);
    let fields = |text: &str| -> Vec<String> {
        let head = text.split("\r\n\r\n").next().unwrap();
        let changed = ["Record-Route: <sip:", "Max-Forwards: "];
        head.lines()
            .skip(1)
            .filter(|line| !changed.iter().any(|start| line.starts_with(start)))
            .map(|line| line.replace(";received=192.0.2.10", "").replace("rport=5060", "rport"))
            .collect()
    };
    let forwarded = fields(&sent.text.to_string());
    assert!(forwarded[0].starts_with("Via: SIP/2.0/UDP 10.0.0.9:5071;"), "ours is the first");
    assert_eq!(forwarded[1..], fields(&invite.text()), "and all others follow as they came");
    assert_eq!(sent.text.body(), invite.body);
}

#[test]
fn rfc_3261_16_6_step_4_only_requests_that_begin_a_dialog_get_record_route() {
    for (method, records) in [
        ("INVITE", 2),
        ("SUBSCRIBE", 2),
        ("REFER", 2),
        ("MESSAGE", 0),
        ("OPTIONS", 0),
        ("PUBLISH", 0),
        ("REGISTER", 0),
        ("INFO", 0),
    ] {
        let mut world = World::new();
        world.caller_sends(Request::new(method, "new").text());
        let sent = world.drain().pop().unwrap();
        assert_eq!(sent.text.method(), Some(method));
        assert_eq!(sent.text.all("Record-Route").len(), records, "{method}");
    }
    let mut world = World::new();
    let (_, ok) = answered(&mut world, &Request::invite());
    for method in ["UPDATE", "REFER", "SUBSCRIBE", "BYE"] {
        world.caller_sends(Request::in_dialog(method, method, &ok).text());
        assert_eq!(world.sent_request(method).text.all("Record-Route"), Vec::<&str>::new(), "{method}");
    }
}

#[test]
fn rfc_3261_16_6_step_4_a_sips_request_gets_416_since_no_hop_of_ours_is_secure() {
    let mut world = World::new();
    world.caller_sends(Request::invite().uri("sips:1000@sip.example.com").text());
    world.sent_response(416);
    world.silent();
    // What is in a dialog goes on: refusing a BYE would leave a call standing.
    let (sent, ok) = answered(&mut world, &Request::invite().call_id("plain"));
    let mut bye = Request::in_dialog("BYE", "bye", &ok).uri("sips:node@10.1.0.1:5060");
    bye.call_id = "plain".into();
    world.caller_sends(bye.text());
    assert_eq!(world.sent_request("BYE").to, sent.to);
}

#[test]
fn rfc_3261_16_6_step_11_timer_c_is_longer_than_three_minutes() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    world.respond(&sent, sent.text.response(180, "Ringing", ""));
    world.sent_response(180);
    world.pass(Duration::from_secs(180));
    world.silent();
    world.pass(Duration::from_secs(2));
    world.sent_request("CANCEL");
}

#[test]
fn rfc_3261_16_6_no_tag_is_added_to_a_relayed_request_or_response() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    assert_eq!(sent.text.get("To"), Some("<sip:1000@sip.example.com>"));
    // RFC 2543 allowed responses without one.
    let untagged = sent.text.response(180, "Ringing", "").replace(";tag=node", "");
    world.respond(&sent, untagged);
    assert_eq!(world.sent_response(180).text.get("To"), Some("<sip:1000@sip.example.com>"));
}

#[test]
fn rfc_3261_16_2_our_100_has_no_tag_and_the_nodes_is_not_passed_on() {
    let mut world = World::new();
    world.caller_sends(Request::invite().text());
    let trying = world.sent_response(100);
    assert_eq!(trying.text.get("To"), Some("<sip:1000@sip.example.com>"));
    let sent = world.sent_request("INVITE");
    world.respond(&sent, sent.text.response(100, "Giving a try", "X-Node: 1\r\n"));
    world.silent();
}

#[test]
fn rfc_3261_16_7_step_5_a_6xx_ends_the_search_and_cancels_what_is_pending() {
    let retry_on = r#"{"own_refusal": true, "timeout": true, "transport": true, "codes": [600]}"#;
    let mut world = World::with(config(), &Setup { retry_on, ..Setup::default() });
    let invite = Request::invite();
    let first = place(&mut world, &invite);
    world.pass_ms(2000);
    let second = world.drain().pop().unwrap();
    assert!(second.to_node(NODES[1]), "the first kept silent");
    world.respond(&second, second.text.response(603, "Decline", ""));
    world.sent_request("ACK");
    world.sent_response(603);
    world.silent();
    // The first may be cancelled as soon as it says anything (RFC 3261 §9.1).
    world.respond(&first, first.text.response(180, "Ringing", ""));
    assert_eq!(world.sent_request("CANCEL").to, first.to);
    world.silent();
    world.caller_sends(invite.of_same_transaction("ACK"));
    world.settle_down();
}

#[test]
fn rfc_3261_16_7_step_7_a_challenge_is_passed_at_once_so_there_is_never_a_second_to_collect() {
    let retry_on = r#"{"own_refusal": true, "timeout": true, "transport": true, "codes": [401, 407]}"#;
    for (status, name) in [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")] {
        let mut world = World::with(config(), &Setup { retry_on, ..Setup::default() });
        let sent = place(&mut world, &Request::invite());
        let challenges =
            format!("{name}: Digest realm=\"a\", nonce=\"1\"\r\n{name}: Digest realm=\"b\", nonce=\"2\"\r\n");
        world.respond(&sent, sent.text.response(status, "Who", &challenges));
        world.sent_request("ACK");
        let passed = world.sent_response(status);
        let count = passed.text.to_string().matches(&format!("{name}: Digest")).count();
        assert_eq!(count, 2, "every challenge of the node reaches the caller");
        world.silent();
    }
}

#[test]
fn rfc_3261_16_7_step_8_the_to_tag_of_the_response_that_is_passed_is_its_own() {
    let mut world = World::new();
    let sent = place(&mut world, &Request::invite());
    for (status, tag) in [(180, "one"), (183, "two"), (486, "three")] {
        world.respond(&sent, sent.text.response(status, "Any", "").replace("tag=node", &format!("tag={tag}")));
        let passed = world.drain().pop().unwrap();
        assert!(passed.text.get("To").unwrap().ends_with(&format!(";tag={tag}")), "{}", passed.text);
    }
}

#[test]
fn rfc_3261_16_7_step_9_our_via_is_the_one_that_goes() {
    let mut world = World::new();
    let mut invite = Request::invite();
    invite.via.push("SIP/2.0/UDP 192.168.0.7:5062;branch=z9hG4bKphone".into());
    let sent = place(&mut world, &invite);
    world.respond(&sent, sent.text.response(200, "OK", ""));
    let ok = world.sent_response(200);
    assert_eq!(ok.text.all("Via"), sent.text.all("Via")[1..]);
}

#[test]
fn rfc_3261_16_10_a_cancel_of_an_unknown_invite_is_answered_since_nobody_knows_its_node() {
    let mut world = World::new();
    let invite = Request::invite();
    let sent = place(&mut world, &invite);
    let mut later = config();
    later.run_id += 1;
    world.restart(later);
    world.caller_sends(invite.of_same_transaction("CANCEL"));
    world.sent_response(481);
    world.silent();
    // The INVITE that the caller repeats after our restart is a new one, and its CANCEL finds it.
    let again = place(&mut world, &invite);
    assert_ne!(again.text.top_branch(), sent.text.top_branch());
    world.caller_sends(invite.of_same_transaction("CANCEL"));
    world.sent_response(200);
}

#[test]
fn rfc_3261_18_2_1_received_is_added_wherever_sent_by_is_not_the_source() {
    for (via, added) in [
        ("SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK1", false),
        ("SIP/2.0/UDP 192.0.2.11:5060;branch=z9hG4bK1", true),
        ("SIP/2.0/UDP phone.example.org;branch=z9hG4bK1", true),
    ] {
        let mut world = World::new();
        world.caller_sends(Request::invite().via(via).text());
        let trying = world.sent_response(100);
        assert_eq!(trying.text.get("Via").unwrap().contains(";received=192.0.2.10"), added, "{via}");
    }
}

#[test]
fn rfc_3261_18_3_bytes_past_the_content_length_are_no_part_of_the_message() {
    let mut world = World::new();
    let invite = Request::invite();
    world.caller_sends(invite.text() + "trailing bytes of nobody");
    world.sent_response(100);
    assert_eq!(world.sent_request("INVITE").text.body(), invite.body);
}

#[test]
fn rfc_3261_18_3_without_a_content_length_the_datagram_is_the_message() {
    let mut world = World::new();
    let invite = Request::invite();
    let length = format!("Content-Length: {}\r\n", invite.body.len());
    world.caller_sends(invite.text().replace(&length, ""));
    world.sent_response(100);
    assert_eq!(world.sent_request("INVITE").text.body(), invite.body);
}

#[test]
fn rfc_3261_18_3_a_body_that_is_cut_off_gets_400() {
    let mut world = World::new();
    let text = Request::invite().text();
    world.caller_sends(&text[..text.len() - 5]);
    world.sent_response(400);
    world.silent();
}

#[test]
fn rfc_3261_19_1_4_our_own_address_is_compared_as_a_uri() {
    let mut world = World::new();
    for (uri, ours) in [
        ("sip:SIP.Example.COM", true),
        ("SIP:sip.example.com:5060", true),
        ("sip:sip.example.com:05060", true),
        ("sip:sip.example.com;unheard=of", true),
        ("sip:sip.example.com:5062", false),
        ("sip:sip.example.org", false),
        ("sip:1000@sip.example.com", false),
    ] {
        let branch = uri.replace([':', '@', ';', '='], "");
        world.caller_sends(Request::new("OPTIONS", &branch).call_id(uri).uri(uri).text());
        let sent = world.sent();
        assert_eq!(sent.text.status() == Some(200), ours, "{uri}");
        assert_eq!(sent.text.method() == Some("OPTIONS"), !ours, "{uri}");
    }
}

#[test]
fn rfc_3261_7_3_1_fields_in_one_line_or_many_are_the_same() {
    let (mut folded, mut separate) = (World::new(), World::new());
    let mut routes = Vec::new();
    for (world, join) in [(&mut folded, true), (&mut separate, false)] {
        let (_, ok) = answered(world, &Request::invite());
        let mut bye = Request::in_dialog("BYE", "bye", &ok);
        bye.routes.push("<sip:203.0.113.66;lr>".into());
        if join {
            bye.routes = vec![bye.routes.join(" ,\r\n ")];
        }
        world.caller_sends(bye.text());
        let sent = world.sent_request("BYE");
        assert!(sent.to_node(NODES[0]));
        routes.push(sent.text.all("Route").join(","));
    }
    assert_eq!(routes, ["<sip:203.0.113.66;lr>"; 2], "ours are gone, the foreign one stays");
}

#[test]
fn rfc_3261_7_3_3_compact_forms_are_read_and_stay_as_they_are() {
    let mut world = World::new();
    let compact = Request::invite()
        .text()
        .replace("Via: ", "v: ")
        .replace("From: ", "f: ")
        .replace("To: ", "t: ")
        .replace("Call-ID: ", "i: ")
        .replace("Contact: ", "m: ")
        .replace("Content-Type: ", "c: ")
        .replace("Content-Length: ", "l: ");
    world.caller_sends(&compact);
    let trying = world.sent_response(100);
    assert_eq!(trying.to.to_string(), CALLER);
    let sent = world.sent_request("INVITE");
    assert_eq!(sent.text.get("i"), Some("call@192.0.2.10"));
    assert_eq!(sent.text.get("t"), Some("<sip:1000@sip.example.com>"));
    world.respond(
        &sent,
        sent.text
            .to_string()
            .split("\r\n\r\n")
            .next()
            .unwrap()
            .replace(sent.text.first_line(), "SIP/2.0 180 Ringing")
            .replace("example.com>\r\ni:", "example.com>;tag=n\r\ni:")
            .replace(&format!("\r\nl: {}", Request::invite().body.len()), "\r\nl: 0")
            + "\r\n\r\n",
    );
    assert_eq!(world.sent_response(180).from, PUBLIC);
}

#[test]
fn rfc_3261_7_3_1_a_folded_line_is_one_line() {
    let mut world = World::new();
    let folded = Request::invite()
        .text()
        .replace("From: <sip:caller@192.0.2.10>;tag", "From:\r\n <sip:caller@192.0.2.10>\r\n\t;tag");
    world.caller_sends(&folded);
    world.sent_response(100);
    let sent = world.sent_request("INVITE");
    world.respond(
        &sent,
        sent.text.response(200, "OK", "").replace("From: \r\n", "From: <sip:caller@192.0.2.10>;tag=caller\r\n"),
    );
    let ok = world.sent_response(200).text;
    // The token was bound to the tag on the continuation line.
    world.caller_sends(Request::in_dialog("BYE", "bye", &ok).text());
    assert!(world.sent_request("BYE").to_node(NODES[0]));
    assert_eq!(world.count(Counter::TokensRefused), 0);
}

#[test]
fn rfc_3261_8_2_2_1_a_request_from_a_node_is_answered_where_it_came_in() {
    let mut world = World::new();
    let mut options = Request::new("OPTIONS", "ping").uri("sip:10.96.7.7:5070");
    options.via = vec!["SIP/2.0/UDP 10.1.0.1;rport;branch=z9hG4bKping".into()];
    world.receive_at(Local::NodeSide, NODES[0], options.text());
    let ok = world.sent_response(200);
    assert_eq!((ok.from, ok.to.to_string()), (Local::NodeSide, NODES[0].to_owned()));
}
