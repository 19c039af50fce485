//! Record-Route on the way back (RFC 3261 §16.7 step 8, RFC 5658): each side is left with the address of ours that is
//! meant for it, so that none of the inside stands in what goes outside.
//!
//! A request of a caller carries two to its node, which needs both: the nearer one to send by, the farther one because
//! the caller's stands below it. The caller needs the farther one only, so the nearer is taken out of the response. A
//! request of a node carries one, and the other is put into the response.

use switchtender_sip::{Edits, HeaderName, Message, NameAddr, Output as Writer, Uri, Value};

use crate::forward::{Side, write_own_uri};
use crate::token::Keys;

/// No shorter user part is a token.
const SHORTEST_TOKEN: usize = 40;

/// Takes the nearer one of the two that we wrote out of the response to a caller. They have one token.
pub(crate) fn hide_nearer(edits: &mut Edits, message: &Message<'_>) {
    let mut before: Option<(Value, &[u8])> = None;
    for value in message.values(HeaderName::RecordRoute) {
        let user = uri_of(message, value).and_then(|uri| uri.user).filter(|user| user.len() >= SHORTEST_TOKEN);
        if let (Some((nearer, token)), Some(user)) = (before, user)
            && token == user
        {
            edits.delete(nearer.removal);
            return;
        }
        before = user.map(|user| (value, user));
    }
}

/// Takes our Path out of the response to a registration: it is for calls of the node, and none of the caller's business.
pub(crate) fn hide_path(edits: &mut Edits, message: &Message<'_>, keys: &mut Keys) {
    let is_ours = |value: &Value| {
        let user = uri_of(message, *value).and_then(|uri| uri.user);
        user.is_some_and(|user| keys.open(user).is_ok())
    };
    if let Some(value) = message.values(HeaderName::Path).find(is_ours) {
        edits.delete(value.removal);
    }
}

/// Puts the farther one behind the one that the request took along, for the node that sent it.
pub(crate) fn add_farther(edits: &mut Edits, message: &Message<'_>, keys: &mut Keys, far: Side<'_>) {
    for value in message.values(HeaderName::RecordRoute) {
        let Some(uri) = uri_of(message, value) else { continue };
        let Some(user) = uri.user.filter(|user| keys.open(user).is_ok()) else { continue };
        let mut room = [0; 512];
        let mut wanted = Writer::new(&mut room);
        let fits = write_own_uri(&mut wanted, user, far).is_ok();
        if fits && value.span.of(message.bytes()) != wanted.written() {
            edits.insert(value.span.end, |writer| {
                writer.bytes(b",")?;
                writer.bytes(wanted.written())
            });
        }
        return;
    }
}

fn uri_of<'a>(message: &Message<'a>, value: Value) -> Option<Uri<'a>> {
    NameAddr::parse(value.span.of(message.bytes()))?.uri()
}
