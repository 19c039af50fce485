//! Resources, emergency reserves, spill, backups and ejection around the algorithms.

use core::time::Duration;

use serde_json::{Value, json};
use switchtender_select::{
    Group, NoNode, NodeLoad, NodeSlot, Nodes, ResourceSet, Snapshot, Time, Verdict, Wanted, candidates,
};

use crate::request::call;
use crate::world::{Dice, Pool, document, group, open, read, weighted};

const NOW: Time = Time::from_secs(100);

/// The document's only group with these fields changed.
fn with(nodes: usize, change: impl FnOnce(&mut Value)) -> Snapshot {
    let mut document = document("LeastLoad", 1, &vec![(1.0, 0); nodes]);
    change(&mut document["groups"][0]);
    read(&document)
}

/// Two nodes of ten seats, five for us on the first; rules for conferences and emergencies.
fn conference() -> Snapshot {
    with(2, |group| {
        group["resources"] = json!([{"name": "ch", "limited": false}, {"name": "conf", "limited": true}]);
        group["match"] = json!([
            {"request_uri": {"user": "911"}, "resources": ["ch", "conf"], "emergency": true},
            {"request_uri": {"user_pattern": "^conf"}, "resources": ["ch", "conf"]},
            {"resources": ["ch"]},
        ]);
        group["emergency_reserve"] = json!(2);
        group["members"][0]["limits"] = json!({"conf": 5});
        group["members"][1]["limits"] = json!({"conf": 10});
    })
}

fn wanted(snapshot: &Snapshot, user: &str) -> Wanted {
    let matched = snapshot.classify(&call(Some(user), "x", "192.0.2.1")).unwrap();
    Wanted { hash: None, resources: matched.resources, emergency: matched.emergency }
}

/// Places calls until there is no more room; how many went to each node, and why no more did.
fn fill(snapshot: &Snapshot, wanted: &Wanted, pool: &Pool) -> (Vec<u32>, NoNode) {
    let mut dice = Dice::new(1);
    let mut placed = vec![0; pool.loads.borrow().len()];
    loop {
        match dice.place(snapshot, 0, wanted, pool) {
            Ok(placement) => {
                assert!(placement.reserve(snapshot, wanted, pool), "what was found free is free");
                pool.assign(placement.slot, 1, NOW);
                placed[placement.slot.0 as usize] += 1;
            }
            Err(why) => return (placed, why),
        }
    }
}

#[test]
fn a_rule_names_what_a_call_uses_and_sessions_are_no_counter_of_ours() {
    let snapshot = conference();
    let conf = snapshot.groups[0].limited();
    assert_eq!(wanted(&snapshot, "conf-1").resources, conf);
    assert_eq!(wanted(&snapshot, "bob").resources, ResourceSet::EMPTY);
    assert!(wanted(&snapshot, "911").emergency && !wanted(&snapshot, "conf-1").emergency);
}

#[test]
fn a_node_takes_a_call_only_with_room_in_all_that_it_uses() {
    let snapshot = conference();
    let pool = Pool::open(&[(1000.0, 0.0), (9.0, 0.0)]);
    // The second has seats for ten, but sessions for six and a reserve of two.
    assert_eq!(fill(&snapshot, &wanted(&snapshot, "conf-1"), &pool), (vec![5, 6], NoNode::Resource));
    assert_eq!(
        candidates(&snapshot.groups[0], &wanted(&snapshot, "conf-1"), &pool, &[], NOW)[0].verdict,
        Verdict::Resource
    );
    // Calls without a conference find the first as free as ever.
    assert!(Dice::new(2).place(&snapshot, 0, &wanted(&snapshot, "bob"), &pool).is_ok());
    // What is given back is free again.
    let seat = snapshot.groups[0].limited();
    pool.release(NodeSlot(0), seat, 0);
    assert_eq!(fill(&snapshot, &wanted(&snapshot, "conf-1"), &pool).0, [1, 0]);
}

#[test]
fn emergency_calls_go_beyond_our_limits_by_the_reserve_and_never_beyond_the_nodes() {
    let snapshot = conference();
    let capped = NodeLoad { cap: 3.0, headroom: 1.0, ..open(1000.0, 0.0) };
    let pool = Pool::of(vec![capped, open(4.0, 0.0)]);
    let ordinary = Wanted { resources: ResourceSet::EMPTY, ..wanted(&snapshot, "bob") };
    // 3 − 1 of headroom; 4 − 1 − 2 kept.
    assert_eq!(fill(&snapshot, &ordinary, &pool), (vec![2, 1], NoNode::Full));
    let emergency = Wanted { emergency: true, ..ordinary };
    // Up to 3 + 2; up to 4 − 1.
    assert_eq!(fill(&snapshot, &emergency, &pool), (vec![3, 2], NoNode::Full));
    let pool = Pool::open(&[(1000.0, 0.0), (1000.0, 0.0)]);
    let seats = wanted(&snapshot, "conf-1");
    assert_eq!(fill(&snapshot, &seats, &pool), (vec![5, 10], NoNode::Resource));
    assert_eq!(fill(&snapshot, &Wanted { emergency: true, ..seats }, &pool), (vec![2, 2], NoNode::Resource));
}

#[test]
fn allow_goes_beyond_limits_of_ours_of_any_kind() {
    let mut snapshot = conference();
    snapshot.groups[0].over_limit.action = switchtender_select::OverLimitAction::Allow;
    let pool = Pool::of(vec![NodeLoad { cap: 7.0, ..open(21.0, 0.0) }, open(1.0, 0.0)]);
    // Up to the node's own limit, but for the reserve.
    assert_eq!(fill(&snapshot, &wanted(&snapshot, "conf-1"), &pool), (vec![18, 0], NoNode::Full));
}

/// "a" spills into "b", "b" into "a"; three nodes, the last in both.
fn spilling() -> Snapshot {
    let mut document = document("LeastLoad", 1, &[(1.0, 0); 3]);
    let template = document["groups"][0].clone();
    let group = |name: &str, other: usize, members: &[usize]| {
        let mut group = template.clone();
        group["name"] = json!(name);
        group["over_limit"] = json!({"action": "Spill", "group": other, "status": 503, "retry_after_s": [1, 2]});
        group["members"] = members.iter().map(|&index| template["members"][index].clone()).collect();
        group
    };
    document["groups"] = json!([group("a", 1, &[0, 2]), group("b", 0, &[1, 2])]);
    read(&document)
}

#[test]
fn a_full_group_spills_into_the_other_and_that_one_no_further() {
    let snapshot = spilling();
    let pool = Pool::open(&[(3.0, 0.0), (3.0, 0.0), (3.0, 0.0)]);
    let mut dice = Dice::new(3);
    let mut order = vec![];
    let why = loop {
        match dice.place(&snapshot, 0, &Wanted::default(), &pool) {
            Ok(placement) => {
                let group: &Group = &snapshot.groups[placement.group];
                assert_eq!(group.members[placement.member].slot, placement.slot);
                pool.assign(placement.slot, 1, NOW);
                order.push((placement.group, placement.slot.0));
            }
            Err(why) => break why,
        }
    };
    assert_eq!(why, NoNode::Full, "and there it ends, though each spills into the other");
    assert!(order[..4].iter().all(|(group, node)| *group == 0 && *node != 1), "{order:?}");
    assert_eq!(order[4..], [(1, 1), (1, 1)]);
    // The better of two reasons: here a second helps, there it does not.
    pool.set(1, |load| *load = NodeLoad { sessions_per_second: Some(5.0), legs_last_second: 4, ..open(9.0, 0.0) });
    assert_eq!(dice.place(&snapshot, 0, &Wanted::default(), &pool), Err(NoNode::RateLimited));
}

#[test]
fn backups_come_after_every_other_member_whatever_their_priority() {
    let mut group = weighted("LeastLoad", 1, &[(1.0, 0), (1.0, 5), (1.0, 0)]);
    group.members[0].backup = true;
    group.members.sort_by_key(|member| member.backup);
    let pool = Pool::open(&[(3.0, 0.0), (3.0, 0.0), (3.0, 0.0)]);
    let mut dice = Dice::new(4);
    let order: Vec<u32> = (0..6)
        .map(|_| {
            let node = dice.node(&group, &pool).unwrap();
            pool.assign(NodeSlot(node), 1, NOW);
            node
        })
        .collect();
    assert_eq!(order[4..], [1, 1], "{order:?}");
}

fn ejected(seconds: u64) -> NodeLoad {
    NodeLoad { ejected_until: NOW + Duration::from_secs(seconds), ..open(1000.0, 0.0) }
}

/// Which nodes calls go to.
fn used(group: &Group, pool: &Pool) -> Vec<u32> {
    let mut dice = Dice::new(5);
    let mut nodes: Vec<u32> = (0..500).filter_map(|_| dice.node(group, pool).ok()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

#[test]
fn an_ejected_node_gets_nothing_until_its_time_is_over() {
    let group = group("LeastLoad", 1, 4);
    let pool = Pool::of(vec![ejected(5), open(1000.0, 0.0), open(1000.0, 0.0), open(1000.0, 0.0)]);
    assert_eq!(used(&group, &pool), [1, 2, 3]);
    assert_eq!(candidates(&group, &Wanted::default(), &pool, &[], NOW)[0].verdict, Verdict::Ejected);
    let later = NOW + Duration::from_secs(5);
    let placed = (0..100).filter(|_| Dice::new(6).choose_at(&group, &pool, &[], later).is_ok()).count();
    assert_eq!(placed, 100);
    assert_eq!(candidates(&group, &Wanted::default(), &pool, &[], later)[0].verdict, Verdict::Eligible);
}

#[test]
fn no_more_than_their_share_are_kept_out_and_the_worst_first() {
    let mut group = group("LeastLoad", 1, 10);
    group.max_ejected = 0.3;
    let mut loads = vec![open(1000.0, 0.0); 10];
    for (node, seconds) in [(0, 10), (3, 50), (5, 20), (7, 40), (9, 30)] {
        loads[node] = ejected(seconds);
    }
    let pool = Pool::of(loads);
    assert_eq!(used(&group, &pool), [0, 1, 2, 4, 5, 6, 8], "3, 7 and 9 have longest to go");
    group.max_ejected = 0.0;
    assert_eq!(used(&group, &pool).len(), 10, "none may be kept out");
}

#[test]
fn the_last_node_is_never_ejected_and_a_share_below_one_node_keeps_one_out() {
    let mut group = group("LeastLoad", 1, 2);
    group.max_ejected = 1.0;
    group.panic_threshold = 0.0;
    assert_eq!(used(&group, &Pool::of(vec![ejected(9), ejected(5)])), [1]);
    group.max_ejected = 0.1;
    assert_eq!(used(&group, &Pool::of(vec![ejected(9), open(1000.0, 0.0)])), [1]);
    let closed = NodeLoad { admission: switchtender_select::Admission::Closed, ..open(10.0, 0.0) };
    assert_eq!(used(&group, &Pool::of(vec![ejected(9), closed])), [0], "the other wants no calls");
}

#[test]
fn many_ejections_at_once_are_our_own_fault() {
    let mut group = group("LeastLoad", 1, 4);
    group.max_ejected = 1.0;
    let lost = NodeLoad { admission: switchtender_select::Admission::Unreachable, ..open(1000.0, 0.0) };
    // One of four is reachable, and full: below the threshold those kept out are tried.
    let pool = Pool::of(vec![ejected(9), ejected(9), lost, open(10.0, 9.0)]);
    assert_eq!(used(&group, &pool), [0, 1, 2]);
    group.panic_threshold = 0.25;
    assert!(used(&group, &pool).is_empty(), "one of four is enough not to doubt the evidence");
}
