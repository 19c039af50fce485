//! Callers behind NAT: their own flow and nothing else.

use switchtender_proxy::Local;

use crate::text::Request;
use crate::world::{NODES, PUBLIC, Setup, World, config};

/// Where the node's INFO goes that has `uri` as Request-URI, in the dialog of an INVITE with this Via and Contact.
fn info_goes_to(nat_listener: bool, via: &str, contact: &str, uri: &str) -> String {
    let mut config = config();
    config.listeners[0].nat = nat_listener;
    let mut world = World::with(config, &Setup::default());
    let invite = Request { contact: Some(contact.into()), ..Request::invite() }.via(via);
    world.receive_at(PUBLIC, "192.0.2.10:1024", invite.text());
    world.sent_response(100);
    let sent = world.sent_request("INVITE");
    world.receive_at(Local::NodeSide, NODES[0], Request::by_node("INFO", "info", &sent.text).uri(uri).text());
    let info = world.sent_request("INFO");
    assert_eq!(info.from, PUBLIC);
    info.to.to_string()
}

const PUBLIC_VIA: &str = "SIP/2.0/UDP 192.0.2.10:1024;branch=z9hG4bKx;rport";
const PUBLIC_CONTACT: &str = "<sip:caller@192.0.2.10:1024>";

#[test]
fn without_nat_the_request_uri_counts() {
    let to = info_goes_to(false, PUBLIC_VIA, PUBLIC_CONTACT, "sip:caller@192.0.2.10:5090");
    assert_eq!(to, "192.0.2.10:5090");
}

#[test]
fn nat_is_seen_in_the_via() {
    let via = "SIP/2.0/UDP 192.168.1.5:5060;branch=z9hG4bKx;rport";
    assert_eq!(info_goes_to(false, via, PUBLIC_CONTACT, "sip:caller@192.0.2.77:5090"), "192.0.2.10:1024");
}

#[test]
fn nat_is_seen_in_the_contact() {
    let contact = "<sip:caller@192.168.1.5:5060>";
    assert_eq!(info_goes_to(false, PUBLIC_VIA, contact, "sip:caller@192.168.1.5:5060"), "192.0.2.10:1024");
}

#[test]
fn nobody_draws_a_nodes_requests_to_a_third_party() {
    let victim = "sip:victim@203.0.113.66:5060";
    for (extra, second_via, contact) in [
        ("", false, "<sip:caller@192.0.2.10:1024;maddr=203.0.113.66>"),
        ("", true, "<sip:victim@203.0.113.66:5060>"),
        ("Record-Route: <sip:203.0.113.66;lr>\r\n", false, PUBLIC_CONTACT),
        ("Record-Route: <sip:192.0.2.10;maddr=203.0.113.66;lr>\r\n", true, PUBLIC_CONTACT),
    ] {
        let mut world = World::new();
        let mut invite = Request { contact: Some(contact.into()), ..Request::invite() }.via(PUBLIC_VIA);
        if second_via {
            invite.via.push("SIP/2.0/UDP 203.0.113.66;branch=z9hG4bKbelow".into());
        }
        invite.extra += extra;
        world.receive_at(PUBLIC, "192.0.2.10:1024", invite.text());
        world.sent_response(100);
        let sent = world.sent_request("INVITE");
        let uri = if contact == PUBLIC_CONTACT { "sip:caller@192.0.2.10:1024" } else { victim };
        let uri = if contact.contains("maddr") { contact.trim_matches(['<', '>']) } else { uri };
        world.receive_at(Local::NodeSide, NODES[0], Request::by_node("BYE", "bye", &sent.text).uri(uri).text());
        assert_eq!(world.sent_request("BYE").to.to_string(), "192.0.2.10:1024", "{contact} {extra}");
    }
}

#[test]
fn a_listener_for_callers_behind_nat() {
    assert_eq!(info_goes_to(true, PUBLIC_VIA, PUBLIC_CONTACT, "sip:caller@192.0.2.10:5090"), "192.0.2.10:1024");
}

#[test]
fn a_listener_for_callers_behind_nat_answers_to_the_source_port_unasked() {
    let mut config = config();
    config.listeners[0].nat = true;
    let mut world = World::with(config, &Setup::default());
    world.receive_at(
        PUBLIC,
        "192.0.2.10:1024",
        Request::invite().via("SIP/2.0/UDP 192.168.1.5;branch=z9hG4bKx").text(),
    );
    assert_eq!(world.sent_response(100).to.to_string(), "192.0.2.10:1024");
}
