//! Tests of the token: golden vectors made by an independent implementation, and what must hold for every token.

use super::{
    Binding, Caller, ConnectionId, Direction, Held, Keys, Kind, MAX_TOKEN_LEN, Reach, Token, TokenError, Transport,
};
use proptest::prelude::*;
use std::net::SocketAddr;

const CALL_ID: &[u8] = b"a84b4c76e66710@pc33.example.com";
const CALLER_TAG: &[u8] = b"1928301774";

fn secret(first: u8) -> [u8; 64] {
    std::array::from_fn(|index| first.wrapping_add(u8::try_from(index).unwrap()))
}

fn keys() -> Keys {
    Keys::new([(7, &secret(0))])
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn sealed(keys: &mut Keys, token: &Token) -> Vec<u8> {
    let mut text = [0; MAX_TOKEN_LEN];
    let len = keys.seal(token, &mut text).unwrap();
    text[..len].to_vec()
}

fn over_ipv4() -> Token {
    Token {
        kind: Kind::Dialog(Binding::new(CALL_ID, CALLER_TAG)),
        node: address("192.0.2.10:5060"),
        transport: Transport::Udp,
        listener: 0,
        caller: Caller {
            address: address("198.51.100.7:5062"),
            transport: Transport::Udp,
            reach: Reach::Direct { held: None },
        },
        group: 0xdead_beef,
        resources: 3,
    }
}

fn over_ipv6() -> Token {
    Token {
        node: address("[2001:db8::10]:5060"),
        transport: Transport::Tcp,
        listener: 2,
        caller: Caller {
            address: address("[2001:db8:1::7]:41234"),
            transport: Transport::Tcp,
            reach: Reach::Flow { replica: 9, connection: Some(ConnectionId::new(3, 17)) },
        },
        ..over_ipv4()
    }
}

fn over_a_spare_connection() -> Token {
    let held = Held { replica: 9, connection: ConnectionId::new(3, 17) };
    let token = over_ipv6();
    Token { caller: Caller { reach: Reach::Direct { held: Some(held) }, ..token.caller }, ..token }
}

fn path() -> Token {
    Token {
        kind: Kind::Path,
        node: address("192.0.2.10:5080"),
        transport: Transport::Udp,
        listener: 1,
        caller: Caller {
            address: address("203.0.113.9:50000"),
            transport: Transport::Tcp,
            reach: Reach::Flow { replica: 9, connection: None },
        },
        group: 1,
        resources: 0,
    }
}

/// The texts were computed with another implementation of AES-SIV, `SipHash` and base64, from the layout alone. They may
/// never change: tokens of format 1 stand in dialogs that outlive an upgrade.
#[test]
fn golden_vectors() {
    let golden = [
        (over_ipv4(), "A.edpgBvP2fxPLg-SfZ_zunURNjAGNTHv~Gt~U3iXTt~49YyCkNTke2Behkmgeo"),
        (
            over_ipv6(),
            "A.fPbHEWF5lU55Nrp--PhBsZw6eEpRw0rbGLFEbFT~ue~z1w17i~pF9yIY4TUVkcN9mhfDOSsXv4MNI3y7sLdJM.tBP2LrAdvALX5aJYi~PBz.w",
        ),
        (
            over_a_spare_connection(),
            "A.cd1XJtr-CYBRfEDxsImrVJb8aXeShG5uWIn8OoEzeunMRj0rnmiWAskKv5VT8phcPCCRIS7T-nj3Sk.2paBYUGrJJ6GSNK_KYaVjiVTCK4fhw",
        ),
        (path(), "A.dmbs1kmLY~zCRx2isNAE4D3Hpg8wIoBAxIzsWHwPXCwp9AbwF-ACwI0w"),
    ];
    for (token, text) in golden {
        assert_eq!(String::from_utf8(sealed(&mut keys(), &token)).unwrap(), text);
        assert_eq!(keys().open(text.as_bytes()), Ok(token));
    }
}

/// Of transports that we do not speak, and a connection without the replica that has it: sealed elsewhere, from the layout.
#[test]
fn what_no_version_of_ours_seals_is_refused() {
    for text in [
        "A.djmpPSFOh.ki~kW3R6zWMvsvFh0Kl8t4___.yplAm-3mXeYvLpUANOLr3yKdrJnSivoSIsIlN5Nev-dHvy30JCZGTtaGHMURfO",
        "A.eHcLuTyCbzj8Gr6oeva8Mgf0adnwaEYxcFIxCU0bAG6bH7~lTarms-xnocr82BIjldo-L6oZeMOkW-ZcykssE_rS2DbTrMVCwtp2P3_A",
    ] {
        assert_eq!(keys().open(text.as_bytes()), Err(TokenError::Forged));
    }
}

#[test]
fn the_longest_token_fills_the_buffer() {
    assert_eq!(sealed(&mut keys(), &over_ipv6()).len(), MAX_TOKEN_LEN);
}

#[test]
fn direction_follows_the_callers_tag() {
    let token = over_ipv4();
    assert_eq!(token.direction(CALL_ID, CALLER_TAG, b"node"), Some(Direction::FromCaller));
    assert_eq!(token.direction(CALL_ID, b"node", CALLER_TAG), Some(Direction::FromNode));
    assert_eq!(token.direction(CALL_ID, b"node", b"other"), None);
    assert_eq!(token.direction(CALL_ID, CALLER_TAG, CALLER_TAG), None);
    assert_eq!(token.direction(b"another call", CALLER_TAG, b"node"), None);
    assert_eq!(path().direction(CALL_ID, CALLER_TAG, b"node"), None);
}

#[test]
fn the_first_key_seals_and_all_open() {
    let (old, new) = (secret(1), secret(2));
    let by_old = sealed(&mut Keys::new([(1, &old)]), &over_ipv4());
    let by_new = sealed(&mut Keys::new([(2, &new)]), &over_ipv4());
    // A new key verifies everywhere before it seals, and the old one goes on verifying after.
    let mut announced = Keys::new([(1, &old), (2, &new)]);
    let mut rotated = Keys::new([(2, &new), (1, &old)]);
    for keys in [&mut announced, &mut rotated] {
        assert_eq!(keys.open(&by_old), Ok(over_ipv4()));
        assert_eq!(keys.open(&by_new), Ok(over_ipv4()));
    }
    assert_eq!(sealed(&mut announced, &over_ipv4()), by_old);
    assert_eq!(sealed(&mut rotated, &over_ipv4()), by_new);
    assert_eq!(Keys::new([(2, &new)]).open(&by_old), Err(TokenError::UnknownKey));
}

#[test]
fn another_secret_under_the_same_id_is_a_forgery() {
    let text = sealed(&mut Keys::new([(7, &secret(9))]), &over_ipv4());
    assert_eq!(keys().open(&text), Err(TokenError::Forged));
}

#[test]
fn without_a_key_nothing_is_sealed() {
    assert_eq!(Keys::new([]).seal(&over_ipv4(), &mut [0; MAX_TOKEN_LEN]), None);
}

#[test]
fn the_key_id_is_authenticated() {
    let shared = secret(1);
    let text = sealed(&mut Keys::new([(1, &shared)]), &over_ipv4());
    let mut renamed = text.clone();
    renamed[..3].copy_from_slice(b"A.K"); // format 1, key 2
    assert_eq!(Keys::new([(1, &shared), (2, &shared)]).open(&renamed), Err(TokenError::Forged));
}

#[test]
fn another_format_is_told_apart() {
    let mut text = sealed(&mut keys(), &over_ipv4());
    text[..2].copy_from_slice(b"Ag"); // format 2
    assert_eq!(keys().open(&text), Err(TokenError::UnknownFormat));
}

#[test]
fn ordinary_user_parts_are_malformed() {
    for text in
        [&b""[..], b"1000", b"alice", b"conf%40room", b"a+very+long+user+part+with+signs+that+no+alphabet+of+ours+has"]
    {
        assert_eq!(keys().open(text), Err(TokenError::Malformed));
    }
    assert_eq!(keys().open(&[b'A'; MAX_TOKEN_LEN + 4]), Err(TokenError::Malformed));
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    (any::<std::net::IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

prop_compose! {
    fn any_token()(
        binding in any::<Option<u64>>(),
        node in any_address(),
        listener in any::<u16>(),
        address in any_address(),
        transport in prop::sample::select(vec![Transport::Udp, Transport::Tcp]),
        node_transport in prop::sample::select(vec![Transport::Udp, Transport::Tcp]),
        direct in any::<bool>(),
        replica in any::<u32>(),
        connection in any::<Option<u64>>(),
        group in any::<u32>(),
        resources in any::<u16>(),
    ) -> Token {
        let connection = connection.map(ConnectionId);
        let reach = if direct {
            Reach::Direct { held: connection.map(|connection| Held { replica, connection }) }
        } else {
            Reach::Flow { replica, connection }
        };
        let kind = binding.map_or(Kind::Path, |binding| Kind::Dialog(Binding(binding)));
        let caller = Caller { address, transport, reach };
        Token { kind, node, transport: node_transport, listener, caller, group, resources }
    }
}

proptest! {
    #[test]
    fn opens_what_it_sealed_and_needs_no_escaping(token in any_token()) {
        let text = sealed(&mut keys(), &token);
        prop_assert!(text.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)));
        prop_assert!(!text.iter().any(|byte| b"qQ".contains(byte)), "no text can spell CSeq");
        prop_assert_eq!(keys().open(&text), Ok(token));
        prop_assert_eq!(sealed(&mut keys(), &token), text);
    }

    #[test]
    fn any_other_text_is_refused(token in any_token(), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let mut text = sealed(&mut keys(), &token);
        let at = at.index(text.len());
        text[at] ^= flip;
        prop_assert!(keys().open(&text).is_err());
    }

    #[test]
    fn a_truncated_or_longer_text_is_refused(token in any_token(), at in any::<prop::sample::Index>(), more in "[A-PR-Za-pr-z0-9_.~-]{1,9}") {
        let mut text = sealed(&mut keys(), &token);
        prop_assert!(keys().open(&text[..at.index(text.len())]).is_err());
        text.extend(more.bytes());
        prop_assert!(keys().open(&text).is_err());
    }

    #[test]
    fn garbage_is_refused(text in prop::collection::vec(any::<u8>(), 0..200), digits in "A[.]c[A-PR-Za-pr-z0-9_.~-]{0,100}") {
        prop_assert!(keys().open(&text).is_err());
        prop_assert!(keys().open(digits.as_bytes()).is_err());
    }

    #[test]
    fn another_dialog_has_no_direction(call_id in "[a-z]{1,20}", tag in "[a-z]{1,10}", other in "[A-Z]{1,10}") {
        let token = Token { kind: Kind::Dialog(Binding::new(call_id.as_bytes(), tag.as_bytes())), ..over_ipv4() };
        prop_assert_eq!(token.direction(other.as_bytes(), tag.as_bytes(), b"node"), None);
        prop_assert_eq!(token.direction(call_id.as_bytes(), other.as_bytes(), b"node"), None);
        prop_assert_eq!(token.direction(call_id.as_bytes(), tag.as_bytes(), other.as_bytes()), Some(Direction::FromCaller));
        prop_assert_eq!(token.direction(call_id.as_bytes(), other.as_bytes(), tag.as_bytes()), Some(Direction::FromNode));
    }
}
