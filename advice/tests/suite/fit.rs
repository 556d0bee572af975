//! Pools that serve the same model.

use crate::{hours, near, pool};
use advice::{Confidence, Kind, Pool, fit};

fn serving(name: &str, price: f64, capacity: f64) -> Pool {
    let models = [("llama".to_owned(), 168e6)].into();
    Pool { name: name.into(), price: Some(price), capacity, models, ..pool(hours(168, 2.0, 0.0, 1e6)) }
}

#[test]
fn the_same_work_costs_less_in_the_other_pool() {
    // 3 dollars for a million, and 2 dollars for half a million, which are 4 for a million.
    let (fast, slow) = (serving("h100", 3.0, 1e6), serving("l4", 2.0, 0.5e6));
    for told in [fit("llama", &fast, &slow), fit("llama", &slow, &fast)] {
        let told = told.unwrap();
        assert_eq!((told.kind, told.confidence), (Kind::Instance, Confidence::High));
        assert_eq!(told.text, "Serve llama with instances like those of h100 in place of l4.");
        // A million an hour × 1 dollar less × 730 hours.
        near(told.saving, 730.0);
    }
}

#[test]
fn a_guess_at_what_a_gpu_can_do_makes_it_a_guess() {
    let guessed = Pool { capacity_said: false, ..serving("l4", 2.0, 0.5e6) };
    assert_eq!(fit("llama", &serving("h100", 3.0, 1e6), &guessed).unwrap().confidence, Confidence::Low);
}

#[test]
fn nearly_the_same_and_unknown_prices_are_no_reason() {
    let one = serving("one", 3.0, 1e6);
    assert!(
        fit("llama", &one, &serving("other", 3.2, 1e6)).unwrap_err().because.starts_with("they cost nearly")
    );
    let unknown = Pool { price: None, ..serving("other", 1.0, 1e6) };
    assert!(fit("llama", &one, &unknown).is_err());
    assert!(fit("qwen", &one, &serving("other", 1.0, 1e6)).unwrap_err().because.contains("less than 100000"));
}
