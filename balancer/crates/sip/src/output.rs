//! Writing into a fixed buffer. Knows no message.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// The output buffer, or the list of edits, is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

impl std::fmt::Display for Overflow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("message does not fit its buffer")
    }
}

impl std::error::Error for Overflow {}

/// A cursor over a caller's buffer. It never writes past the end; once something did not fit, the message is lost.
#[derive(Debug)]
pub struct Output<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Output<'a> {
    /// Begins to write at the start of `buffer`.
    #[must_use]
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// Copies bytes.
    ///
    /// # Errors
    /// [`Overflow`] when it does not fit.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        let end = self.len + bytes.len();
        self.buffer.get_mut(self.len..end).ok_or(Overflow)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Writes a number without leading zeros.
    ///
    /// # Errors
    /// [`Overflow`] when it does not fit.
    pub fn decimal(&mut self, value: u64) -> Result<(), Overflow> {
        let mut digits = [0; 20];
        let mut rest = value;
        let mut start = digits.len();
        for (at, slot) in digits.iter_mut().enumerate().rev() {
            #[allow(clippy::cast_possible_truncation)] // a remainder of 10
            let digit = (rest % 10) as u8;
            *slot = b'0' + digit;
            rest /= 10;
            start = at;
            if rest == 0 {
                break;
            }
        }
        self.bytes(digits.get(start..).unwrap_or_default())
    }

    /// `192.0.2.1`, `[2001:db8::1]`: as in a URI or sent-by.
    ///
    /// # Errors
    /// [`Overflow`] when it does not fit.
    pub fn ip(&mut self, ip: IpAddr) -> Result<(), Overflow> {
        if ip.is_ipv4() {
            return self.plain_ip(ip);
        }
        self.bytes(b"[")?;
        self.plain_ip(ip)?;
        self.bytes(b"]")
    }

    /// An address without brackets, as in `received` (RFC 3261 §25.1 `via-received`).
    ///
    /// # Errors
    /// [`Overflow`] when it does not fit.
    pub fn plain_ip(&mut self, ip: IpAddr) -> Result<(), Overflow> {
        if let IpAddr::V4(v4) = ip {
            for (position, octet) in v4.octets().into_iter().enumerate() {
                if position > 0 {
                    self.bytes(b".")?;
                }
                self.decimal(octet.into())?;
            }
            return Ok(());
        }
        let mut rest = self.buffer.get_mut(self.len..).unwrap_or_default();
        let room = rest.len();
        write!(rest, "{ip}").map_err(|_| Overflow)?;
        self.len += room - rest.len();
        Ok(())
    }

    /// `192.0.2.1:5060`, `[2001:db8::1]:5060`.
    ///
    /// # Errors
    /// [`Overflow`] when it does not fit.
    pub fn socket_addr(&mut self, address: SocketAddr) -> Result<(), Overflow> {
        self.ip(address.ip())?;
        self.bytes(b":")?;
        self.decimal(address.port().into())
    }

    /// Bytes written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What was written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// The written part with the buffer's own lifetime.
    #[must_use]
    pub fn into_written(self) -> &'a mut [u8] {
        self.buffer.get_mut(..self.len).unwrap_or_default()
    }
}
