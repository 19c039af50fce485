//! Output and edits.

use std::net::SocketAddr;

use switchtender_sip::{Edits, HeaderName, Message, Output, Overflow, Span};

use crate::{INVITE, text, with};

fn spliced(bytes: impl AsRef<[u8]>, edit: impl FnOnce(&mut Edits, &Message<'_>)) -> String {
    with(bytes, |message| {
        let mut edits = Edits::new();
        edit(&mut edits, &message);
        let mut buffer = [0; 8192];
        let mut output = Output::new(&mut buffer);
        edits.splice(&message, &mut output).unwrap();
        text(output.written())
    })
}

#[test]
fn output_writes_numbers_and_addresses() {
    let mut buffer = [0; 128];
    let mut output = Output::new(&mut buffer);
    assert!(output.is_empty());
    for number in [0, 7, 10, 65_535, u64::MAX] {
        output.decimal(number).unwrap();
        output.bytes(b" ").unwrap();
    }
    for address in ["192.0.2.1:5060", "[2001:db8::1]:5061"] {
        let address: SocketAddr = address.parse().unwrap();
        output.socket_addr(address).unwrap();
        output.bytes(b" ").unwrap();
        output.ip(address.ip()).unwrap();
        output.bytes(b" ").unwrap();
        output.plain_ip(address.ip()).unwrap();
        output.bytes(b" ").unwrap();
    }
    let expected = "0 7 10 65535 18446744073709551615 192.0.2.1:5060 192.0.2.1 192.0.2.1 [2001:db8::1]:5061 \
                    [2001:db8::1] 2001:db8::1 ";
    assert_eq!(text(output.written()), expected);
    assert_eq!(output.len(), expected.len());
    assert_eq!(text(output.into_written()), expected);
}

#[test]
fn output_never_writes_past_its_end() {
    let address: SocketAddr = "[2001:db8::ffff:1]:50600".parse().unwrap();
    for size in 0..24 {
        let mut buffer = [b'.'; 32];
        let mut output = Output::new(&mut buffer[..size]);
        let result = output.socket_addr(address);
        assert_eq!(result.is_ok(), size >= 24, "{size}");
        assert!(output.len() <= size);
        assert!(buffer[size..].iter().all(|byte| *byte == b'.'));
    }
    let mut buffer = [0; 4];
    let mut output = Output::new(&mut buffer);
    assert_eq!(output.bytes(b"12345"), Err(Overflow));
    assert_eq!(output.written(), b"");
    assert_eq!(output.bytes(b"1234"), Ok(()));
    assert_eq!(output.decimal(1), Err(Overflow));
    assert_eq!(output.bytes(b""), Ok(()));
}

#[test]
fn nothing_changed_is_the_message_itself() {
    assert_eq!(spliced(INVITE, |_, _| ()), INVITE);
    assert_eq!(spliced(format!("\r\n\n{INVITE}excess"), |_, _| ()), INVITE);
}

#[test]
fn a_request_forwarded() {
    let bytes =
        INVITE.replace("Contact:", "Route: <sip:me;lr>,<sip:next;lr>\r\nRecord-Route: <sip:before;lr>\r\nContact:");
    let forwarded = spliced(&bytes, |edits, message| {
        edits.set_source(message, "198.51.100.9:1024".parse().unwrap());
        edits.set_max_forwards(message, 69);
        edits.remove_first(message, HeaderName::Route, 1);
        edits.push_field(message, HeaderName::RecordRoute, |output| output.bytes(b"<sip:t@me;lr>"));
        edits.push_field(message, HeaderName::Via, |output| {
            output.bytes(b"SIP/2.0/UDP ")?;
            output.socket_addr("192.0.2.1:5070".parse().unwrap())?;
            output.bytes(b";branch=z9hG4bK-2")
        });
        edits.set_uri(message, |output| output.bytes(b"sip:conf@10.0.1.7"));
    });
    let expected = "INVITE sip:conf@10.0.1.7 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK-2\r\n\
        Via: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bK-1;rport=1024;received=198.51.100.9\r\n\
        Max-Forwards: 69\r\n\
        From: \"Ann\" <sip:ann@example.com>;tag=f1\r\n\
        To: <sip:conf@sip.example.com>\r\n\
        Call-ID: c1@192.0.2.7\r\n\
        CSeq: 7 INVITE\r\n\
        Route: <sip:next;lr>\r\n\
        Record-Route: <sip:t@me;lr>\r\n\
        Record-Route: <sip:before;lr>\r\n\
        Contact: <sip:ann@192.0.2.7:5062>\r\n\
        Content-Type: application/sdp\r\n\
        Content-Length: 5\r\n\
        \r\n\
        v=0\r\n";
    assert_eq!(forwarded, expected);
}

#[test]
fn a_response_forwarded() {
    for vias in [
        "Via: SIP/2.0/UDP me;branch=1\r\nv: SIP/2.0/UDP you;branch=2\r\n",
        "v: SIP/2.0/UDP me;branch=1 ,\r\n SIP/2.0/UDP you;branch=2\r\n",
    ] {
        let bytes = format!("SIP/2.0 503 Busy\r\n{vias}To: <sip:a@b>;tag=1\r\n\r\n");
        let forwarded = spliced(bytes, |edits, message| {
            edits.remove_first(message, HeaderName::Via, 1);
            edits.set_status(message, 500, b"Server Internal Error");
        });
        assert_eq!(
            forwarded,
            "SIP/2.0 500 Server Internal Error\r\nv: SIP/2.0/UDP you;branch=2\r\nTo: <sip:a@b>;tag=1\r\n\r\n"
        );
    }
}

#[test]
fn several_elements_removed_at_once() {
    let before = "Route: <a>,<b>, <c>\r\nRoute:\r\nRoute: <d>,\r\nRoute: <e>, <f>\r\n";
    for (count, after) in [
        (0, before),
        (1, "Route: <b>, <c>\r\nRoute:\r\nRoute: <d>,\r\nRoute: <e>, <f>\r\n"),
        (2, "Route: <c>\r\nRoute:\r\nRoute: <d>,\r\nRoute: <e>, <f>\r\n"),
        (3, "Route:\r\nRoute: <d>,\r\nRoute: <e>, <f>\r\n"),
        (4, "Route:\r\nRoute: <e>, <f>\r\n"),
        (5, "Route:\r\nRoute: <f>\r\n"),
        (6, "Route:\r\n"),
        (9, "Route:\r\n"),
    ] {
        let found = spliced(format!("ACK sip:a SIP/2.0\r\n{before}\r\n"), |edits, message| {
            edits.remove_first(message, HeaderName::Route, count);
        });
        assert_eq!(found, format!("ACK sip:a SIP/2.0\r\n{after}\r\n"), "{count}");
    }
}

#[test]
fn last_element_removed() {
    for (before, after) in [
        ("Route: <a>, <b>\r\n", "Route: <a>\r\n"),
        ("Route: <a>\r\nRoute: <b>\r\n", "Route: <a>\r\n"),
        ("Route: <a>\r\n", ""),
        ("", ""),
    ] {
        let found = spliced(format!("ACK sip:a SIP/2.0\r\n{before}\r\n"), |edits, message| {
            edits.remove_last(message, HeaderName::Route);
        });
        assert_eq!(found, format!("ACK sip:a SIP/2.0\r\n{after}\r\n"));
    }
}

#[test]
fn all_fields_removed_and_fields_added_where_none_was() {
    let found = spliced("ACK sip:a SIP/2.0\r\nRoute: <a>\r\nX: 1\r\nroute: <b>\r\n\r\n", |edits, message| {
        edits.remove_all(message, HeaderName::Route);
        edits.set_max_forwards(message, 70);
        edits.push_field(message, HeaderName::Path, |output| output.bytes(b"<p>"));
    });
    assert_eq!(found, "ACK sip:a SIP/2.0\r\nMax-Forwards: 70\r\nPath: <p>\r\nX: 1\r\n\r\n");
}

#[test]
fn changes_that_do_not_apply_change_nothing() {
    let found = spliced(INVITE, |edits, message| edits.set_status(message, 500, b"x"));
    assert_eq!(found, INVITE);
    let response = "SIP/2.0 200 OK\r\nVia: none\r\n\r\n";
    let found = spliced(response, |edits, message| {
        edits.set_uri(message, |output| output.bytes(b"x"));
        edits.set_source(message, "192.0.2.1:1".parse().unwrap());
    });
    assert_eq!(found, response);
}

#[test]
fn edits_in_any_order_and_overlapping() {
    let message = "ACK sip:abcdefghij SIP/2.0\r\n\r\n";
    let base = 8; // of "abcdefghij"
    let span = |start: u16, end: u16| Span { start: base + start, end: base + end };
    let found = spliced(message, |edits, _| {
        edits.insert(base + 9, |output| output.bytes(b"9"));
        edits.insert(base, |output| output.bytes(b"1"));
        edits.delete(span(2, 6));
        edits.replace(span(4, 8), |output| output.bytes(b"#"));
        edits.insert(base, |output| output.bytes(b"2"));
        edits.insert(base + 3, |output| output.bytes(b"in"));
    });
    assert_eq!(found, "ACK sip:12abin#i9j SIP/2.0\r\n\r\n");
}

#[test]
fn what_does_not_fit_fails_the_splice() {
    with(INVITE, |message| {
        let mut edits = Edits::new();
        let mut buffer = [0; 8192];
        let splice = |edits: &Edits, buffer: &mut [u8]| edits.splice(&message, &mut Output::new(buffer));
        for _ in 0..32 {
            edits.insert(40, |output| output.bytes(b"x"));
        }
        assert_eq!(splice(&edits, &mut buffer), Ok(()));
        edits.insert(40, |output| output.bytes(b"x"));
        assert_eq!(splice(&edits, &mut buffer), Err(Overflow));

        edits.clear();
        assert_eq!(splice(&edits, &mut buffer), Ok(()));
        edits.insert(40, |output| output.bytes(&[b'x'; 4096]));
        assert_eq!(splice(&edits, &mut buffer), Ok(()));
        edits.insert(40, |output| output.bytes(b"x"));
        assert_eq!(splice(&edits, &mut buffer), Err(Overflow));

        edits.clear();
        assert_eq!(splice(&edits, &mut buffer[..INVITE.len()]), Ok(()));
        assert_eq!(splice(&edits, &mut buffer[..INVITE.len() - 1]), Err(Overflow));
    });
}
