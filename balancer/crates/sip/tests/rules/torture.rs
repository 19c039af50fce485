//! Messages as hard as those of RFC 4475, in our own words: for each class what is found in it or what is wrong with it.

use switchtender_sip::{Answer, Error, HeaderName, Host, Index, Method, Scheme};

use crate::text;

/// What the proxy would do: nothing wrong, or the answer.
fn verdict(bytes: &[u8]) -> Result<(), (Error, Answer)> {
    let mut index = Index::new();
    let parsed = index.parse(bytes);
    let message = index.message(bytes);
    parsed.and_then(|()| message.validate()).map_err(|error| (error, message.answer(error)))
}

#[track_caller]
fn accepted<R>(bytes: impl AsRef<[u8]>, check: impl FnOnce(switchtender_sip::Message<'_>) -> R) -> R {
    assert_eq!(verdict(bytes.as_ref()), Ok(()));
    crate::with(bytes, check)
}

#[track_caller]
fn refused(bytes: impl AsRef<[u8]>, error: Error, code: u16) {
    let (found, answer) = verdict(bytes.as_ref()).expect_err("a fault");
    assert_eq!(found, error);
    match answer {
        Answer::Respond { code: answered, .. } => assert_eq!(answered, code),
        Answer::Drop | Answer::Ignore => assert_eq!(code, 0),
    }
}

/// A short request; `line` and `fields` replace or add to what it says.
fn request(line: &str, fields: &str) -> String {
    let method = line.split(' ').next().unwrap_or_default();
    format!(
        "{line}\r\nVia: SIP/2.0/UDP pc.example.net;branch=z9hG4bKt\r\nFrom: <sip:a@example.net>;tag=1\r\n\
         To: <sip:b@example.net>\r\nCall-ID: torture\r\nCSeq: 1 {method}\r\n{fields}\r\n"
    )
}

#[test]
fn everything_legal_at_once() {
    let bytes = "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n\
        TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n\
        from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n\
        MaX-fOrWaRdS: 0068\r\n\
        Call-ID: wsinv.ndaksdj@192.0.2.1\r\n\
        Content-Length   : 4\r\n\
        cseq: 0009\r\n  INVITE\r\n\
        Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\n\
        s :\r\n\
        NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n\
        UnknownHeaderWithUnusualValue: ;;,,;;,;\r\n\
        Route:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\r\n\
        v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n\
        \x20SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n\
        m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33\r\n\
        \r\nv=0\n";
    accepted(bytes, |message| {
        assert_eq!(message.to_tag(), Some(&b"1918181833n"[..]));
        assert_eq!(message.from_tag(), Some(&b"98asjd8"[..]));
        assert_eq!(message.from().map(|from| text(from.display)).as_deref(), Some(r#""J Rosenberg \\\"""#));
        assert_eq!(message.max_forwards(), Some(68));
        assert_eq!(message.cseq().map(|cseq| (cseq.number, cseq.method)), Some((9, Method::Invite)));
        assert_eq!(message.top_via().and_then(|via| via.branch).map(text).as_deref(), Some("390skdjuw"));
        assert_eq!(message.values(HeaderName::Via).count(), 3);
        assert_eq!(message.values(HeaderName::Route).count(), 1);
        assert_eq!(message.body(), b"v=0\n");
        let odd = message.named(b"unknownheaderwithunusualvalue").next().unwrap();
        assert_eq!(odd.value.of(message.bytes()), b";;,,;;,;");
    });
}

#[test]
fn every_token_character() {
    let bytes = request(
        "!x.-_*%+`'~0 sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0",
        "extensionHeader-!.%*+_`'~:\u{2603}\r\n",
    )
    .replace("From: <sip:a@example.net>", "From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\u{440}\"");
    accepted(bytes, |message| {
        let uri = message.uri().unwrap();
        assert_eq!(uri.host, Host::Name(b"example.com"));
        assert_eq!(uri.user.map(text).as_deref(), Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
        assert_eq!(message.from().map(|from| text(from.display)).as_deref(), Some("token1~` token2'+_ token3*%!.-"));
        assert_eq!(message.from_tag(), Some(&b"1"[..]));
    });
}

#[test]
fn escapes_stay_as_they_are() {
    accepted(request("REGISTER sip:null-%00-null@example.com SIP/2.0", ""), |message| {
        assert_eq!(message.uri().and_then(|uri| uri.user), Some(&b"null-%00-null"[..]));
    });
    // The method is compared as it stands: `%49` is no `I`.
    accepted(request("RE%47IST%45R sip:h SIP/2.0", ""), |message| assert_eq!(message.method(), Some(Method::Other)));
}

#[test]
fn no_space_before_the_bracket() {
    let bytes = request("OPTIONS sip:h SIP/2.0", "").replace("From: <", "From: caller<");
    accepted(bytes, |message| assert_eq!(message.from().map(|from| from.display), Some(&b"caller"[..])));
}

#[test]
fn long_values() {
    let tag = "t".repeat(4_000);
    let branch = "b".repeat(7_000);
    let bytes = request("INVITE sip:h SIP/2.0", &"Via: SIP/2.0/UDP h\r\n".repeat(60))
        .replace("tag=1", &format!("tag={tag}"))
        .replace("z9hG4bKt", &branch);
    accepted(bytes, |message| {
        assert_eq!(message.from_tag().map(<[u8]>::len), Some(4_000));
        assert_eq!(message.top_via().and_then(|via| via.branch).map(<[u8]>::len), Some(7_000));
        assert_eq!(message.values(HeaderName::Via).count(), 61);
    });
}

#[test]
fn a_second_request_behind_the_body_is_excess() {
    let first = request("REGISTER sip:h SIP/2.0", "Content-Length: 0\r\n");
    let second = request("INVITE sip:h SIP/2.0", "");
    accepted(format!("{first}{second}"), |message| {
        assert_eq!(message.method(), Some(Method::Register));
        assert_eq!(crate::at(message, message.index().span()), first);
    });
}

#[test]
fn semicolons_in_the_user_part() {
    accepted(request("OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0", ""), |message| {
        let uri = message.uri().unwrap();
        assert_eq!((uri.user, uri.host), (Some(&b"user;par=u%40example.net"[..]), Host::Name(b"example.com")));
        assert_eq!(uri.params.into_iter().count(), 0);
    });
}

#[test]
fn vias_of_every_transport() {
    let vias = "v: SIP/2.0/UDP t1;branch=1\r\nVia: SIP/2.0/SCTP t2,SIP/2.0/TLS t3;x\r\nVIA: SIP/2.0/UNKNOWN t4\r\n";
    accepted(request("OPTIONS sip:h SIP/2.0", vias), |message| assert_eq!(message.values(HeaderName::Via).count(), 5));
}

#[test]
fn binary_body() {
    let mut bytes = request("MESSAGE sip:h SIP/2.0", "Content-Length: 8\r\n").into_bytes();
    bytes.extend_from_slice(b"\0\r\x80\xff\n\n\0\r");
    accepted(&bytes, |message| assert_eq!(message.body(), b"\0\r\x80\xff\n\n\0\r"));
}

#[test]
fn reason_phrases() {
    for (phrase, expected) in [(" = 2**3 * 5**2 \u{43d}\u{43e}", "= 2**3 * 5**2 \u{43d}\u{43e}"), (" ", ""), ("", "")] {
        let bytes =
            request("OPTIONS sip:h SIP/2.0", "").replace("OPTIONS sip:h SIP/2.0", &format!("SIP/2.0 200{phrase}"));
        accepted(bytes, |message| assert_eq!(message.reason().map(text).as_deref(), Some(expected)));
    }
}

#[test]
fn separators_without_anything_between() {
    let bytes =
        request("INVITE sip:h SIP/2.0", "Contact: \"Joe\" <sip:joe@h>;;;;,,\r\n").replace(";branch", ";;,;,,branch");
    accepted(bytes, |message| assert_eq!(message.top_via().and_then(|via| via.branch), None));
    let bytes = request("INVITE sip:h SIP/2.0", "").replace(";branch", ";;branch");
    accepted(bytes, |message| assert_eq!(message.top_via().and_then(|via| via.branch), Some(&b"z9hG4bKt"[..])));
}

#[test]
fn lengths_and_numbers_out_of_range() {
    refused(request("INVITE sip:h SIP/2.0", "Content-Length: 9999\r\n"), Error::Incomplete, 400);
    refused(
        request("INVITE sip:h SIP/2.0", "Content-Length: -999\r\n"),
        Error::Malformed(HeaderName::ContentLength),
        400,
    );
    let bytes = request("REGISTER sip:h SIP/2.0", "").replace("CSeq: 1", "CSeq: 36893488147419103232");
    refused(bytes, Error::Malformed(HeaderName::CSeq), 400);
    let fields = "Max-Forwards: 300\r\nExpires: 10000000000000000000000000\r\n";
    refused(request("REGISTER sip:h SIP/2.0", fields), Error::Malformed(HeaderName::MaxForwards), 400);
    let fields = "Retry-After: 949302838503028349304023988\r\nWarning: 1812 overture \"In Progress\"\r\n";
    accepted(request("REGISTER sip:h SIP/2.0", fields), |_| ());
    refused("SIP/2.0 4294967301 better not break\r\nVia: SIP/2.0/UDP h\r\n\r\n", Error::StatusLine, 0);
}

#[test]
fn quotes_and_brackets_not_closed() {
    let bytes = request("INVITE sip:h SIP/2.0", "").replace("To: <", "To: \"Mr. J. User <");
    refused(bytes, Error::Malformed(HeaderName::To), 400);
    let bytes = request("INVITE sip:h SIP/2.0", "").replace("b@example.net>", "b@example.net");
    refused(bytes, Error::Malformed(HeaderName::To), 400);
    // Contact is the concern of the ends.
    accepted(request("INVITE sip:h SIP/2.0", "Contact: \"unclosed <sip:x>\r\n"), |_| ());
}

#[test]
fn request_lines_out_of_shape() {
    refused(request("INVITE <sip:user@example.com> SIP/2.0", ""), Error::RequestUri, 400);
    refused(request("INVITE sip:user@example.com; lr SIP/2.0", ""), Error::RequestLine, 400);
    refused(request("INVITE  sip:user@example.com  SIP/2.0", ""), Error::RequestLine, 400);
    refused(request("OPTIONS sip:user@example.com SIP/2.0  ", ""), Error::RequestLine, 400);
    refused(request("OPTIONS sip:user@example.com SIP/7.0", ""), Error::Version, 505);
    refused("\r\n\r\nINVITE\r\n\r\n", Error::NotSip, 0);
    // Escaped headers in the Request-URI have no place there, but are harmless to a proxy that replaces it.
    accepted(request("INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0", ""), |message| {
        assert_eq!(message.uri().and_then(|uri| uri.headers), Some(&b"Route=%3Csip:example.com%3E"[..]));
    });
}

#[test]
fn methods_that_do_not_match() {
    let bytes = request("OPTIONS sip:h SIP/2.0", "").replace("1 OPTIONS", "1 INVITE");
    refused(bytes, Error::CSeqMethod, 400);
    let bytes = request("NEWMETHOD sip:h SIP/2.0", "").replace("1 NEWMETHOD", "1 INVITE");
    refused(bytes, Error::CSeqMethod, 400);
}

#[test]
fn fields_missing_or_repeated() {
    refused(
        "INVITE sip:h SIP/2.0\r\nCSeq: 1 INVITE\r\nVia: SIP/2.0/UDP h\r\n\r\n",
        Error::Missing(HeaderName::From),
        400,
    );
    refused("INVITE sip:h SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n", Error::Missing(HeaderName::Via), 0);
    refused(request("INVITE sip:h SIP/2.0", "Call-ID: other\r\n"), Error::Repeated(HeaderName::CallId), 400);
    refused(request("INVITE sip:h SIP/2.0", "t: <sip:c@h>;tag=9\r\n"), Error::Repeated(HeaderName::To), 400);
    let bytes = request("OPTIONS sip:h SIP/2.0", "Content-Length: 0\r\nl: 3\r\n") + "abc";
    refused(bytes, Error::Repeated(HeaderName::ContentLength), 400);
}

#[test]
fn schemes() {
    for (uri, scheme) in [
        ("nobodyKnowsThisScheme:totallyopaquecontent", Scheme::Other),
        ("soap.beep://192.0.2.103:3002", Scheme::Other),
        ("TEL:+12015550143", Scheme::Tel),
        ("SipS:h", Scheme::Sips),
    ] {
        accepted(request(&format!("OPTIONS {uri} SIP/2.0"), ""), |message| {
            assert_eq!(message.uri().map(|uri| uri.scheme), Some(scheme));
        });
    }
    let bytes = request("REGISTER sip:h SIP/2.0", "").replace("<sip:b@example.net>", "isbn:2983792873");
    accepted(bytes, |message| {
        assert_eq!(message.to().and_then(|to| to.uri()).map(|uri| uri.scheme), Some(Scheme::Other));
    });
}

#[test]
fn spaces_around_addresses() {
    let bytes = request("OPTIONS sip:h SIP/2.0", "").replace("<sip:b@example.net>", "\"Watson\" < sip:b@example.net >");
    // It parses as an address; that its URI is none is for those who need it.
    accepted(bytes, |message| assert!(message.to().unwrap().uri().is_none()));
    let bytes =
        request("OPTIONS sip:h SIP/2.0", "").replace("<sip:a@example.net>", "Bell, Alexander <sip:a@example.net>");
    accepted(bytes, |message| assert_eq!(message.from().map(|from| from.display), Some(&b"Bell, Alexander"[..])));
}

#[test]
fn odd_but_not_the_parsers_concern() {
    accepted(request("OPTIONS sip:h SIP/2.0", "Max-Forwards: 0\r\n"), |message| {
        assert_eq!(message.max_forwards(), Some(0));
    });
    // Of RFC 2543: no branch, no tags.
    let bytes = request("INVITE sip:h SIP/2.0", "").replace(";branch=z9hG4bKt", "").replace(";tag=1", "");
    accepted(bytes, |message| {
        assert_eq!(message.top_via().and_then(|via| via.branch), None);
        assert_eq!((message.from_tag(), message.to_tag()), (None, None));
    });
    let broadcast = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP 255.255.255.255;branch=z9\r\n\
        f: <sip:a@h>;tag=1\r\nt: <sip:b@h>;tag=2\r\ni: x\r\nCSeq: 1 INVITE\r\n\r\n";
    accepted(broadcast, |message| assert_eq!(message.values(HeaderName::Via).count(), 2));
}

#[test]
fn only_punctuation() {
    refused(request("INVITE sip:h SIP/2.0", ":::\r\n"), Error::HeaderLine, 400);
    refused(request("INVITE sip:h SIP/2.0", ",,,: x\r\n"), Error::HeaderLine, 400);
    refused(request("INVITE sip:h SIP/2.0", "").replace("tag=1", "tag=1\r\n\x0b: x"), Error::HeaderLine, 400);
    let commas = ",".repeat(8_000);
    accepted(request("INVITE sip:h SIP/2.0", &format!("Route: {commas}\r\n")), |message| {
        assert_eq!(message.values(HeaderName::Route).count(), 0);
    });
}
