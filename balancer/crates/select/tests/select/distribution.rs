//! Where calls go over many choices.

use switchtender_select::{NoNode, NodeSlot, Nodes, Rng, Time};

use crate::world::{Dice, Pool, group, weighted};

const NOW: Time = Time::from_secs(100);

/// Places calls until nobody has room; the number placed on each.
fn fill(algorithm: &str, sizes: &[(f64, f64)], seed: u64, calls: usize) -> Vec<u64> {
    let group = group(algorithm, 1, sizes.len());
    let pool = Pool::open(sizes);
    let mut dice = Dice::new(seed);
    for _ in 0..calls {
        match dice.node(&group, &pool) {
            Ok(node) => pool.assign(NodeSlot(node), 1, NOW),
            Err(reason) => {
                assert_eq!(reason, NoNode::Full);
                break;
            }
        }
    }
    let loads = pool.loads.borrow();
    loads.iter().map(|load| load.assigned).collect()
}

/// Pools of 1 to 200 nodes of unlike size, some of them busy from elsewhere.
fn pools() -> Vec<Vec<(f64, f64)>> {
    let mut rng = Rng::new(42);
    [1_usize, 2, 3, 5, 10, 50, 200]
        .into_iter()
        .map(|count| {
            let node = |_| {
                let max: f64 = [51.0, 101.0, 151.0, 501.0][usize::try_from(rng.below(4)).unwrap()];
                (max, (max * 0.4 * rng.unit_f64()).floor())
            };
            (0..count).map(node).collect()
        })
        .collect()
}

#[test]
fn every_slot_of_the_pool_is_used_and_none_twice() {
    for sizes in pools() {
        for algorithm in ["LeastLoad", "RoundRobin"] {
            let placed = fill(algorithm, &sizes, 1, usize::MAX);
            let room: Vec<u64> = sizes.iter().map(|(max, sessions)| (max - 1.0 - sessions) as u64).collect();
            assert_eq!(placed, room, "{algorithm} over {} nodes", sizes.len());
        }
    }
}

#[test]
fn least_load_brings_every_node_to_the_same_utilization() {
    for sizes in pools() {
        let (capacity, busy) = sizes.iter().fold((0.0, 0.0), |(c, b), (max, sessions)| (c + max - 1.0, b + sessions));
        let calls = ((capacity - busy) * 0.7) as usize;
        let mean = (busy + calls as f64) / capacity;
        let placed = fill("LeastLoad", &sizes, 2, calls);
        for (&(max, sessions), calls) in sizes.iter().zip(placed) {
            let utilization = (sessions + calls as f64) / (max - 1.0);
            assert!(
                (utilization - mean).abs() < 0.05 + 2.0 / max,
                "{utilization} of {mean} over {} nodes",
                sizes.len()
            );
        }
    }
}

/// Why the draw is in proportion to size: with uniform draws a big node is drawn as seldom as a small one, so one of
/// ten times the size stays far behind the rest.
#[test]
fn uniform_draws_would_starve_a_big_node() {
    let mut sizes = vec![(101.0, 0.0); 40];
    sizes.push((4001.0, 0.0));
    let calls = 6_000;
    let placed = fill("LeastLoad", &sizes, 3, calls);
    let big = placed[40] as f64 / 4_000.0;
    let mean = calls as f64 / 8_000.0;
    assert!((big - mean).abs() < 0.03, "{big} of {mean}");

    // The same, drawn uniformly.
    let mut rng = Rng::new(3);
    let mut uniform = vec![0_u32; 41];
    let full = |node: usize, placed: &[u32]| f64::from(placed[node]) / (sizes[node].0 - 1.0);
    for _ in 0..calls {
        let mut draw = |not: Option<usize>| loop {
            let node = usize::try_from(rng.below(41)).unwrap();
            if Some(node) != not && full(node, &uniform) < 1.0 {
                break node;
            }
        };
        let first = draw(None);
        let second =
            if (0..41).filter(|&node| full(node, &uniform) < 1.0).count() > 1 { draw(Some(first)) } else { first };
        let best = if full(second, &uniform) < full(first, &uniform) { second } else { first };
        uniform[best] += 1;
    }
    let starved = full(40, &uniform);
    assert!(starved < mean - 0.2, "{starved} of {mean}");
}

#[test]
fn a_weight_multiplies_a_nodes_share() {
    let parts = [(1.0, 0), (2.0, 0), (4.0, 0)];
    for algorithm in ["LeastLoad", "RoundRobin"] {
        let group = weighted(algorithm, 1, &parts);
        let pool = Pool::open(&[(1_000_001.0, 0.0); 3]);
        let mut dice = Dice::new(4);
        for _ in 0..7_000 {
            let node = dice.node(&group, &pool).unwrap();
            pool.assign(NodeSlot(node), 1, NOW);
        }
        let loads = pool.loads.borrow();
        for (load, expected) in loads.iter().zip([1_000.0, 2_000.0, 4_000.0]) {
            assert!((load.assigned as f64 - expected).abs() < 0.03 * expected, "{algorithm}: {}", load.assigned);
        }
    }
}

#[test]
fn a_node_in_slow_start_gets_its_part_only() {
    let group = group("LeastLoad", 1, 10);
    let pool = Pool::open(&[(1_001.0, 500.0); 10]);
    pool.set(0, |load| {
        load.sessions = 0.0;
        load.weight_factor = 0.1;
    });
    let mut dice = Dice::new(5);
    let calls = 2_000;
    let first = (0..calls).filter(|_| dice.node(&group, &pool) == Ok(0)).count();
    // Emptiest by far, it wins whenever it is drawn: with 0.1 of 9.1 parts at most twice that often.
    assert!((calls / 100..calls / 30).contains(&first), "{first}");
}

fn turns(weights: &[f64], calls: usize) -> Vec<u32> {
    let parts: Vec<_> = weights.iter().map(|&weight| (weight, 0)).collect();
    let group = weighted("RoundRobin", 1, &parts);
    let pool = Pool::open(&vec![(1e6, 0.0); weights.len()]);
    let mut dice = Dice::new(6);
    (0..calls).map(|_| dice.node(&group, &pool).unwrap()).collect()
}

#[test]
fn round_robin_interleaves_weights() {
    let order = turns(&[3.0, 1.0, 2.0], 12);
    assert_eq!(order, [0, 2, 0, 1, 2, 0, 0, 2, 0, 1, 2, 0]);
    assert_eq!(turns(&[0.0, 2.0], 4), [1, 1, 1, 1], "weight 0 gets nothing");
    assert_eq!(turns(&[1.0, 1.0, 1.0], 6), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn round_robin_goes_on_in_turn_around_a_node_that_cannot() {
    let group = group("RoundRobin", 1, 3);
    let pool = Pool::open(&[(1e6, 0.0), (1e6, 1e6), (1e6, 0.0)]);
    let mut dice = Dice::new(7);
    let order: Vec<_> = (0..6).map(|_| dice.node(&group, &pool).unwrap()).collect();
    assert_eq!(order, [0, 2, 0, 2, 0, 2]);
    pool.set(1, |load| load.sessions = 0.0);
    let after: Vec<_> = (0..300).map(|_| dice.node(&group, &pool).unwrap()).collect();
    for node in 0..3 {
        let turns = after.iter().filter(|&&chosen| chosen == node).count();
        assert!((99..=101).contains(&turns), "node {node}: {turns}, no burst to make up for the time away");
    }
}

#[test]
fn round_robin_remembers_turns_by_node_over_a_change_of_members() {
    let three = group("RoundRobin", 1, 3);
    let mut two = three.clone();
    two.members.remove(0);
    let pool = Pool::open(&[(1e6, 0.0); 3]);
    let mut dice = Dice::new(8);
    assert_eq!(dice.node(&three, &pool), Ok(0));
    assert_eq!(dice.node(&two, &pool), Ok(1));
    assert_eq!(dice.node(&two, &pool), Ok(2));
    for _ in 0..10_000 {
        dice.node(&two, &pool).unwrap();
    }
    assert!(dice.node(&three, &pool).is_ok());
}
