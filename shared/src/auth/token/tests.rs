//! What is a token, and the many things that are none.

use super::*;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

const NOW: Time = Time(1_700_000_000_000_000);
const SEED: [u8; 32] = [7; 32];

fn after(seconds: i64) -> Time {
    Time(NOW.0 + seconds * 1_000_000)
}

fn claims() -> Claims {
    let now = NOW.0 / 1_000_000;
    Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: UserId(Uuid::from_u128(1)),
        sid: SessionId(Uuid::from_u128(2)),
        jti: Uuid::from_u128(3),
        iat: now,
        exp: now + 900,
        epoch: Epoch(Uuid::from_u128(4)),
        rev: Revision(5),
    }
}

fn signer() -> TokenSigner {
    TokenSigner::new("k1".to_owned(), &SEED).unwrap()
}

fn known(kid: &str) -> Option<[u8; 32]> {
    (kid == "k1").then(|| signer().public())
}

fn check(token: &str) -> Result<Claims, BadToken> {
    let (claims, _) = verify(token, known)?;
    in_time(&claims, NOW, NOW).map(|()| claims)
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// A token of any header and claims, signed with the right key.
fn signed(header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes())))
}

fn header() -> Value {
    json!({ "typ": "JWT", "alg": "EdDSA", "kid": "k1" })
}

fn with(change: impl FnOnce(&mut Value)) -> String {
    let mut claims = serde_json::to_value(claims()).unwrap();
    change(&mut claims);
    signed(&header(), &claims)
}

#[test]
fn a_token_says_what_was_signed_and_by_which_key() {
    let token = signer().sign(&claims()).unwrap();
    assert!(is_token(&token) && token.len() < MAX_LENGTH);
    assert_eq!(verify(&token, known).unwrap(), (claims(), "k1".to_owned()));
    assert_eq!(check(&signed(&header(), &serde_json::to_value(claims()).unwrap())), Ok(claims()));
    for key in ["tgk_abc", "tgr_abc", "eyJ", "eyJ.x", "eyJ.a.b.c", "a.b.c", ""] {
        assert!(!is_token(key), "{key}");
    }
}

#[test]
fn a_token_does_not_choose_how_it_is_verified() {
    let body = serde_json::to_value(claims()).unwrap();
    let message = |alg: &str| {
        format!("{}.{}", encoded(&json!({ "typ": "JWT", "alg": alg, "kid": "k1" })), encoded(&body))
    };
    for alg in ["none", "None", "NONE", ""] {
        for signature in ["", "AAAA"] {
            assert_eq!(check(&format!("{}.{signature}", message(alg))), Err(BadToken::Invalid), "{alg}");
        }
    }
    // The public key is public: whoever could use it as a shared secret could sign.
    use hmac::Mac;
    let public = signer().public();
    let mut mac = <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(&public).unwrap();
    let message = message("HS256");
    mac.update(message.as_bytes());
    let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
    assert_eq!(check(&forged), Err(BadToken::Invalid));
    for alg in ["HS256", "RS256", "ES256", "PS512"] {
        let forged = signed(&json!({ "typ": "JWT", "alg": alg, "kid": "k1" }), &body);
        assert_eq!(check(&forged), Err(BadToken::Invalid), "{alg}");
    }
}

#[test]
fn the_key_must_be_known_by_its_name() {
    let body = serde_json::to_value(claims()).unwrap();
    for header in [
        json!({ "alg": "EdDSA" }),
        json!({ "alg": "EdDSA", "kid": "k2" }),
        json!({ "alg": "EdDSA", "kid": "" }),
    ] {
        assert_eq!(check(&signed(&header, &body)), Err(BadToken::Invalid), "{header}");
    }
    let other = TokenSigner::new("k1".to_owned(), &[8; 32]).unwrap();
    assert_eq!(
        check(&other.sign(&claims()).unwrap()),
        Err(BadToken::Invalid),
        "another key of the same name"
    );
    // A key that a token brings along is not looked at.
    let own = json!({ "alg": "EdDSA", "jwk": { "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(signer().public()) } });
    assert_eq!(check(&signed(&own, &body)), Err(BadToken::Invalid));
}

#[test]
fn it_is_from_us_and_for_us() {
    for (claim, bad) in [
        ("iss", json!("somebody")),
        ("aud", json!("somebody")),
        ("aud", json!(["somebody"])),
        ("sub", json!("nobody")),
        ("sid", json!("")),
        ("exp", json!("soon")),
        ("iat", json!(null)),
        ("epoch", json!(1)),
    ] {
        assert_eq!(
            check(&with(|claims| claims[claim] = bad.clone())),
            Err(BadToken::Invalid),
            "{claim} {bad}"
        );
    }
    for claim in ["iss", "aud", "sub", "sid", "jti", "iat", "exp", "epoch", "rev"] {
        let without = with(|claims| drop(claims.as_object_mut().unwrap().remove(claim)));
        assert_eq!(check(&without), Err(BadToken::Invalid), "without {claim}");
    }
}

#[test]
fn it_ends_at_its_end_and_begins_with_its_beginning() {
    let at = |now: Time| in_time(&claims(), now, now);
    assert_eq!(at(Time(after(900).0 - 1)), Ok(()));
    assert_eq!(at(after(900)), Err(BadToken::Expired));
    assert_eq!(at(after(901)), Err(BadToken::Expired));
    assert_eq!(at(after(-5)), Ok(()), "clocks differ");
    assert_eq!(at(Time(after(-5).0 - 1)), Err(BadToken::Invalid));
}

#[test]
fn while_it_cannot_be_renewed_it_goes_on_as_it_was_when_it_last_could() {
    let last = |renewable, now| in_time(&claims(), renewable, now);
    assert_eq!(last(Time(after(900).0 - 1), after(1_500)), Ok(()));
    assert_eq!(last(after(900), after(1_500)), Err(BadToken::Expired));
    assert_eq!(last(after(-60), after(0)), Ok(()), "got elsewhere, by somebody who could");
    assert_eq!(last(after(0), after(-60)), Err(BadToken::Invalid), "of the future");
    assert_eq!(last(after(901), after(899)), Ok(()), "nothing is known of what is to come");
}

#[test]
fn every_cut_and_every_changed_character_is_noticed() {
    let token = signer().sign(&claims()).unwrap();
    for end in 0..token.len() {
        assert_eq!(check(&token[..end]), Err(BadToken::Invalid), "cut at {end}");
    }
    for at in 0..token.len() {
        for letter in ['A', 'z', '.', '=', '~'] {
            let mut changed: Vec<char> = token.chars().collect();
            if changed[at] == letter {
                continue;
            }
            changed[at] = letter;
            let changed: String = changed.into_iter().collect();
            assert!(check(&changed).is_err(), "{letter} at {at}");
        }
    }
    for more in [".", "A", ".AAAA", " "] {
        assert!(check(&format!("{token}{more}")).is_err(), "{more}");
    }
    let long = format!("eyJ{}.e30.AAAA", "A".repeat(MAX_LENGTH));
    assert_eq!(check(&long), Err(BadToken::Invalid));
}

#[test]
fn a_signer_shows_its_name_alone() {
    assert_eq!(format!("{:?}", signer()), "TokenSigner(k1)");
    assert!(TokenSigner::new("k1".to_owned(), &[7; 31]).is_none());
}
