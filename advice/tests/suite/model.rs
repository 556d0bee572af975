//! Models that callers use for the same.

use crate::near;
use advice::{Confidence, Kind, ModelUse, Offer, model};

fn used(name: &str, requests: u64, finished: u64, cost: f64) -> ModelUse {
    let (model, endpoint) = (name.to_owned(), "chat/completions".to_owned());
    ModelUse { model, endpoint, hours: 100.0, requests, finished, cost: Some(cost) }
}

fn offer(name: &str, requests: u64, finished: u64, cost: f64) -> Offer {
    Offer { used: used(name, requests, finished, 0.0), cost: Some(cost) }
}

#[test]
fn the_cheapest_that_does_as_well_is_worth_a_try() {
    let offers =
        [offer("small", 500, 499, 2.0), offer("medium", 500, 500, 5.0), offer("broken", 500, 100, 0.1)];
    let told = model(&used("large", 1_000, 990, 10.0), &offers).unwrap();
    assert_eq!((told.kind, told.confidence), (Kind::Model, Confidence::Low));
    assert_eq!(told.text, "Try small where large answers chat/completions.");
    // 8 dollars less in 100 hours, for 730.
    near(told.saving, 58.4);
}

#[test]
fn few_requests_other_endpoints_and_small_differences_say_nothing() {
    let large = used("large", 1_000, 990, 10.0);
    assert!(model(&used("large", 99, 99, 10.0), &[offer("small", 500, 500, 1.0)]).is_err());
    assert!(model(&large, &[offer("small", 99, 99, 1.0)]).is_err());
    assert!(model(&large, &[offer("small", 500, 500, 8.1)]).is_err(), "not a fifth cheaper");
    let elsewhere = offer("small", 500, 500, 1.0);
    let elsewhere = Offer { used: ModelUse { endpoint: "embeddings".into(), ..elsewhere.used }, ..elsewhere };
    assert!(model(&large, &[elsewhere]).is_err());
    let unknown = advice::ModelUse { cost: None, ..large };
    assert!(model(&unknown, &[]).unwrap_err().because.starts_with("its price is not known"));
}
