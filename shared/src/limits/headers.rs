//! What every answer says of the limits of its caller: as headers over HTTP, as metadata over gRPC.
//!
//! `ratelimit-limit`, `-remaining` and `-reset` are of requests where those are limited, else of tokens, else of calls at
//! once. Numbers are always numbers: without any limit they are [`UNLIMITED`], which every language can hold. OpenAI's
//! routes say the same of requests and tokens apart, in the names and forms that their clients read.

use super::Refused;
use http::{HeaderMap, HeaderName, HeaderValue, header::RETRY_AFTER};
use limits::{Gauge, Standing};
use std::time::Duration;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// The names that an answer over REST takes over from that of a service.
pub const NAMES: [HeaderName; 4] = [LIMIT, REMAINING, RESET, RETRY_AFTER];

/// Stands for no limit: 2^53 − 1, the largest whole number that every JSON reader holds.
const UNLIMITED: HeaderValue = HeaderValue::from_static("9007199254740991");

/// Says on an answer how its caller stands, and when to ask again when it is a refusal. `openai`: in OpenAI's words too.
pub fn dress(headers: &mut HeaderMap, standing: &Standing, refused: Option<&Refused>, openai: bool) {
    let shown = refused.map(Refused::gauge);
    let shown = shown.or(standing.requests).or(standing.tokens).or(standing.concurrent);
    let [limit, remaining, reset] = match shown {
        Some(gauge) => [number(gauge.limit), number(gauge.remaining), number(seconds(gauge.reset))],
        None => [UNLIMITED, UNLIMITED, HeaderValue::from_static("0")],
    };
    headers.insert(LIMIT, limit);
    headers.insert(REMAINING, remaining);
    headers.insert(RESET, reset);
    if openai {
        in_openai_words(headers, REQUESTS, standing.requests);
        in_openai_words(headers, TOKENS, standing.tokens);
    }
    if let Some(refused) = refused {
        let after = refused.retry_after();
        headers.insert(RETRY_AFTER, number(after.as_secs()));
        if openai {
            let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            headers.insert(RETRY_AFTER_MS, number(millis));
        }
    }
}

fn in_openai_words(headers: &mut HeaderMap, names: [HeaderName; 3], gauge: Option<Gauge>) {
    let Some(gauge) = gauge else { return };
    let reset = HeaderValue::from_str(&span(gauge.reset)).unwrap_or(HeaderValue::from_static("0s"));
    let values = [number(gauge.limit), number(gauge.remaining), reset];
    for (name, value) in names.into_iter().zip(values) {
        headers.insert(name, value);
    }
}

/// Whole seconds, rounded up.
pub(super) fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn number(number: u64) -> HeaderValue {
    HeaderValue::from(number)
}

/// A time as OpenAI writes it: `20ms`, `1.5s`, `6m0s`.
fn span(time: Duration) -> String {
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    match (seconds, millis) {
        (0, 0) => "0s".to_owned(),
        (0, millis) => format!("{millis}ms"),
        (seconds @ 1..60, 0) => format!("{seconds}s"),
        (seconds @ 1..60, millis) => format!("{seconds}.{millis:03}s"),
        (seconds @ 60..3_600, _) => format!("{}m{}s", seconds / 60, seconds % 60),
        (seconds, _) => format!("{}h{}m{}s", seconds / 3_600, seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limits::Layer;

    fn gauge(limit: u64, remaining: u64, reset: Duration) -> Option<Gauge> {
        Some(Gauge { layer: Layer::User, limit, remaining, reset })
    }

    #[test]
    fn no_limit_is_a_number_too_and_openais_words_are_for_what_is_limited() {
        let mut headers = HeaderMap::new();
        dress(&mut headers, &Standing::default(), None, true);
        assert_eq!(headers[LIMIT], "9007199254740991");
        assert_eq!((&headers[REMAINING], &headers[RESET]), (&headers[LIMIT], &HeaderValue::from_static("0")));
        assert_eq!(headers.len(), 3);
        let tokens = gauge(1_000, 400, Duration::from_millis(61_001));
        dress(&mut headers, &Standing { tokens, ..Standing::default() }, None, true);
        assert_eq!([&headers[LIMIT], &headers[RESET]], ["1000", "62"]);
        assert_eq!(headers["x-ratelimit-remaining-tokens"], "400");
        assert_eq!(headers["x-ratelimit-reset-tokens"], "1m1s");
        assert!(!headers.contains_key("x-ratelimit-limit-requests"));
    }

    #[test]
    fn times_are_written_as_openai_does() {
        let written = |millis| span(Duration::from_millis(millis));
        let all = [0, 20, 1_000, 1_500, 360_000, 3_661_000].map(written);
        assert_eq!(all, ["0s", "20ms", "1s", "1.500s", "6m0s", "1h1m1s"]);
    }
}
