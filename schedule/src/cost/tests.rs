//! What predictions are held to: margin and corrections stay in bounds, and a correction fades.

use super::{CONFIDENCE, Cost, FORGET, Prefill, Speed};
use proptest::prelude::*;

fn cost() -> Cost {
    Cost::new(Speed::default())
}

#[test]
fn a_prompt_whose_beginning_is_cached_still_looks_back_at_it() {
    let (all, rest, head) = (Prefill::of(1_000, 0), Prefill::of(1_000, 600), Prefill::of(600, 0));
    assert_eq!(rest.tokens, 400.0);
    assert_eq!(rest.pairs + head.pairs, all.pairs);
    assert_eq!(Prefill::of(5, 9).tokens, 0.0);
}

#[test]
fn a_correction_is_of_one_size_and_fades() {
    let mut cost = cost();
    for _ in 0..100 {
        // Each prediction already counts on the correction.
        let predicted = cost.correction(1_000.0, 0.0);
        cost.judge(predicted, 1.7, 1_000.0, 0.0);
    }
    let learned = cost.correction(1_000.0, 0.0);
    assert!((learned - 1.7).abs() < 0.01, "{learned}");
    assert_eq!(cost.correction(100.0, 0.0), 1.0, "another size");
    let later = cost.correction(1_000.0, FORGET);
    assert!((later - (1.0 + 0.7 / std::f64::consts::E)).abs() < 0.01, "{later}");
    assert!((cost.correction(1_000.0, 20.0 * FORGET) - 1.0).abs() < 1e-6);
}

#[test]
fn the_margin_holds_for_as_many_as_it_says() {
    let mut cost = cost();
    let errors = |n: u32| f64::from(n * 37 % 100) / 100.0;
    for n in 0..5_000 {
        cost.judge(1.0, 1.0 + errors(n), 1_000.0, 1e9 * f64::from(n));
    }
    let within = (0..100).filter(|&n| errors(n) <= cost.margin()).count() as f64 / 100.0;
    assert!((within - CONFIDENCE).abs() < 0.06, "{within} are within {}", cost.margin());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn margin_and_corrections_stay_in_bounds(
        seen in proptest::collection::vec((-1.0..1e4, -1.0..1e4, 0.0..1e6, -10.0..1_000.0), 1..300),
    ) {
        let (mut cost, mut now) = (cost(), 0.0);
        for (predicted, took, tokens, later) in seen {
            now += later;
            cost.judge(predicted, took, tokens, now);
            prop_assert!((0.0..=1.0).contains(&cost.margin()), "{}", cost.margin());
            for tokens in [1.0, 500.0, 2_000.0, 10_000.0, 1e6] {
                let correction = cost.correction(tokens, now);
                prop_assert!((0.5..=2.0).contains(&correction), "{correction}");
            }
        }
    }
}
