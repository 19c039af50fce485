//! Where keys are at home, and what moves them; and the two algorithms that no key decides: by order, by chance.

use switchtender_select::{Admission, NodeSlot, Snapshot, Wanted};

use crate::world::{Dice, Pool, document, read, weighted};

const NODES: usize = 20;
const KEYS: u64 = 2_000;

/// Where each key goes when nothing else was placed: a pool of its own for every one.
fn homes(pool: impl Fn() -> Pool) -> Vec<NodeSlot> {
    let snapshot: Snapshot = read(&document("Hash", 1, &vec![(1.0, 0); NODES]));
    let mut dice = Dice::new(7);
    let mut home = |key: u64| {
        let wanted = Wanted { hash: Some(key.wrapping_mul(0x9E37_79B9_7F4A_7C15)), ..Wanted::default() };
        dice.place(&snapshot, 0, &wanted, &pool()).unwrap().slot
    };
    (0..KEYS).map(&mut home).collect()
}

fn empty() -> Pool {
    Pool::open(&[(1000.0, 0.0); NODES])
}

#[test]
fn a_node_that_dies_moves_its_own_keys_only_and_they_spread() {
    let before = homes(empty);
    let after = homes(|| {
        let pool = empty();
        pool.set(3, |load| load.admission = Admission::Closed);
        pool
    });
    let moved: Vec<_> = before.iter().zip(&after).filter(|(one, other)| one != other).collect();
    assert!(moved.iter().all(|(one, _)| **one == NodeSlot(3)), "a key of another node moved");
    assert_eq!(moved.len(), before.iter().filter(|&&slot| slot == NodeSlot(3)).count());
    let heirs: std::collections::BTreeSet<_> = moved.iter().map(|(_, other)| other.0).collect();
    assert!(heirs.len() > NODES / 2, "all to a neighbor: {heirs:?}");
}

#[test]
fn a_report_moves_no_key() {
    assert_eq!(homes(empty), homes(|| Pool::open(&[(1000.0, 400.0); NODES])));
    assert_eq!(homes(empty), homes(|| Pool::open(&[(500.0, 0.0); NODES])));
}

#[test]
fn keys_spread_evenly() {
    let homes = homes(empty);
    for slot in 0..NODES {
        let share = homes.iter().filter(|home| home.0 as usize == slot).count();
        assert!((60..=145).contains(&share), "node {slot} has {share} of {KEYS} keys");
    }
}

#[test]
fn first_is_the_highest_priority_that_can_and_then_the_next() {
    let group = weighted("First", 1, &[(1.0, 1), (1.0, 5), (1.0, 3)]);
    let pool = Pool::open(&[(100.0, 0.0); 3]);
    let mut dice = Dice::new(1);
    assert_eq!(dice.node(&group, &pool), Ok(1));
    pool.set(1, |load| load.admission = Admission::Closed);
    assert_eq!(dice.node(&group, &pool), Ok(2));
    pool.set(2, |load| load.admission = Admission::Closed);
    assert_eq!(dice.node(&group, &pool), Ok(0));
}

#[test]
fn random_follows_the_weights_and_leaves_out_who_cannot() {
    let group = weighted("Random", 1, &[(1.0, 0), (3.0, 0), (6.0, 0)]);
    let (pool, mut dice) = (Pool::open(&[(100_000.0, 0.0); 3]), Dice::new(11));
    let mut counts = [0_u32; 3];
    for _ in 0..10_000 {
        counts[dice.node(&group, &pool).unwrap() as usize] += 1;
    }
    assert!((850..1150).contains(&counts[0]), "{counts:?}");
    assert!((2800..3200).contains(&counts[1]), "{counts:?}");
    pool.set(2, |load| load.admission = Admission::Closed);
    assert!((0..200).all(|_| dice.node(&group, &pool).unwrap() != 2));
}
