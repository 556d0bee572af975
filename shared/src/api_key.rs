//! The text of an API key: `tgk_`, 43 characters of base64url for 32 random bytes, and six that check them.
//!
//! The check tells a mistyped or cut key from one that nobody knows before anything is looked up. Keys of before have
//! no check and stay good. The secret itself is compared by its SHA-256 alone, which is also all that is kept of it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use policy::{KeyId, UserId};
use secrecy::SecretString;
use uuid::Uuid;

/// Prefix of API keys, by which scanners find lost ones.
pub const PREFIX: &str = "tgk_";

const RANDOM: usize = 43;
const CHECK: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new key.
#[must_use]
pub fn generate() -> SecretString {
    of(rand::random()).into()
}

/// The id of the key that the first run makes for an owner: told from the owner's own, so that every service knows it.
#[must_use]
pub fn of_first_run(owner: UserId) -> KeyId {
    // The random bits of a UUID alone: it stays one of its version and time.
    const MARK: u128 = 0x0000_0000_0000_0f1e_2d3c_4b5a_6978;
    KeyId(Uuid::from_u128(owner.0.as_u128() ^ MARK))
}

/// The key of these random bytes.
pub(crate) fn of(random: [u8; 32]) -> String {
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let check = check(&text).map(char::from);
    text + &String::from_iter(check)
}

/// Whether somebody may hold this key: it has the form of one, and its check is right when it has one.
#[must_use]
pub fn is_plausible(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(PREFIX) else { return false };
    let Some((random, given)) = rest.split_at_checked(RANDOM) else { return false };
    // Every request comes by here, so that nothing is put on the heap.
    let encoded = URL_SAFE_NO_PAD.decode_slice(random, &mut [0; 33]) == Ok(32);
    encoded && (given.is_empty() || given.as_bytes() == check(&text[..PREFIX.len() + RANDOM]))
}

/// The CRC-32 of the text in six digits of base 62.
fn check(text: &str) -> [u8; CHECK] {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = [b'0'; CHECK];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[usize::try_from(rest % 62).unwrap_or_default()];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_new_key_is_plausible_and_no_two_are_alike() {
        let (one, other) = (generate(), generate());
        assert_eq!(one.expose_secret().len(), 53);
        assert!(is_plausible(one.expose_secret()));
        assert_ne!(one.expose_secret(), other.expose_secret());
    }

    #[test]
    fn a_key_of_before_has_no_check() {
        let key = generate();
        assert!(is_plausible(&key.expose_secret()[..47]));
        for length in (0..47).chain(48..53) {
            assert!(!is_plausible(&key.expose_secret()[..length]), "{length} characters");
        }
    }

    #[test]
    fn every_mistyped_character_shows() {
        let key = generate().expose_secret().to_owned();
        for at in 0..key.len() {
            for other in ['a', 'Z', '7', '_'].into_iter().filter(|other| !key[at..].starts_with(*other)) {
                let mut typed = key.clone();
                typed.replace_range(at..=at, &other.to_string());
                assert!(!is_plausible(&typed), "character {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in ".*", tail in "[\\w\\-é]{0,60}") {
            let long = format!("{PREFIX}{}{text}\u{1}", "A".repeat(43));
            for text in [text, format!("{PREFIX}{tail}"), long] {
                prop_assert!(!is_plausible(&text), "{:?}", text);
            }
        }
    }
}
