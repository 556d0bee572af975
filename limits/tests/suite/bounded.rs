//! Memory stays bounded, and whoever is under way is never forgotten.

use crate::world::{at, call, requests, settings};
use limits::{Layer, Limit, Limiter, Subjects};

#[test]
fn a_flood_of_addresses_forgets_those_that_were_quiet_and_nobody_under_way() {
    let under_way = Limit { concurrent: Some(1), ..Limit::default() };
    let by_address = Limit { per: Layer::Address, ..requests(2, 60) };
    let mut limiter = Limiter::new(settings(vec![under_way, by_address]));
    let mine = call(&limiter, 1);
    let admission = limiter.enter(&mine, at(0)).unwrap();
    for address in 0..250_000_u64 {
        let subjects = Subjects { address: Some(u128::from(address)), ..Subjects::default() };
        let call = limits::Call { subjects, ..mine };
        drop(
            limiter
                .enter(&call, at(address + 1))
                .map(|admission| limiter.end(&admission, None, at(address + 1))),
        );
    }
    assert!(limiter.seen(Layer::Address, None, at(250_000)).len() <= 100_000);
    assert!(limiter.enter(&mine, at(250_001)).is_err(), "it is still under way");
    limiter.end(&admission, None, at(250_001));
    assert!(limiter.enter(&mine, at(250_002)).is_ok());
}

#[test]
fn another_configuration_goes_on_with_what_was_counted() {
    let mut limiter = Limiter::new(settings(vec![requests(10, 60)]));
    let call = call(&limiter, 1);
    for _ in 0..4 {
        limiter.enter(&call, at(0)).unwrap();
    }
    limiter.set(settings(vec![requests(5, 60)]));
    let call = crate::world::call(&limiter, 1);
    assert_eq!(limiter.enter(&call, at(0)).unwrap().standing.requests.unwrap().remaining, 0);
    assert!(limiter.enter(&call, at(0)).is_err());
    limiter.clear(Layer::User, 1, None, at(0));
    assert!(limiter.enter(&call, at(0)).is_ok());
}
