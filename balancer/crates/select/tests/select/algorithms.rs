//! Each algorithm by itself: whom it chooses over groups of 1 to 200 nodes, and what happens when nodes come and go.
//! Seeds are fixed; bounds are six standard deviations, so that no new seed would fail either.

use core::time::Duration;

use serde_json::json;
use switchtender_select::{
    Admission, Algorithm, Group, Memory, NoNode, NodeLoad, NodeSlot, Nodes, Rng, Snapshot, Time, Wanted, WeightsFrom,
    place,
};

use crate::world::{Dice, Part, Pool, document, group, open, read, weighted};

const NOW: Time = Time::from_secs(100);
const SIZES: [usize; 9] = [1, 2, 3, 4, 5, 8, 30, 64, 200];

/// Weights 1, 2, 3, 1, 2, 3 …
fn unlike(nodes: usize) -> Vec<Part> {
    (0..nodes).map(|node| ((node % 3 + 1) as f64, 0)).collect()
}

/// A pool with room for everything.
fn roomy(nodes: usize) -> Pool {
    Pool::open(&vec![(1e9, 0.0); nodes])
}

/// How often each node was chosen.
fn counts(group: &Group, pool: &Pool, calls: usize) -> Vec<usize> {
    let mut dice = Dice::new(9);
    let mut counts = vec![0; group.members.len()];
    for _ in 0..calls {
        counts[dice.node(group, pool).unwrap() as usize] += 1;
    }
    counts
}

fn in_proportion(counts: &[usize], weights: &[f64], what: &str) {
    let (calls, total) = (counts.iter().sum::<usize>() as f64, weights.iter().sum::<f64>());
    for (&count, weight) in counts.iter().zip(weights) {
        let part = weight / total;
        let deviation = (calls * part * (1.0 - part)).sqrt();
        assert!((count as f64 - calls * part).abs() <= 6.0 * deviation + 1.0, "{what}: {count} of {}", calls * part);
    }
}

fn weights(group: &Group) -> Vec<f64> {
    group.members.iter().map(|member| member.weight).collect()
}

#[test]
fn random_draws_and_turns_go_by_weight() {
    for nodes in SIZES {
        for algorithm in ["Random", "RoundRobin", "Weighted"] {
            let mut group = weighted(algorithm, 1, &unlike(nodes));
            group.weights_from = WeightsFrom::Static;
            let what = format!("{algorithm} over {nodes}");
            in_proportion(&counts(&group, &roomy(nodes), 1_500), &weights(&group), &what);
        }
    }
}

#[test]
fn the_score_multiplies_the_weight() {
    for algorithm in ["LeastLoad", "Random", "RoundRobin", "Weighted"] {
        let group = group(algorithm, 1, 5);
        let pool = Pool::of((0..5).map(|node| NodeLoad { score: f64::from(node), ..open(1e6, 0.0) }).collect());
        let mut dice = Dice::new(1);
        let mut counts = vec![0; 5];
        for _ in 0..5_000 {
            let node = dice.node(&group, &pool).unwrap();
            pool.assign(NodeSlot(node), 1, NOW);
            counts[node as usize] += 1;
        }
        assert_eq!(counts[0], 0, "{algorithm}: a score of 0 is no calls");
        in_proportion(&counts, &[0.0, 1.0, 2.0, 3.0, 4.0], algorithm);
    }
}

#[test]
fn a_scan_and_a_draw_choose_alike_where_many_cannot() {
    // Nine of ten are closed or full: what the table offers is mostly refused.
    for algorithm in ["LeastLoad", "Random"] {
        let group = weighted(algorithm, 1, &unlike(60));
        let load = |node: usize| match node % 10 {
            0 => open(1e6, 0.0),
            1..=5 => open(10.0, 9.0),
            _ => NodeLoad { admission: Admission::Closed, ..open(1e6, 0.0) },
        };
        let pool = Pool::of((0..60).map(load).collect());
        let counts = counts(&group, &pool, 4_000);
        let able: Vec<usize> = (0..60).step_by(10).map(|node| counts[node]).collect();
        assert_eq!(able.iter().sum::<usize>(), 4_000, "{algorithm}");
        if algorithm == "Random" {
            in_proportion(&able, &[1.0, 2.0, 3.0, 1.0, 2.0, 3.0], algorithm);
        }
    }
}

#[test]
fn two_draws_look_at_few_however_many_there_are() {
    let group = group("LeastLoad", 1, 200);
    let pool = roomy(200);
    let mut dice = Dice::new(2);
    dice.node(&group, &pool).unwrap();
    pool.looks.set(0);
    for _ in 0..1_000 {
        dice.node(&group, &pool).unwrap();
    }
    assert!(pool.looks.get() < 2_100, "{} looks for 1,000 calls", pool.looks.get());
    // After a quarter of a second the table is built anew, once.
    pool.looks.set(0);
    for _ in 0..10 {
        dice.choose_at(&group, &pool, &[], NOW + Duration::from_millis(250)).unwrap();
    }
    assert!((200..230).contains(&pool.looks.get()), "{}", pool.looks.get());
}

#[test]
fn a_node_that_became_ready_is_drawn_at_the_next_table() {
    let group = group("LeastLoad", 1, 10);
    let pool = roomy(10);
    pool.set(3, |load| load.admission = Admission::Closed);
    let mut dice = Dice::new(3);
    let mut seen = |now| (0..200).any(|_| dice.choose_at(&group, &pool, &[], now).unwrap().slot == NodeSlot(3));
    assert!(!seen(NOW));
    pool.set(3, |load| load.admission = Admission::Open);
    assert!(seen(NOW + Duration::from_millis(250)));
    // And one that closed gets nothing from that moment on, whatever the table says.
    pool.set(3, |load| load.admission = Admission::Closed);
    assert!(!seen(NOW + Duration::from_millis(300)));
}

#[test]
fn weights_come_from_what_nodes_report() {
    let group = group("Weighted", 1, 3);
    let load = |sessions, idle| NodeLoad { idle_cpu: Some(idle), ..open(1000.0, sessions) };
    // 0.5 × 1, 1 × 0.5, 0.25 × 0.4
    let pool = Pool::of(vec![load(500.0, 100.0), load(0.0, 50.0), load(750.0, 40.0)]);
    in_proportion(&counts(&group, &pool, 1_100), &[0.5, 0.5, 0.1], "reported");
    // Smoothly: two of equal weight take turns.
    let mut dice = Dice::new(4);
    let turns: Vec<u32> = (0..4).map(|_| dice.node(&group, &pool).unwrap()).collect();
    assert_eq!(turns, [0, 1, 0, 1]);
    // Nobody has a weight, all can take calls: any of them.
    let pool = Pool::of(vec![load(1.0, 0.0); 3]);
    in_proportion(&counts(&group, &pool, 1_000), &[1.0; 3], "all zero");
    // What reports nothing goes by its static weight.
    let unmeasured = NodeLoad { admission: Admission::Unmeasured, ..open(0.0, 0.0) };
    in_proportion(&counts(&group, &Pool::of(vec![unmeasured, unmeasured, load(0.0, 100.0)]), 900), &[1.0; 3], "static");
}

#[test]
fn packed_fills_one_node_after_the_other_up_to_the_mark() {
    for nodes in SIZES {
        let mut group = group("Packed", 1, nodes);
        group.high_water = 0.8;
        let pool = Pool::open(&vec![(11.0, 0.0); nodes]);
        let mut dice = Dice::new(5);
        for call in 0..nodes * 10 {
            let node = dice.node(&group, &pool).unwrap() as usize;
            if call < nodes * 8 {
                assert_eq!(node, call / 8, "call {call} of {nodes} nodes");
            }
            pool.assign(NodeSlot(node as u32), 1, NOW);
        }
        assert_eq!(dice.node(&group, &pool), Err(NoNode::Full));
    }
    // Above the mark evenly: nine of ten on each before a tenth on any, or nearly.
    let group = group("Packed", 1, 2);
    let pool = Pool::open(&[(1001.0, 800.0), (1001.0, 800.0)]);
    let mut dice = Dice::new(6);
    for _ in 0..200 {
        let node = dice.node(&group, &pool).unwrap();
        pool.assign(NodeSlot(node), 1, NOW);
    }
    let loads = pool.loads.borrow();
    assert!(
        loads.iter().all(|load| (98..=102).contains(&load.assigned)),
        "{} {}",
        loads[0].assigned,
        loads[1].assigned
    );
}

#[test]
fn packed_goes_on_with_the_fullest_and_leaves_the_emptiest_alone() {
    let group = group("Packed", 1, 3);
    let pool = Pool::open(&[(101.0, 10.0), (101.0, 60.0), (101.0, 30.0)]);
    let mut dice = Dice::new(7);
    assert_eq!(dice.node(&group, &pool), Ok(1));
    pool.set(1, |load| load.sessions = 80.0);
    assert_eq!(dice.node(&group, &pool), Ok(2));
    pool.set(2, |load| load.admission = Admission::Closed);
    assert_eq!(dice.node(&group, &pool), Ok(0));
}

#[test]
fn first_is_strictly_in_order() {
    for nodes in SIZES {
        let group = group("First", 1, nodes);
        let pool = Pool::open(&vec![(3.0, 0.0); nodes]);
        let mut dice = Dice::new(8);
        for call in 0..nodes * 2 {
            let node = dice.node(&group, &pool).unwrap();
            assert_eq!(node as usize, call / 2);
            pool.assign(NodeSlot(node), 1, NOW);
        }
    }
    // Priority, then score, then as configured; weights do not matter.
    let group = weighted("First", 1, &[(9.0, 0), (1.0, 5), (2.0, 5), (3.0, 5)]);
    let pool = roomy(4);
    let mut dice = Dice::new(8);
    assert_eq!(dice.node(&group, &pool), Ok(1));
    pool.set(3, |load| load.score = 7.0);
    assert_eq!(dice.node(&group, &pool), Ok(3));
    pool.set(0, |load| load.score = 100.0);
    assert_eq!(dice.node(&group, &pool), Ok(3), "a lower priority waits, whatever its score");
}

/// Where the keys 0, 1, 2 … go.
fn homes(group: &Group, pool: &Pool, keys: u64) -> Vec<u32> {
    let (mut rng, mut memory, snapshot) = (Rng::new(1), Memory::new(), Snapshot::default());
    (0..keys)
        .map(|key| {
            let wanted = Wanted { hash: Some(Rng::new(key).next_u64()), ..Wanted::default() };
            let placed = place(&snapshot, group, &wanted, pool, &[], NOW, &mut rng, &mut memory);
            placed.unwrap().slot.0
        })
        .collect()
}

#[test]
fn keys_are_spread_by_weight() {
    for nodes in SIZES {
        let group = weighted("Hash", 1, &unlike(nodes));
        let mut counts = vec![0; nodes];
        for node in homes(&group, &roomy(nodes), 1_500) {
            counts[node as usize] += 1;
        }
        in_proportion(&counts, &weights(&group), &format!("keys over {nodes}"));
        // Without load the same, which is what a stateless group does.
        let stateless = |key| switchtender_select::place_stateless(&group, Rng::new(key).next_u64()).unwrap().0;
        assert_eq!(homes(&group, &roomy(nodes), 100), (0..100).map(stateless).collect::<Vec<_>>());
    }
}

#[test]
fn who_leaves_moves_its_own_keys_only_and_a_report_moves_none() {
    for nodes in [2, 5, 64, 200] {
        let group = weighted("Hash", 1, &unlike(nodes));
        let pool = roomy(nodes);
        let before = homes(&group, &pool, 400);
        // Reports of all kinds, within the bound.
        for node in 0..nodes {
            pool.set(node, |load| {
                load.sessions = 1e6 * (node % 7) as f64;
                load.max_sessions = 1e9 * (1.0 + (node % 3) as f64);
                load.idle_cpu = Some((node % 100) as f64);
                load.score = 1.0 + (node % 5) as f64;
            });
        }
        assert_eq!(homes(&group, &pool, 400), before, "a heartbeat moves none of {nodes}");
        let gone = before[0];
        for how in [0, 1, 2] {
            let saved = pool.load(NodeSlot(gone), NOW);
            pool.set(gone as usize, |load| match how {
                0 => load.admission = Admission::Closed,
                1 => load.cooling_until = Time::from_secs(200),
                _ => load.sessions = load.max_sessions,
            });
            for (&was, is) in before.iter().zip(homes(&group, &pool, 400)) {
                assert!(is != gone && (was == gone || is == was), "key of {was} went to {is} when {gone} left");
            }
            pool.set(gone as usize, |load| *load = saved);
        }
        // The same when it leaves the configuration: members are known by uid, not by place.
        let mut fewer = group.clone();
        fewer.members.retain(|member| member.slot.0 != gone);
        for (&was, is) in before.iter().zip(homes(&fewer, &pool, 400)) {
            assert!(was == gone || is == was);
        }
    }
}

#[test]
fn a_removed_nodes_keys_are_spread_over_all_others() {
    let group = group("Hash", 1, 20);
    let pool = roomy(20);
    let before = homes(&group, &pool, 8_000);
    pool.set(4, |load| load.admission = Admission::Closed);
    let mut counts = vec![0; 20];
    for (was, is) in before.iter().zip(homes(&group, &pool, 8_000)) {
        if *was == 4 {
            counts[is as usize] += 1;
        }
    }
    counts.remove(4);
    in_proportion(&counts, &[1.0; 19], "keys of the one that left");
}

#[test]
fn an_overloaded_node_is_passed_over_in_the_order_of_the_key() {
    let group = group("Hash", 1, 10);
    let pool = Pool::open(&[(100_001.0, 50_000.0); 10]);
    let before = homes(&group, &pool, 1_000);
    let hot = before[0];
    // 0.65 against an average of 0.515: above 1.25 times.
    pool.set(hot as usize, |load| load.sessions = 65_000.0);
    for (&was, is) in before.iter().zip(homes(&group, &pool, 1_000)) {
        assert!(is != hot && (was == hot || is == was));
    }
    // All calls with one key: they do not fill one node while others are empty.
    let pool = Pool::open(&[(101.0, 0.0); 10]);
    let (mut rng, mut memory, snapshot) = (Rng::new(1), Memory::new(), Snapshot::default());
    let wanted = Wanted { hash: Some(77), ..Wanted::default() };
    for call in 0..900_u64 {
        let now = NOW + Duration::from_millis(call);
        let slot = place(&snapshot, &group, &wanted, &pool, &[], now, &mut rng, &mut memory).unwrap().slot;
        pool.assign(slot, 1, now);
        let assigned = |load: &NodeLoad| load.assigned as f64 / 100.0;
        let loads = pool.loads.borrow();
        let average = loads.iter().map(assigned).sum::<f64>() / 10.0;
        let fullest = loads.iter().map(assigned).fold(0.0, f64::max);
        assert!(fullest <= (1.25 * average).max(average + 0.05).max(0.25) + 0.021, "{fullest} of {average}");
    }
}

#[test]
fn in_a_pool_that_is_mostly_idle_every_key_stays_with_its_node() {
    let group = group("Hash", 1, 10);
    let pool = Pool::open(&[(100_001.0, 0.0); 10]);
    let before = homes(&group, &pool, 1_000);
    let busy = before[0];
    // Ten times the average, and yet a quarter of what it can carry.
    pool.set(busy as usize, |load| load.sessions = 25_000.0);
    assert_eq!(homes(&group, &pool, 1_000), before);
    pool.set(busy as usize, |load| load.sessions = 26_000.0);
    for (was, is) in before.iter().zip(homes(&group, &pool, 1_000)) {
        assert!(is != busy && (*was == busy || is == *was));
    }
}

#[test]
fn slow_start_gives_a_node_its_keys_one_by_one_and_takes_none_back() {
    let group = group("Hash", 1, 8);
    let pool = roomy(8);
    let all = homes(&group, &pool, 2_000);
    let mut before = vec![];
    for factor in [0.1, 0.3, 0.6, 0.9, 1.0] {
        pool.set(2, |load| load.weight_factor = factor);
        let now = homes(&group, &pool, 2_000);
        let mine = |homes: &[u32]| homes.iter().filter(|&&node| node == 2).count();
        let part = mine(&now) as f64 / mine(&all) as f64;
        assert!((part - factor).abs() < 0.15, "{part} of its keys at {factor}");
        for (was, is) in before.iter().zip(&now) {
            assert!(*is == 2 || is == was, "none goes back, none of the others moves");
        }
        before = now;
    }
    assert_eq!(before, all);
}

#[test]
fn all_replicas_and_runs_agree_on_keys() {
    let group = group("Hash", 1, 5);
    // Written down once: a change here moves every key in every installation at the update.
    let homes = homes(&group, &roomy(5), 12);
    assert_eq!(homes, [2, 0, 4, 4, 2, 3, 4, 1, 1, 4, 0, 0]);
    let mut turned = document("Hash", 1, &[(1.0, 0); 5]);
    turned["nodes"].as_array_mut().unwrap().reverse();
    let turned = read(&turned);
    for key in 0..100 {
        let one = switchtender_select::place_stateless(&group, Rng::new(key).next_u64()).unwrap();
        let other = switchtender_select::place_stateless(&turned.groups[0], Rng::new(key).next_u64()).unwrap();
        let uid = |slot: NodeSlot| format!("uid-{}", slot.0);
        assert_eq!(uid(one), &*turned.node(other).unwrap().uid, "whatever the order of the document");
    }
}

#[test]
fn stateless_takes_the_first_tier_with_weight_and_draining_ones_last() {
    let mut group = weighted("Hash", 1, &[(0.0, 9), (1.0, 5), (1.0, 5), (1.0, 0)]);
    let home = |group: &Group, key| switchtender_select::place_stateless(group, key).map(|slot| slot.0);
    assert!((0..100).all(|key| matches!(home(&group, key), Some(1 | 2))));
    group.members[1].draining = true;
    assert!((0..100).all(|key| home(&group, key) == Some(2)));
    group.members.iter_mut().for_each(|member| member.draining = true);
    assert!((0..100).all(|key| matches!(home(&group, key), Some(1 | 2))));
    group.members.iter_mut().for_each(|member| member.weight = 0.0);
    assert_eq!(home(&group, 1), None);
}

/// Churn: nodes leave, come back, fill up and empty at random. Whoever is chosen can take the call, and nobody is found
/// wanting while someone can.
#[test]
fn through_all_churn_only_those_that_can_are_chosen() {
    for &algorithm in Algorithm::ALL {
        for nodes in [1, 3, 6, 40] {
            let group = weighted(algorithm.name(), 1, &unlike(nodes));
            let pool = Pool::open(&vec![(30.0, 0.0); nodes]);
            let (mut rng, mut dice) = (Rng::new(11), Dice::new(12));
            for step in 0..600_u64 {
                let now = NOW + Duration::from_millis(step * 10);
                let node = rng.below(nodes as u64) as usize;
                pool.set(node, |load| match rng.below(6) {
                    0 => load.admission = Admission::Closed,
                    1 | 5 => load.admission = Admission::Open,
                    2 => load.sessions = (29 - rng.below(3)) as f64,
                    3 => load.sessions = 0.0,
                    _ => load.cooling_until = now + Duration::from_millis(300),
                });
                let can = |load: &NodeLoad| {
                    load.admission == Admission::Open && load.cooling_until <= now && load.sessions <= 28.0
                };
                let any = pool.loads.borrow().iter().any(can);
                match dice.choose_at(&group, &pool, &[], now) {
                    Ok(choice) => assert!(can(&pool.load(choice.slot, now)), "{algorithm:?}"),
                    Err(_) => assert!(!any, "{algorithm:?}: one of {nodes} could"),
                }
            }
        }
    }
}

#[test]
fn a_spilled_call_without_a_key_is_spread_over_the_other_group() {
    let mut text = document("Hash", 1, &[(1.0, 0); 8]);
    let mut first = text["groups"][0].clone();
    first["name"] = json!("full");
    first["algorithm"] = json!("LeastLoad");
    first["members"] = json!([]);
    first["over_limit"] = json!({"action": "Spill", "group": 1, "status": 503, "retry_after_s": [1, 2]});
    text["groups"] = json!([first, text["groups"][0].clone()]);
    let snapshot = read(&text);
    let (pool, mut dice, mut counts) = (roomy(8), Dice::new(13), vec![0; 8]);
    for _ in 0..2_000 {
        counts[dice.place(&snapshot, 0, &Wanted::default(), &pool).unwrap().slot.0 as usize] += 1;
    }
    in_proportion(&counts, &[1.0; 8], "spilled");
}
