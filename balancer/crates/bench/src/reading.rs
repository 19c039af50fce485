//! Reading a SIP message as far as its ends must know it. Written for the judge alone: it shares no code with the
//! balancer's parser, and takes less (no folded lines, which none of the ends writes and no proxy may make).

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

/// What is wrong with a message or a call.
pub type Fault = Cow<'static, str>;

/// Values of one header that a message may have; more are a fault.
const MOST: usize = 8;

/// The values of a header, in order, each without the white space around it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'a> {
    values: [&'a [u8]; MOST],
    len: usize,
}

impl<'a> Values<'a> {
    /// All of them.
    pub fn as_slice(&self) -> &[&'a [u8]] {
        self.values.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, value: &'a [u8]) -> Result<(), Fault> {
        let place = self.values.get_mut(self.len).ok_or("more than 8 values of a header")?;
        *place = value;
        self.len += 1;
        Ok(())
    }

    /// A line's value may be several (RFC 3261 §7.3.1): at commas that stand in neither angle brackets nor quotes.
    fn push_line(&mut self, line: &'a [u8]) -> Result<(), Fault> {
        if memchr::memchr(b',', line).is_none() {
            return self.push(line);
        }
        let (mut quoted, mut bracketed, mut escaped) = (false, false, false);
        for part in line.split(|byte| {
            let was_escaped = escaped;
            escaped = quoted && !was_escaped && *byte == b'\\';
            match byte {
                b'"' if !was_escaped && !bracketed => quoted = !quoted,
                b'<' if !quoted => bracketed = true,
                b'>' if !quoted => bracketed = false,
                b',' => return !quoted && !bracketed,
                _ => {}
            }
            false
        }) {
            self.push(part.trim_ascii())?;
        }
        Ok(())
    }
}

/// A message in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading<'a> {
    /// The first line.
    pub start: &'a [u8],
    /// Via.
    pub vias: Values<'a>,
    /// Record-Route.
    pub record_routes: Values<'a>,
    /// Route.
    pub routes: Values<'a>,
    /// From.
    pub from: &'a [u8],
    /// To.
    pub to: &'a [u8],
    /// Call-ID.
    pub call_id: &'a [u8],
    /// `CSeq`.
    pub cseq: &'a [u8],
    /// Contact.
    pub contact: &'a [u8],
    /// What Max-Forwards says.
    pub max_forwards: Option<u64>,
    /// What is behind the headers.
    pub body: &'a [u8],
}

impl<'a> Reading<'a> {
    /// Take a datagram apart.
    ///
    /// # Errors
    /// It is no SIP message, has a header twice that may stand once, or its body is not as long as it says.
    pub fn of(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut reading = Self::default();
        let mut content_length = None;
        let mut rest = bytes;
        loop {
            let end = memchr::memchr(b'\n', rest).ok_or("headers without an end")?;
            let (line, behind) = rest.split_at(end);
            let line = line.strip_suffix(b"\r").ok_or("a line without CR")?;
            rest = behind.get(1..).unwrap_or_default();
            if line.is_empty() {
                break;
            }
            if reading.start.is_empty() {
                reading.start = line;
            } else {
                reading.take_header(line, &mut content_length)?;
            }
        }
        reading.body = rest;
        match content_length {
            None => Err("no Content-Length".into()),
            Some(length) if length != rest.len() as u64 => {
                Err(format!("a body of {} bytes where Content-Length says {length}", rest.len()).into())
            }
            Some(_) => Ok(reading),
        }
    }

    fn take_header(&mut self, line: &'a [u8], content_length: &mut Option<u64>) -> Result<(), Fault> {
        let colon = memchr::memchr(b':', line).ok_or("a header without a colon")?;
        let (name, value) = line.split_at(colon);
        let (name, value) = (name.trim_ascii_end(), value.get(1..).unwrap_or_default().trim_ascii());
        let is = |long: &[u8], short: &[u8]| name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short);
        let single = match name.first().map(u8::to_ascii_lowercase) {
            Some(b'v') if is(b"via", b"v") => return self.vias.push_line(value),
            Some(b'r') if is(b"record-route", b"") => return self.record_routes.push_line(value),
            Some(b'r') if is(b"route", b"") => return self.routes.push_line(value),
            Some(b'm') if is(b"max-forwards", b"") => {
                self.max_forwards = Some(number(value).ok_or("Max-Forwards is no number")?);
                return Ok(());
            }
            Some(b'c' | b'l') if is(b"content-length", b"l") => {
                *content_length = Some(number(value).ok_or("Content-Length is no number")?);
                return Ok(());
            }
            Some(b'f') if is(b"from", b"f") => &mut self.from,
            Some(b't') if is(b"to", b"t") => &mut self.to,
            Some(b'c' | b'i') if is(b"call-id", b"i") => &mut self.call_id,
            Some(b'c') if is(b"cseq", b"") => &mut self.cseq,
            Some(b'c' | b'm') if is(b"contact", b"m") => &mut self.contact,
            Some(_) => return Ok(()),
            None => return Err("a header without a name".into()),
        };
        if !single.is_empty() {
            return Err("a header twice that may stand once".into());
        }
        *single = value;
        Ok(())
    }

    /// The status of a response; `None` for a request.
    pub fn status(&self) -> Option<u64> {
        number(self.start.strip_prefix(b"SIP/2.0 ")?.get(..3)?)
    }

    /// The method and the Request-URI of a request.
    pub fn request(&self) -> Option<(&'a [u8], &'a [u8])> {
        let line = self.start.strip_suffix(b" SIP/2.0")?;
        let space = memchr::memchr(b' ', line)?;
        Some((line.get(..space)?, line.get(space + 1..)?))
    }
}

/// Decimal digits, and nothing else.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

/// The URI in a Contact, Route or Record-Route in angle brackets.
pub fn bracketed(value: &[u8]) -> Option<&[u8]> {
    let from = memchr::memchr(b'<', value)? + 1;
    let behind = value.get(from..)?;
    behind.get(..memchr::memchr(b'>', behind)?)
}

/// Where a `sip:` URI with an IP address is to be sent; the port is 5060 where none is told.
pub fn address_of(uri: &[u8]) -> Option<SocketAddr> {
    let rest = uri.strip_prefix(b"sip:")?;
    let end = rest.iter().position(|byte| matches!(byte, b';' | b'?')).unwrap_or(rest.len());
    let rest = rest.get(..end)?;
    socket_address(rest.get(memchr::memchr(b'@', rest).map_or(0, |at| at + 1)..)?)
}

/// The address in a Via's sent-by.
pub fn sent_by(via: &[u8]) -> Option<SocketAddr> {
    let rest = via.strip_prefix(b"SIP/2.0/UDP ")?;
    socket_address(rest.get(..memchr::memchr(b';', rest)?)?.trim_ascii())
}

fn socket_address(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = |ip: IpAddr| SocketAddr::new(ip, 5060);
    text.parse().ok().or_else(|| text.trim_start_matches('[').trim_end_matches(']').parse().ok().map(bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] =
        b"SIP/2.0 200 OK\r\nv: one, two;x=\",\"\r\nVIA : three\r\nRecord-Route: <sip:a;x=1,2>,<sip:b>\r\n\
        f: me\r\nTo: you\r\ni: id\r\nCSeq: 1 INVITE\r\nm: <sip:n@127.0.0.1:5>\r\nMax-Forwards: 69\r\nl: 2\r\n\r\nhi";

    #[test]
    fn a_message_is_taken_apart() {
        let reading = Reading::of(RESPONSE).unwrap();
        assert_eq!((reading.status(), reading.request()), (Some(200), None));
        assert_eq!(reading.vias.as_slice(), [&b"one"[..], b"two;x=\",\"", b"three"]);
        assert_eq!(reading.record_routes.as_slice(), [&b"<sip:a;x=1,2>"[..], b"<sip:b>"]);
        assert!(reading.routes.as_slice().is_empty());
        assert_eq!((reading.from, reading.to, reading.call_id), (&b"me"[..], &b"you"[..], &b"id"[..]));
        assert_eq!((reading.cseq, reading.body), (&b"1 INVITE"[..], &b"hi"[..]));
        assert_eq!((reading.max_forwards, bracketed(reading.contact)), (Some(69), Some(&b"sip:n@127.0.0.1:5"[..])));
        let request = Reading::of(b"BYE sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n").unwrap();
        assert_eq!((request.status(), request.request()), (None, Some((&b"BYE"[..], &b"sip:x"[..]))));
    }

    #[test]
    fn what_is_not_whole_is_a_fault() {
        let faults: [(&[u8], &str); 8] = [
            (b"", "headers without an end"),
            (b"SIP/2.0 200 OK\r\nVia: x\r\n", "headers without an end"),
            (b"SIP/2.0 200 OK\n\n", "a line without CR"),
            (b"SIP/2.0 200 OK\r\n\r\n", "no Content-Length"),
            (b"SIP/2.0 200 OK\r\nl: 3\r\n\r\nhi", "a body of 2 bytes where Content-Length says 3"),
            (b"SIP/2.0 200 OK\r\nTo: a\r\nt: b\r\nl: 0\r\n\r\n", "a header twice that may stand once"),
            (b"SIP/2.0 200 OK\r\nl: x\r\n\r\n", "Content-Length is no number"),
            (b"SIP/2.0 200 OK\r\nv: 1,2,3,4,5,6,7,8,9\r\nl: 0\r\n\r\n", "more than 8 values of a header"),
        ];
        for (bytes, fault) in faults {
            assert_eq!(Reading::of(bytes).unwrap_err(), fault);
        }
    }

    #[test]
    fn addresses_are_found_in_uris_and_vias() {
        let uris = [
            ("sip:127.0.0.1;lr", Some("127.0.0.1:5060")),
            ("sip:token@127.0.0.2:5070;lr;x=a@b", Some("127.0.0.2:5070")),
            ("sip:[::1];lr", Some("[::1]:5060")),
            ("sip:[::1]:99", Some("[::1]:99")),
            ("sip:example.com", None),
            ("tel:1", None),
        ];
        for (uri, address) in uris {
            assert_eq!(address_of(uri.as_bytes()), address.map(|text| text.parse().unwrap()), "{uri}");
        }
        assert_eq!(sent_by(b"SIP/2.0/UDP 127.0.0.1:7;branch=x"), Some("127.0.0.1:7".parse().unwrap()));
        assert_eq!(sent_by(b"SIP/2.0/TCP 127.0.0.1:7;branch=x"), None);
    }
}
