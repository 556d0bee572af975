//! The cost of requests.

use pricing::{Money, Price, Tokens};
use proptest::prelude::*;

/// 0.15 dollars for a million of input, 0.075 when cached, 0.60 of output.
fn mini() -> Price {
    let dollars = |text: &str| Some(text.parse().unwrap());
    Price { input: dollars("0.15"), cache_read: dollars("0.075"), output: dollars("0.6") }
}

#[test]
fn a_request_costs_the_sum_of_its_kinds_of_tokens() {
    let tokens = Tokens::of_openai(100, 60, 20);
    assert_eq!(tokens, Tokens { input: 40, cache_read: 60, output: 20 });
    // 40 × 0.15 µ$ + 60 × 0.075 µ$ + 20 × 0.6 µ$
    assert_eq!(mini().cost(tokens).unwrap().to_string(), "0.0000225");
    assert_eq!(Tokens::of_openai(5, 9, 0), Tokens { input: 0, cache_read: 9, output: 0 });
}

#[test]
fn what_is_not_known_is_not_zero() {
    let input_only = Price { input: Some(Money(1_000_000)), ..Price::default() };
    assert_eq!(input_only.cost(Tokens { output: 1, ..Tokens::default() }), None);
    assert_eq!(
        input_only.cost(Tokens { input: 7, cache_read: 3, output: 0 }),
        Some(Money(10)),
        "cached as other input"
    );
    assert_eq!(Price::default().cost(Tokens { input: 1, ..Tokens::default() }), None);
    assert_eq!(Price::default().cost(Tokens::default()), Some(Money(0)), "nothing was used");
    assert!(Price::default().is_unknown() && !input_only.is_unknown());
    let free = Price { input: Some(Money(0)), cache_read: None, output: Some(Money(0)) };
    assert_eq!(free.cost(Tokens { input: 5, cache_read: 5, output: 5 }), Some(Money(0)), "said to be free");
}

#[test]
fn parts_of_a_pico_dollar_are_rounded_once_for_all_kinds() {
    let price = Price { input: Some(Money(400_000)), cache_read: None, output: Some(Money(400_000)) };
    let cost = |input, output| price.cost(Tokens { input, cache_read: 0, output }).unwrap().0;
    // 0.4 + 0.4 = 0.8 pico-dollars: rounded by kind it would be nothing.
    assert_eq!((cost(1, 0), cost(1, 1), cost(2, 1), cost(2, 2)), (0, 1, 1, 2));
}

#[test]
fn kinds_are_told_apart_and_the_input_bears_what_rounding_leaves() {
    let cost = mini().parts(Tokens::of_openai(100, 60, 20)).unwrap();
    assert_eq!((cost.input, cost.cache_read, cost.output), (6_000_000, 4_500_000, 12_000_000));
    let price = Price { input: Some(Money(400_000)), cache_read: None, output: Some(Money(400_000)) };
    let cost = price.parts(Tokens { input: 1, cache_read: 0, output: 1 }).unwrap();
    assert_eq!((cost.input, cost.output), (1, 0), "0.8 pico-dollars are one");
    assert_eq!(Price::default().parts(Tokens { input: 1, ..Tokens::default() }), None);
}

#[test]
fn a_cost_beyond_64_bits_is_unknown() {
    let dear = Price { input: Some(Money(i64::MAX)), cache_read: None, output: None };
    assert_eq!(dear.cost(Tokens { input: 1_000_000, ..Tokens::default() }), Some(Money(i64::MAX)));
    assert_eq!(dear.cost(Tokens { input: 1_000_001, ..Tokens::default() }), None);
    assert_eq!(dear.cost(Tokens { input: u64::MAX, ..Tokens::default() }), None);
}

fn prices() -> impl Strategy<Value = Price> {
    let some = || (0..10_000_000_000_000i64).prop_map(|pico| Some(Money(pico)));
    (some(), prop_oneof![Just(None), some()], some()).prop_map(|(input, cache_read, output)| Price {
        input,
        cache_read,
        output,
    })
}

proptest! {
    #[test]
    fn nothing_costs_more_than_the_largest_cost(
        price in prices(), prompt in 0..200_000u64, cached in 0..200_000u64, most in 0..100_000u64, made in 0..100_000u64,
    ) {
        let tokens = Tokens::of_openai(prompt, cached.min(prompt), made.min(most));
        prop_assert!(price.cost(tokens) <= price.largest(prompt, most));
    }

    #[test]
    fn what_is_afforded_fits_and_one_token_more_does_not(price in prices(), left in 0..i64::MAX / 2, prompt in 0..200_000u64) {
        let left = Money(left);
        match price.affords(left, prompt) {
            None => prop_assert!(price.largest(prompt, 0).unwrap() > left),
            Some(u64::MAX) => prop_assert_eq!(price.output, Some(Money(0))),
            Some(most) => {
                prop_assert!(price.largest(prompt, most).unwrap() <= left);
                prop_assert!(price.largest(prompt, most + 2).is_none_or(|cost| cost + Money(1) > left));
            }
        }
    }

    #[test]
    fn tokens_of_two_requests_cost_what_both_do_but_for_rounding(price in prices(), one in 0..100_000u64, two in 0..100_000u64) {
        let cost = |output| price.cost(Tokens { output, ..Tokens::default() }).unwrap().0;
        prop_assert!((cost(one) + cost(two) - cost(one + two)).abs() <= 1);
    }
}
