//! What one message costs in the pure parts: index, token. Times are of this machine and this run; compare
//! within a run only.

#![allow(missing_docs, clippy::unwrap_used)]

use divan::{Bencher, black_box};
use switchtender_proxy::Transport;
use switchtender_proxy::token::{Binding, Caller, Keys, Kind, MAX_TOKEN_LEN, Reach, Token};
use switchtender_sip::Index;

fn main() {
    divan::main();
}

/// An INVITE with SDP as a carrier sends it.
fn invite() -> Vec<u8> {
    let sdp = "v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\nm=audio 54400 RTP/AVP 0 \
               8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n";
    format!(
        "INVITE sip:+12125551212@198.51.100.1:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK776asdhds8a7sd6f;rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Caller\" <sip:+13035551234@203.0.113.1>;tag=1928301774\r\n\
         To: <sip:+12125551212@198.51.100.1>\r\nCall-ID: a84b4c76e66710@203.0.113.1\r\nCSeq: 314159 INVITE\r\n\
         Contact: <sip:+13035551234@203.0.113.1:5060>\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\n\
         User-Agent: carrier\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
    .into_bytes()
}

#[divan::bench]
fn index_an_invite(bencher: Bencher<'_, '_>) {
    let bytes = invite();
    let mut index = Index::new();
    bencher.bench_local(|| index.parse(black_box(&bytes)).is_ok());
}

#[divan::bench]
fn index_and_validate_an_invite(bencher: Bencher<'_, '_>) {
    let bytes = invite();
    let mut index = Index::new();
    bencher.bench_local(|| {
        index.parse(black_box(&bytes)).unwrap();
        index.message(&bytes).validate().is_ok()
    });
}

fn keys() -> Keys {
    Keys::new([(1, &[7; 64])])
}

fn token() -> Token {
    Token {
        kind: Kind::Dialog(Binding::new(b"a84b4c76e66710@203.0.113.1", b"1928301774")),
        node: "10.0.0.1:5060".parse().unwrap(),
        transport: Transport::Udp,
        listener: 0,
        caller: Caller {
            address: "203.0.113.1:5060".parse().unwrap(),
            transport: Transport::Udp,
            reach: Reach::Direct { held: None },
        },
        group: 1,
        resources: 0,
    }
}

#[divan::bench]
fn seal_a_token(bencher: Bencher<'_, '_>) {
    let (mut keys, token, mut text) = (keys(), token(), [0; MAX_TOKEN_LEN]);
    bencher.bench_local(|| keys.seal(black_box(&token), &mut text));
}

#[divan::bench]
fn open_a_token(bencher: Bencher<'_, '_>) {
    let (mut keys, mut text) = (keys(), [0; MAX_TOKEN_LEN]);
    let length = keys.seal(&token(), &mut text).unwrap();
    bencher.bench_local(|| keys.open(black_box(&text[..length])).is_ok());
}
