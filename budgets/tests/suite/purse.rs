//! A purse and its lease, step by step.

use budgets::{Amount, Ask, Lease, Limit, Purse, Stand};

const fn money(money: i128) -> Amount {
    Amount { money, tokens: 0 }
}

const LIMIT: Limit = Limit { money: Some(1_000), tokens: None };

fn stand(spent: i128, others: i128) -> Stand {
    Stand { limit: LIMIT, spent: money(spent), others: money(others) }
}

#[test]
fn a_purse_is_filled_spent_and_given_back() {
    let (mut purse, mut lease) = (Purse::new(LIMIT), Lease::default());
    assert!(!purse.reserve(money(60)), "it is empty");
    let ask = purse.ask(money(50));
    assert_eq!(ask, Ask { target: money(60), released: Amount::ZERO }, "what did not fit is asked for");
    lease.hear(ask, &stand(0, 0));
    purse.hear(lease.granted);
    assert!(purse.reserve(money(60)) && !purse.reserve(money(1)));
    purse.settle(money(60), money(25));
    assert_eq!((purse.available(), purse.is_idle()), (money(35), true));
    // Known to the gateway alone, it is outstanding; once the ledger has it, it is spent.
    assert_eq!(lease.outstanding(), money(60));
    lease.recorded += money(25);
    assert_eq!(lease.outstanding(), money(35));
    lease.hear(purse.close(), &stand(25, 0));
    assert_eq!((lease.outstanding(), purse.available()), (Amount::ZERO, Amount::ZERO));
}

#[test]
fn a_lease_is_carved_out_of_what_is_left() {
    let ask = |target| Ask { target: money(target), released: Amount::ZERO };
    let mut lease = Lease::default();
    lease.hear(ask(300), &stand(500, 300));
    assert_eq!(lease.granted, money(200));
    lease.hear(ask(300), &stand(500, 300));
    assert_eq!(lease.granted, money(200), "nothing is left");
    lease.hear(ask(300), &stand(500, 0));
    assert_eq!(lease.granted, money(300));
    lease.hear(ask(100), &stand(0, 0));
    assert_eq!(lease.granted, money(300), "what was given is given");
    let mut overspent = Lease::default();
    overspent.hear(ask(10), &stand(2_000, 0));
    assert_eq!(overspent.granted, Amount::ZERO);
}

#[test]
fn what_is_said_twice_or_late_changes_nothing() {
    let (mut purse, mut lease) = (Purse::new(LIMIT), Lease::default());
    let first = purse.ask(money(100));
    lease.hear(first, &stand(0, 0));
    purse.hear(lease.granted);
    let last = purse.close();
    lease.hear(last, &stand(0, 0));
    lease.hear(last, &stand(0, 0));
    lease.hear(first, &stand(0, 0));
    assert_eq!((lease.granted, lease.released), (money(100), money(100)));
    lease.hear(Ask { target: Amount::ZERO, released: money(900) }, &stand(0, 0));
    assert_eq!(lease.released, money(100), "more than it was given cannot come back");
}

#[test]
fn what_is_not_limited_is_not_counted() {
    let mut purse = Purse::new(LIMIT);
    purse.hear(money(10));
    let request = Amount { money: 10, tokens: 1_000_000 };
    assert!(purse.reserve(request));
    purse.settle(request, request);
    assert_eq!(purse.available(), Amount::ZERO);
}

#[test]
fn a_request_that_cost_more_than_was_set_aside_is_a_debt() {
    let mut purse = Purse::new(LIMIT);
    purse.hear(money(10));
    assert!(purse.reserve(money(10)));
    purse.settle(money(10), money(15));
    assert_eq!(purse.available(), money(-5));
    assert_eq!(purse.ask(money(20)).target, money(35));
}
