//! Whether a world, once quiet, did everything it was meant to do, but for what its troubles excuse.

use crate::client::Client;
use crate::ledger::{Bye, ByeResult, Call, Kind, Ledger, Side, Trouble};
use crate::node::Node;
use crate::pool::TIMER_C;
use crate::replica::Replica;
use crate::witness::Traffic;
use crate::world::World;
use std::time::Duration;
use switchtender_proxy::{Counter, Outcome, Time};

/// How much may go wrong without an excuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rigor {
    /// One node per call, no failover, no repetition.
    Exact,
    /// Datagrams get lost, so nodes may seem silent.
    Lossy,
    /// The pool is too small for everybody, too.
    Crowded,
}

const TIMER_F: Duration = Duration::from_secs(32);

/// After the last call and the last trouble: long enough for every transaction to end.
pub(crate) const QUIET: Duration = Duration::from_secs(3 * 64 + TIMER_C / 1000 + 90);

/// # Errors
/// The first thing that is not as it should be.
pub(crate) fn judge(world: &World, rigor: Rigor) -> Result<(), String> {
    let ledger = &world.ledger;
    for (call_id, call) in &ledger.calls {
        judge_call(ledger, call, rigor).map_err(|what| format!("{call_id}: {what}\n{call:#?}"))?;
    }
    let repetitions =
        world.clients.iter().map(Client::retransmitted).chain(world.nodes.iter().map(Node::retransmitted));
    if rigor == Rigor::Exact && repetitions.sum::<u64>() > 0 {
        return Err("somebody had to say something twice".into());
    }
    for client in &world.clients {
        if !client.is_quiet() {
            return Err(format!("client {} still waits for something", client.index));
        }
    }
    for node in &world.nodes {
        // A BYE that did not get through was judged above.
        let missed = |call_id: &&str| {
            let byes = ledger.calls.get(*call_id).map(|call| &call.byes).into_iter().flatten();
            byes.into_iter().all(|bye| bye.result == ByeResult::Final(200))
        };
        if node.is_waiting() || node.left().iter().any(missed) {
            return Err(format!("node {} still has sessions {:?}", node.index, node.left()));
        }
    }
    for replica in &world.replicas {
        replica.check_quiet()?;
        judge_counters(replica, world.book.traffic.get(&(replica.index, replica.life)).copied().unwrap_or_default())?;
    }
    Ok(())
}

fn judge_call(ledger: &Ledger, call: &Call, rigor: Rigor) -> Result<(), String> {
    let (Some(outcome), Some(decided)) = (call.outcome, call.decided) else {
        return Err("the caller never got a final response".into());
    };
    // What the caller and each node saw must agree, whatever happened.
    if let Some(tag) = call.seen.iter().find(|tag| call.answered.iter().all(|(_, _, answered)| answered != *tag)) {
        return Err(format!("nobody answered with tag {tag}"));
    }
    let excused = is_excused(ledger, call, call.placed, decided);
    let mut troubles = ledger.troubles(call.placed, decided);
    let moved = rigor == Rigor::Crowded || excused || troubles.any(|trouble| trouble == Trouble::Pool);
    // The node that challenged may not take calls any more, and the next one asks again.
    let asked_again = call.plan.kind == Kind::Digest && outcome == 407 && moved;
    if !asked_again {
        judge_outcome(call, outcome, excused, rigor)?;
    }
    if rigor == Rigor::Exact && !excused {
        judge_attempts(call)?;
    }
    for (_, _, tag) in &call.answered {
        let disturbed = is_excused(ledger, call, call.placed, decided + TIMER_F);
        // A BYE may overtake an ACK that was lost.
        let over = call.ended.contains(tag) && !call.unacknowledged.contains(tag) && rigor != Rigor::Exact;
        if !call.confirmed.contains(tag) && !over && !disturbed {
            return Err(format!("the answer {tag} was never acknowledged"));
        }
    }
    for bye in &call.byes {
        judge_bye(ledger, call, bye)?;
    }
    for (side, code) in &call.reinvites {
        let crossed = *code == 481 && !call.byes.is_empty();
        if *code != 200 && !crossed && !is_excused(ledger, call, call.placed, Time::MAX) {
            return Err(format!("the re-INVITE of the {side:?} got {code}"));
        }
    }
    Ok(())
}

fn is_excused(ledger: &Ledger, call: &Call, from: Time, to: Time) -> bool {
    ledger.troubles(from, to).any(|trouble| match trouble {
        Trouble::Replica(_) | Trouble::Move | Trouble::Rehash | Trouble::Clock(_) => true,
        Trouble::Node(_) => troubles_node(call, trouble),
        Trouble::Pool => false,
    })
}

/// Only a node that had taken the call can spoil it: for any other there is the next one.
fn troubles_node(call: &Call, trouble: Trouble) -> bool {
    matches!(trouble, Trouble::Node(node) if call.invited.iter().any(|(invited, _)| *invited == node))
}

fn judge_outcome(call: &Call, outcome: u16, excused: bool, rigor: Rigor) -> Result<(), String> {
    let expected: &[u16] = match call.plan.kind {
        Kind::Answer | Kind::Digest => &[200],
        Kind::Busy => &[486],
        Kind::FarUnavailable if rigor == Rigor::Exact => &[500],
        // The silence of a first node is a 408, and a lower class than what the next one says (RFC 3261 §16.7 step 6).
        Kind::FarUnavailable => &[500, 408],
        Kind::Cancel(_) => &[487],
        Kind::RingsForever => &[487, 408],
    };
    let excusable = [0, 200, 407, 408, 410, 480, 481, 482, 486, 487, 500, 503, 504];
    let crowded = rigor == Rigor::Crowded && outcome == 503;
    let late_cancel = matches!(call.plan.kind, Kind::Cancel(_)) && crowded;
    if expected.contains(&outcome) || crowded || late_cancel || (excused && excusable.contains(&outcome)) {
        Ok(())
    } else {
        Err(format!("ended with {outcome}, not one of {expected:?}"))
    }
}

/// With nothing lost and nothing broken, one node is chosen, and stays.
fn judge_attempts(call: &Call) -> Result<(), String> {
    let expected = if call.plan.kind == Kind::Digest { 2 } else { 1 };
    let first = call.invited.first().map(|(node, _)| *node);
    if call.invited.len() != expected || call.invited.iter().any(|(node, _)| Some(*node) != first) {
        return Err(format!("was sent to {:?}", call.invited));
    }
    Ok(())
}

/// A call can be ended from both sides as long as its node and some replica live.
fn judge_bye(ledger: &Ledger, call: &Call, bye: &Bye) -> Result<(), String> {
    let end = bye.at + TIMER_F;
    let both = call.byes.iter().filter(|other| other.tag == bye.tag).count() > 1;
    let spoils = |trouble| troubles_node(call, trouble) || matches!(trouble, Trouble::Clock(_));
    let spoiled = ledger.troubles(call.placed, end).any(spoils);
    let moved = ledger.troubles(bye.at, end).any(|trouble| trouble == Trouble::Rehash);
    let any_excuse = is_excused(ledger, call, call.placed, end);
    match bye.result {
        ByeResult::Final(200) => Ok(()),
        // The other side had ended the call already, or a first try got through and its 200 did not come back.
        ByeResult::Final(481) if both || any_excuse => Ok(()),
        // The caller has left without knowing of this dialog: its 200 was lost with a replica.
        ByeResult::Final(481) if bye.by == Side::Node && !call.seen.contains(&bye.tag) && any_excuse => Ok(()),
        ByeResult::TimedOut if moved && bye.by == Side::Node => Ok(()),
        _ if spoiled => Ok(()),
        result => Err(format!("the BYE of the {:?} ended with {result:?}", bye.by)),
    }
}

fn judge_counters(replica: &Replica, traffic: Traffic) -> Result<(), String> {
    let total = |counter: Counter| replica.proxies().map(|proxy| proxy.counters().get(counter)).sum::<u64>();
    let sum = |counters: &[Counter]| counters.iter().map(|counter| total(*counter)).sum::<u64>();
    let balance = |what: &str, left: u64, right: u64| {
        if left == right { Ok(()) } else { Err(format!("replica {}: {what}: {left} is not {right}", replica.index)) }
    };
    let sorts = [
        Counter::RequestsReceived,
        Counter::ResponsesReceived,
        Counter::KeepAlives,
        Counter::MalformedDropped,
        Counter::MalformedAnswered,
    ];
    balance("datagrams taken in", total(Counter::Received), traffic.taken_in)?;
    balance("datagrams by sort", total(Counter::Received), sum(&sorts))?;
    balance("requests sent", total(Counter::RequestsSent), traffic.requests_out)?;
    balance("responses sent", total(Counter::ResponsesSent), traffic.responses_out)?;
    let mut outcomes = [0; Outcome::COUNT];
    for proxy in replica.proxies() {
        for group in proxy.counters().groups() {
            for (sum, count) in outcomes.iter_mut().zip(group.outcomes) {
                *sum += count;
            }
        }
    }
    let ends = [
        Outcome::Answered,
        Outcome::Redirected,
        Outcome::ClientError,
        Outcome::Challenged,
        Outcome::ServerError,
        Outcome::Declined,
        Outcome::TimedOut,
        Outcome::Cancelled,
        Outcome::RejectedFull,
        Outcome::RejectedNoneReady,
        Outcome::RejectedRefused,
    ];
    let ended: u64 = ends.iter().map(|outcome| outcomes[*outcome as usize]).sum();
    balance("calls offered and ended", outcomes[Outcome::Offered as usize], ended)
}
