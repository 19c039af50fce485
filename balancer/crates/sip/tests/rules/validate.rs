//! What must be there, and who is answered.

use switchtender_sip::{Answer, Error, HeaderName, Index, Method};

use crate::{INVITE, with};

fn verdict(bytes: &str) -> Result<(), Error> {
    with(bytes, |message| message.validate())
}

#[test]
fn mandatory_fields() {
    assert_eq!(verdict(INVITE), Ok(()));
    for (start, name, reason) in [
        ("Via:", HeaderName::Via, "Missing Via"),
        ("From:", HeaderName::From, "Missing From"),
        ("To:", HeaderName::To, "Missing To"),
        ("Call-ID:", HeaderName::CallId, "Missing Call-ID"),
        ("CSeq:", HeaderName::CSeq, "Missing CSeq"),
    ] {
        let error = verdict(&INVITE.replace(start, "X:")).unwrap_err();
        assert_eq!(error, Error::Missing(name));
        assert_eq!(error.answer(), Answer::Respond { code: 400, reason });
    }
    assert_eq!(verdict(&INVITE.replace("Max-Forwards:", "X:")), Ok(()));
}

#[test]
fn fields_that_stand_once() {
    for (field, name, reason) in [
        ("f: <sip:b@c>;tag=2", HeaderName::From, "Repeated From"),
        ("t: <sip:b@c>", HeaderName::To, "Repeated To"),
        ("i: c1@192.0.2.7", HeaderName::CallId, "Repeated Call-ID"),
        ("CSEQ: 7 INVITE", HeaderName::CSeq, "Repeated CSeq"),
        ("max-forwards: 70", HeaderName::MaxForwards, "Repeated Max-Forwards"),
        ("l: 5", HeaderName::ContentLength, "Repeated Content-Length"),
    ] {
        let error = verdict(&INVITE.replace("Content-Type: application/sdp", field)).unwrap_err();
        assert_eq!(error, Error::Repeated(name));
        assert_eq!(error.answer(), Answer::Respond { code: 400, reason });
    }
}

#[test]
fn fields_that_must_parse() {
    for (from, to, name, reason) in [
        ("SIP/2.0/UDP", "SIP/3.0/UDP", HeaderName::Via, "Malformed Via"),
        ("<sip:ann@example.com>", "<sip:ann@example.com", HeaderName::From, "Malformed From"),
        ("\"Ann\"", "\"Ann", HeaderName::From, "Malformed From"),
        ("To: <sip:conf@sip.example.com>", "To: \"x\" ;a=b", HeaderName::To, "Malformed To"),
        ("To: <sip:conf@sip.example.com>", "To:", HeaderName::To, "Malformed To"),
        ("c1@192.0.2.7", "", HeaderName::CallId, "Malformed Call-ID"),
        ("c1@192.0.2.7", "c1 c2", HeaderName::CallId, "Malformed Call-ID"),
        ("7 INVITE", "2147483648 INVITE", HeaderName::CSeq, "Malformed CSeq"),
        ("7 INVITE", "36893488147419103232 INVITE", HeaderName::CSeq, "Malformed CSeq"),
        ("7 INVITE", "7INVITE", HeaderName::CSeq, "Malformed CSeq"),
        ("7 INVITE", "7", HeaderName::CSeq, "Malformed CSeq"),
        ("7 INVITE", "-7 INVITE", HeaderName::CSeq, "Malformed CSeq"),
        ("7 INVITE", "7 INVITE x", HeaderName::CSeq, "Malformed CSeq"),
        ("Max-Forwards: 70", "Max-Forwards: 256", HeaderName::MaxForwards, "Malformed Max-Forwards"),
        ("Max-Forwards: 70", "Max-Forwards: -1", HeaderName::MaxForwards, "Malformed Max-Forwards"),
        ("Max-Forwards: 70", "Max-Forwards:", HeaderName::MaxForwards, "Malformed Max-Forwards"),
    ] {
        let error = verdict(&INVITE.replace(from, to)).unwrap_err();
        assert_eq!(error, Error::Malformed(name), "{to}");
        assert_eq!(error.answer(), Answer::Respond { code: 400, reason }, "{to}");
    }
}

#[test]
fn cseq_method_is_the_requests() {
    let error = verdict(&INVITE.replace("7 INVITE", "7 OPTIONS")).unwrap_err();
    assert_eq!(error, Error::CSeqMethod);
    assert_eq!(error.answer(), Answer::Respond { code: 400, reason: "CSeq Method Mismatch" });
    assert_eq!(verdict(&INVITE.replace("7 INVITE", "7 invite")), Err(Error::CSeqMethod));
    // Both are `Other`, and differ even so.
    assert_eq!(
        verdict(&INVITE.replace("INVITE sip:", "FOO sip:").replace("7 INVITE", "7 BAR")),
        Err(Error::CSeqMethod)
    );
    with(INVITE.replace("7 INVITE", "2147483647 INVITE"), |message| {
        let cseq = message.cseq().unwrap();
        assert_eq!((cseq.number, cseq.method, cseq.method_text), (2_147_483_647, Method::Invite, &b"INVITE"[..]));
    });
}

#[test]
fn request_uri_is_a_uri() {
    for uri in ["<sip:conf@sip.example.com>", "conf", "sip:", "sip:a@b@c", "sip:conf@", "1sip:x"] {
        let error = verdict(&INVITE.replacen("sip:conf@sip.example.com", uri, 1)).unwrap_err();
        assert_eq!(error, Error::RequestUri, "{uri}");
        assert_eq!(error.answer(), Answer::Respond { code: 400, reason: "Malformed Request-URI" });
    }
    for uri in ["tel:+15551", "http://x/y", "urn:service:sos"] {
        assert_eq!(verdict(&INVITE.replacen("sip:conf@sip.example.com", uri, 1)), Ok(()), "{uri}");
    }
}

#[test]
fn responses_are_held_to_the_same() {
    let response = INVITE.replace("INVITE sip:conf@sip.example.com SIP/2.0", "SIP/2.0 200 OK");
    assert_eq!(verdict(&response), Ok(()));
    assert_eq!(verdict(&response.replace("Call-ID", "X")), Err(Error::Missing(HeaderName::CallId)));
}

#[test]
fn only_requests_that_can_be_answered_are_answered() {
    let error = Error::Missing(HeaderName::CallId);
    let respond = Answer::Respond { code: 400, reason: "Missing Call-ID" };
    for (bytes, answer) in [
        (INVITE.to_owned(), respond),
        (INVITE.replace("INVITE", "ACK"), Answer::Drop),
        (INVITE.replace("INVITE sip:conf@sip.example.com SIP/2.0", "SIP/2.0 200 OK"), Answer::Drop),
        (INVITE.replace("Via:", "X:"), Answer::Drop),
        (INVITE.replace("SIP/2.0/UDP", "SIP/2.0/"), Answer::Drop),
    ] {
        with(&bytes, |message| assert_eq!(message.answer(error), answer, "{bytes}"));
    }
    with(INVITE, |message| {
        assert_eq!(message.answer(Error::KeepAlive), Answer::Ignore);
        assert_eq!(message.answer(Error::NotSip), Answer::Drop);
    });
}

#[test]
fn an_empty_index_is_no_message() {
    let index = Index::new();
    assert_eq!(index.message(b"").validate(), Err(Error::NotSip));
    assert_eq!(index.message(b"").answer(Error::Version), Answer::Drop);
}
