//! SIP messages as text: written by hand in tests, read back by line. Knows less SIP than the code it checks, on purpose.

use std::fmt::{self, Write as _};

/// A message that was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(String);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.0)
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Text {
    /// Whatever the proxy sends is text with CRLF line ends and one empty line.
    pub fn received(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        let (head, _) = text.split_once("\r\n\r\n").expect("an empty line ends the header fields");
        assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "{text}");
        Self(text)
    }

    pub fn first_line(&self) -> &str {
        self.0.lines().next().unwrap()
    }

    pub fn method(&self) -> Option<&str> {
        self.first_line().strip_suffix(" SIP/2.0")?.split(' ').next()
    }

    pub fn uri(&self) -> &str {
        self.first_line().split(' ').nth(1).unwrap()
    }

    pub fn status(&self) -> Option<u16> {
        self.first_line().strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    pub fn reason(&self) -> &str {
        self.first_line().get(12..).unwrap()
    }

    /// Values of all fields of this name, commas resolved.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let head = self.0.split("\r\n\r\n").next().unwrap();
        head.split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(found, _)| found.trim().eq_ignore_ascii_case(name))
            .flat_map(|(_, value)| value.split(','))
            .map(str::trim)
            .collect()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").unwrap().1
    }

    pub fn top_branch(&self) -> &str {
        param(self.get("Via").unwrap(), "branch").unwrap()
    }

    /// A response to this request as its receiver would write it; `extra`: further lines, each with its CRLF.
    pub fn response(&self, status: u16, reason: &str, extra: &str) -> String {
        let mut text = format!("SIP/2.0 {status} {reason}\r\n");
        let vias = self.all("Via");
        let vias = if status == 100 { &vias[..1] } else { &vias[..] };
        for via in vias {
            let _ = write!(text, "Via: {via}\r\n");
        }
        if (101..300).contains(&status) {
            for route in self.all("Record-Route") {
                let _ = write!(text, "Record-Route: {route}\r\n");
            }
        }
        let to = self.get("To").unwrap();
        let tag = if status == 100 || to.contains(";tag=") { "" } else { ";tag=node" };
        let _ = write!(text, "From: {}\r\nTo: {to}{tag}\r\n", self.get("From").unwrap());
        let _ = write!(text, "Call-ID: {}\r\nCSeq: {}\r\n", self.get("Call-ID").unwrap(), self.get("CSeq").unwrap());
        if (200..300).contains(&status) {
            text += "Contact: <sip:node@10.1.0.1:5060>\r\n";
        }
        text + extra + "Content-Length: 0\r\n\r\n"
    }
}

/// The value of a `;name=value` parameter.
pub fn param<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split([';', '>'])
        .filter_map(|part| part.split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// A request under construction.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    pub uri: String,
    pub via: Vec<String>,
    pub from: String,
    pub to: String,
    pub call_id: String,
    pub cseq: u32,
    pub max_forwards: Option<u8>,
    pub routes: Vec<String>,
    pub contact: Option<String>,
    pub extra: String,
    pub body: String,
}

impl Request {
    /// As the caller of most tests sends it.
    pub fn new(method: &'static str, branch: &str) -> Self {
        Self {
            method,
            uri: "sip:1000@sip.example.com".into(),
            via: vec![format!("SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{branch};rport")],
            from: "<sip:caller@192.0.2.10>;tag=caller".into(),
            to: "<sip:1000@sip.example.com>".into(),
            call_id: "call@192.0.2.10".into(),
            cseq: 1,
            max_forwards: Some(70),
            routes: Vec::new(),
            contact: Some("<sip:caller@192.0.2.10:5060>".into()),
            extra: String::new(),
            body: String::new(),
        }
    }

    pub fn invite() -> Self {
        let mut request = Self::new("INVITE", "invite");
        request.body = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\n".into();
        request.extra = "Content-Type: application/sdp\r\n".into();
        request
    }

    /// In the dialog that `answer`, a 2xx as the caller got it, made.
    pub fn in_dialog(method: &'static str, branch: &str, answer: &Text) -> Self {
        let contact = answer.get("Contact").unwrap();
        let mut routes: Vec<String> = answer.all("Record-Route").into_iter().map(String::from).collect();
        routes.reverse();
        Self {
            uri: contact.trim_matches(['<', '>']).into(),
            to: answer.get("To").unwrap().into(),
            call_id: answer.get("Call-ID").unwrap().into(),
            cseq: if method == "ACK" { 1 } else { 2 },
            routes,
            ..Self::new(method, branch)
        }
    }

    /// The same dialog from the node's side: `invite` as the node got it.
    pub fn by_node(method: &'static str, branch: &str, invite: &Text) -> Self {
        Self {
            uri: invite.get("Contact").unwrap().trim_matches(['<', '>']).into(),
            via: vec![format!("SIP/2.0/UDP 10.1.0.1;rport;branch=z9hG4bK{branch}")],
            from: format!("{};tag=node", invite.get("To").unwrap()),
            to: invite.get("From").unwrap().into(),
            call_id: invite.get("Call-ID").unwrap().into(),
            cseq: 7,
            routes: invite.all("Record-Route").into_iter().map(String::from).collect(),
            contact: Some("<sip:node@10.1.0.1:5060>".into()),
            ..Self::new(method, branch)
        }
    }

    pub fn uri(mut self, uri: &str) -> Self {
        self.uri = uri.into();
        self
    }

    pub fn call_id(mut self, call_id: &str) -> Self {
        self.call_id = call_id.into();
        self
    }

    pub fn extra(mut self, line: &str) -> Self {
        self.extra += line;
        self.extra += "\r\n";
        self
    }

    pub fn route(mut self, route: &str) -> Self {
        self.routes.push(route.into());
        self
    }

    pub fn via(mut self, via: &str) -> Self {
        self.via = vec![via.into()];
        self
    }

    pub fn text(&self) -> String {
        let mut text = format!("{} {} SIP/2.0\r\n", self.method, self.uri);
        for via in &self.via {
            let _ = write!(text, "Via: {via}\r\n");
        }
        for route in &self.routes {
            let _ = write!(text, "Route: {route}\r\n");
        }
        if let Some(hops) = self.max_forwards {
            let _ = write!(text, "Max-Forwards: {hops}\r\n");
        }
        let _ = write!(text, "From: {}\r\nTo: {}\r\nCall-ID: {}\r\n", self.from, self.to, self.call_id);
        let _ = write!(text, "CSeq: {} {}\r\n", self.cseq, self.method);
        if let Some(contact) = &self.contact {
            let _ = write!(text, "Contact: {contact}\r\n");
        }
        text += &self.extra;
        let _ = write!(text, "Content-Length: {}\r\n\r\n{}", self.body.len(), self.body);
        text
    }

    /// The ACK for a failure, or the CANCEL, of this INVITE: same branch.
    pub fn of_same_transaction(&self, method: &'static str) -> String {
        let invite = self.clone();
        Self { method, body: String::new(), extra: String::new(), ..invite }.text()
    }
}
