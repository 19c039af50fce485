//! Which nodes may be chosen, in which order, and why none.

use core::time::Duration;

use proptest::prelude::*;
use switchtender_select::{
    Admission, Group, NoNode, NodeLoad, NodeSlot, Nodes, OverLimitAction, Time, Verdict, Wanted, candidates, judge,
    may_send_in_dialog,
};

use crate::arithmetic::any_load;
use crate::world::{Dice, Pool, group, open, weighted};

const NOW: Time = Time::from_secs(100);

fn verdict(group: &Group, load: &NodeLoad) -> Verdict {
    judge(group, &group.members[0], load, NOW).1
}

#[test]
fn the_verdict_names_what_keeps_a_node_from_a_call() {
    let group = group("LeastLoad", 2, 1);
    let free = open(100.0, 0.0);
    assert_eq!(verdict(&group, &free), Verdict::Eligible);
    assert_eq!(verdict(&group, &NodeLoad { admission: Admission::Closed, ..free }), Verdict::Closed);
    assert_eq!(verdict(&group, &NodeLoad { admission: Admission::Unreachable, ..free }), Verdict::Unreachable);
    assert_eq!(verdict(&group, &NodeLoad::default()), Verdict::Unknown);
    assert_eq!(verdict(&group, &NodeLoad { weight_factor: 0.0, ..free }), Verdict::ZeroWeight);
    assert_eq!(verdict(&group, &NodeLoad { cooling_until: NOW + Duration::from_nanos(1), ..free }), Verdict::Cooling);
    assert_eq!(verdict(&group, &NodeLoad { cooling_until: NOW, ..free }), Verdict::Eligible);
    assert_eq!(verdict(&group, &NodeLoad { suspect: true, ..free }), Verdict::Eligible);
    assert_eq!(verdict(&group, &NodeLoad { suspect: true, in_flight: 1, ..free }), Verdict::Suspect);
    assert_eq!(verdict(&group, &open(100.0, 98.0)), Verdict::Full);
    let mut draining = group.clone();
    draining.members[0].draining = true;
    assert_eq!(verdict(&draining, &free), Verdict::Draining);
    let mut weightless = group.clone();
    weightless.members[0].weight = 0.0;
    assert_eq!(verdict(&weightless, &free), Verdict::ZeroWeight);
}

#[test]
fn one_session_a_second_fewer_than_the_limit_times_our_share() {
    let group = group("LeastLoad", 2, 1);
    let rate = |limit: Option<f64>, share, legs| {
        verdict(&group, &NodeLoad { sessions_per_second: limit, share, legs_last_second: legs, ..open(1e6, 0.0) })
    };
    // 30 → 29 legs: 27 + 2 fit, 28 + 2 do not. Without a report the limit is FreeSWITCH's default of 30.
    assert_eq!(rate(Some(30.0), 1.0, 27), Verdict::Eligible);
    assert_eq!(rate(Some(30.0), 1.0, 28), Verdict::RateLimited);
    assert_eq!(rate(None, 1.0, 27), Verdict::Eligible);
    assert_eq!(rate(None, 1.0, 28), Verdict::RateLimited);
    assert_eq!(rate(Some(30.0), 0.5, 12), Verdict::Eligible);
    assert_eq!(rate(Some(30.0), 0.5, 13), Verdict::RateLimited);
    // A small share of a small limit still lets a lone call through; a limit of 1 admits nobody.
    assert_eq!(rate(Some(5.0), 0.0625, 0), Verdict::Eligible);
    assert_eq!(rate(Some(5.0), 0.0625, 2), Verdict::RateLimited);
    assert_eq!(rate(Some(1.0), 1.0, 0), Verdict::RateLimited);
    assert_eq!(rate(Some(0.0), 1.0, 0), Verdict::RateLimited);
}

#[test]
fn a_profile_is_kept_below_a_thousand_requests_a_second() {
    let group = group("LeastLoad", 2, 1);
    let at = |requests, share| NodeLoad { requests_last_second: requests, share, ..open(1e6, 0.0) };
    assert_eq!(verdict(&group, &at(799, 1.0)), Verdict::Eligible);
    assert_eq!(verdict(&group, &at(800, 1.0)), Verdict::RequestBudget);
    assert_eq!(verdict(&group, &at(400, 0.5)), Verdict::RequestBudget);
    assert!(may_send_in_dialog(&at(949, 1.0), false));
    assert!(!may_send_in_dialog(&at(950, 1.0), false));
    assert!(!may_send_in_dialog(&at(475, 0.5), false));
    assert!(may_send_in_dialog(&at(5_000, 1.0), true), "ACK, BYE, CANCEL and PRACK always go");
}

#[test]
fn the_reason_says_what_would_help() {
    let two = group("LeastLoad", 1, 2);
    let mut dice = Dice::new(1);
    let full = open(10.0, 9.0);
    let closed = NodeLoad { admission: Admission::Closed, ..open(10.0, 0.0) };
    let limited = NodeLoad { sessions_per_second: Some(5.0), legs_last_second: 4, ..open(10.0, 0.0) };
    let cooling = NodeLoad { cooling_until: Time::from_secs(200), ..open(10.0, 0.0) };
    let mut reason =
        |loads: [NodeLoad; 2], excluded: &[u32]| dice.choose(&two, &Pool::of(loads.to_vec()), excluded).unwrap_err();
    assert_eq!(reason([full, full], &[]), NoNode::Full);
    assert_eq!(reason([full, closed], &[]), NoNode::Full);
    assert_eq!(reason([full, limited], &[]), NoNode::RateLimited);
    assert_eq!(reason([cooling, closed], &[]), NoNode::Cooling);
    assert_eq!(reason([closed, closed], &[]), NoNode::NotReady);
    assert_eq!(reason([full, full], &[0, 1]), NoNode::Excluded);
    assert_eq!(reason([full, full], &[0]), NoNode::Full);
    let empty = group("LeastLoad", 1, 0);
    assert_eq!(dice.node(&empty, &Pool::of(vec![])), Err(NoNode::Empty));
}

#[test]
fn a_lower_priority_gets_calls_only_when_no_higher_one_can() {
    let group = weighted("LeastLoad", 1, &[(1.0, 0), (1.0, 10), (1.0, 10)]);
    assert_eq!(group.members.iter().map(|member| member.priority).collect::<Vec<_>>(), [10, 10, 0]);
    let pool = Pool::open(&[(1000.0, 0.0), (3.0, 0.0), (3.0, 0.0)]);
    let mut dice = Dice::new(2);
    let mut order = vec![];
    for _ in 0..6 {
        let choice = dice.choose(&group, &pool, &[]).unwrap();
        assert_eq!(group.members[choice.member].slot, choice.slot);
        pool.assign(choice.slot, 1, NOW);
        order.push(choice.slot.0);
    }
    order[..4].sort_unstable();
    assert_eq!(order, [1, 1, 2, 2, 0, 0]);
}

#[test]
fn a_suspect_is_tried_by_one_call_at_a_time_until_it_answers() {
    let group = group("LeastLoad", 1, 1);
    let pool = Pool::open(&[(100.0, 0.0)]);
    let (mut dice, slot) = (Dice::new(3), NodeSlot(0));
    pool.suspect(slot);
    dice.node(&group, &pool).unwrap();
    pool.assign(slot, 1, NOW);
    assert_eq!(dice.node(&group, &pool), Err(NoNode::Cooling));
    pool.settle(slot);
    dice.node(&group, &pool).unwrap();
    pool.assign(slot, 1, NOW);
    pool.answered(slot);
    dice.node(&group, &pool).unwrap();
}

#[test]
fn below_the_panic_threshold_being_unreachable_no_longer_excludes() {
    let group = group("LeastLoad", 1, 4);
    let lost = NodeLoad { admission: Admission::Unreachable, ..open(11.0, 5.0) };
    let mut dice = Dice::new(4);
    // Half of four are reachable: not below 0.5. The reachable are full, so the call is refused.
    let pool = Pool::of(vec![open(10.0, 9.0), open(10.0, 9.0), lost, lost]);
    assert_eq!(dice.node(&group, &pool), Err(NoNode::Full));
    // One of four is reachable. It takes the calls while it has room …
    let pool = Pool::of(vec![open(10.0, 8.0), lost, lost, lost]);
    assert_eq!(dice.node(&group, &pool), Ok(0));
    pool.assign(NodeSlot(0), 1, NOW);
    // … then the others do, by their last numbers and our own counts, until these say full.
    for _ in 0..15 {
        let node = dice.node(&group, &pool).unwrap();
        assert_ne!(node, 0);
        pool.assign(NodeSlot(node), 1, NOW);
    }
    assert_eq!(dice.node(&group, &pool), Err(NoNode::Full));
}

#[test]
fn the_last_node_is_never_excluded_for_being_unreachable() {
    let group = group("LeastLoad", 1, 1);
    let lost = NodeLoad { admission: Admission::Unreachable, ..open(11.0, 5.0) };
    assert_eq!(Dice::new(5).node(&group, &Pool::of(vec![lost])), Ok(0));
    // One that never reported is measured by our own calls.
    let never = NodeLoad { admission: Admission::Unreachable, ..NodeLoad::default() };
    assert_eq!(Dice::new(5).node(&group, &Pool::of(vec![never])), Ok(0));
}

#[test]
fn panic_never_overrides_full_paused_draining_or_disabled() {
    let mut group = group("LeastLoad", 1, 4);
    group.members[2].draining = true;
    group.members[3].weight = 0.0;
    let lost = NodeLoad { admission: Admission::Unreachable, ..open(10.0, 0.0) };
    let pool = Pool::of(vec![
        NodeLoad { admission: Admission::Closed, ..open(10.0, 0.0) },
        NodeLoad { admission: Admission::Unreachable, ..open(10.0, 9.0) },
        lost,
        lost,
    ]);
    assert_eq!(Dice::new(6).node(&group, &pool), Err(NoNode::NotReady));
    pool.set(1, |load| load.sessions = 8.0);
    assert_eq!(Dice::new(6).node(&group, &pool), Ok(1));
    pool.set(1, |load| load.cooling_until = Time::from_secs(200));
    assert!(Dice::new(6).node(&group, &pool).is_err());
}

#[test]
fn nodes_that_have_not_reported_yet_are_no_reason_to_panic() {
    let group = group("LeastLoad", 1, 4);
    let lost = NodeLoad { admission: Admission::Unreachable, ..open(10.0, 0.0) };
    let unknown = NodeLoad::default();
    let pool = Pool::of(vec![unknown, unknown, unknown, lost]);
    assert_eq!(Dice::new(7).node(&group, &pool), Err(NoNode::NotReady));
}

#[test]
fn over_limit_allow_ignores_our_limits_and_never_the_nodes() {
    let mut group = group("LeastLoad", 1, 2);
    group.over_limit.action = OverLimitAction::Allow;
    let capped = NodeLoad { cap: 5.0, headroom: 3.0, ..open(10.0, 6.0) };
    let pool = Pool::of(vec![capped, open(10.0, 9.0)]);
    let mut dice = Dice::new(8);
    for _ in 0..3 {
        assert_eq!(dice.node(&group, &pool), Ok(0));
        pool.assign(NodeSlot(0), 1, NOW);
    }
    assert_eq!(dice.node(&group, &pool), Err(NoNode::Full));
    // While another has room within its limits, that one is taken.
    pool.set(1, |load| load.sessions = 8.0);
    pool.set(0, |load| load.assigned = 0);
    assert_eq!(dice.node(&group, &pool), Ok(1));
    // Rates hold all the same.
    pool.set(1, |load| load.sessions = 9.0);
    pool.set(0, |load| load.requests_last_second = 800);
    assert!(dice.node(&group, &pool).is_err());
}

#[test]
fn candidates_show_every_member_with_its_verdict() {
    let mut group = group("LeastLoad", 1, 4);
    group.over_limit.action = OverLimitAction::Allow;
    let pool = Pool::of(vec![
        open(10.0, 2.0),
        NodeLoad { cap: 1.0, ..open(10.0, 2.0) },
        NodeLoad { admission: Admission::Unreachable, ..open(10.0, 2.0) },
        open(10.0, 2.0),
    ]);
    let all = candidates(&group, &Wanted::default(), &pool, &[NodeSlot(3)], NOW);
    let seen: Vec<_> =
        all.iter().map(|candidate| (candidate.slot.0, candidate.verdict, candidate.last_resort)).collect();
    assert_eq!(
        seen,
        [
            (0, Verdict::Eligible, false),
            (1, Verdict::Eligible, true),
            (2, Verdict::Unreachable, false),
            (3, Verdict::Excluded, false)
        ]
    );
    assert_eq!(all[0].evaluation.free, 7.0);
}

proptest! {
    /// Whatever the numbers: who is chosen was not tried before, may take the call by the node's own limits, and when
    /// anybody is plainly eligible, an eligible one is chosen, never a full one.
    #[test]
    fn a_full_node_is_never_chosen_over_a_free_one(
        loads in prop::collection::vec(any_load(), 1..12),
        priorities in prop::collection::vec(-1..2_i32, 12),
        algorithm in prop::sample::select(vec!["LeastLoad", "RoundRobin"]),
        excluded in prop::collection::vec(0..12_u32, 0..3),
        allow in any::<bool>(),
        legs in 1..4_u32,
        seed in any::<u64>(),
    ) {
        let parts: Vec<_> = (0..loads.len()).map(|i| (1.0, priorities[i])).collect();
        let mut group = weighted(algorithm, legs, &parts);
        group.over_limit.action = if allow { OverLimitAction::Allow } else { OverLimitAction::Reject };
        let pool = Pool::of(loads.clone());
        let eligible = |slot: NodeSlot| {
            let member = group.members.iter().find(|member| member.slot == slot).unwrap();
            judge(&group, member, &pool.load(slot, NOW), NOW).1 == Verdict::Eligible && !excluded.contains(&slot.0)
        };
        let best = group.members.iter().filter(|member| eligible(member.slot)).map(|member| member.priority).max();
        let excluded_slots = excluded.clone();
        let choice = Dice::new(seed).choose(&group, &pool, &excluded_slots);
        let shown = candidates(&group, &Wanted::default(), &pool, &excluded_slots.iter().copied().map(NodeSlot).collect::<Vec<_>>(), NOW);
        match (choice, best) {
            (Ok(choice), Some(best)) => {
                prop_assert!(eligible(choice.slot));
                prop_assert_eq!(group.members[choice.member].priority, best);
            }
            (Ok(choice), None) => {
                // A last resort: still never a node past its own limit, paused, draining, cooling or tried.
                let load = pool.load(choice.slot, NOW);
                prop_assert!(!excluded.contains(&choice.slot.0));
                prop_assert!(!matches!(load.admission, Admission::Closed | Admission::Unknown));
                prop_assert!(load.cooling_until <= NOW);
                prop_assert!(shown[choice.member].evaluation.eligible);
            }
            (Err(_), None) => {}
            (Err(reason), Some(_)) => prop_assert!(false, "{reason:?} though one is eligible"),
        }
        // What a table shows is what happens.
        prop_assert_eq!(choice.is_ok(), shown.iter().any(|candidate| candidate.verdict == Verdict::Eligible));
    }
}
