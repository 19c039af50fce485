//! What goes wrong in a world: drawn from its seed, planned before it starts, healed before it ends.

use crate::ledger::{Kind, Plan, Side, Trouble};
use crate::node::Mood;
use crate::pool::Pool;
use crate::world::{Deed, World};
use std::time::Duration;
use switchtender_proxy::Time;

/// Which troubles a world has.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Troubles {
    pub(crate) nodes: bool,
    pub(crate) replicas: bool,
    pub(crate) flows: bool,
    pub(crate) clocks: bool,
    pub(crate) pushes: bool,
    pub(crate) attacks: bool,
}

/// Calls are placed for so long.
pub(crate) const SPAN: Duration = Duration::from_secs(40);

/// So long after a node is well again some replica may still be told that it is not.
const RUMOR: Duration = Duration::from_secs(4);

const SECOND: Duration = Duration::from_secs(1);

fn millis(amount: u64) -> Duration {
    Duration::from_millis(amount)
}

/// Plans so many calls of all kinds, spread over the span.
pub(crate) fn plan_calls(world: &mut World, calls: usize) {
    for _ in 0..calls {
        let when = world.network.now + world.network.between(Duration::ZERO, SPAN);
        let clients = u64::try_from(world.clients.len()).unwrap_or(1);
        let client = usize::try_from(world.network.rng.below(clients)).unwrap_or(0);
        let plan = any_plan(world);
        world.plan(when, Deed::Place { client, plan });
    }
}

fn any_plan(world: &mut World) -> Plan {
    let dice = &mut world.network.rng;
    let side = |number: u64| if number == 0 { Side::Caller } else { Side::Node };
    let kind = match dice.below(20) {
        0..=10 => Kind::Answer,
        11..=13 => Kind::Digest,
        14 | 15 => Kind::Busy,
        16 => Kind::FarUnavailable,
        17 | 18 => Kind::Cancel(dice.below(4000)),
        _ => Kind::RingsForever,
    };
    let ring = if dice.below(4) == 0 { dice.below(4000) } else { dice.below(300) };
    let (talk, hangup) = (500 + dice.below(6000), side(dice.below(2)));
    let reinvite = (dice.below(3) == 0).then(|| side(dice.below(2)));
    Plan { kind, ring, talk, hangup, reinvite }
}

/// Plans what goes wrong.
pub(crate) fn plan_troubles(world: &mut World, troubles: Troubles) {
    if troubles.nodes {
        plan_nodes(world);
    }
    if troubles.replicas {
        plan_replicas(world);
    }
    if troubles.flows {
        plan_flows(world);
    }
    if troubles.clocks {
        plan_clocks(world);
    }
    if troubles.pushes {
        plan_pushes(world);
    }
    if troubles.attacks {
        for _ in 0..400 {
            let when = any_time(world);
            world.plan(when, Deed::Strike);
        }
    }
}

fn any_time(world: &mut World) -> Time {
    world.network.now + world.network.between(Duration::ZERO, SPAN)
}

/// Two nodes at most are in trouble at a time, each in its own lane, so that two others can take the calls.
fn plan_nodes(world: &mut World) {
    let start = world.network.now;
    let nodes = world.nodes.len();
    for lane in 0..2 {
        let mut now = start + world.network.between(SECOND, 6 * SECOND);
        while now < start + SPAN {
            let mine: Vec<usize> = (0..nodes).filter(|node| node % 2 == lane).collect();
            let Some(&node) = world.network.pick(&mine) else { return };
            let lasts = world.network.between(SECOND + millis(100), 7 * SECOND);
            let deed = match world.network.rng.below(6) {
                0 => Deed::Mood { node, mood: Mood::Dead },
                1 => Deed::Mood { node, mood: Mood::Silent },
                2 => Deed::Mood { node, mood: Mood::Stuck },
                3 => Deed::Mood { node, mood: Mood::Refusing },
                4 => Deed::Mood { node, mood: Mood::TearingDown },
                _ => Deed::ShutDown { node },
            };
            // Only what a node had already taken is lost with it; what it refuses or sits on goes to the next one.
            let costs_calls =
                matches!(deed, Deed::ShutDown { .. } | Deed::Mood { mood: Mood::Dead | Mood::Silent, .. });
            let trouble = if costs_calls { Trouble::Node(node) } else { Trouble::Pool };
            world.ledger.disturb(now, lasts + RUMOR, trouble);
            if matches!(deed, Deed::ShutDown { .. }) {
                world.plan(now + millis(500), Deed::Mood { node, mood: Mood::TearingDown });
                world.plan(now + SECOND, Deed::Mood { node, mood: Mood::Dead });
            }
            world.plan(now, deed);
            world.plan(now + lasts, Deed::Mood { node, mood: Mood::Serving });
            now = now + lasts + world.network.between(4 * SECOND, 10 * SECOND);
        }
    }
}

/// One replica at a time loses its memory and comes back, perhaps with fewer workers.
fn plan_replicas(world: &mut World) {
    let start = world.network.now;
    let mut now = start + world.network.between(SECOND, 10 * SECOND);
    while now < start + SPAN {
        let indices: Vec<usize> = (0..world.replicas.len()).collect();
        let Some(&replica) = world.network.pick(&indices) else { return };
        let lasts = world.network.between(millis(100), 4 * SECOND);
        let workers = 1 + u8::try_from(world.network.rng.below(3)).unwrap_or(0);
        world.ledger.disturb(now, lasts, Trouble::Replica(replica));
        world.plan(now, Deed::Stop { replica });
        world.plan(now + lasts, Deed::Start { replica, workers });
        now = now + lasts + world.network.between(2 * SECOND, 12 * SECOND);
    }
}

fn plan_flows(world: &mut World) {
    for _ in 0..2 {
        let when = any_time(world);
        world.ledger.disturb(when, millis(100), Trouble::Rehash);
        world.plan(when, Deed::Rehash);
    }
    for client in 0..world.clients.len() {
        let when = any_time(world);
        world.ledger.disturb(when, millis(100), Trouble::Move);
        world.plan(when, Deed::Move { client });
    }
}

fn plan_clocks(world: &mut World) {
    for replica in 0..world.replicas.len() {
        let when = any_time(world);
        let by = world.network.between(millis(10), 40 * SECOND);
        world.ledger.disturb(when, millis(100), Trouble::Clock(replica));
        world.plan(when, Deed::Jump { replica, by });
        let when = any_time(world);
        world.plan(when, Deed::FailSends { replica, count: 1 });
    }
}

/// Members drain, leave and join, weights change, a new key comes: verified everywhere before it seals.
fn plan_pushes(world: &mut World) {
    let start = world.network.now;
    let full = world.pool.clone();
    let mut now = start + 2 * SECOND;
    let mut pool = full.clone();
    let mut step = 0;
    while now < start + SPAN {
        step += 1;
        match step {
            3 => pool.keys = vec![1, 2],
            5 => pool.keys = vec![2, 1],
            _ => change_members(world, &full, &mut pool),
        }
        push(world, now, &pool);
        now += world.network.between(2 * SECOND, 5 * SECOND);
    }
    pool.members = full.members;
    push(world, start + SPAN, &pool);
}

fn change_members(world: &mut World, full: &Pool, pool: &mut Pool) {
    pool.members.clone_from(&full.members);
    let count = u64::try_from(pool.members.len()).unwrap_or(1);
    let rng = &mut world.network.rng;
    let one = usize::try_from(rng.below(count)).unwrap_or(0);
    match rng.below(3) {
        0 => drop(pool.members.remove(one)),
        1 => pool.members[one].draining = true,
        _ => pool.members[one].weight = 1.0 + rng.unit_f64(),
    }
}

fn push(world: &mut World, when: Time, pool: &Pool) {
    world.ledger.disturb(when, millis(500), Trouble::Pool);
    world.plan(when, Deed::Push { pool: pool.clone() });
}
