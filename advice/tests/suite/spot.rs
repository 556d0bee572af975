//! How many instances could be on spot.

use crate::{hours, near, pool};
use advice::{Confidence, Hour, Kind, Pool, spot};

/// Needs 1 instance at night and 4 by day, and has 4, one of them on spot.
fn mixed() -> Vec<Hour> {
    let day = [hours(12, 4.0, 1.0, 6e6), hours(12, 4.0, 1.0, 0.8e6)].concat();
    std::iter::repeat_n(day, 7).flatten().collect()
}

#[test]
fn what_only_some_hours_need_may_go() {
    let told = spot(&Pool { preemptions: 3, cut_off: 10, ..pool(mixed()) }).unwrap();
    assert_eq!((told.kind, told.confidence), (Kind::Spot, Confidence::High));
    // 3 of 4 may be on spot and 1 is: 2 × 2 GPUs × 2 dollars less × 730 hours.
    near(told.saving, 5_840.0);
}

#[test]
fn what_would_cut_off_too_many_is_not_advised() {
    // 60 in 168 instance-hours are 120 more with 2 more, and a thousandth of 100,000 is 100.
    let told = spot(&Pool { preemptions: 9, cut_off: 60, ..pool(mixed()) }).unwrap_err();
    assert_eq!(
        told.because,
        "9 instances were taken away and cut off 60 requests: more of them would cut off 120 in the same time"
    );
}

#[test]
fn where_nothing_is_known_one_is_tried() {
    let told = spot(&pool(hours(168, 4.0, 0.0, 0.8e6))).unwrap();
    assert_eq!(told.confidence, Confidence::Low);
    // 1 × 2 GPUs × 2 dollars less × 730 hours.
    near(told.saving, 2_920.0);
}

#[test]
fn what_is_needed_always_or_has_no_price_stays() {
    assert!(spot(&pool(hours(168, 4.0, 0.0, 6e6))).unwrap_err().because.ends_with("it fits"));
    let unknown = Pool { spot_price: None, ..pool(hours(168, 4.0, 0.0, 1.0)) };
    assert!(spot(&unknown).unwrap_err().because.contains("not known"));
    assert!(spot(&Pool { spot_price: Some(3.0), ..pool(mixed()) }).is_err(), "it saves nothing");
}
