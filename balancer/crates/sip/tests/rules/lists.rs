//! Comma lists.

use switchtender_sip::{HeaderName, Message, Value};

use crate::{INVITE, at, with};

fn with_routes<R>(fields: &str, check: impl FnOnce(Message<'_>, Vec<Value>) -> R) -> R {
    with(INVITE.replace("Content-Type: application/sdp\r\n", fields), |message| {
        check(message, message.values(HeaderName::Route).collect())
    })
}

#[track_caller]
fn elements(fields: &str, expected: &[&str]) {
    with_routes(fields, |message, values| {
        let found: Vec<_> = values.iter().map(|value| at(message, value.span)).collect();
        assert_eq!(found, expected, "{fields}");
    });
}

#[test]
fn elements_over_fields_and_commas() {
    elements("Route: <sip:a>\r\n", &["<sip:a>"]);
    elements(
        "Route: <sip:a>,<sip:b> , <sip:c>;x\r\nroute: <sip:d>\r\n",
        &["<sip:a>", "<sip:b>", "<sip:c>;x", "<sip:d>"],
    );
    elements("Route: <sip:a>\r\n ,\r\n\t<sip:b>\r\nX: 1\r\nRoute:\r\n <sip:c>\r\n", &["<sip:a>", "<sip:b>", "<sip:c>"]);
    elements("X: 1\r\n", &[]);
}

#[test]
fn commas_in_quotes_and_brackets_do_not_separate() {
    elements(
        r#"Route: "a, \", <b" <sip:a,b;x=",>, "c" <sip:d>;p="e,f", <sip:g>
"#,
        &[r#""a, \", <b" <sip:a,b;x=",>"#, r#""c" <sip:d>;p="e,f""#, "<sip:g>"],
    );
}

#[test]
fn empty_elements_are_passed_over() {
    elements(
        "Route: , <sip:a>,, <sip:b> ,\r\nRoute:\r\nRoute: ,\r\nRoute: <sip:c>\r\n",
        &["<sip:a>", "<sip:b>", "<sip:c>"],
    );
}

#[test]
fn what_is_not_closed_reaches_to_the_end_of_the_field() {
    elements(
        "Route: <sip:a>, <sip:b, c\r\nRoute: \"x, y\r\nRoute: <sip:d>\r\n",
        &["<sip:a>", "<sip:b, c", "\"x, y", "<sip:d>"],
    );
}

#[test]
fn one_element_can_be_removed() {
    let fields = "Route: <sip:a>, <sip:b>,\r\n <sip:c>\r\nRoute: <sip:d>\r\n";
    for (position, left) in [
        "Route: <sip:b>,\r\n <sip:c>\r\nRoute: <sip:d>\r\n",
        "Route: <sip:a>,\r\n <sip:c>\r\nRoute: <sip:d>\r\n",
        "Route: <sip:a>, <sip:b>\r\nRoute: <sip:d>\r\n",
        "Route: <sip:a>, <sip:b>,\r\n <sip:c>\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        with_routes(fields, |message, values| {
            let mut bytes = message.bytes().to_vec();
            let removal = values[position].removal;
            bytes.drain(usize::from(removal.start)..usize::from(removal.end));
            let rest = String::from_utf8(bytes).unwrap();
            assert_eq!(rest, INVITE.replace("Content-Type: application/sdp\r\n", left));
        });
    }
}
