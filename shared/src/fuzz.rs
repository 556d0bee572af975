//! Fuzz targets: what of this crate, and of `series` below it, reads text that anybody may send.
//!
//! A target panics when a promise is broken. `cargo test` runs each a bounded number of times on the corpus in
//! `fuzz/corpus`; `just fuzz NAME` runs it for as long as one likes. Services have a file like this of their own.

use crate::{
    api_key,
    auth::{
        Credential, credential,
        token::{AUDIENCE, BadToken, Claims, ISSUER, TokenSigner, in_time, is_token, verify},
    },
    page,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};
use policy::{Epoch, Revision, SessionId, Time, UserId};
use series::{Sample, Value, text};
use uuid::Uuid;

/// API keys: every key that is made is plausible, and nothing is plausible that is not written exactly as one.
pub fn api_key(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if api_key::is_plausible(&text) {
        let rest = text.strip_prefix(api_key::PREFIX).unwrap_or_default();
        let random = URL_SAFE_NO_PAD.decode(&rest[..43]).unwrap_or_default();
        let random: [u8; 32] = random.try_into().unwrap_or_default();
        let key = api_key::of(random);
        assert!(text == key || *text == key[..47], "{text} is not how {key} is written");
    }
    if let Some((random, [place, change, ..])) = input.split_first_chunk::<32>() {
        let key = api_key::of(*random);
        assert!(api_key::is_plausible(&key) && api_key::is_plausible(&key[..47]));
        let mut typed = key.clone().into_bytes();
        let place = usize::from(*place) % typed.len();
        typed[place] ^= change;
        let typed = String::from_utf8_lossy(&typed);
        assert!(typed == key || !api_key::is_plausible(&typed), "{typed} for {key}");
    }
}

/// Page tokens: a token leads to its row in its list and nowhere else, and no text reads as another one's row.
pub fn page_token(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for filter in ["", "users", &text] {
        if let Ok(Some(last)) = page::start(filter, &text) {
            assert_eq!(page::token(filter, &last), text, "one row has one token");
        }
    }
    let (filter, last) = text.split_once('\n').unwrap_or(("users", &text));
    let token = page::token(filter, last);
    let fits = !last.chars().any(char::is_control);
    assert_eq!(page::start(filter, &token).ok(), fits.then(|| Some(last.to_owned())));
    assert!(page::start(&format!("{filter}x"), &token).is_err(), "the token of another list");
}

/// Credentials in headers: what is found is a part of what was sent, and is read as one kind of credential.
pub fn credential_header(input: &[u8]) {
    let (first, second) = halves(input);
    let mut headers = HeaderMap::new();
    for (name, value) in [(header::AUTHORIZATION.as_str(), first), ("x-api-key", second)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    let Some(found) = credential(&headers) else { return };
    let shown = |letter: char| letter == '\t' || !letter.is_control();
    assert!(!found.is_empty() && found.chars().all(shown));
    let sent = |part: &[u8]| part.windows(found.len()).any(|part| part == found.as_bytes());
    assert!(sent(first) || sent(second), "{found:?} was not sent");
    let of = Credential::of(found);
    assert_eq!(matches!(of, Credential::Token(_)), is_token(found));
    assert!(!format!("{of:?}").contains(found) || "KeyToken".contains(found), "debugging shows it");
}

/// Access tokens: what was signed is read back and held to its time, and nothing else is read.
pub fn access_token(input: &[u8]) {
    let Some(signer) = TokenSigner::new(KEY.to_owned(), &[7; 32]) else { return };
    let public = |kid: &str| (kid == KEY).then(|| signer.public());
    let text = String::from_utf8_lossy(input);
    if let Ok((claims, _)) = verify(&text, public) {
        assert_eq!(signer.sign(&claims).as_deref(), Some(&*text), "not as it was signed");
    }
    if let Some((numbers, rest)) = input.split_first_chunk::<18>() {
        let claims = claims(numbers);
        let Some(token) = signer.sign(&claims) else { return };
        let ended = claims.exp <= NOW.micros() / 1_000_000;
        assert_eq!(in_time(&claims, NOW, NOW) == Err(BadToken::Expired), ended);
        assert_eq!(verify(&token, public).map(|(claims, _)| claims), Ok(claims));
        let changed = changed(&token, rest);
        let read = verify(&changed, public);
        assert!(changed == token || read == Err(BadToken::Invalid), "{changed} is not {token}");
    }
}

const KEY: &str = "fuzzed";
const NOW: Time = Time(1_700_000_000_000_000);

fn claims(numbers: &[u8; 18]) -> Claims {
    let mut seconds = [0; 8];
    seconds.copy_from_slice(&numbers[..8]);
    let id = Uuid::from_u128(u128::from(numbers[16]));
    Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: UserId(id),
        sid: SessionId(id),
        jti: id,
        iat: NOW.micros() / 1_000_000 + i64::from(numbers[17].cast_signed()),
        // None is ever signed for before 1970.
        exp: i64::from_le_bytes(seconds) & i64::MAX,
        epoch: Epoch(id),
        rev: Revision(u64::from(numbers[8])),
    }
}

/// Pages of metrics: whatever an engine writes, a number is one, what is no sample of a series changes nothing of it, and
/// labels are read as they were written.
pub fn metrics_page(input: &[u8]) {
    let page = String::from_utf8_lossy(input);
    let read = text::samples(&page);
    for Sample { name, labels, value } in &read {
        let good = match value {
            Value::Gauge(gauge) => gauge.last.is_finite(),
            Value::Counter(total) => total.is_finite() && *total >= 0.0,
            Value::Histogram(buckets) => buckets.counts().iter().all(|count| *count >= 0.0),
        };
        assert!(
            good && !name.is_empty() && labels.iter().all(|(name, _)| !name.is_empty()),
            "{name}{labels}"
        );
        assert_eq!(*text::renamed(name), **name, "what has its newer name keeps it");
    }
    let noisy = page.replace('\n', "\n# HELP a 7\nnoise:noise{a=\"}\"} 7\n");
    let quiet = |page: &str| -> Vec<Sample> {
        text::samples(page).into_iter().filter(|sample| !sample.name.starts_with("noise:")).collect()
    };
    assert_eq!(quiet(&noisy), quiet(&page));

    let one_line = page.replace(['\n', '\r'], " ");
    let escaped = one_line.replace('\\', "\\\\").replace('"', "\\\"");
    let sample = format!("up{{a=\"b\",text=\"{escaped}\"}} 3");
    let lines: Vec<_> = text::lines(&sample).collect();
    assert!(lines.len() == 1 && lines[0].value == 3.0 && lines[0].name == "up", "{sample}");
    assert_eq!(lines[0].labels().get("text").unwrap_or_default(), one_line, "{sample}");
}

/// A text with some of its characters turned into others.
fn changed(text: &str, changes: &[u8]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for pair in changes.chunks_exact(3).take(8) {
        let place = usize::from(u16::from_le_bytes([pair[0], pair[1]])) % bytes.len();
        bytes[place] ^= pair[2] & 0x7f;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn halves(input: &[u8]) -> (&[u8], &[u8]) {
    let split = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    (&input[..split], input.get(split + 1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use ::tests::fuzz::bounded;

    #[test]
    fn api_key() {
        bounded("api_key", super::api_key);
    }

    #[test]
    fn page_token() {
        bounded("page_token", super::page_token);
    }

    #[test]
    fn credential_header() {
        bounded("credential_header", super::credential_header);
    }

    #[test]
    fn access_token() {
        bounded("access_token", super::access_token);
    }

    #[test]
    fn metrics_page() {
        bounded("metrics_page", super::metrics_page);
    }
}
