//! Named scenarios on the simulated world: what a restart, another replica, a changed pool or key, and an outsider with
//! somebody else's token must not change.

use crate::attacker::VICTIM;
use crate::ledger::{Bye, ByeResult, Kind, Plan, Side};
use crate::message::{Message, bare};
use crate::network::Sent;
use crate::replica::{NODE_SIDE, PUBLIC};
use crate::verdict::{QUIET, Rigor, judge};
use crate::world::{Setup, World};
use std::net::SocketAddr;
use std::time::Duration;
use switchtender_proxy::Counter;

/// One client of each kind of access.
const CLIENTS: usize = 4;

fn world() -> World {
    World::new(&Setup { clients: CLIENTS, ..Setup::new(7) })
}

fn answered(hangup: Side, talk: u64) -> Plan {
    Plan { kind: Kind::Answer, ring: 50, talk, hangup, reinvite: None }
}

/// A call of each client, up and talking for 5 more seconds, after which `hangup` ends it.
fn calls(world: &mut World, hangup: Side) -> Vec<String> {
    calls_of(world, &[0, 1, 2, 3], &answered(hangup, 5000))
}

/// A call of each of these clients, up and talking.
fn calls_of(world: &mut World, clients: &[usize], plan: &Plan) -> Vec<String> {
    world.run_for(Duration::from_millis(100));
    let calls: Vec<_> = clients.iter().map(|client| world.place(*client, plan.clone())).collect();
    world.run_for(Duration::from_secs(1));
    for call in &calls {
        assert_eq!(world.ledger.calls[call].confirmed.len(), 1, "{call} is not up");
    }
    calls
}

fn byes(world: &mut World, calls: &[String]) -> Vec<Bye> {
    world.run_for(Duration::from_secs(40));
    calls.iter().flat_map(|call| world.ledger.calls[call].byes.clone()).collect()
}

/// Each call was ended by one BYE, from `side`, answered with 200.
fn assert_ended(world: &mut World, calls: &[String], side: Side) {
    let byes = byes(world, calls);
    assert_eq!(byes.len(), calls.len());
    for bye in byes {
        assert_eq!((bye.by, bye.result), (side, ByeResult::Final(200)));
    }
    world.run_for(QUIET);
    judge(world, Rigor::Exact).unwrap();
}

fn restart(world: &mut World, replica: usize, workers: u8) {
    world.replicas[replica].stop();
    world.start(replica, workers);
}

fn push(world: &mut World) {
    let pool = world.pool.clone();
    for replica in 0..world.replicas.len() {
        world.apply(replica, &pool);
    }
}

#[test]
fn bye_from_the_node_after_the_balancer_restarted_with_fewer_workers() {
    let mut world = World::new(&Setup { replicas: 1, workers: 3, clients: CLIENTS, ..Setup::new(7) });
    let calls = calls(&mut world, Side::Node);
    restart(&mut world, 0, 1);
    assert_ended(&mut world, &calls, Side::Node);
}

#[test]
fn bye_from_the_caller_after_the_balancer_restarted_with_fewer_workers() {
    let mut world = World::new(&Setup { replicas: 1, workers: 3, clients: CLIENTS, ..Setup::new(7) });
    let calls = calls(&mut world, Side::Caller);
    restart(&mut world, 0, 1);
    assert_ended(&mut world, &calls, Side::Caller);
}

#[test]
fn bye_after_another_replica_took_over() {
    for (dead, side) in [(0, Side::Node), (0, Side::Caller), (1, Side::Node), (1, Side::Caller)] {
        let mut world = world();
        let calls = calls(&mut world, side);
        world.replicas[dead].stop();
        assert_ended(&mut world, &calls, side);
    }
}

#[test]
fn a_call_in_dialog_moves_to_another_replica_and_back() {
    let mut world = world();
    let calls = calls(&mut world, Side::Node);
    for _ in 0..4 {
        world.rehash();
        world.run_for(Duration::from_millis(500));
    }
    assert_ended(&mut world, &calls, Side::Node);
}

#[test]
fn a_token_for_a_node_that_left_the_set() {
    for side in [Side::Caller, Side::Node] {
        let mut world = world();
        let calls = calls(&mut world, side);
        let (_, node, _) = world.ledger.calls[&calls[0]].answered[0];
        world.pool.members.retain(|member| member.node != node);
        push(&mut world);
        let more = calls_to_the_rest(&mut world, node);
        assert!(more > 0);
        assert_ended(&mut world, &calls, side);
    }
}

/// New calls, none of which may reach `node`; how many there were.
fn calls_to_the_rest(world: &mut World, node: usize) -> usize {
    let calls: Vec<_> = (0..20).map(|call| world.place(call % CLIENTS, answered(Side::Caller, 100))).collect();
    world.run_for(Duration::from_secs(1));
    for call in &calls {
        let invited = &world.ledger.calls[call].invited;
        assert!(invited.iter().all(|(invited, _)| *invited != node), "{call} went to {invited:?}");
    }
    calls.len()
}

#[test]
fn key_rotation() {
    for side in [Side::Caller, Side::Node] {
        let mut world = world();
        let old = calls(&mut world, side);
        world.pool.keys = vec![1, 2];
        push(&mut world);
        world.pool.keys = vec![2, 1];
        push(&mut world);
        let new = calls(&mut world, side);
        world.rehash();
        assert_ended(&mut world, &[old, new].concat(), side);
    }
}

/// The key is gone, and with it the token; yet the Request-URI names a node, or a node asks for its caller. Only where a
/// caller behind NAT really is, nothing but the token knew.
#[test]
fn a_bye_is_not_lost_to_a_key_mismatch() {
    for side in [Side::Caller, Side::Node] {
        let mut world = world();
        let clients: &[usize] = if side == Side::Node { &[0, 1, 3] } else { &[0, 1, 2, 3] };
        let calls = calls_of(&mut world, clients, &answered(side, 5000));
        world.pool.keys = vec![9];
        push(&mut world);
        assert_ended(&mut world, &calls, side);
    }
}

#[test]
fn an_old_response_after_a_restart_matches_nothing() {
    let mut world = World::new(&Setup { replicas: 1, clients: CLIENTS, ..Setup::new(7) });
    world.network.tap = Some(Vec::new());
    calls(&mut world, Side::Node);
    let is_old = |sent: &Sent| sent.bytes.starts_with(b"SIP/2.0 ") && (5071..5073).contains(&sent.to.port());
    let sent = world.network.tap.take().unwrap_or_default();
    let old: Vec<Sent> = sent.into_iter().filter(is_old).collect();
    assert!(old.len() >= 3 * CLIENTS, "100, 180 and 200 of each call");
    restart(&mut world, 0, 2);
    // The slots that the old branches name are in use again.
    for client in 0..CLIENTS {
        world.place(client, Plan { ring: 10_000, ..answered(Side::Caller, 5000) });
    }
    world.run_for(Duration::from_millis(100));
    world.network.tap = Some(Vec::new());
    for Sent { from, to, bytes } in &old {
        world.network.send(*from, *to, bytes.clone());
    }
    world.run_for(Duration::from_millis(100));
    let after = world.network.tap.take().unwrap_or_default();
    assert_eq!(after.len(), old.len(), "nothing but the replay is on the wire");
    let strays: u64 = world.replicas[0].proxies().map(|proxy| proxy.counters().get(Counter::StrayResponses)).sum();
    assert_eq!(strays, u64::try_from(old.len()).unwrap());
}

/// What the balancer sent on because of `request`, from the outsider to `target`.
fn replay(world: &mut World, request: &Message, target: SocketAddr) -> Vec<(SocketAddr, Message)> {
    world.network.tap = Some(Vec::new());
    world.network.send(world.attacker.address, target, request.bytes());
    world.run_for(Duration::from_millis(200));
    let outsider = world.attacker.address;
    let tap = world.network.tap.take().unwrap_or_default().into_iter();
    let sent = tap.filter(|sent| sent.from != outsider && sent.bytes.starts_with(b"INFO "));
    sent.map(|sent| (sent.to, Message::parse(&sent.bytes).unwrap())).collect()
}

#[test]
fn a_token_replayed_from_outside_goes_to_its_node_or_is_refused() {
    let mut world = world();
    let calls = calls_of(&mut world, &[0, 1, 2, 3], &answered(Side::Caller, 60_000));
    let mut minted = 0;
    for (client, call) in calls.iter().enumerate() {
        let (_, node, _) = world.ledger.calls[call].answered[0];
        let node = world.nodes[node].address;
        let caller = world.clients[client].source;
        let dialog = world.clients[client].dialog(call).unwrap().clone();
        let token = dialog.route.iter().map(|route| bare(route)).find(|uri| uri.contains("@203.0.113.1")).unwrap();
        for (target, own_dialog, swapped, foreign_route, uri_is_token) in combinations() {
            minted += 1;
            let (from, to) = if swapped { (&dialog.remote, &dialog.local) } else { (&dialog.local, &dialog.remote) };
            let call_id = if own_dialog { dialog.call_id.clone() } else { format!("evil-{minted}") };
            let uri = if uri_is_token { token.clone() } else { format!("sip:victim@{VICTIM}") };
            let mut request = Message::request("INFO", &uri)
                .with("Via", format!("SIP/2.0/UDP {VICTIM};rport;branch=z9hG4bKevil{minted}"))
                .with("Route", format!("<{token}>"));
            if foreign_route {
                request = request.with("Route", format!("<sip:{VICTIM};lr>"));
            }
            let request = request
                .with("Max-Forwards", 70)
                .with("From", from)
                .with("To", to)
                .with("Call-ID", &call_id)
                .with("CSeq", "77 INFO");
            for (to, message) in replay(&mut world, &request, target) {
                // With the tags swapped it claims to come from the node: then its caller's own flow is all it gets.
                let allowed = if swapped { caller } else { node };
                assert!(own_dialog && to == allowed, "sent to {to}, not {allowed}:\n{message}");
            }
        }
    }
}

/// Where it is sent, in the token's dialog or not, tags swapped or not, a foreign Route or not, the token as Request-URI.
fn combinations() -> impl Iterator<Item = (SocketAddr, bool, bool, bool, bool)> {
    (0..32).map(|bits: u8| {
        let target = if bits & 16 == 0 { PUBLIC } else { NODE_SIDE };
        (target, bits & 1 == 0, bits & 2 == 0, bits & 4 == 0, bits & 8 == 0)
    })
}

/// One replica of many workers, and a call of each direct client that rings there.
fn ringing(world: &mut World) -> Vec<String> {
    world.run_for(Duration::from_millis(100));
    let plan = Plan { kind: Kind::RingsForever, ring: 100, ..answered(Side::Caller, 1000) };
    let calls = (0..CLIENTS).map(|client| world.place(client, plan.clone())).collect();
    world.run_for(Duration::from_millis(500));
    calls
}

/// The kernel gives datagrams from another port to another worker: it must find its sibling's transaction.
#[test]
fn a_cancel_from_another_port_ends_its_call() {
    for port in 30_000..30_008 {
        let mut world = World::new(&Setup { replicas: 1, workers: 4, clients: CLIENTS, ..Setup::new(7) });
        let calls = ringing(&mut world);
        for (client, call) in calls.iter().enumerate() {
            world.clients[client].source.set_port(if client == 3 { 5080 } else { port });
            world.clients[client].give_up(&mut world.network, call);
        }
        world.run_for(Duration::from_secs(1));
        for call in &calls {
            assert_eq!(world.ledger.calls[call].outcome, Some(487), "{call} from port {port}");
        }
        world.run_for(QUIET);
        judge(&world, Rigor::Exact).unwrap();
    }
}

#[test]
fn a_retransmission_from_another_port_reaches_no_second_node() {
    let mut world = World::new(&Setup { replicas: 1, workers: 4, clients: CLIENTS, ..Setup::new(7) });
    world.network.tap = Some(Vec::new());
    let calls = ringing(&mut world);
    let is_new_call = |sent: &Sent| sent.to == PUBLIC && sent.bytes.starts_with(b"INVITE ");
    let tap = world.network.tap.take().unwrap_or_default();
    let invites: Vec<Sent> = tap.into_iter().filter(is_new_call).collect();
    assert_eq!(invites.len(), calls.len());
    for port in 30_000..30_008 {
        for Sent { from, to, bytes } in &invites {
            world.network.send(SocketAddr::new(from.ip(), port), *to, bytes.clone());
        }
    }
    world.run_for(Duration::from_secs(1));
    for call in &calls {
        assert_eq!(world.ledger.calls[call].invited.len(), 1);
    }
    let handed_over: u64 = world.replicas[0].proxies().map(|proxy| proxy.counters().get(Counter::HandedOver)).sum();
    assert!(handed_over > 0, "none of the ports led to another worker");
}

#[test]
fn an_invite_with_credentials_returns_to_the_node_that_challenged_it() {
    let mut world = World::new(&Setup { nodes: 5, ..Setup::new(7) });
    world.run_for(Duration::from_millis(100));
    let plan = Plan { kind: Kind::Digest, ..answered(Side::Caller, 500) };
    let calls: Vec<_> = (0..60).map(|call| world.place(call % 6, plan.clone())).collect();
    world.run_for(Duration::from_secs(5));
    let mut nodes = std::collections::BTreeSet::new();
    for call in &calls {
        let call = &world.ledger.calls[call];
        let invited: Vec<_> = call.invited.iter().map(|(node, _)| *node).collect();
        assert_eq!(invited, [call.challenged_by.unwrap(); 2]);
        assert_eq!(call.outcome, Some(200));
        nodes.extend(invited);
    }
    assert_eq!(nodes.len(), 5, "the calls were spread over all nodes");
    world.run_for(QUIET);
    judge(&world, Rigor::Exact).unwrap();
}
