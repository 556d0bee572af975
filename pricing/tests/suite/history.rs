//! Versions by date.

use pricing::{History, Money, Price, Version};

#[test]
fn the_last_version_that_began_counts() {
    let version = |id, from, written| Version {
        id,
        from,
        written,
        price: Price { input: Some(Money(id)), ..Price::default() },
    };
    let history =
        History::new(vec![version(3, 30, 3), version(1, 10, 1), version(4, 20, 4), version(2, 20, 2)]);
    let at = |time| history.at(time).map(|version| version.id);
    assert_eq!((at(9), at(10), at(19)), (None, Some(1), Some(1)));
    assert_eq!((at(20), at(29)), (Some(4), Some(4)), "of two for the same time, the one written later");
    assert_eq!((at(30), at(i64::MAX)), (Some(3), Some(3)));
    assert_eq!(History::<i64>::new(Vec::new()).at(0), None);
}
