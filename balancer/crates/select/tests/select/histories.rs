//! Totals that remember their recent past.

use core::cell::Cell;
use core::time::Duration;

use proptest::prelude::*;
use switchtender_select::{BUCKET, BUCKETS, History, Time};

type Plain = History<Cell<u64>>;

#[test]
fn an_unused_history_is_zero_at_any_time() {
    let history = Plain::default();
    for now in [Time::ZERO, Time::from_millis(19), Time::from_secs(5), Time::MAX] {
        assert_eq!(history.last_second(now), 0);
        let reading = history.total_by(now, now);
        assert_eq!((reading.total, reading.exact), (0, true));
    }
}

#[test]
fn the_last_second_never_counts_too_few() {
    let history = Plain::default();
    let start = Time::from_millis(100_010);
    history.add(5, start);
    assert_eq!(history.last_second(start), 5);
    assert_eq!(history.last_second(start + Duration::from_secs(1)), 5);
    assert_eq!(history.last_second(start + Duration::from_millis(1_020)), 0);
}

#[test]
fn what_lies_further_back_than_memory_is_not_exact() {
    let history = Plain::default();
    let start = Time::from_secs(100);
    history.add(7, start);
    let later = start + BUCKET * u32::try_from(BUCKETS).unwrap();
    let reading = history.total_by(start, later);
    assert!(!reading.exact);
    assert_eq!(reading.total, 7);
    let reading = history.total_by(later - Duration::from_secs(2), later);
    assert_eq!((reading.total, reading.exact), (7, true));
}

proptest! {
    /// Against a plain list of events: the total by a moment counts exactly those of the buckets that ended by then.
    #[test]
    fn agrees_with_a_list_of_events(
        steps in prop::collection::vec((0..400_u64, 1..4_u64), 1..200),
        back in 0..2_900_u64,
        start in prop::sample::select(vec![0_u64, 7, 100_000, (1_u64 << 31) * 20 - 3_000]),
    ) {
        let history = Plain::default();
        let mut events = Vec::new();
        let mut now = start;
        for (step, amount) in steps {
            now += step / 4;
            history.add(amount, Time::from_millis(now));
            events.push((now, amount));
        }
        let sum = |keep: &dyn Fn(u64) -> bool| events.iter().filter(|(at, _)| keep(*at)).map(|(_, n)| n).sum::<u64>();
        prop_assert_eq!(history.total(), sum(&|_| true));
        let moment = now.saturating_sub(back);
        let reading = history.total_by(Time::from_millis(moment), Time::from_millis(now));
        let age = now / 20 - moment / 20;
        prop_assert_eq!(reading.exact, age <= 127);
        if reading.exact {
            prop_assert_eq!(reading.total, sum(&|at| at / 20 < moment / 20));
        }
        prop_assert_eq!(history.last_second(Time::from_millis(now)), sum(&|at| at / 20 + 50 >= now / 20));
    }
}
