//! What is known of a call, by each of its two ends for itself, and the table of calls. A place in the table keeps its
//! buffers when it is given to another call, so that in the long run none is allocated.

use std::net::SocketAddr;

use switchtender_select::Time;

use crate::script::Name;

/// How far the caller's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// INVITE was sent.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// 200 came, ACK was sent.
    Up,
    /// BYE was sent.
    Leaving,
    /// The 200 of BYE came.
    Over,
}

/// The caller's end (UAC).
#[derive(Debug)]
pub struct Caller {
    /// How far it is.
    pub stage: Stage,
    /// Whether 180 came.
    pub rung: bool,
    /// When the request under way was sent first.
    pub since: Time,
    /// Which node the tag in To named.
    pub node: Option<u16>,
    /// Where the requests of the dialog are sent to (RFC 3261 §12.2.1.1).
    pub next_hop: SocketAddr,
    /// The remote target.
    pub target: Vec<u8>,
    /// The route set, as header lines.
    pub routes: Vec<u8>,
}

/// The called end (UAS).
#[derive(Debug)]
pub struct Callee {
    /// Which node took the INVITE.
    pub node: Option<u16>,
    /// Whether somebody asked to stay on the way (Record-Route).
    pub routed: bool,
    /// Whether ACK came.
    pub acked: bool,
    /// Whether BYE came.
    pub left: bool,
    /// When it answered.
    pub since: Time,
    /// Where responses to INVITE go.
    pub reply_to: SocketAddr,
    /// The 200, until ACK comes.
    pub answer: Vec<u8>,
}

/// Both ends of a call.
#[derive(Debug)]
pub struct Call {
    /// Its number; 0 in a free place.
    pub serial: u64,
    /// Which user it calls.
    pub group: u32,
    /// Whether it stands until the end of the run.
    pub standing: bool,
    /// The caller's end.
    pub caller: Caller,
    /// The called end.
    pub callee: Callee,
}

impl Call {
    /// Whether neither end waits for anything.
    pub fn is_over(&self) -> bool {
        self.caller.stage == Stage::Over && self.callee.acked && self.callee.left
    }
}

/// The table of calls.
#[derive(Debug)]
pub struct Calls {
    places: Vec<Call>,
    free: Vec<u32>,
    most: usize,
    /// The number of the next call.
    next: u64,
}

impl Calls {
    /// Room for so many at once.
    pub fn new(most: usize) -> Self {
        Self { places: Vec::new(), free: Vec::new(), most, next: 1 }
    }

    /// A place for a new call, which is made to `next_hop` at first; `None` when there are as many as may be.
    pub fn open(&mut self, now: Time, group: u32, standing: bool, next_hop: SocketAddr) -> Option<Name> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.places.len() < self.most => {
                let slot = u32::try_from(self.places.len()).ok()?;
                self.places.push(vacant(next_hop));
                slot
            }
            None => return None,
        };
        let call = self.places.get_mut(usize::try_from(slot).ok()?)?;
        let serial = self.next;
        self.next += 1;
        (call.serial, call.group, call.standing) = (serial, group, standing);
        let Caller { stage, rung, since, node, next_hop: hop, target, routes } = &mut call.caller;
        (*stage, *rung, *since, *node, *hop) = (Stage::Calling, false, now, None, next_hop);
        target.clear();
        routes.clear();
        let Callee { node, routed, acked, left, answer, .. } = &mut call.callee;
        (*node, *routed, *acked, *left) = (None, false, false, false);
        answer.clear();
        Some(Name::new(slot, serial))
    }

    /// The call of this name, while it goes on.
    pub fn get(&mut self, name: Name) -> Option<&mut Call> {
        self.places.get_mut(usize::try_from(name.slot).ok()?).filter(|call| call.serial == name.serial)
    }

    /// Whether there was a call of this number.
    pub fn was(&self, serial: u64) -> bool {
        (1..self.next).contains(&serial)
    }

    /// Give the place of a call that is no more to others.
    pub fn close(&mut self, name: Name) {
        if let Some(call) = self.get(name) {
            call.serial = 0;
            self.free.push(name.slot);
        }
    }

    /// How many go on.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether none goes on.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn vacant(address: SocketAddr) -> Call {
    Call {
        serial: 0,
        group: 0,
        standing: false,
        caller: Caller {
            stage: Stage::Over,
            rung: false,
            since: Time::ZERO,
            node: None,
            next_hop: address,
            target: Vec::new(),
            routes: Vec::new(),
        },
        callee: Callee {
            node: None,
            routed: false,
            acked: false,
            left: false,
            since: Time::ZERO,
            reply_to: address,
            answer: Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_again_under_another_number() {
        let mut calls = Calls::new(2);
        let to = "127.0.0.1:5060".parse().unwrap();
        let open = |calls: &mut Calls| calls.open(Time::ZERO, 0, false, to);
        let (first, second) = (open(&mut calls).unwrap(), open(&mut calls).unwrap());
        assert_eq!((open(&mut calls), calls.len()), (None, 2));
        calls.close(first);
        calls.close(first);
        assert!(calls.get(first).is_none() && calls.get(second).is_some());
        let third = open(&mut calls).unwrap();
        assert_eq!((third.slot, third.serial, calls.len()), (first.slot, 3, 2));
        assert!(calls.was(first.serial) && !calls.was(4) && !calls.was(0));
    }
}
