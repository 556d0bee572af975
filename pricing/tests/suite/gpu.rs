//! What GPUs cost, and for whom.

use pricing::{
    Money,
    gpu::{GpuPrice, GpuTime, HOUR, Weights, split},
};
use proptest::prelude::*;

fn dollars(text: &str) -> Option<Money> {
    Some(text.parse().unwrap())
}

#[test]
fn time_costs_what_its_kind_does() {
    let price = GpuPrice { hour: dollars("2.50"), spot_hour: dollars("1"), capacity: None };
    // 8 GPUs for half an hour on demand, and one for a quarter on spot.
    let time = GpuTime { on_demand: 8 * HOUR / 2, spot: HOUR / 4 };
    assert_eq!(price.cost(time).map(Money::dollars).as_deref(), Some("10.25"));
    let unknown = GpuPrice { spot_hour: None, ..price };
    assert_eq!(unknown.cost(time), None, "not known is not zero");
    assert!(unknown.cost(GpuTime { spot: 0, ..time }).is_some());
    assert_eq!(GpuPrice::default().cost(GpuTime::default()), Some(0));
    let fine = GpuPrice { hour: Some(Money(1)), ..GpuPrice::default() };
    let cost = |on_demand| fine.cost(GpuTime { on_demand, spot: 0 });
    assert_eq!((cost(HOUR / 2 - 1), cost(HOUR / 2)), (Some(0), Some(1)), "half a pico-dollar is one");
}

#[test]
fn tokens_weigh_what_they_take() {
    let weights = Weights { prefill: 1, decode: 4 };
    // 40 that were not cached, and 20 that were made.
    assert_eq!(weights.of(100, 60, 20), 120);
    assert_eq!(weights.of(5, 9, 0), 0);
}

#[test]
fn an_hour_is_split_into_what_was_used_and_what_was_idle() {
    let ten = 10_000_000_000_000;
    // Half of what could have been done, one third of it by the first.
    let told = split(ten, 600, &[100, 200]);
    assert_eq!(told.idle, ten / 2);
    assert_eq!(told.shares, [1_666_666_666_667, 3_333_333_333_333]);
    assert_eq!(split(ten, 600, &[0, 0]).idle, ten);
    assert_eq!(split(ten, 600, &[]).idle, ten);
    // More than it could: all of it was used.
    let full = split(ten, 100, &[300, 100]);
    assert_eq!((full.shares.as_slice(), full.idle), ([7_500_000_000_000, 2_500_000_000_000].as_slice(), 0));
    assert_eq!(split(1, 3, &[1, 1, 1]).shares, [1, 0, 0]);
}

proptest! {
    #[test]
    fn what_was_allocated_and_what_was_idle_is_all_of_it(
        cost in 0..1_000_000_000_000_000_000i128, capacity in 0..u128::from(u64::MAX),
        work in prop::collection::vec(0..1_000_000_000_000u128, 0..50),
    ) {
        let told = split(cost, capacity, &work);
        prop_assert_eq!(told.shares.len(), work.len());
        prop_assert_eq!(told.shares.iter().sum::<i128>() + told.idle, cost);
        prop_assert!(told.idle >= 0 && told.shares.iter().all(|share| *share >= 0));
        for (share, work) in told.shares.iter().zip(&work) {
            prop_assert!(*work > 0 || *share == 0, "who did nothing pays nothing");
        }
    }
}
