//! Instances that are not needed.

use crate::{hours, near, pool};
use advice::{Confidence, Kind, Pool, idle};

#[test]
fn what_some_hours_do_not_need_is_spare() {
    // 12 hours a day need 4 of 4 instances, 12 need 1: 6,000,000 / 1,600,000 is 3.75, and 800,000 half of one.
    let day = [hours(12, 4.0, 0.0, 6e6), hours(12, 4.0, 0.0, 0.8e6)].concat();
    let week: Vec<_> = std::iter::repeat_n(day, 7).flatten().collect();
    let told = idle(&pool(week)).unwrap();
    assert_eq!((told.kind, told.subject.as_str(), told.confidence), (Kind::Idle, "a100", Confidence::High));
    // Half of the time 3 of 4 are spare: 1.5 × 2 GPUs × 3 dollars × 730 hours.
    near(told.saving, 6_570.0);
    assert_eq!(told.text, "Let a100 have between 1 and 4 instances, by the hour; it had 4.0 on the mean.");
    let spare = told.inputs.iter().find(|input| input.name == "spare").unwrap();
    near(spare.value, 1.5);
}

#[test]
fn less_is_surer_of_less() {
    let busy = || [hours(12, 4.0, 0.0, 6e6), hours(12, 4.0, 0.0, 0.8e6)].concat();
    assert_eq!(idle(&pool(busy())).unwrap().confidence, Confidence::Medium, "a day");
    let guessed = Pool { capacity_said: false, ..pool(busy()) };
    assert_eq!(idle(&guessed).unwrap().confidence, Confidence::Low, "a day, and its best hour");
}

#[test]
fn nothing_is_advised_from_too_little() {
    let because = |pool: &Pool| idle(pool).unwrap_err().because;
    assert_eq!(because(&pool(hours(23, 4.0, 0.0, 1.0))), "it was seen for 23 hours, and 24 are needed");
    assert_eq!(because(&Pool { gpus: 0.0, ..pool(hours(24, 4.0, 0.0, 1.0)) }), "its agents report no GPUs");
    assert!(because(&pool(hours(24, 4.0, 0.0, 0.0))).starts_with("no request of the ledger"));
    assert!(because(&Pool { price: None, ..pool(hours(24, 4.0, 0.0, 1.0)) }).starts_with("the price"));
    assert!(because(&pool(hours(24, 4.0, 0.0, 6e6))).ends_with("it fits"));
    assert!(idle(&pool(hours(24, 1.0, 0.0, 1.0))).is_err(), "the last instance stays");
}
