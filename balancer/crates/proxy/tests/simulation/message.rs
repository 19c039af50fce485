//! SIP messages as the simulated endpoints see them: owned text, parsed strictly and without the product's parser, so that
//! whatever the proxy emits is read by somebody else's eyes.

use std::fmt;
use std::net::SocketAddr;

/// First line of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Method and Request-URI.
    Request(String, String),
    /// Status code and reason phrase.
    Response(u16, String),
}

/// A message: start line, header fields in order (long names), body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) start: Start,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

const COMPACT: [(&str, &str); 8] = [
    ("v", "Via"),
    ("f", "From"),
    ("t", "To"),
    ("i", "Call-ID"),
    ("m", "Contact"),
    ("l", "Content-Length"),
    ("c", "Content-Type"),
    ("k", "Supported"),
];

impl Message {
    pub(crate) fn request(method: &str, uri: &str) -> Self {
        Self { start: Start::Request(method.into(), uri.into()), headers: Vec::new(), body: String::new() }
    }

    /// The response a server gives: Vias, From, To, Call-ID, `CSeq` copied, `To` tagged (RFC 3261 §8.2.6.2).
    pub(crate) fn response(request: &Self, code: u16, reason: &str, to_tag: &str) -> Self {
        let mut response =
            Self { start: Start::Response(code, reason.into()), headers: Vec::new(), body: String::new() };
        for (name, value) in &request.headers {
            match name.as_str() {
                "To" if code > 100 && request.tag("To").is_empty() => {
                    response.headers.push((name.clone(), format!("{value};tag={to_tag}")));
                }
                "Via" | "From" | "To" | "Call-ID" | "CSeq" => response.headers.push((name.clone(), value.clone())),
                _ => {}
            }
        }
        response
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.headers.push((name.into(), value.to_string()));
        self
    }

    #[must_use]
    pub(crate) fn with_all(mut self, name: &str, values: &[String]) -> Self {
        self.headers.extend(values.iter().map(|value| (name.to_owned(), value.clone())));
        self
    }

    /// Reads one datagram.
    ///
    /// # Errors
    /// Says what is wrong with it: a bare CR or LF, a missing mandatory field, a wrong Content-Length …
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or("no end of headers")?;
        let mut lines = head.split("\r\n");
        let start = parse_start(lines.next().unwrap_or_default())?;
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            if line.contains(['\r', '\n']) {
                return Err(format!("bare line break in {line:?}"));
            }
            if line.starts_with([' ', '\t']) {
                let (_, value) = headers.last_mut().ok_or("folded first line")?;
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| format!("no colon in {line:?}"))?;
            let name = name.trim_end();
            let long =
                COMPACT.iter().find(|(short, _)| short.eq_ignore_ascii_case(name)).map_or(name, |(_, long)| long);
            // Blanks only: another control character is part of the value.
            headers.push((long.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
        let message = Self { start, headers, body: body.to_owned() };
        message.check()?;
        Ok(message)
    }

    fn check(&self) -> Result<(), String> {
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            if self.header(name).is_none_or(str::is_empty) {
                return Err(format!("no {name}"));
            }
        }
        for name in ["From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length"] {
            if self.headers.iter().filter(|(found, _)| found == name).count() > 1 {
                return Err(format!("more than one {name}"));
            }
        }
        if let Some(length) = self.header("Content-Length")
            && length.parse() != Ok(self.body.len())
        {
            return Err(format!("Content-Length {length}, body {}", self.body.len()));
        }
        if self.is_request() && self.header("Max-Forwards").is_none() {
            return Err("no Max-Forwards".into());
        }
        let (_, method) = self.cseq();
        match &self.start {
            Start::Request(found, _) if *found != method => Err(format!("CSeq of {method} in a {found}")),
            _ => Ok(()),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    pub(crate) fn is_request(&self) -> bool {
        matches!(self.start, Start::Request(..))
    }

    /// Method of the request, or of the request this is a response to.
    pub(crate) fn method(&self) -> String {
        self.cseq().1
    }

    pub(crate) fn uri(&self) -> &str {
        match &self.start {
            Start::Request(_, uri) => uri,
            Start::Response(..) => "",
        }
    }

    /// Status code; 0 of a request.
    pub(crate) fn code(&self) -> u16 {
        match self.start {
            Start::Response(code, _) => code,
            Start::Request(..) => 0,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All values of a list header, comma-separated ones taken apart.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let values = self.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        values.flat_map(|(_, value)| split_list(value)).collect()
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.headers.retain(|(found, _)| found != name);
    }

    pub(crate) fn call_id(&self) -> &str {
        self.header("Call-ID").unwrap_or_default()
    }

    pub(crate) fn cseq(&self) -> (u32, String) {
        let value = self.header("CSeq").unwrap_or_default();
        let (number, method) = value.split_once(' ').unwrap_or_default();
        (number.parse().unwrap_or(u32::MAX), method.trim().to_owned())
    }

    /// The tag of From or To; empty without one.
    pub(crate) fn tag(&self, name: &str) -> String {
        let value = self.header(name).unwrap_or_default();
        let parameters = value.rsplit_once('>').map_or(value, |(_, parameters)| parameters);
        parameter(parameters, "tag").unwrap_or_default()
    }

    /// The topmost Via.
    pub(crate) fn via(&self) -> Via {
        self.list("Via").first().map_or_else(Via::default, |value| Via::parse(value))
    }

    /// The branch of the topmost Via.
    pub(crate) fn branch(&self) -> String {
        self.via().branch
    }

    /// Key of the server transaction a request belongs to (RFC 3261 §17.2.3).
    pub(crate) fn transaction(&self) -> String {
        let method = self.method();
        let class = if method == "ACK" { "INVITE" } else { method.as_str() };
        let via = self.via();
        format!("{} {} {class}", via.branch, via.sent_by)
    }

    /// The URI in the first Contact.
    pub(crate) fn contact(&self) -> String {
        self.list("Contact").first().map(|value| bare(value)).unwrap_or_default()
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.start {
            Start::Request(method, uri) => write!(f, "{method} {uri} SIP/2.0\r\n")?,
            Start::Response(code, reason) => write!(f, "SIP/2.0 {code} {reason}\r\n")?,
        }
        for (name, value) in &self.headers {
            write!(f, "{name}: {value}\r\n")?;
        }
        if self.header("Content-Length").is_none() {
            write!(f, "Content-Length: {}\r\n", self.body.len())?;
        }
        write!(f, "\r\n{}", self.body)
    }
}

fn parse_start(line: &str) -> Result<Start, String> {
    if let Some(status) = line.strip_prefix("SIP/2.0 ") {
        let (code, reason) = status.split_once(' ').ok_or_else(|| format!("status line {line:?}"))?;
        let code = code.parse().map_err(|_| format!("status code {code:?}"))?;
        return Ok(Start::Response(code, reason.into()));
    }
    match line.split(' ').collect::<Vec<_>>()[..] {
        [method, uri, "SIP/2.0"] if !method.is_empty() && !uri.is_empty() => {
            Ok(Start::Request(method.into(), uri.into()))
        }
        _ => Err(format!("start line {line:?}")),
    }
}

/// A Via value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Via {
    pub(crate) sent_by: String,
    pub(crate) branch: String,
    pub(crate) received: Option<String>,
    /// `Some("")` when asked for and not filled in.
    pub(crate) rport: Option<String>,
}

impl Via {
    fn parse(value: &str) -> Self {
        let (_, rest) = value.split_once(' ').unwrap_or(("", value));
        let (sent_by, parameters) = rest.split_once(';').unwrap_or((rest, ""));
        let parameters = format!(";{parameters}");
        Self {
            sent_by: sent_by.trim().to_owned(),
            branch: parameter(&parameters, "branch").unwrap_or_default(),
            received: parameter(&parameters, "received"),
            rport: parameter(&parameters, "rport"),
        }
    }

    /// Where a response goes (RFC 3261 §18.2.2, RFC 3581 §4).
    pub(crate) fn reply_to(&self) -> Option<SocketAddr> {
        let (host, port) = host_port(&self.sent_by);
        let host = self.received.as_deref().unwrap_or(host);
        let port = self.rport.as_deref().and_then(|port| port.parse().ok()).unwrap_or(port);
        Some(SocketAddr::new(host.parse().ok()?, port))
    }
}

/// The value of parameter `name` in `;a;b=c`; empty for one without a value.
fn parameter(parameters: &str, name: &str) -> Option<String> {
    parameters.split(';').skip(1).find_map(|parameter| {
        let (found, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

fn split_list(value: &str) -> Vec<String> {
    let (mut quoted, mut angle, mut values) = (false, false, vec![String::new()]);
    for character in value.chars() {
        match character {
            '"' => quoted = !quoted,
            '<' if !quoted => angle = true,
            '>' if !quoted => angle = false,
            ',' if !quoted && !angle => {
                values.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = values.last_mut() {
            last.push(character);
        }
    }
    values.into_iter().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).collect()
}

/// The URI between the angle brackets of a name-addr, else the value up to its first parameter.
pub(crate) fn bare(value: &str) -> String {
    match value.split_once('<').and_then(|(_, rest)| rest.split_once('>')) {
        Some((uri, _)) => uri.to_owned(),
        None => value.split(';').next().unwrap_or_default().trim().to_owned(),
    }
}

/// User part of a SIP URI; empty without one.
pub(crate) fn user(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.split_once('@').map_or("", |(user, _)| user)
}

/// Host and port of a SIP URI as an address.
pub(crate) fn address(uri: &str) -> Option<SocketAddr> {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
    let (host, port) = host_port(rest.split(';').next().unwrap_or_default());
    Some(SocketAddr::new(host.parse().ok()?, port))
}

fn host_port(text: &str) -> (&str, u16) {
    match text.rsplit_once(':') {
        Some((host, port)) => (host.trim(), port.trim().parse().unwrap_or(5060)),
        None => (text.trim(), 5060),
    }
}
