//! The table against what it promises, a plain model of it, and threads.

use proptest::prelude::*;

use super::*;

const SLOT: NodeSlot = NodeSlot(3);

fn table(workers: usize) -> NodeTable {
    let table = NodeTable::new(8, workers);
    table.open(SLOT);
    table
}

fn ms(millis: u64) -> Time {
    Time::from_millis(1_000_000 + millis)
}

#[test]
fn memory_is_as_stated() {
    let (per_worker, per_node) = (size_of::<WorkerCell>(), size_of::<NodeCell>());
    assert!(per_worker <= 3328, "{per_worker}");
    assert!(per_node <= 1152, "{per_node}");
    assert!(1000 * (4 * per_worker + per_node) <= 14 << 20);
}

#[test]
fn workers_counts_are_summed_and_never_reset_by_a_report() {
    let table = table(2);
    let (first, second) = (table.of_worker(0, ms(0)), table.of_worker(1, ms(0)));
    first.assign(SLOT, 2, ms(0));
    second.assign(SLOT, 1, ms(1));
    second.ended(SLOT);
    let load = first.load(SLOT, ms(2));
    assert_eq!((load.assigned, load.ended, load.in_flight, load.legs_last_second), (2, 1, 2, 3));
    assert_eq!(load.admission, Admission::Unknown);

    let baseline = table.baseline(SLOT, Duration::ZERO, ms(100)).unwrap();
    assert_eq!(baseline, Baseline { assigned: 2, assigned_now: 2, ended: 1, exact: true });
    let report = Report {
        admission: Admission::Open,
        sessions: 5.0,
        max_sessions: 100.0,
        baseline_assigned: baseline.assigned,
        baseline_ended: baseline.ended,
        ..Report::default()
    };
    table.report(SLOT, &report, ms(100));
    let load = second.load(SLOT, ms(101));
    assert_eq!((load.assigned, load.ended, load.in_flight), (0, 0, 2));
    assert_eq!((load.sessions, load.max_sessions, load.cap), (5.0, 100.0, f64::INFINITY));
    let account = table.account(SLOT, ms(101)).unwrap();
    assert_eq!((account.assigned, account.ended, account.reported), (2, 1, Some(ms(100))));
    assert_eq!(account.report, report);
}

#[test]
fn young_assignments_stay_outside_the_baseline() {
    let table = table(1);
    let worker = table.of_worker(0, ms(0));
    worker.assign(SLOT, 1, ms(0));
    worker.assign(SLOT, 1, ms(500));
    let assigned = |age, at| table.baseline(SLOT, Duration::from_millis(age), at).unwrap().assigned;
    assert_eq!(assigned(0, ms(510)), 1, "on its way");
    assert_eq!(assigned(0, ms(540)), 2);
    assert_eq!(assigned(100, ms(540)), 1, "the report is older than the second call");
    assert_eq!(assigned(600, ms(590)), 0);
}

#[test]
fn a_report_older_than_two_seconds_clears_nothing() {
    let table = table(1);
    let exact = |age| table.baseline(SLOT, Duration::from_millis(age), ms(10_000)).unwrap().exact;
    assert!(exact(0) && exact(2000));
    assert!(!exact(2001) && !exact(60_000));
    assert!(!table.baseline(SLOT, Duration::MAX, ms(0)).unwrap().exact);
}

#[test]
fn rates_are_of_the_last_second() {
    let table = table(2);
    for n in 0..40 {
        table.of_worker(n % 2, ms(0)).request(SLOT, ms(n as u64 * 50));
    }
    let rate = |at| table.of_worker(0, ms(0)).load(SLOT, at).requests_last_second;
    assert!((20..=21).contains(&rate(ms(1960))), "{}", rate(ms(1960)));
    assert_eq!(rate(ms(3100)), 0);
    assert_eq!(rate(ms(30_000)), 0);
}

#[test]
fn cooling_keeps_the_later_time_and_suspicion_ends_with_an_answer() {
    let table = table(1);
    let worker = table.of_worker(0, ms(0));
    worker.cool(SLOT, ms(2000));
    worker.cool(SLOT, ms(1000));
    assert_eq!(worker.load(SLOT, ms(0)).cooling_until, ms(2000));
    worker.suspect(SLOT);
    assert!(worker.load(SLOT, ms(0)).suspect);
    worker.answered(SLOT);
    assert!(!worker.load(SLOT, ms(0)).suspect);
}

#[test]
fn calls_that_fail_in_a_row_eject_and_an_answer_brings_back() {
    let table = table(2);
    let policy = Ejection { failures: 2, duration: Duration::from_secs(30), max: Duration::from_secs(60) };
    table.configure(SLOT, Some(&policy));
    table.of_worker(0, ms(0)).suspect(SLOT);
    let other = table.of_worker(1, ms(10));
    assert_eq!(table.account(SLOT, ms(10)).unwrap().failures, 1);
    other.suspect(SLOT);
    assert_eq!(other.take_turned(), Some(Turned::Ejected(SLOT, Duration::from_secs(30))));
    assert_eq!(other.load(SLOT, ms(10)).ejected_until, ms(30_010));
    let later = table.of_worker(0, ms(31_000));
    later.answered(SLOT);
    assert_eq!((later.take_turned(), later.take_turned()), (Some(Turned::Returned(SLOT)), None));
    assert_eq!(table.account(SLOT, ms(31_000)).unwrap().answered, Some(ms(31_000)));
    later.suspect(SLOT);
    later.suspect(SLOT);
    assert!(later.load(SLOT, ms(31_000)).ejected_until > ms(31_000));
    table.restarted(SLOT);
    assert_eq!(later.load(SLOT, ms(31_000)).ejected_until, Time::ZERO);
}

#[test]
fn a_restart_frees_what_its_calls_had_taken() {
    let table = table(2);
    let (here, there) = (table.of_worker(0, ms(0)), table.of_worker(1, ms(0)));
    let seat = ResourceSet::EMPTY.with(ResourceSlot(1));
    let limit = |_| Some(1);
    assert!(here.reserve(SLOT, seat, &limit) && !there.reserve(SLOT, seat, &limit));
    let epoch = here.epoch(SLOT);
    table.restarted(SLOT);
    assert!(there.reserve(SLOT, seat, &limit));
    here.release(SLOT, seat, epoch);
    assert_eq!(here.in_use(SLOT, ResourceSlot(1)), 1, "of an earlier life there is nothing to give back");
}

#[test]
fn a_slot_in_new_hands_starts_anew() {
    let table = table(1);
    let worker = table.of_worker(0, ms(0));
    worker.assign(SLOT, 1, ms(0));
    worker.settle(SLOT);
    worker.ended(SLOT);
    worker.assign(SLOT, 1, ms(1));
    worker.settle(SLOT);
    worker.cool(SLOT, ms(9000));
    worker.suspect(SLOT);
    table.report(SLOT, &Report { admission: Admission::Open, ..Report::default() }, ms(5));
    table.open(SLOT);
    let load = worker.load(SLOT, ms(10));
    let expected = NodeLoad { legs_last_second: 2, ..NodeLoad::default() };
    assert_eq!(load, expected);
    let baseline = table.baseline(SLOT, Duration::ZERO, ms(3_000)).unwrap();
    assert_eq!(baseline, Baseline { assigned: 0, assigned_now: 0, ended: 0, exact: true });
    worker.assign(SLOT, 1, ms(3_000));
    table.report(SLOT, &Report { admission: Admission::Open, ..Report::default() }, ms(3_001));
    assert_eq!(worker.load(SLOT, ms(3_001)).assigned, 1, "baseline 0 is this node's beginning");
}

#[test]
fn a_worker_that_lost_its_transactions_gives_its_calls_back() {
    let table = table(2);
    table.of_worker(0, ms(0)).assign(SLOT, 1, ms(0));
    table.of_worker(1, ms(0)).assign(SLOT, 1, ms(0));
    table.abandon(0);
    assert_eq!(table.of_worker(0, ms(0)).load(SLOT, ms(1)).in_flight, 1);
    table.of_worker(0, ms(0)).settle(SLOT);
    assert_eq!(table.of_worker(0, ms(0)).load(SLOT, ms(1)).in_flight, 1, "never below zero");
}

#[test]
fn a_slot_that_was_never_given_out_is_harmless() {
    let (table, nowhere) = (table(1), NodeSlot(7));
    let worker = table.of_worker(0, ms(0));
    worker.assign(nowhere, 1, ms(0));
    worker.settle(nowhere);
    worker.ended(nowhere);
    worker.request(NodeSlot(u32::MAX), ms(0));
    worker.cool(nowhere, ms(1));
    assert_eq!(worker.load(nowhere, ms(0)), NodeLoad::default());
    assert_eq!(table.baseline(nowhere, Duration::ZERO, ms(0)), None);
}

/// Stress: two workers count while the control side reports: each load is of one report, and no count is lost.
#[test]
fn reports_under_load_are_whole() {
    const EACH: u64 = 30_000;
    let table = table(2);
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let nodes = table.of_worker(worker, ms(0));
            scope.spawn(move || {
                for n in 0..EACH {
                    let now = ms(n / 100);
                    nodes.assign(SLOT, 1, now);
                    nodes.request(SLOT, now);
                    let load = nodes.load(SLOT, now);
                    assert_eq!(load.sessions.to_bits(), load.headroom.to_bits());
                    assert!(load.assigned <= 2 * EACH && load.in_flight <= 2);
                    nodes.settle(SLOT);
                    nodes.ended(SLOT);
                }
            });
        }
        for n in 0..20_000_u32 {
            let number = f64::from(n);
            table.report(SLOT, &Report { sessions: number, headroom: number, ..Report::default() }, ms(0));
        }
    });
    let account = table.account(SLOT, ms(0)).unwrap();
    assert_eq!((account.assigned, account.ended, account.load.in_flight), (2 * EACH, 2 * EACH, 0));
}

/// What may happen to a node, in steps of time.
#[derive(Clone, Debug)]
enum Step {
    Assign { worker: usize },
    Settle { worker: usize },
    End { worker: usize },
    Report { age: u64 },
    Renew,
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let worker = 0..3_usize;
    let what = prop_oneof![
        8 => worker.clone().prop_map(|worker| Step::Assign { worker }),
        4 => worker.clone().prop_map(|worker| Step::Settle { worker }),
        4 => worker.prop_map(|worker| Step::End { worker }),
        3 => (0..2500_u64).prop_map(|age| Step::Report { age }),
        1 => Just(Step::Renew),
    ];
    (prop_oneof![0..30_u64, 0..3000_u64], what)
}

proptest! {
    /// Whatever happens in whatever order: totals are those of a list of events; a baseline holds what was assigned up
    /// to the report's moment less one INVITE's way, and of what came in the 20 ms before that maybe nothing; after a
    /// report only what is outside its baseline counts.
    #[test]
    fn counts_are_those_of_a_list_of_events(steps in prop::collection::vec(step(), 1..120)) {
        let table = table(3);
        let (mut now, mut assigned, mut ended) = (0_u64, Vec::new(), 0_u64);
        let mut in_flight = [0_u64; 3];
        let mut reported = (0, 0);
        for (wait, step) in steps {
            now += wait;
            match step {
                Step::Assign { worker } => {
                    table.of_worker(worker, ms(0)).assign(SLOT, 1, ms(now));
                    assigned.push(now);
                    in_flight[worker] += 1;
                }
                Step::Settle { worker } => {
                    table.of_worker(worker, ms(0)).settle(SLOT);
                    in_flight[worker] = in_flight[worker].saturating_sub(1);
                }
                Step::End { worker } => {
                    table.of_worker(worker, ms(0)).ended(SLOT);
                    ended += 1;
                }
                Step::Report { age } => {
                    let baseline = table.baseline(SLOT, Duration::from_millis(age), ms(now)).unwrap();
                    prop_assert_eq!(baseline.assigned_now, assigned.len() as u64);
                    prop_assert_eq!(baseline.ended, ended);
                    prop_assert_eq!(baseline.exact, age <= 2000);
                    let by = |late: u64| assigned.iter().filter(|&&at| at + age + late < now).count() as u64;
                    if baseline.exact {
                        prop_assert!(baseline.assigned <= by(20), "{} > {}", baseline.assigned, by(20));
                        prop_assert!(baseline.assigned >= by(40), "{} < {}", baseline.assigned, by(40));
                        reported = (baseline.assigned, baseline.ended);
                    }
                    let (baseline_assigned, baseline_ended) = reported;
                    let report = Report { baseline_assigned, baseline_ended, ..Report::default() };
                    table.report(SLOT, &report, ms(now));
                }
                Step::Renew => {
                    table.open(SLOT);
                    (assigned, ended, reported) = (Vec::new(), 0, (0, 0));
                }
            }
            let load = table.of_worker(0, ms(0)).load(SLOT, ms(now));
            prop_assert_eq!(load.assigned, assigned.len() as u64 - reported.0);
            prop_assert_eq!(load.ended, ended - reported.1);
            prop_assert_eq!(load.in_flight, in_flight.iter().sum::<u64>());
        }
    }
}
