//! Messages that were sent, as they are: unlike what the tests of the proxy expect, anything that came in may be in them.

use std::fmt;

#[derive(Clone, PartialEq, Eq)]
pub struct Text(Vec<u8>);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Text {
    pub fn received(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    fn first_line(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == b'\r' || *byte == b'\n').unwrap_or(self.0.len());
        std::str::from_utf8(&self.0[..end]).unwrap_or_default()
    }

    /// The method of a request; empty where it is not to be read.
    pub fn method(&self) -> Option<&str> {
        if self.0.starts_with(b"SIP/") { None } else { Some(self.first_line().split(' ').next().unwrap_or_default()) }
    }

    pub fn status(&self) -> Option<u16> {
        self.first_line().strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The lines of all fields of this name, given without its colon.
    pub fn lines(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let head = self.0.windows(4).position(|end| end == b"\r\n\r\n").map_or(&self.0[..], |end| &self.0[..end]);
        head.split(|byte| *byte == b'\n').filter_map(move |line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let (found, value) = line.split_at_checked(name.len())?;
            (found.eq_ignore_ascii_case(name.as_bytes()) && value.first() == Some(&b':')).then_some(line)
        })
    }
}
