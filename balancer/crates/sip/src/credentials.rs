//! Credentials of a digest (RFC 3261 §20.7, §25.1), as far as routing reads them: never the secret parts.

use crate::text::{find_unquoted, is_word, quoted_len, trim, trim_end};

/// The value of `username` in the value of an Authorization or Proxy-Authorization field, without its quotes, escapes
/// left in. `None` when the scheme is not Digest, or no user name stands there, or an empty one.
///
/// ```
/// let value = br#"Digest realm="sip.example.com", username="ann", response="5e""#;
/// assert_eq!(switchtender_sip::digest_username(value), Some(&b"ann"[..]));
/// ```
#[must_use]
pub fn digest_username(value: &[u8]) -> Option<&[u8]> {
    let value = trim(value);
    let scheme_len = value.iter().position(|byte| !byte.is_ascii_alphabetic())?;
    let (scheme, mut rest) = value.split_at_checked(scheme_len)?;
    if !is_word(scheme, b"digest") {
        return None;
    }
    loop {
        let param = rest.get(..find_unquoted(b',', rest).unwrap_or(rest.len()))?;
        if let Some(equals) = memchr::memchr(b'=', param)
            && is_word(trim(param.get(..equals)?), b"username")
        {
            return Some(unquoted(trim(param.get(equals + 1..)?))).filter(|name| !name.is_empty());
        }
        rest = rest.get(param.len() + 1..)?;
    }
}

/// What stands between the quotes of a quoted string; another text as it is.
fn unquoted(text: &[u8]) -> &[u8] {
    match text.first() {
        Some(b'"') => quoted_len(text).and_then(|len| trim_end(text).get(1..len - 1)).unwrap_or_default(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::digest_username;

    #[test]
    fn user_names() {
        for (value, expected) in [
            (r#"Digest username="ann""#, Some("ann")),
            (r#"DIGEST  USERNAME = "ann" , realm="a""#, Some("ann")),
            ("Digest realm=\"a, username=\\\"eve\\\"\",\r\n username=\"ann\"", Some("ann")),
            (r#"Digest username="a\"nn",uri="sip:h""#, Some(r#"a\"nn"#)),
            ("Digest username=ann,realm=x", Some("ann")),
            (r#"Digest xusername="eve",username="ann""#, Some("ann")),
            (r#"Digest username="""#, None),
            (r#"Digest username="ann"#, None),
            (r#"Digest realm="open, username="ann""#, None),
            (r#"Basic username="ann""#, None),
            ("Digest", None),
            ("Digest ,,,", None),
            ("", None),
        ] {
            assert_eq!(digest_username(value.as_bytes()), expected.map(str::as_bytes), "{value}");
        }
    }
}
