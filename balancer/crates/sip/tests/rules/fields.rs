//! Fields by the name that someone configures, and those of which only a part is wanted.

use crate::with;

/// An INVITE with these header lines.
fn invite(fields: &str) -> String {
    crate::INVITE.replace("Content-Length", &format!("{fields}Content-Length"))
}

#[test]
fn by_any_name() {
    let bytes = invite("s: first\r\nSubject: second\r\nRefer-To: <sip:r@h>\r\nX-Tenant :  blue \r\n a\r\nU:\r\n");
    with(bytes, |message| {
        for (name, value) in [
            ("Subject", "first"),
            ("S", "first"),
            ("r", "<sip:r@h>"),
            ("x-tenant", "blue \r\n a"),
            ("Allow-Events", ""),
            ("i", "c1@192.0.2.7"),
            ("CALL-ID", "c1@192.0.2.7"),
            ("c", "application/sdp"),
        ] {
            assert_eq!(message.field(name.as_bytes()), Some(value.as_bytes()), "{name}");
        }
        for name in ["X-Other", "X", "", "Session-Expires", "k"] {
            assert_eq!(message.field(name.as_bytes()), None, "{name}");
        }
    });
}

#[test]
fn the_user_of_a_digest() {
    let user = |fields: &str| with(invite(fields), |message| message.auth_user().map(crate::text));
    assert_eq!(user(""), None);
    assert_eq!(user("Authorization: Digest username=\"a\"\r\n").as_deref(), Some("a"));
    assert_eq!(
        user("Authorization: Digest username=\"a\"\r\nProxy-Authorization: Digest username=\"p\"\r\n").as_deref(),
        Some("p")
    );
    assert_eq!(
        user("Proxy-Authorization: Basic eA==\r\nProxy-Authorization: Digest username=\"q\"\r\n").as_deref(),
        Some("q")
    );
    assert_eq!(
        user("Proxy-Authorization: Basic eA==\r\nAuthorization: Digest username=\"a\"\r\n").as_deref(),
        Some("a")
    );
}

#[test]
fn the_dialog_to_replace_or_join() {
    with(invite("REPLACES: c9;to-tag=t;from-tag=f\r\nJoin: c8;from-tag=f;to-tag=t\r\n"), |message| {
        assert_eq!(
            message.replaces().map(|id| (id.call_id, id.to_tag, id.from_tag)),
            Some((&b"c9"[..], &b"t"[..], &b"f"[..]))
        );
        assert_eq!(message.join().map(|id| id.call_id), Some(&b"c8"[..]));
    });
    with(invite("Replaces: c9;to-tag=t;from-tag=f\r\nReplaces: c8;to-tag=t;from-tag=f\r\n"), |message| {
        assert_eq!(message.replaces(), None, "RFC 3891 section 3: one only");
    });
    with(invite(""), |message| assert_eq!((message.replaces(), message.join()), (None, None)));
}
