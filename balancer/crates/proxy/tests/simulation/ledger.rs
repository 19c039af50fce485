//! What every call was meant to be, and what its two ends saw of it: the judge's notes, unknown to the product.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use switchtender_select::Time;

/// What a call is meant to do; stands in the user part of its Request-URI, where the node reads it as its dialplan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    /// From the node's 100 to its final response, in milliseconds; it rings half that time.
    pub(crate) ring: u64,
    /// From the ACK to the BYE, in milliseconds.
    pub(crate) talk: u64,
    pub(crate) hangup: Side,
    pub(crate) reinvite: Option<Side>,
}

/// How a call is to end up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Answer,
    /// As `Answer`, once the caller has shown credentials.
    Digest,
    /// The far end is busy: 486.
    Busy,
    /// The far end's own 503 comes through the node.
    FarUnavailable,
    /// Rings until the caller gives up after so many milliseconds.
    Cancel(u64),
    /// Rings until Timer C.
    RingsForever,
}

/// One end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Caller,
    Node,
}

impl Plan {
    pub(crate) fn user(&self) -> String {
        let kind = match self.kind {
            Kind::Answer => "answer".to_owned(),
            Kind::Digest => "digest".to_owned(),
            Kind::Busy => "busy".to_owned(),
            Kind::FarUnavailable => "far503".to_owned(),
            Kind::Cancel(after) => format!("cancel{after}"),
            Kind::RingsForever => "rings".to_owned(),
        };
        let side = |side| if side == Side::Caller { "caller" } else { "node" };
        let reinvite = self.reinvite.map_or("none", side);
        format!("{kind}-{}-{}-{}-{reinvite}", self.ring, self.talk, side(self.hangup))
    }

    pub(crate) fn of_user(user: &str) -> Option<Self> {
        let [kind, ring, talk, hangup, reinvite] = user.split('-').collect::<Vec<_>>()[..] else { return None };
        let kind = match kind {
            "answer" => Kind::Answer,
            "digest" => Kind::Digest,
            "busy" => Kind::Busy,
            "far503" => Kind::FarUnavailable,
            "rings" => Kind::RingsForever,
            _ => Kind::Cancel(kind.strip_prefix("cancel")?.parse().ok()?),
        };
        let side = |side: &str| match side {
            "caller" => Some(Side::Caller),
            "node" => Some(Side::Node),
            _ => None,
        };
        let (ring, talk) = (ring.parse().ok()?, talk.parse().ok()?);
        Some(Self { kind, ring, talk, hangup: side(hangup)?, reinvite: side(reinvite) })
    }
}

/// How a BYE went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByeResult {
    Waiting,
    Final(u16),
    TimedOut,
}

#[derive(Clone, Debug)]
pub(crate) struct Bye {
    pub(crate) by: Side,
    pub(crate) tag: String,
    pub(crate) at: Time,
    pub(crate) result: ByeResult,
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) plan: Plan,
    pub(crate) placed: Time,
    /// Nodes that a new INVITE reached, with the branch, first arrivals only.
    pub(crate) invited: Vec<(usize, String)>,
    /// The node that challenged.
    pub(crate) challenged_by: Option<usize>,
    /// Nodes that said 200 to a new INVITE: when, which, with what tag.
    pub(crate) answered: Vec<(Time, usize, String)>,
    /// Tags of answers that the caller saw.
    pub(crate) seen: BTreeSet<String>,
    /// Tags of answers whose ACK the node saw.
    pub(crate) confirmed: BTreeSet<String>,
    /// Tags of answers that the node never saw an ACK for.
    pub(crate) unacknowledged: BTreeSet<String>,
    /// Tags of dialogs that ended at the node.
    pub(crate) ended: BTreeSet<String>,
    pub(crate) byes: Vec<Bye>,
    /// How a re-INVITE went: by whom, its final code, 0 for none in time.
    pub(crate) reinvites: Vec<(Side, u16)>,
    /// The caller's view: final code of its last INVITE, 0 for none in time.
    pub(crate) outcome: Option<u16>,
    /// When that was.
    pub(crate) decided: Option<Time>,
}

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) calls: BTreeMap<String, Call>,
    /// What must not have happened.
    pub(crate) violations: Vec<String>,
    /// What happened that may cost calls.
    pub(crate) disturbances: Vec<Disturbance>,
}

/// Something that may cost calls, as long as its shadow lasts.
#[derive(Clone, Debug)]
pub(crate) struct Disturbance {
    pub(crate) from: Time,
    pub(crate) to: Time,
    pub(crate) what: Trouble,
}

/// What a disturbance can spoil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The transactions of one replica, and the flows through it: any call in the making.
    Replica(usize),
    /// A client's datagrams come from another port: a retransmission may count as new on another replica.
    Move,
    /// All flows through the virtual addresses moved. A response may now reach a replica that did not ask for it.
    Rehash,
    /// Everything at one node.
    Node(usize),
    /// Timers of one replica fired early.
    Clock(usize),
    /// Some node does not take new calls any more; costs none, but credentials may be asked for again.
    Pool,
}

impl Ledger {
    pub(crate) fn place(&mut self, call_id: &str, plan: Plan, now: Time) {
        let call = Call {
            plan,
            placed: now,
            invited: Vec::new(),
            challenged_by: None,
            answered: Vec::new(),
            seen: BTreeSet::new(),
            confirmed: BTreeSet::new(),
            unacknowledged: BTreeSet::new(),
            ended: BTreeSet::new(),
            byes: Vec::new(),
            reinvites: Vec::new(),
            outcome: None,
            decided: None,
        };
        self.calls.insert(call_id.to_owned(), call);
    }

    /// The record of a call; `None` for one that no client placed.
    pub(crate) fn call(&mut self, call_id: &str) -> Option<&mut Call> {
        self.calls.get_mut(call_id)
    }

    /// The caller has its final response, 0 for none in time; the first one counts.
    pub(crate) fn decide(&mut self, call_id: &str, code: u16, now: Time) {
        if let Some(call) = self.call(call_id) {
            call.outcome.get_or_insert(code);
            call.decided.get_or_insert(now);
        }
    }

    pub(crate) fn bye(&mut self, call_id: &str, by: Side, tag: &str, at: Time) {
        if let Some(call) = self.call(call_id) {
            call.byes.push(Bye { by, tag: tag.to_owned(), at, result: ByeResult::Waiting });
        }
    }

    pub(crate) fn bye_result(&mut self, call_id: &str, by: Side, tag: &str, result: ByeResult) {
        let byes = self.call(call_id).map(|call| call.byes.iter_mut()).into_iter().flatten();
        for bye in byes.filter(|bye| bye.by == by && bye.tag == tag) {
            bye.result = result;
        }
    }

    pub(crate) fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Something begins that may spoil what happens from now until `shadow` later.
    pub(crate) fn disturb(&mut self, now: Time, shadow: Duration, what: Trouble) {
        self.disturbances.push(Disturbance { from: now, to: now + shadow, what });
    }

    /// What disturbed the span from `from` to `to`.
    pub(crate) fn troubles(&self, from: Time, to: Time) -> impl Iterator<Item = Trouble> {
        let overlaps = move |disturbance: &&Disturbance| disturbance.from <= to && from <= disturbance.to;
        self.disturbances.iter().filter(overlaps).map(|disturbance| disturbance.what)
    }
}
