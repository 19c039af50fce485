//! What the choice of a node costs, by algorithm and size of the group. Times are of this machine and this run; compare
//! within a run only.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod world;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use switchtender_select::{
    Algorithm, Memory, NodeSlot, Nodes as _, Rng, Time, Wanted, evaluate, place, place_stateless,
};
use world::{Pool, snapshot};

const SIZES: [u32; 5] = [2, 64, 200, 500, 1000];

/// One call after the other, twenty microseconds apart, so that what is built anew now and then is in the mean.
fn choose(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("choose");
    for &algorithm in Algorithm::ALL {
        for nodes in SIZES {
            let (snapshot, pool) = (snapshot(nodes, algorithm.name(), "Stateful"), Pool::new(nodes));
            let (mut rng, mut memory, mut now) = (Rng::new(7), Memory::new(), 0);
            group.bench_function(BenchmarkId::new(algorithm.name(), nodes), |bencher| {
                bencher.iter(|| {
                    now += 20_000;
                    let hash = (algorithm == Algorithm::Hash).then(|| rng.next_u64());
                    let (group, wanted) = (&snapshot.groups[0], Wanted { hash, ..Wanted::default() });
                    let now = Time::from_nanos(now);
                    place(&snapshot, group, &wanted, &pool, black_box(&[]), now, &mut rng, &mut memory).is_ok()
                });
            });
        }
    }
}

fn choose_stateless(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("choose_stateless");
    for nodes in SIZES {
        let (snapshot, mut rng) = (snapshot(nodes, "Hash", "Stateless"), Rng::new(7));
        group.bench_function(BenchmarkId::from_parameter(nodes), |bencher| {
            bencher.iter(|| place_stateless(&snapshot.groups[0], rng.next_u64()));
        });
    }
}

fn evaluate_one_node(criterion: &mut Criterion) {
    let load = Pool::new(1).load(NodeSlot(0), Time::ZERO);
    criterion.bench_function("evaluate_one_node", |bencher| bencher.iter(|| evaluate(black_box(&load), 2)));
}

criterion_group!(benches, choose, choose_stateless, evaluate_one_node);
criterion_main!(benches);
