//! Messages that a proxy makes itself.

use switchtender_sip::{Error, Index, Message, Method, Output, Overflow, Response, ack, cancel, respond};

use crate::{INVITE, text, with};

fn written(write: impl FnOnce(&mut Output<'_>) -> Result<(), Overflow>) -> String {
    let mut buffer = [0; 4096];
    let mut output = Output::new(&mut buffer);
    write(&mut output).unwrap();
    text(output.written())
}

const PLAIN: Response<'static> = Response { code: 404, reason: b"Not Found", to_tag: None, source: None, fields: b"" };

fn answered(request: &str, response: &Response<'_>) -> String {
    let answer = with(request, |message| written(|output| respond(&message, response, output)));
    with(&answer, |message| assert_eq!(message.code(), Some(response.code)));
    answer
}

#[test]
fn a_response_copies_what_it_must() {
    let request = INVITE
        .replace("Max-Forwards: 70", "Max-Forwards: 70\r\nv: SIP/2.0/UDP b,SIP/2.0/UDP c\r\nTimestamp: 54")
        .replace("Contact:", "Record-Route: <sip:r>\r\nContact:");
    let response = Response {
        code: 503,
        reason: b"Service Unavailable",
        to_tag: Some(b"t9"),
        source: Some("198.51.100.9:1024".parse().unwrap()),
        fields: b"Retry-After: 7\r\n",
    };
    assert_eq!(
        answered(&request, &response),
        "SIP/2.0 503 Service Unavailable\r\n\
         Via: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bK-1;rport=1024;received=198.51.100.9\r\n\
         v: SIP/2.0/UDP b,SIP/2.0/UDP c\r\n\
         From: \"Ann\" <sip:ann@example.com>;tag=f1\r\n\
         To: <sip:conf@sip.example.com>;tag=t9\r\n\
         Call-ID: c1@192.0.2.7\r\n\
         CSeq: 7 INVITE\r\n\
         Retry-After: 7\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

#[test]
fn timestamp_goes_into_100_only() {
    let request = INVITE.replace("Contact:", "Timestamp: 54\r\nContact:");
    let trying = Response { code: 100, reason: b"Trying", ..PLAIN };
    assert!(answered(&request, &trying).contains("\r\nTimestamp: 54\r\n"));
    assert!(!answered(&request, &PLAIN).contains("Timestamp"));
}

#[test]
fn a_tag_without_a_value_gives_way() {
    for empty in [";tag=", " ;TAG", ";tag=;x=y"] {
        let tagged =
            INVITE.replace("To: <sip:conf@sip.example.com>", &format!("To: <sip:conf@sip.example.com>{empty}"));
        let answer = answered(&tagged, &Response { to_tag: Some(b"new"), ..PLAIN });
        with(&answer, |message| assert_eq!(message.to_tag(), Some(&b"new"[..]), "{answer}"));
    }
}

#[test]
fn a_to_tag_that_is_there_stays() {
    let tagged = INVITE.replace("To: <sip:conf@sip.example.com>", "t: <sip:conf@sip.example.com> ; TAG = old \r\n ");
    let answer = answered(&tagged, &Response { to_tag: Some(b"new"), ..PLAIN });
    assert!(answer.contains("t: <sip:conf@sip.example.com> ; TAG = old \r\n \r\n"), "{answer}");
    assert!(!answer.contains("new"));
    // A tag among the parameters of the URI is none of the dialog.
    let inner = INVITE.replace("To: <sip:conf@sip.example.com>", "To: <sip:conf@sip.example.com;tag=uri>");
    assert!(
        answered(&inner, &Response { to_tag: Some(b"new"), ..PLAIN })
            .contains("<sip:conf@sip.example.com;tag=uri>;tag=new\r\n")
    );
}

#[test]
fn source_is_noted_in_the_first_element_only() {
    let request = INVITE.replace(
        "Via: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bK-1;rport",
        "Via: SIP/2.0/UDP a;rport , SIP/2.0/UDP b;rport",
    );
    let answer = answered(&request, &Response { source: Some("192.0.2.8:9".parse().unwrap()), ..PLAIN });
    assert!(answer.contains("\r\nVia: SIP/2.0/UDP a;rport=9;received=192.0.2.8 , SIP/2.0/UDP b;rport\r\n"), "{answer}");
}

#[test]
fn a_faulty_request_is_answered_with_what_is_there() {
    let request = INVITE.replace("Call-ID: c1@192.0.2.7\r\n", "").replace("CSeq: 7 INVITE", "CSeq 7 INVITE");
    let mut index = Index::new();
    assert_eq!(index.parse(request.as_bytes()), Err(Error::HeaderLine));
    let answer = written(|output| respond(&index.message(request.as_bytes()), &PLAIN, output));
    assert_eq!(
        answer,
        "SIP/2.0 404 Not Found\r\n\
         Via: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bK-1;rport\r\n\
         From: \"Ann\" <sip:ann@example.com>;tag=f1\r\n\
         To: <sip:conf@sip.example.com>\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

#[test]
fn a_to_that_does_not_parse_is_copied() {
    let request = INVITE.replace("To: <sip:conf@sip.example.com>", "To: <sip:conf");
    let answer = with(&request, |message| {
        written(|output| respond(&message, &Response { to_tag: Some(b"t"), ..PLAIN }, output))
    });
    assert!(answer.contains("\r\nTo: <sip:conf\r\n"), "{answer}");
}

/// An INVITE as it was forwarded: two Vias, two Routes.
fn forwarded() -> String {
    INVITE
        .replace("Via:", "Via: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK-2\r\nVia:")
        .replace("Contact:", "Route: <sip:r1;lr>\r\nRoute: <sip:r2;lr>\r\nProxy-Require: x\r\nContact:")
}

#[test]
fn ack_for_a_failure() {
    let response = "SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK-2\r\n\
        To: <sip:conf@sip.example.com>;tag=node\r\nCSeq: 7 INVITE\r\n\r\n";
    let invite = forwarded();
    let found = with(&invite, |invite| with(response, |response| written(|output| ack(&invite, &response, output))));
    assert_eq!(
        found,
        "ACK sip:conf@sip.example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK-2\r\n\
         Route: <sip:r1;lr>\r\n\
         Route: <sip:r2;lr>\r\n\
         Max-Forwards: 70\r\n\
         From: \"Ann\" <sip:ann@example.com>;tag=f1\r\n\
         To: <sip:conf@sip.example.com>;tag=node\r\n\
         Call-ID: c1@192.0.2.7\r\n\
         CSeq: 7 ACK\r\n\
         Content-Length: 0\r\n\r\n"
    );
    with(&found, |message: Message<'_>| {
        assert_eq!(message.method(), Some(Method::Ack));
        assert_eq!(message.validate(), Ok(()));
    });
}

#[test]
fn cancel_of_an_invite() {
    let invite = forwarded();
    let found = with(&invite, |invite| {
        written(|output| cancel(&invite, b"Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n", output))
    });
    assert_eq!(
        found,
        "CANCEL sip:conf@sip.example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK-2\r\n\
         Route: <sip:r1;lr>\r\n\
         Route: <sip:r2;lr>\r\n\
         Max-Forwards: 70\r\n\
         From: \"Ann\" <sip:ann@example.com>;tag=f1\r\n\
         To: <sip:conf@sip.example.com>\r\n\
         Call-ID: c1@192.0.2.7\r\n\
         CSeq: 7 CANCEL\r\n\
         Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n\
         Content-Length: 0\r\n\r\n"
    );
    with(&found, |message| assert_eq!(message.validate(), Ok(())));
}

#[test]
fn what_does_not_fit_fails() {
    with(INVITE, |message| {
        let full = written(|output| respond(&message, &PLAIN, output)).len();
        let mut buffer = [0; 4096];
        for size in 0..full {
            assert_eq!(respond(&message, &PLAIN, &mut Output::new(&mut buffer[..size])), Err(Overflow));
        }
        assert_eq!(respond(&message, &PLAIN, &mut Output::new(&mut buffer[..full])), Ok(()));
    });
}
