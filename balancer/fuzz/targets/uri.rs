//! URIs, addresses, Vias and what else is read from the value of one header field.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchtender_sip::{DialogId, NameAddr, Output, Params, Uri, Via, digest_username};

fuzz_target!(|bytes: &[u8]| {
    let middle = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() / 2);
    let (one, other) = bytes.split_at(middle);
    for text in [bytes, one, other] {
        if let Some(uri) = Uri::parse(text) {
            check(&uri);
        }
        if let Some(address) = NameAddr::parse(text) {
            inside(text, address.uri_text);
            params(address.params);
            assert!(address.tag().is_none_or(|tag| !tag.is_empty()));
            if let Some(uri) = address.uri() {
                check(&uri);
            }
        }
        if let Some(via) = Via::parse(text) {
            params(via.params);
            source_is_noted(&via);
        }
        if let Some(name) = digest_username(text) {
            inside(text, name);
        }
        if let Some(dialog) = DialogId::parse(text) {
            inside(text, dialog.call_id);
            inside(text, dialog.to_tag);
        }
    }
    if let (Some(one), Some(other)) = (Uri::parse(one), Uri::parse(other)) {
        assert_eq!(one.equivalent(&other), other.equivalent(&one), "either way round");
    }
});

fn check(uri: &Uri<'_>) {
    assert!(uri.equivalent(uri), "a URI is equivalent to itself: {}", String::from_utf8_lossy(uri.text));
    params(uri.params);
    assert!(uri.user.is_none_or(|user| !user.is_empty()));
}

fn params(params: Params<'_>) {
    let mut end = 0;
    for param in params {
        assert!(param.start >= end && param.end > param.start && !param.name.is_empty());
        end = param.end;
    }
}

#[track_caller]
fn inside(whole: &[u8], part: &[u8]) {
    assert!(
        whole.as_ptr_range().start <= part.as_ptr_range().start && part.as_ptr_range().end <= whole.as_ptr_range().end
    );
}

/// With the source in it, it is a Via yet, that leads back to the source.
fn source_is_noted(via: &Via<'_>) {
    let source = "192.0.2.77:4321".parse().expect("an address");
    // Every `rport` gets its value.
    let mut buffer = vec![0; 2 * via.text.len() + 128];
    let mut output = Output::new(&mut buffer);
    via.write_with_source(source, &mut output).expect("room");
    let noted = Via::parse(output.written()).expect("still a Via");
    assert_eq!(noted.branch, via.branch);
    if via.maddr.is_none() {
        let back = noted.response_address().expect("an address");
        assert_eq!(back.ip(), source.ip());
        assert!(via.rport.is_none() || back.port() == source.port());
    }
}
