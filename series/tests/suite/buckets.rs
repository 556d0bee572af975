//! Quantiles from buckets, against the exact ones.

use proptest::prelude::*;
use series::Buckets;
use std::sync::Arc;

const BOUNDS: [f64; 8] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

fn bucketed(values: &[f64]) -> Buckets {
    let mut counts = vec![0.0; BOUNDS.len() + 1];
    for value in values {
        counts[BOUNDS.partition_point(|bound| bound < value)] += 1.0;
    }
    Buckets::new(Arc::from(BOUNDS), counts, values.iter().sum()).unwrap()
}

#[test]
fn a_quantile_of_evenly_spread_values_is_exact() {
    let values: Vec<f64> = (1..=1_000).map(|value| f64::from(value) / 100.0).collect();
    let buckets = bucketed(&values);
    for (share, exact) in [(0.5, 5.0), (0.95, 9.5), (0.99, 9.9), (1.0, 10.0), (0.025, 0.25)] {
        let found = buckets.quantile(share).unwrap();
        assert!((found - exact).abs() < 0.011, "p{share}: {found} instead of {exact}");
    }
    assert!((buckets.mean().unwrap() - 5.005).abs() < 1e-9);
    assert_eq!(buckets.share_within(1.0), Some(0.1));
    assert_eq!(buckets.share_within(0.01), None, "no bound says so");
}

#[test]
fn values_computed_by_hand() {
    let buckets = |counts: [f64; 4]| Buckets::new(Arc::from([1.0, 2.0, 4.0]), counts.to_vec(), 0.0).unwrap();
    assert_eq!(buckets([0.0; 4]).quantile(0.5), None, "nothing was observed, which is not zero");
    assert_eq!(buckets([10.0, 0.0, 0.0, 0.0]).quantile(0.5), Some(0.5));
    assert_eq!(buckets([0.0, 10.0, 0.0, 0.0]).quantile(0.5), Some(1.5));
    assert_eq!(buckets([5.0, 5.0, 0.0, 0.0]).quantile(0.5), Some(1.0));
    assert_eq!(buckets([1.0, 1.0, 2.0, 0.0]).quantile(0.75), Some(3.0));
    assert_eq!(buckets([0.0, 0.0, 0.0, 3.0]).quantile(0.5), Some(4.0), "above every bound, the largest one");
    assert_eq!(buckets([1.0, 0.0, 0.0, 0.0]).quantile(1.1), None);
}

#[test]
fn what_is_no_histogram_is_refused() {
    let new = |bounds: &[f64], counts: &[f64]| Buckets::new(bounds.into(), counts.to_vec(), 0.0);
    assert!(new(&[1.0, 1.0], &[0.0; 3]).is_none());
    assert!(new(&[2.0, 1.0], &[0.0; 3]).is_none());
    assert!(new(&[1.0, f64::INFINITY], &[0.0; 3]).is_none());
    assert!(new(&[1.0], &[0.0]).is_none());
    assert!(new(&[1.0], &[0.0, -1.0]).is_none());
    assert!(new(&[], &[3.0]).is_some());
}

#[test]
fn histograms_of_other_bounds_are_added_by_those_they_share() {
    let mut one = Buckets::new(Arc::from([1.0, 2.0, 4.0]), vec![1.0, 2.0, 3.0, 4.0], 30.0).unwrap();
    let other = Buckets::new(Arc::from([2.0, 3.0, 4.0]), vec![10.0, 20.0, 30.0, 40.0], 400.0).unwrap();
    one.add(&other);
    assert_eq!(&**one.bounds(), [2.0, 4.0]);
    assert_eq!(one.counts(), [13.0, 53.0, 44.0]);
    assert!((one.sum() - 430.0).abs() < 1e-9 && (one.count() - 110.0).abs() < 1e-9);
}

proptest! {
    /// The exact quantile lies in the bucket from which the estimate comes.
    #[test]
    fn a_quantile_is_never_off_by_more_than_its_bucket(
        values in prop::collection::vec(0.0..10.0_f64, 1..200),
        share in 0.0..=1.0_f64,
    ) {
        let found = bucketed(&values).quantile(share).unwrap();
        let mut sorted = values;
        sorted.sort_by(f64::total_cmp);
        let rank = ((share * sorted.len() as f64).ceil() as usize).max(1);
        let exact = sorted[rank - 1];
        let place = BOUNDS.partition_point(|bound| *bound < exact);
        let lower = if place == 0 { 0.0 } else { BOUNDS[place - 1] };
        prop_assert!((lower - 1e-9..=BOUNDS[place] + 1e-9).contains(&found), "{found} for {exact}");
    }
}
