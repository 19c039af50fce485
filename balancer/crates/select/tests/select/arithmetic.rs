//! The room of a node.

use proptest::prelude::*;
use switchtender_select::{Admission, NodeLoad, Time, evaluate, judge};

use crate::world::{group, open};

/// The cases of other balancers where signed, unclamped or integer arithmetic went wrong, with the sane result.
#[test]
fn counts_where_others_went_wrong() {
    // A node over its maximum has no room; unsigned arithmetic made it the most attractive one.
    let over = evaluate(&open(1000.0, 1010.0), 1);
    assert_eq!((over.free, over.utilization, over.eligible), (0.0, 1.0, false));
    // No capacity at all is unknown, not a division by zero.
    let nothing = evaluate(&open(0.0, 0.0), 1);
    assert_eq!((nothing.capacity, nothing.utilization, nothing.eligible), (0.0, 1.0, false));
    // Half full is half, not 0 after integer rounding.
    assert!((evaluate(&open(1001.0, 500.0), 1).utilization - 0.5).abs() < 1e-12);
    // 10 of 10, 100 reported, 5 ours: no room; not 4294967211.
    let wrapped = evaluate(&NodeLoad { assigned: 5, ..open(10.0, 100.0) }, 1);
    assert_eq!((wrapped.free, wrapped.capacity, wrapped.eligible), (0.0, 9.0, false));
    // 900 of 1000 and a busy processor: the processor is the host's and does not change the room.
    assert_eq!(evaluate(&open(1000.0, 900.0), 1).free, 99.0);
    // 80 calls placed since the report count: no herd until the next one.
    let herd = evaluate(&NodeLoad { assigned: 80, ..open(1001.0, 400.0) }, 1);
    assert_eq!((herd.effective, herd.free), (480.0, 520.0));
}

#[test]
fn the_last_slot_stays_free() {
    // FreeSWITCH admits Max-Sessions − 1; the INVITE after that leaves a zombie.
    assert!(evaluate(&open(20.0, 18.0), 1).eligible);
    assert!(!evaluate(&open(20.0, 19.0), 1).eligible);
    assert!(evaluate(&open(20.0, 17.0), 2).eligible);
    assert!(!evaluate(&open(20.0, 18.0), 2).eligible);
}

#[test]
fn own_calls_stand_for_those_of_other_replicas() {
    let with =
        |share, assigned, ended| evaluate(&NodeLoad { share, assigned, ended, ..open(1001.0, 100.0) }, 2).effective;
    assert_eq!(with(1.0, 10, 4), 112.0);
    assert_eq!(with(0.25, 10, 4), 148.0);
    // What ended frees room only where our calls are most of the node's.
    assert_eq!(with(1.0, 4, 10), 88.0);
    assert_eq!(with(0.67, 4, 10), 88.0);
    assert_eq!(with(0.66, 4, 10), 100.0);
}

#[test]
fn calls_that_end_make_no_room_beyond_the_capacity() {
    // More of our calls ended than the node reported sessions: it was restarted, or the calls were older than we are.
    let more_ended = |max, sessions| evaluate(&NodeLoad { ended: 50, ..open(max, sessions) }, 1);
    assert_eq!((more_ended(100.0, 10.0).effective, more_ended(100.0, 10.0).free), (0.0, 99.0));
    for max in [0.0, 1.0] {
        assert!(!more_ended(max, 0.0).eligible, "{max}");
    }
}

#[test]
fn the_tighter_limit_counts_and_headroom_comes_off_it() {
    assert_eq!(evaluate(&NodeLoad { cap: 50.0, headroom: 5.0, ..open(100.0, 0.0) }, 1).capacity, 45.0);
    assert_eq!(evaluate(&NodeLoad { cap: 500.0, headroom: 5.0, ..open(100.0, 0.0) }, 1).capacity, 94.0);
    assert_eq!(evaluate(&NodeLoad { cap: 3.0, headroom: 5.0, ..open(100.0, 0.0) }, 1).capacity, 0.0);
}

#[test]
fn an_unmeasured_node_is_measured_by_our_own_calls() {
    let unmeasured = NodeLoad { admission: Admission::Unmeasured, assigned: 7, ended: 2, ..NodeLoad::default() };
    let capped = evaluate(&NodeLoad { cap: 12.0, ..unmeasured }, 2);
    assert_eq!((capped.effective, capped.capacity, capped.free, capped.eligible), (10.0, 12.0, 2.0, true));
    assert!(!evaluate(&NodeLoad { cap: 11.0, ..unmeasured }, 2).eligible);
    let uncapped = evaluate(&NodeLoad { assigned: 5_000, ..unmeasured }, 2);
    assert!(uncapped.eligible && uncapped.utilization == 1.0, "without any limit it is never called full");
    // Old numbers do not count once the control side no longer trusts them.
    let stale = evaluate(&NodeLoad { admission: Admission::Unmeasured, cap: 50.0, ..open(100.0, 99.0) }, 1);
    assert_eq!(stale.effective, 0.0);
}

#[test]
fn shares_that_do_not_divide_do_not_lose_a_call() {
    // 3 × 2 / (1/3) = 18 exactly; 18 + 2 = 20.
    assert!(evaluate(&NodeLoad { assigned: 3, share: 1.0 / 3.0, ..open(21.0, 0.0) }, 2).eligible);
    assert!(evaluate(&NodeLoad { assigned: 1, share: 0.1, headroom: 0.3, ..open(23.3, 0.0) }, 2).eligible);
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -10.0..5_000.0_f64,
        1 => proptest::num::f64::ANY,
        1 => prop::sample::select(vec![0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE]),
    ]
}

pub(crate) fn any_load() -> impl Strategy<Value = NodeLoad> {
    let numbers = (any_number(), any_number(), any_number(), any_number(), any_number(), any_number(), any_number());
    let counts = (any::<u64>(), any::<u64>(), 0..50_u64, 0..1_200_u64, 0..4_u64);
    let small = (0..300_u64, 0..300_u64);
    (numbers, counts, small, 0..5_usize, any::<[bool; 3]>()).prop_map(|(n, c, small, admission, flags)| NodeLoad {
        admission: [
            Admission::Open,
            Admission::Unmeasured,
            Admission::Closed,
            Admission::Unknown,
            Admission::Unreachable,
        ][admission],
        sessions: n.0,
        max_sessions: n.1,
        cap: n.2,
        headroom: n.3,
        share: n.4,
        assigned: if flags[0] { c.0 } else { small.0 },
        ended: if flags[0] { c.1 } else { small.1 },
        sessions_per_second: flags[1].then_some(n.5),
        legs_last_second: c.2,
        requests_last_second: c.3,
        cooling_until: Time::from_secs(if flags[2] { 99 } else { 101 }),
        suspect: flags[2],
        in_flight: c.4,
        weight_factor: n.6,
        idle_cpu: flags[1].then_some(n.5),
        score: [1.0, 0.5, 0.0][usize::try_from(c.4 % 3).unwrap()],
        ejected_until: Time::ZERO,
    })
}

proptest! {
    #[test]
    fn no_input_gives_nan_or_negative_numbers(load in any_load(), legs in 0..200_u32) {
        let room = evaluate(&load, legs);
        for number in [room.effective, room.capacity, room.free, room.utilization] {
            prop_assert!(number.is_finite() && number >= 0.0, "{room:?}");
        }
        prop_assert!(room.utilization <= 1.0);
        prop_assert!((room.free - (room.capacity - room.effective).max(0.0)).abs() < 1e-6);
    }

    #[test]
    fn a_node_is_eligible_only_where_the_numbers_shown_say_so(load in any_load(), legs in 1..10_u32) {
        let room = evaluate(&load, legs);
        let unlimited = load.admission == Admission::Unmeasured && load.cap == f64::INFINITY;
        if !unlimited {
            prop_assert!(!room.eligible || room.free + 1e-6 >= f64::from(legs), "{room:?}");
        }
    }

    #[test]
    fn more_calls_never_make_more_room(load in any_load(), legs in 1..10_u32, more in 1..1_000_u64) {
        let busier = NodeLoad { assigned: load.assigned.saturating_add(more), ..load };
        let (before, after) = (evaluate(&load, legs), evaluate(&busier, legs));
        prop_assert!(after.effective >= before.effective - 1e-3);
        prop_assert!(before.eligible || !after.eligible);
    }

    #[test]
    fn a_measured_node_is_never_filled_past_its_own_limit(
        max in 0..2_000_u32, sessions in 0..2_000_u32, legs in 1..5_u32, share in 0.01..=1.0_f64, headroom in 0.0..50.0_f64,
    ) {
        // Placing calls until it is no longer eligible must end with every session inside Max − 1.
        let group = group("LeastLoad", legs, 1);
        let mut load = NodeLoad { share, headroom, ..open(f64::from(max), f64::from(sessions)) };
        while judge(&group, &group.members[0], &load, Time::ZERO).0.eligible {
            load.assigned += 1;
            let carried = u64::from(sessions) + load.assigned * u64::from(legs);
            prop_assert!(carried < u64::from(max), "{carried} of {max}");
        }
    }
}
