//! How full a budget is.

use budgets::{Amount, Limit, crossed, used_ratio};

#[test]
fn a_threshold_is_reached_at_exactly_its_part() {
    let limit = Limit { money: Some(1_000), tokens: Some(10) };
    let reached = |money, tokens| crossed(limit, Amount { money, tokens }).collect::<Vec<_>>();
    assert_eq!(reached(499, 4), Vec::<u8>::new());
    assert_eq!(reached(500, 4), [50]);
    assert_eq!(reached(0, 9), [50, 80, 90], "whichever is tighter");
    assert_eq!(reached(999, 0), [50, 80, 90]);
    assert_eq!(reached(1_000, 0), [50, 80, 90, 100]);
    assert_eq!(reached(i64::MAX.into(), i64::MAX), [50, 80, 90, 100]);
    assert_eq!(crossed(Limit::default(), Amount { money: 9, tokens: 9 }).count(), 0);
    let ratio = |money, tokens| used_ratio(limit, Amount { money, tokens });
    assert!((ratio(250, 5) - 0.5).abs() < 1e-9 && (ratio(2_000, 5) - 2.0).abs() < 1e-9);
    assert!((used_ratio(Limit { money: Some(0), tokens: None }, Amount::ZERO) - 1.0).abs() < 1e-9);
}
