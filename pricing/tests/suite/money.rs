//! Reading and writing dollars.

use pricing::{Money, NotMoney};
use proptest::prelude::*;

#[test]
fn decimal_numbers_are_read_as_they_stand() {
    let cases = [
        ("0", 0),
        ("0.000", 0),
        ("1", 1_000_000_000_000),
        ("0.1", 100_000_000_000),
        (".5", 500_000_000_000),
        ("2.", 2_000_000_000_000),
        ("0.000000000001", 1),
        ("0.0000000000010", 1),
        ("1e-12", 1),
        ("7.5E-09", 7_500),
        ("6e-08", 60_000),
        ("-0.25", -250_000_000_000),
        ("9223372.036854775807", i64::MAX),
        ("1000e-3", 1_000_000_000_000),
        ("0e99", 0),
    ];
    for (text, pico) in cases {
        assert_eq!(text.parse(), Ok(Money(pico)), "{text}");
    }
    assert_eq!(Money::shifted("1.5e-07", 6), Ok(Money(150_000_000_000)), "0.15 dollars for a million");
}

#[test]
fn what_cannot_be_kept_exactly_is_refused() {
    for text in ["", ".", "-", "+1", "1,5", "1.2.3", "e5", "1e", "1e999999", "0x1", "NaN", "inf", " 1", "1 "]
    {
        assert_eq!(text.parse::<Money>(), Err(NotMoney::Malformed), "`{text}`");
    }
    for text in ["0.0000000000001", "1e-13", "1.0000000000001"] {
        assert_eq!(text.parse::<Money>(), Err(NotMoney::TooFine(12)), "{text}");
    }
    for text in ["9223372.036854775808", "1e7", "1e900", "99999999999999999999999999999999999999999999"] {
        assert_eq!(text.parse::<Money>(), Err(NotMoney::TooLarge), "{text}");
    }
}

proptest! {
    #[test]
    fn every_amount_is_read_back_as_it_was_written(pico: i64) {
        prop_assert_eq!(Money(pico).to_string().parse(), Ok(Money(pico)));
    }

    #[test]
    fn an_exponent_moves_the_point(whole in 0u32..9_000, places in 0u32..9) {
        let plain = Money(i64::from(whole) * 10i64.pow(12 - places));
        prop_assert_eq!(format!("{whole}e-{places}").parse(), Ok(plain));
        prop_assert_eq!(Money::shifted(&whole.to_string(), -i32::try_from(places).unwrap()), Ok(plain));
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        if let Ok(amount) = text.parse::<Money>() {
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
        }
    }
}
